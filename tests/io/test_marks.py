"""What this program wrote is known by its mark; nothing else is replaced."""

import os

import numpy as np
import pytest
from PIL import Image

from hybridseg.batch.results import write_confidence
from hybridseg.errors import OutputExists
from hybridseg.figures import FIGURE_FORMATS, draw_rates
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.marks import check_ours, is_ours
from hybridseg.layout import Sheet


@pytest.mark.parametrize("suffix", [".mat", ".png", ".tif"])
def test_a_label_map_is_known_by_its_record(tmp_path, table, suffix):
    path = tmp_path / f"a{suffix}"
    write_labelmap(path, LabelMap(np.zeros((300, 300), np.uint8), table, made_by='{"command": "x"}'))
    assert is_ours(path)
    # What is left of a damaged one.
    path.write_bytes(path.read_bytes()[:-9])
    assert is_ours(path)
    if suffix != ".mat":
        write_labelmap(path, LabelMap(np.zeros((300, 300), np.uint8), table))
        assert not is_ours(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIGURE_FORMATS)
def test_figures_are_known_by_who_drew_them(tmp_path, kind):
    from matplotlib.figure import Figure

    draw_rates(tmp_path / f"a.{kind}", [0.1, 0.01])
    assert is_ours(tmp_path / f"a.{kind}")
    # The classic programs draw with matplotlib, too.
    Figure().savefig(tmp_path / f"b.{kind}")
    assert not is_ours(tmp_path / f"b.{kind}")


def test_other_files(tmp_path):
    Sheet(dpi=50, width=40).save(tmp_path / "sheet.png")
    write_confidence(tmp_path / "a_confidence.tif", np.zeros((20, 30), np.float32), None)
    (tmp_path / "empty.png").touch()
    check_ours([*tmp_path.iterdir(), tmp_path / "none.png"], advice="x")
    Image.new("L", (4, 4)).save(tmp_path / "plain.png")
    write_image(tmp_path / "plain.tif", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to("nothing.png")
    (tmp_path / "a_report.txt").write_text("my own report")
    (tmp_path / "a_report.json").write_text("{}")
    (tmp_path / "eval_pixels.csv").write_text("pair,mine")
    os.mkfifo(tmp_path / "pipe.png")
    foreign = ("plain.png", "plain.tif", "folder.png", "gone.png", "a_report.txt", "a_report.json")
    for name in (*foreign, "eval_pixels.csv", "pipe.png"):
        with pytest.raises(OutputExists, match=rf"{name} is there and was not written by hybridseg; .* or do so"):
            check_ours([tmp_path / name], advice="do so")
