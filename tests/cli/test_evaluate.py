import shutil

import numpy as np

from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap


def test_eval_pixels_prints_and_writes(run, coast, monkeypatch):
    for i in range(2):
        labelmap = read_labelmap(coast / f"scene_0{i}_mres.mat")
        labels = labelmap.labels.copy()
        labels[: 8 * i] = labelmap.table.index("water")
        write_labelmap(coast / f"scene_0{i}_ares_96.mat", LabelMap(labels, labelmap.table))
    result = run("eval-pixels", coast)
    assert result.exit_code == 0
    assert "scene_00_ares_96: accuracy 1.000, 6,144 pixels" in result.stdout
    assert "all 2 pairs: accuracy 0." in result.stdout and "weighted mean" in result.stdout
    for name in ("scene_01_ares_96_confusion.png", "eval_pixels_confusion.png"):
        assert read_image(coast / name).std() > 10
    monkeypatch.setattr("hybridseg.evaluation.pixels.draw_confusion", lambda *_, **__: None)
    assert run("eval-pixels", coast, "--ignore", "sky", "--ignore", "water").exit_code == 0
    assert "no class is called 'skye'" in run("eval-pixels", coast, "--ignore", "skye").stderr


def test_eval_pixels_takes_masks_from_a_folder(run, coast, tmp_path, quick_panels):
    (tmp_path / "gt").mkdir()
    labelmap = read_labelmap(coast / "scene_00_mres.mat")
    write_labelmap(tmp_path / "gt" / "scene_00.png", labelmap)
    write_labelmap(coast / "scene_00_predseg.png", labelmap)
    (coast / "scene_00_mres.mat").unlink()
    result = run("eval-pixels", coast, "--masks", tmp_path / "gt")
    assert result.exit_code == 0 and "scene_00_predseg: accuracy 1.000" in result.stdout
    words = ("eval-pixels", coast, "--masks", tmp_path / "gt", "--truth", "*", "--prediction", "*")
    assert run(*words).exit_code == 2


def test_eval_pixels_goes_on_after_a_bad_pair(run, coast, quick_panels):
    shutil.copy(coast / "scene_00_mres.mat", coast / "scene_00_ares_96.mat")
    write_labelmap(
        coast / "scene_01_ares_96.mat",
        LabelMap(np.zeros((3, 3), np.uint8), read_labelmap(coast / "scene_01_mres.mat").table),
    )
    result = run("eval-pixels", coast)
    assert result.exit_code == 1 and "accuracy 1.000" in result.stdout
    assert "1 file could not be used" in result.stderr and "the prediction is 3 x 3" in result.stderr
