import json

import pytest

from hybridseg.study.findings import Findings, MethodFindings
from hybridseg.study.study import StudyResult
from hybridseg.verdict import NextSteps, Verdict

VERDICT = Verdict("good", 0.7, 0.4, "sand", 9, None, (), {}, "Good: it is.")


@pytest.fixture(params=["demo", "demo-dense"])
def command(request, monkeypatch):
    """Each of the two commands, with a demonstration that only draws a scene; what it was given is in `given`."""
    given = {}

    def draw(out_dir, scenes_dir, run_command, say):
        given.update(out_dir=out_dir, scenes_dir=scenes_dir)
        say("A line of the story.")
        run_command(["demo-scenes", str(out_dir / "scenes"), "--n", "1", "--size", "48x64"])
        return out_dir / "report.html"

    def run_demo(out_dir, scenes_dir, *, run_command, say, warn, progress):
        page = draw(out_dir, scenes_dir, run_command, say)
        found = MethodFindings("hybrid", out_dir, {"macro": {"f1": 0.8}}, VERDICT, None, (), ())
        return StudyResult((), Findings((found,), NextSteps("use it", "label more")), page)

    def run_dense_demo(out_dir, scenes_dir, *, run_command, say):
        return draw(out_dir, scenes_dir, run_command, say)

    monkeypatch.setattr("hybridseg.demo.hybrid.run_demo", run_demo)
    monkeypatch.setattr("hybridseg.demo.dense.run_dense_demo", run_dense_demo)
    return request.param, given


def test_commands_are_run_and_the_page_is_named(command, run, tmp_path):
    name, given = command
    out = tmp_path / "out"
    result = run(name, out, "--scenes", tmp_path / "mine")
    assert result.exit_code == 0 and given == {"out_dir": out, "scenes_dir": tmp_path / "mine"}
    assert "A line of the story." in result.stdout and list((out / "scenes").glob("*.jpg"))
    assert f": {out}/report.html\n" in result.stdout
    assert ("Good: it is.\nNext: use it\n" in result.stdout) == (name == "demo")
    report = json.loads(run(name, out, "--json").stdout)
    assert report["written"] == [f"{out}/report.html"] and report["steps"][0]["command"][0] == "demo-scenes"
    assert f"{out}/scenes/scene_00.jpg" in report["steps"][0]["written"]


def test_quiet_is_handed_on(command, run, tmp_path):
    name, given = command
    result = run("--quiet", name, tmp_path / "out")
    assert result.exit_code == 0 and result.output == "" and given["scenes_dir"] is None
    assert list((tmp_path / "out/scenes").glob("*.jpg"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("demo", "not from hybridseg run; choose another folder"), ("demo-dense", "not from a demo; give a")],
)
def test_a_folder_of_somebody_else_is_refused(run, tmp_path, name, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("precious")
    result = run(name, tmp_path / "out")
    assert result.exit_code == 1 and result.stderr.count("Error") == 1
    assert (tmp_path / "out/mine.txt").read_text() == "precious" and len(list(tmp_path.rglob("*"))) == 2
    assert message in result.stderr
