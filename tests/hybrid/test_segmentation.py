from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, NoPicture
from hybridseg.hybrid.segmentation import HybridOptions, classic_options, segment_image, vote_on_tiles
from hybridseg.hybrid.semseg import list_warnings
from hybridseg.hybrid.votes import merge_votes
from hybridseg.models.store import TileClassifier
from hybridseg.progress import StopWatch

TILE = 8


def classic(**changes):
    return replace(classic_options(TILE), **changes)


SMOOTH = CrfOptions(n_threads=1, theta=6, color_scale=10, space_compat=3, color_compat=10)


class ByBand:
    """An engine that tells three classes by the brightest band; the darker the tile, the less sure."""

    name = "test"

    def classify(self, tiles):
        means = tiles.mean(axis=(1, 2))
        sure = np.where(means.max(axis=1) > 0.6, 0.9, 0.5)[:, None]
        is_winner = np.arange(3) == means.argmax(axis=1)[:, None]
        return np.where(is_winner, sure, (1 - sure) / 2).astype(np.float32)


@pytest.fixture
def classifier():
    return TileClassifier(Path("model.pb"), ClassTable.from_names(["rock", "veg", "water"]), TILE, ByBand())


def paint(shape, *, border, bands=(0, 2), levels=(200, 200)):
    """One band bright to the left of the border, another to its right."""
    image = np.random.default_rng(0).integers(0, 20, (*shape, 3)).astype(np.uint8)
    image[:, :border, bands[0]] += np.uint8(levels[0])
    image[:, border:, bands[1]] += np.uint8(levels[1])
    return image


@pytest.mark.parametrize("scale", [0.3, 0.77, 1.0])
@pytest.mark.parametrize("seed_from", ["labels", "probabilities"])
def test_the_border_is_found_where_it_is(classifier, scale, seed_from):
    image = paint((37, 61), border=29)
    options = classic(decimation=1, scale=scale, seed_from=seed_from, crf=SMOOTH)
    found = segment_image(image, classifier, options=options, want_confidence=True)
    assert found.labels.shape == found.tile_labels.shape == found.seeds.shape == found.confidence.shape == (37, 61)
    assert found.labels.dtype == found.seeds.dtype == found.tile_labels.dtype == np.uint8
    assert np.unique(found.labels).tolist() == [0, 2], "scaling makes no class between"
    reach = int(np.ceil(1 / scale))
    assert (found.labels[:, : 29 - reach] == 0).all() and (found.labels[:, 29 + reach :] == 2).all()
    assert np.unique(found.tile_labels[:, 24:32]).size == 1, "a tile has one class"
    assert found.confidence.min() > 1 / 3 - 1e-6 and found.confidence.max() <= 1 + 1e-6
    assert found.n_tiles == 5 * 8 and found.filled_share == 0 and found.lost == []
    assert set(found.seconds) >= {"classify tiles", "spread by CRF", "fill"}


def test_unsure_tiles_do_not_seed(classifier):
    image = paint((32, 64), border=32, levels=(200, 120))
    both = segment_image(image, classifier, options=classic(decimation=1, scale=1, crf=SMOOTH))
    assert np.unique(both.seeds).tolist() == [1, 3] and both.labels[5, 60] == 2
    one = segment_image(image, classifier, options=classic(threshold=0.6, decimation=1, scale=1, crf=SMOOTH))
    assert np.unique(one.seeds).tolist() == [0, 1] and (one.seeds[:, 32:] == 0).all()
    assert np.unique(one.labels).tolist() == [0], "nothing seeds water any more"
    assert one.tile_labels[5, 60] == 2, "what the tiles say is kept all the same"


def test_no_tile_is_sure(classifier):
    image = paint((32, 32), border=16, levels=(120, 120))
    with pytest.raises(BadInput, match=r"0\.50, and the threshold is 0\.65; lower it"):
        segment_image(image, classifier, options=classic(threshold=0.65))
    soft = classic(threshold=1.0, decimation=1, seed_from="probabilities", crf=SMOOTH)
    assert np.unique(segment_image(image, classifier, options=soft).labels).tolist() == [0, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 13), (13, 1), (7, 5), (8, 8), (9, 17), (23, 41)])
