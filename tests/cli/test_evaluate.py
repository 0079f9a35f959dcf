import shutil

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap


@pytest.mark.slow
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
    verdict, next_step = result.stdout.splitlines()[-2:]
    assert verdict.startswith("Very good: 9") and "always answering 'sky'" in verdict and "on 2 photos" in verdict
    assert next_step.startswith("Next: ")
    for name in ("figures/scene_01_ares_96_confusion.png", "eval_pixels_confusion.png"):
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
    assert (
        "1 file could not be used, the others are done:" in result.stderr and "the prediction is 3 x 3" in result.stderr
    )


def test_eval_pixels_without_a_common_class_shows_both_lists(run, tmp_path, make_pair):
    make_pair(tmp_path, "a", np.arange(6).reshape(2, 3) % 3)
    other = ClassTable.from_names(["eau", "sable", "falaise"])
    write_labelmap(tmp_path / "a_ares_96.mat", LabelMap(np.zeros((2, 3), np.uint8), other))
    result = run("eval-pixels", tmp_path)
    assert result.exit_code == 1 and "0.000" not in result.output
    assert "the truth has water, sand, cliff; the prediction has eau, sable, falaise" in result.stderr


def test_eval_pixels_names_what_the_means_leave_out(run, tmp_path, make_pair, table, quick_panels):
    make_pair(tmp_path, "a", [[0, 0, 0, 1]])
    write_labelmap(tmp_path / "a_ares_96.mat", LabelMap(np.array([[0, 0, 2, 1]], np.uint8), table))
    assert "not in the truth, so left out of the means: cliff" in run("eval-pixels", tmp_path).stdout
    assert "not in the truth" in run("eval-pixels", tmp_path, "--ignore", "sand").stdout
    ignored = run("eval-pixels", tmp_path, "--ignore", "sand", "--ignore", "cliff").stdout
    assert "not in the truth" not in ignored and "No verdict: only 'water'" in ignored


def test_eval_pixels_says_what_to_do_with_masks_in_black_and_white(run, tmp_path, make_pair, table, quick_panels):
    make_pair(tmp_path, "a", [[0, 0, 0, 255]])
    write_labelmap(tmp_path / "a_ares_96.mat", LabelMap(np.array([[0, 0, 2, 1]], np.uint8), table))
    assert "first make class ids of them: hybridseg convert" in run("eval-pixels", tmp_path).stdout
