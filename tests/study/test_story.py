import json
import re

import pytest

from hybridseg.page import Table
from hybridseg.study.story import Story, compare_scores, show_share


@pytest.fixture
def story(tmp_path):
    """A story whose commands are only noted, in `ran`, and whose lines are kept in `lines`."""
    story = Story(tmp_path, lambda words: story.ran.append(words), lambda line: story.lines.append(line))
    story.ran, story.lines = [], []
    return story


def test_a_command_is_shown_as_a_shell_takes_it_and_run(story, tmp_path):
    story.run("split", tmp_path / "my photos", "-p", 0.5)
    assert story.ran == [["split", f"{tmp_path}/my photos", "-p", "0.5"]]
    assert story.lines == [f"\n$ hybridseg split '{tmp_path}/my photos' -p 0.5"]


def test_a_folder_that_begins_with_a_dash_is_no_option(story, tmp_path):
    folder = type(tmp_path)("-out")
    story.run("split", folder, "-p", 1)
    assert story.ran == [["split", "./-out", "-p", "1"]]


def test_a_command_that_fails_ends_the_story(story):
    def fail(words):
        raise ValueError(words[0])

    story.run_command = fail
    with pytest.raises(ValueError, match="retrain"):
        story.run("retrain")


def test_each_section_has_the_commands_since_the_last_and_the_results_come_first(story, tmp_path):
    story.run("one")
    story.run("two")
    story.tell("First", "About it.", scenes="What is seen.")
    story.run("three")
    story.tell("Results", "All of it.", tables=[Table(("class", "IoU"), [("sand", "0.500")])])
    page = story.write_page("Title", "Lead.")
    assert page == tmp_path / "report.html"
    text = page.read_text()
    found = re.findall(r"<h2>(.*?)</h2>|<code>hybridseg (\w+)|src='(.*?)'|<td>(.*?)</td>", text)
    assert ["".join(parts) for parts in found] == [
        *("Results", "three", "sand", "0.500"),
        *("First", "one", "two", "scenes.png"),
    ]
    assert "What is seen." in text and "Lead." in text


def test_scores_are_compared(tmp_path):
    for name, share in (("a", 0.5), ("b", 0.75)):
        pooled = {"accuracy": share, "macro": {"iou": 0.25, "f1": None}, "classes": [{"class": "sand", "iou": share}]}
        (tmp_path / name).mkdir()
        (tmp_path / name / "eval_pixels.json").write_text(json.dumps({"pooled": pooled}))
    means, classes = compare_scores(tmp_path, {"first": "a", "second": "b"}, strong=[1])
    assert means.rows == [("first", "0.500", "0.250", ""), ("second", "0.750", "0.250", "")] and means.strong == [1]
    assert classes.header[1:] == ("first", "second") and classes.rows == [("sand", "0.500", "0.750")]


def test_shares():
    assert show_share(0.12345) == "0.123" and show_share(None) == ""
