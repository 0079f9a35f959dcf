import json
import re

import pytest

from hybridseg.errors import BadInput
from hybridseg.page import Table
from hybridseg.study.story import Story, compare_scores, read_scores, show_share


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


def write_scores(folder, share, **more):
    """Write what `eval-pixels` writes of one class, with other values in some places."""
    shares = dict.fromkeys(("precision", "recall", "iou"), share) | {"f1": None}
    pooled = {"accuracy": share, "macro": shares, "classes": [{"class": "sand", "support": 9, **shares}]}
    folder.mkdir(exist_ok=True)
    (folder / "eval_pixels.json").write_text(json.dumps({"pooled": pooled | more}))


def test_scores_are_compared(tmp_path):
    write_scores(tmp_path / "a", 0.5)
    write_scores(tmp_path / "b", 0.75)
    means, classes = compare_scores(tmp_path, {"first": "a", "second": "b"}, strong=[1])
    assert means.rows == [("first", "0.500", "0.500", ""), ("second", "0.750", "0.750", "")] and means.strong == [1]
    assert classes.header[1:] == ("first", "second") and classes.rows == [("sand", "0.500", "0.750")]


@pytest.mark.parametrize(
    "more", [{"macro": {"iou": 0.5}}, {"macro": 3}, {"accuracy": "0.5"}, {"classes": [{"class": 1}]}, {"classes": 5}]
)
def test_damaged_scores(tmp_path, more):
    write_scores(tmp_path, 0.5, **more)
    with pytest.raises(BadInput, match=r"eval_pixels\.json is damaged .*; remove its folder, and give"):
        read_scores(tmp_path)


def test_shares():
    assert show_share(0.12345) == "0.123" and show_share(None) == ""
