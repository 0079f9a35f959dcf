import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.evaluation.floor import ColorSample, measure_floor, take_sample
from hybridseg.evaluation.pairs import TruthPair
from hybridseg.evaluation.pixels import evaluate_pixels
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

TABLE = ClassTable(("water", "sand"), ((0, 0, 255), (255, 255, 0)))


def test_classes_of_two_colours_are_told_and_those_of_one_are_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 80)).astype(np.uint8)
    apart = (labels[..., None] * 200 + rng.integers(0, 40, (60, 80, 3))).astype(np.uint8)
    alike = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)
    assert measure_floor([take_sample(apart, labels)] * 3, n_classes=2) == 1.0
    other = [take_sample(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8), labels) for _ in range(3)]
    assert measure_floor([take_sample(alike, labels), *other], n_classes=2) == pytest.approx(0.5, abs=0.05)


def test_a_photo_does_not_vouch_for_itself():
    """Each is classified by the means of the other, where the colours are swapped: nothing is right."""
    colors = np.repeat([[200.0, 0, 0], [0, 0, 200]], 10, axis=0).astype(np.float32)
    first, second = np.repeat([0, 1], 10), np.repeat([1, 0], 10)
    samples = [ColorSample(colors, labels.astype(np.uint8), 20) for labels in (first, second)]
    assert measure_floor(samples, n_classes=2) == 0.0
    assert measure_floor(samples[:1], n_classes=2) is None


def test_the_means_are_those_of_the_other_photos():
    colors = np.repeat([[100.0] * 3, [200.0] * 3], 10, axis=0).astype(np.float32)
    sample = ColorSample(colors, np.repeat([0, 1], 10).astype(np.uint8), 20)
    assert measure_floor([sample] * 2, n_classes=2) == 1.0


def test_void_is_left_out_and_large_photos_are_thinned():
    labels = np.zeros((1000, 1000), np.uint8)
    labels[:500] = 255
    sample = take_sample(np.zeros((1000, 1000, 3), np.uint8), labels)
    assert sample.n_pixels == 500_000 and 20_000 < len(sample.labels) < 40_000 and not sample.labels.any()


@pytest.mark.parametrize("with_photos", [True, False])
def test_the_verdict_compares_with_colours(tmp_path, quick_charts, with_photos):
    labels = np.repeat([0, 1], 20)[:, None].repeat(30, 1).astype(np.uint8)
    pairs = []
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg", labels[..., None].repeat(3, 2) * 200)
        for kind, found in (("mres", labels), ("ares_96", np.where(np.arange(40)[:, None] < 25, 0, labels))):
            write_labelmap(tmp_path / f"{name}_{kind}.mat", LabelMap(found.astype(np.uint8), TABLE))
        pairs.append(TruthPair(tmp_path / f"{name}_mres.mat", tmp_path / f"{name}_ares_96.mat"))
    photos = sorted(tmp_path.glob("*.jpg")) if with_photos else []
    verdict = evaluate_pixels(pairs, out_dir=tmp_path, image_paths=photos).verdict
    assert ("fewer than colours alone (100 %)" in verdict.text) == with_photos
    assert verdict.beaten_by == (("colours alone",) if with_photos else ())
    assert json.loads((tmp_path / "eval_pixels.json").read_text())["verdict"]["text"] == verdict.text
