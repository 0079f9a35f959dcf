import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.hybrid.segmentation import HybridOptions, segment_image
from hybridseg.hybrid.tuning import BALANCES, SEARCH_RANGES, TuneOptions, read_tuning, tune_crf
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.pairing import Pair
from hybridseg.models.ensemble import Ensemble
from hybridseg.models.store import TileClassifier, tuning_path

# The CRF to begin with wipes out one of the classes: nearly any other does better.
BAD = CrfOptions(theta=100, color_scale=30, space_compat=20, color_compat=1, n_iterations=5)
START = HybridOptions(decimation=1, scale=1, stride=8, seed_from="probabilities", crf=BAD)


@pytest.fixture
def classifier(by_color, tmp_path):
    path = tmp_path / "model.pb"
    path.write_bytes(b"a model")
    return TileClassifier(path, by_color.table, by_color.tile_size, by_color._engine)


@pytest.fixture
def pairs(tmp_path, by_color, paint_coast):
    found = []
    for i, border in enumerate((21, 43)):
        image_path = tmp_path / f"{i}.png"
        write_image(image_path, paint_coast(48, 64, border=border))
        truth = np.where(np.arange(64) < border, 0, 2).astype(np.uint8) * np.ones((48, 1), np.uint8)
        # Another order of the classes: they are matched by name.
        table = ClassTable.from_names(["water", "cliff"])
        write_labelmap(tmp_path / f"{i}_mres.mat", LabelMap(np.where(truth == 2, 0, 1).astype(np.uint8), table))
        found.append(Pair(tmp_path / f"{i}_mres.mat", image_path))
    return found


def test_the_best_trial_is_kept_and_used(pairs, classifier):
    result = tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=6))
    assert [trial.crf for trial in result.trials[:4]] == [None, BAD, BAD, BAD] and len(result.trials) == 10
    assert [trial.balance for trial in result.trials[1:4]] == list(BALANCES)
    assert result.best.score("iou") == max(trial.score("iou") for trial in result.trials[1:])
    assert result.best.score("iou") > result.trials[1].score("iou")
    for trial in result.trials[4:8]:
        assert all(low * 0.99 <= getattr(trial.crf, n) <= high * 1.01 for n, (low, high) in SEARCH_RANGES.items())
    tuned = read_tuning([classifier.path])
    assert replace(tuned, crf=START.crf, class_weights=()) == START
    # Cliff has 21 + 43 of 128 columns, water the other half; veg is nowhere and counts as one pixel in a thousand.
    weights = [] if not result.best.balance else [2**result.best.balance, 1000**result.best.balance]
    assert list(tuned.class_weights[:2]) == pytest.approx(weights, rel=1e-3)
    assert [getattr(tuned.crf, n) for n in SEARCH_RANGES] == [getattr(result.best.crf, n) for n in SEARCH_RANGES]
    record = json.loads(result.path.read_text())
    assert record["n_images"] == 2 and len(record["trials"]) == 10
    assert record["verdict"]["text"] == result.verdict.text
    alone = f"the tiles alone ({result.trials[0].score('accuracy'):.0%}".replace("%", " %)")
    assert alone in result.verdict.text and result.verdict.n_photos == 2


def test_it_searches_at_the_size_at_which_semseg_works(pairs, classifier):
    # A CRF whose width decides where the border lies.
    start = HybridOptions(crf=CrfOptions(theta=8, color_scale=300, space_compat=5, color_compat=5))
    result = tune_crf(pairs, classifier, start=start, options=TuneOptions(n_trials=1))
    found = [segment_image(read_image(pair.image_path), classifier, options=start).labels for pair in pairs]
    truth = [read_labelmap(pair.labels_path).labels_as(classifier.table) for pair in pairs]
    matches = np.sum([a == b for a, b in zip(found, truth, strict=True)])
    assert result.trials[1].confusion.accuracy == matches / (2 * 48 * 64)
    tuned = read_tuning([classifier.path])
    assert (tuned.scale, tuned.stride, tuned.pattern) == (None, None, None), "each image has its own"
    assert {trial.confusion.n_pixels for trial in result.trials} == {2 * 48 * 64}, "small images are not reduced"
    assert segment_image(read_image(pairs[0].image_path), classifier, options=tuned).refinement.labels.size == 48 * 64


def test_the_same_seed_tries_the_same(pairs, classifier):
    runs = [tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=3, seed=s)) for s in (1, 1, 2)]
    tried = [[trial.crf for trial in run.trials] for run in runs]
    assert tried[0] == tried[1] != tried[2]