@pytest.mark.parametrize("pattern", ["raster", "checker"])
def test_any_size(classifier, shape, pattern):
    options = classic(decimation=2, stride=5, pattern=pattern, crf=SMOOTH)
    found = segment_image(paint(shape, border=0), classifier, options=options, want_confidence=True)
    assert found.labels.shape == shape and (found.labels == 2).all() and (found.tile_labels == 2).all()


def test_pixels_that_no_seed_reaches_are_filled(classifier):
    """Two tiles far apart, and a CRF that reaches a few pixels."""
    image = paint((8, 400), border=200)
    options = classic(decimation=40, scale=1, crf=CrfOptions(n_threads=1, theta=1, color_scale=10))
    found = segment_image(image, classifier, options=options)
    assert (found.refinement.labels == VOID).any() and found.filled_share > 0.5
    assert found.filled_share == pytest.approx((found.refinement.labels == VOID).mean())
    assert VOID not in found.labels and VOID not in found.tile_labels
    assert found.seeds[:, :8].min() == 1 and found.n_tiles == 2


def test_a_class_that_the_crf_wipes_out_is_told(classifier):
    """Water has its seeds in the midst of rock of the same colour."""
    image = paint((48, 48), border=48)
    truth = classifier.classify

    def claim(tiles):
        probs = truth(tiles)
        probs[14] = [0.05, 0.05, 0.9]
        probs[21:23] = [0.05, 0.05, 0.9]
        return probs

    classifier.classify = claim
    found = segment_image(image, classifier, options=classic(decimation=1))
    assert (found.labels == 0).all()
    [lost] = found.lost
    assert (lost.class_id, lost.kept_share, lost.taken_by, lost.taken_share) == (2, 0, 0, 1)
    assert lost.seed_share == pytest.approx(3 / 36)


def test_a_scale_at_which_tiles_vanish(classifier):
    image = paint((64, 64), border=32)
    with pytest.raises(BadInput, match=r"a tile of 8 pixels smaller than one pixel; give at least 0\.125"):
        segment_image(image, classifier, options=classic(scale=0.1))
    assert segment_image(image, classifier, options=classic(scale=0.125)).refinement.labels.shape == (8, 8)


@pytest.mark.parametrize("gt_prob", [0.01, 0.25])
def test_a_seed_that_is_trusted_less_than_nothing(classifier, gt_prob):
    with pytest.raises(BadInput, match=r"gt_prob=.* give more than 0\.250"):
        segment_image(
            paint((16, 16), border=8), classifier, options=classic(crf=CrfOptions(n_threads=1, gt_prob=gt_prob))
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"threshold": 1.1}, "threshold=1.1"),
        ({"decimation": 0}, "decimation=0"),
        ({"scale": 0}, "scale=0"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"scale": 1.5}, "scale=1.5"),
        ({"stride": 0}, "stride=0"),
        ({"class_weights": (1.0, 0.0)}, "class_weights"),
        ({"class_weights": (1.0, float("inf"))}, "class_weights"),
        ({"pattern": "spiral"}, "pattern.*raster, checker"),
        ({"seed_from": "luck"}, "seed_from.*labels, probabilities"),
    ],
)
def test_options_out_of_range(values, message):
    with pytest.raises(BadInput, match=message):
        HybridOptions(**values)


@pytest.mark.parametrize(
    ("shape", "n_pixels"),
    [((1, 1), 1), ((100, 200), 20_000), ((4912, 7360), 2e6), ((40_000, 60_000), 2e6)],
)
def test_the_scale_follows_from_the_size(shape, n_pixels):
    fitted = HybridOptions().fit(shape, 96)
    assert shape[0] * shape[1] * fitted.scale**2 == pytest.approx(n_pixels, rel=0.01)
    wide = HybridOptions(crf=CrfOptions(theta=30, space_theta=10)).fit(shape, 96)
    assert (wide.crf.theta, wide.crf.space_theta) == pytest.approx((60 * wide.scale, 20 * wide.scale)), "as the picture"
    given = HybridOptions(scale=0.3).fit(shape, 96)
    assert (given.scale, given.crf.theta) == (0.3, 30)
    assert classic_options(96).fit(shape, 96).scale == 0.25


