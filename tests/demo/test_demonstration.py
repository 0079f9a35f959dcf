import pytest

from hybridseg.demo.demonstration import claim_demo
from hybridseg.errors import OutputExists


def test_the_folder_of_an_earlier_demo_is_cleared_of_what_the_demo_makes(tmp_path):
    out = tmp_path / "new" / "demo"
    claim_demo(out, ["train"])
    (out / "train").mkdir()
    (out / "train/old.png").touch()
    (out / "scenes").mkdir()
    claim_demo(out, ["train"])
    assert sorted(path.name for path in out.iterdir()) == ["DEMO.txt", "scenes"]


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/mine.txt").write_text("precious")
    with pytest.raises(OutputExists, match="not from a demo"):
        claim_demo(tmp_path, ["train"])
    assert (tmp_path / "train/mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