def test_a_bad_example_is_named_and_the_others_are_used(pairs, classifier, tmp_path):
    bad = Pair(tmp_path / "gone_mres.mat", tmp_path / "0.png")
    result = tune_crf([bad, *pairs], classifier, start=START, options=TuneOptions(n_trials=1))
    assert [problem.where for problem in result.problems] == [str(bad.labels_path)]
    with pytest.raises(MissingInput, match="no labelled image to tune on"):
        tune_crf([bad], classifier, start=START)


def test_label_maps_without_a_class_of_the_model_show_both_lists(pairs, classifier):
    for pair in pairs:
        write_labelmap(
            pair.labels_path, LabelMap(np.zeros((4, 4), np.uint8), ClassTable.from_names(["eau", "falaise"]))
        )
    with pytest.raises(MissingInput, match="the label map has eau, falaise; the model has cliff, veg, water"):
        tune_crf(pairs, classifier, start=START)


def test_classes_that_the_model_has_no_tiles_of_do_not_count(pairs, classifier):
    """`retrain` leaves such classes out, and the advice was to add them to the class list of the model."""
    plain = tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=1))
    for pair in pairs:
        labels = read_labelmap(pair.labels_path).labels.copy()
        labels[:5] = 2
        table = ClassTable.from_names(["water", "cliff", "swash"])
        write_labelmap(pair.labels_path, LabelMap(labels, table))
    result = tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=1))
    assert plain.unknown == () and result.unknown == ("swash",) and not result.problems
    assert result.best.confusion.n_pixels == plain.best.confusion.n_pixels - 2 * 5 * 64


def test_pixels_without_a_picture_do_not_count(pairs, classifier):
    rgb = read_image(pairs[0].image_path)
    alpha = np.full((48, 64, 1), 255, np.uint8)
    alpha[:, :10] = 0
    Image.fromarray(np.dstack([rgb, alpha])).save(pairs[0].image_path)
    result = tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=1))
    assert not result.problems
    assert {trial.confusion.n_pixels for trial in result.trials} == {48 * (64 + 54)}


def test_a_tuning_of_another_model_is_refused(pairs, classifier):
    tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=1))
    classifier.path.write_bytes(b"another model")
    with pytest.raises(BadInput, match=r"was made for model\.pb as they were then"):
        read_tuning([classifier.path])
    for content in ("{", '{"format": 1}', "[" * 100_000, '{"format": 1e999}'):
        tuning_path(classifier.path).write_text(content)
        with pytest.raises(BadInput, match=r"_crf\.json: it is damaged.*tune again"):
            read_tuning([classifier.path])
    tuning_path(classifier.path).unlink()
    assert read_tuning([classifier.path]) is None


@pytest.mark.parametrize("words", [{"n_trials": 0}, {"score": "beauty"}])
def test_options_without_meaning_are_refused(words):
    with pytest.raises(BadInput):
        TuneOptions(**words)


def test_classifiers_of_two_tile_sizes_vote_together(by_color, paint_coast):
    """Tiles of 16 and 8 pixels agree on the sides of the border, and the small ones place it better."""
    small = TileClassifier(Path("small.pb"), by_color.table, 8, by_color._engine)
    image = paint_coast(32, 64, border=24)
    both = segment_image(image, Ensemble((by_color, small)), options=HybridOptions(scale=1, stride=16))
    assert both.n_tiles == 2 * 4 + 4 * 8
    overlapping = HybridOptions(scale=1)
    assert segment_image(image, Ensemble((by_color, small)), options=overlapping).n_tiles == 3 * 7 + 7 * 15
    assert (both.labels[:, :16] == 0).all() and (both.labels[:, 32:] == 2).all()


def test_the_balance_of_the_best_trial_is_kept(pairs, classifier, monkeypatch):
    monkeypatch.setattr("hybridseg.hybrid.tuning.BALANCES", (0.5,))
    result = tune_crf(pairs, classifier, start=START, options=TuneOptions(n_trials=1))
    assert result.best.balance == 0.5
    assert read_tuning([classifier.path]).class_weights == pytest.approx((2**0.5, 1000**0.5, 2**0.5), rel=1e-3)


def test_a_file_in_the_place_of_the_result_stays(by_color, tmp_path):
    model = TileClassifier(tmp_path / "model.pb", by_color.table, by_color.tile_size, by_color._engine)
    tuning_path(model.path).write_text('{"TARGET_SIZE": [64, 64]}')
    with pytest.raises(OutputExists, match=r"model_crf\.json is another file"):
        tune_crf([], model, start=HybridOptions())
    assert tuning_path(model.path).read_text() == '{"TARGET_SIZE": [64, 64]}'