def test_no_tile_vanishes_in_the_largest_images():
    assert HybridOptions().fit((100_000, 100_000), 8).scale == 1 / 8


def test_large_images_have_tiles_that_overlap_less():
    strides = [HybridOptions().fit((side, side), 96).stride for side in (1, 1000, 5000, 6000, 20_000)]
    assert strides[:2] == [48, 48] and 48 < strides[2] < strides[3] < 96 and strides[4] == 96
    assert HybridOptions(stride=7).fit((20_000, 20_000), 96).stride == 7
    assert HybridOptions().fit((10, 10), 1).stride == 1


def test_what_was_used_is_told(classifier):
    found = segment_image(paint((32, 64), border=32), classifier)
    assert (found.options.scale, found.options.stride, found.options.pattern) == (1.0, 4, "raster")
    assert found.n_tiles == 7 * 15 and found.refinement.labels.shape == (32, 64)
    assert (found.labels[:, :31] == 0).all() and (found.labels[:, 33:] == 2).all()


def test_the_watch_adds_up():
    watch = StopWatch()
    watch.lap("a")
    watch.restart()
    watch.lap("b")
    watch.lap("a")
    assert set(watch.seconds) == {"a", "b"} and min(watch.seconds.values()) >= 0


def test_class_weights_favour_a_class(classifier):
    image = paint((32, 32), border=16)
    for seed_from in ("labels", "probabilities"):
        options = classic(decimation=1, scale=1, seed_from=seed_from, crf=SMOOTH)
        assert np.unique(segment_image(image, classifier, options=options).labels).tolist() == [0, 2]
        options = replace(options, class_weights=(1.0, 1.0, 1000.0))
        assert np.unique(segment_image(image, classifier, options=options).labels).tolist() == [2]


def test_tiles_without_a_picture_are_not_classified(classifier):
    valid = np.ones((32, 64), bool)
    valid[:, 40:] = False
    options = classic(decimation=1, scale=1, crf=SMOOTH)
    found = segment_image(paint((32, 64), border=20), classifier, options=options, valid=valid)
    assert found.n_tiles == 4 * 5 and (found.labels[:, 40:] == VOID).all() and (found.labels[:, :40] != VOID).all()
    sparse = replace(options, decimation=8, stride=8, pattern="raster")
    valid[:] = False
    valid[8:24, 8:24] = True
    with pytest.raises(BadInput, match=r"every tile that was chosen is nodata.*give a smaller decimation"):
        segment_image(paint((32, 64), border=20), classifier, options=sparse, valid=valid)


def test_a_sliver_is_classified_by_the_tiles_that_show_most_of_it(classifier):
    valid = np.zeros((32, 64), bool)
    valid[8:12, 40:44] = True
    options = classic(decimation=1, scale=1, crf=SMOOTH)
    found = segment_image(paint((32, 64), border=20), classifier, options=options, valid=valid)
    assert ((found.labels != VOID) == valid).all() and found.votes.shown == 4 * 4 / classifier.tile_size**2
    [warning] = list_warnings(found, options, classifier.table, tile_size=classifier.tile_size)
    assert "at best 25% of one is valid" in warning
    short = replace(found, refinement=replace(found.refinement, n_blocks=4))
    warning = list_warnings(short, options, classifier.table, tile_size=classifier.tile_size)[-1]
    assert warning.endswith("to avoid that, remove the result and give more (--max-memory)")
    merged = merge_votes([found.votes, replace(found.votes, shown=1.0)])
    assert merged.shown == 1.0


def test_an_image_without_a_picture_is_void(classifier):
    nothing = np.zeros((32, 64), bool)
    found = segment_image(paint((32, 64), border=20), classifier, valid=nothing, want_confidence=True)
    assert found.n_tiles == 0 and (found.labels == VOID).all() and (found.tile_labels == VOID).all()
    assert found.labels.shape == (32, 64) and not found.seeds.any() and np.isnan(found.confidence).all()
    with pytest.raises(NoPicture):
        vote_on_tiles(paint((32, 64), border=20), classifier, options=classic(), valid=nothing)
