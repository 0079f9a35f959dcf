import json

import pytest

from hybridseg.demo.demonstration import Demonstration


@pytest.fixture(params=["demo", "demo-dense"])
def command(request, monkeypatch):
    """Each of the two commands, with a demonstration that only draws a scene; what it was given is in `given`."""
    given = {}

    def run_demonstration(self, out_dir, scenes_dir, *, run_command, say):
        given.update(title=self.title, out_dir=out_dir, scenes_dir=scenes_dir)
        say("A line of the story.")
        run_command(["demo-scenes", str(out_dir / "scenes"), "--n", "1", "--size", "48x64"])
        return out_dir / "index.html"

    monkeypatch.setattr(Demonstration, "run", run_demonstration)
    return request.param, given


def test_commands_are_run_and_the_page_is_named(command, run, tmp_path):
    name, given = command
    out = tmp_path / "out"
    result = run(name, out, "--scenes", tmp_path / "mine")
    assert result.exit_code == 0 and (given["out_dir"], given["scenes_dir"]) == (out, tmp_path / "mine")
    assert ("U-Net" in given["title"]) == (name == "demo-dense")
    assert "A line of the story." in result.stdout and list((out / "scenes").glob("*.jpg"))
    assert f"The page with all pictures and tables: {out}/index.html" in result.stdout
    report = json.loads(run(name, out, "--json").stdout)
    assert report["written"] == [f"{out}/index.html"] and report["steps"][0]["command"][0] == "demo-scenes"
    assert f"{out}/scenes/scene_00.jpg" in report["steps"][0]["written"]


def test_quiet_is_handed_on(command, run, tmp_path):
    name, given = command
    result = run("--quiet", name, tmp_path / "out")
    assert result.exit_code == 0 and result.output == "" and given["scenes_dir"] is None
    assert list((tmp_path / "out/scenes").glob("*.jpg"))


@pytest.mark.parametrize("name", ["demo", "demo-dense"])
def test_a_folder_of_somebody_else_is_refused(run, tmp_path, name):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mine.txt").write_text("precious")
    result = run(name, tmp_path)
    assert result.exit_code == 1 and "holds files that are not from a demo; give an empty folder" in result.stderr
    assert (tmp_path / "images/mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
