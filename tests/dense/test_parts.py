"""Dense networks on images of which only parts are in memory: the same as on an array, however it is cut."""

import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.batch.jobs import Outputs
from hybridseg.batch.results import read_confidence
from hybridseg.classes import VOID
from hybridseg.crf.options import CrfOptions
from hybridseg.dense.pieces import Piece, enlarge_strips, even_strips, join_pieces
from hybridseg.dense.predict import predict_file, predict_labels
from hybridseg.dense.smoothing import SmoothingOptions, judge_room, smooth_probs, smooth_strips
from hybridseg.dense.windows import DenseOptions, predict_probs
from hybridseg.errors import BadInput
from hybridseg.figures import FigureOptions
from hybridseg.io.images import describe_image, load_image, read_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.lazyimages import LazyImage, open_parts
from hybridseg.machine import MemoryOptions
from tests.io.test_lazyimages import MIB, cut, write_tiff

in_files = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def blot(rows, cols, bands=3, seed=0):
    """Blobs, so that neighbouring pixels are related."""
    blobs = np.random.default_rng(seed).integers(0, 256, (rows // 8 + 1, cols // 8 + 1, bands)).astype(np.uint8)
    return blobs.repeat(8, axis=0).repeat(8, axis=1)[:rows, :cols]


@pytest.mark.slow
@in_files
@given(
    rows=st.integers(1, 200), cols=st.integers(1, 200), limit=st.sampled_from([0, 40_000, MIB]),
    scales=st.sampled_from([(1,), (1, 1), (0.5,), (1, None), (None,)]), flips=st.booleans(), blend=st.booleans(),
    nodata=st.sampled_from([None, 7]),
)  # fmt: skip
def test_predictions_do_not_depend_on_where_the_pixels_are(
    tmp_path, fake_dense, rows, cols, limit, scales, flips, blend, nodata
):
    """One and several networks, in windows, at another scale, and of resized images: exactly."""
    image = blot(rows, cols)
    write_tiff(tmp_path / "a.tif", image, nodata=nodata, tiled=True, blockxsize=16, blockysize=32)
    loaded = load_image(tmp_path / "a.tif")
    models = [fake_dense(by_place=True, order=order) for order, _ in zip([(0, 1, 2), (2, 0, 1)], scales, strict=False)]
    options = DenseOptions(native=True, window=64, overlap=16, flips=flips, blend=blend, scale=scales[0] or 1)
    if None in scales:
        options = replace(options, native=None, scale=None)
        for model, scale in zip(models, scales, strict=True):
            object.__setattr__(model.card, "view", None if scale is None else VIEW)
    lazy = open_parts(describe_image(tmp_path / "a.tif"), limit).fill()
    whole = LazyImage.of(loaded.pixels, loaded.valid).fill()
    assert np.array_equal(predict_probs(whole, models, options=options), predict_probs(lazy, models, options=options))
    found, expected = (predict_labels(each, models, options=options, want_confidence=True) for each in (lazy, whole))
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1], equal_nan=True)
    if loaded.valid is not None:
        assert ((found[0] == VOID) == ~loaded.valid).all() and (np.isnan(found[1]) == ~loaded.valid).all()


def make_view():
    from hybridseg.models.views import View

    return View(True, (1.0, 1.0), (64, 64))


VIEW = make_view()


@settings(deadline=None)
@given(
    old=st.tuples(st.integers(1, 60), st.integers(1, 30)), new=st.tuples(st.integers(1, 400), st.integers(1, 50)),
    data=st.data(),
)  # fmt: skip
def test_enlarging_does_not_depend_on_the_strips(old, new, data):
    probs = np.random.default_rng(0).random((*old, 2)).astype(np.float32)
    once = np.concatenate([strip for _, strip in enlarge_strips([(0, probs)], old, new)])
    strips = [(rows.start, probs[rows]) for rows in cut(old[0], data)]
    assert np.array_equal(np.concatenate([strip for _, strip in enlarge_strips(strips, old, new)]), once)
    assert once.shape == (*new, 2)


@settings(deadline=None)
@given(shape=st.tuples(st.integers(1, 50), st.integers(1, 50)), step=st.integers(1, 60), data=st.data())
def test_pieces_become_the_rows_that_they_are_of(shape, step, data):
    whole = np.random.default_rng(0).random((*shape, 2)).astype(np.float32)
    pieces = [
        Piece(rows.start, cols.start, whole[rows, cols]) for rows in cut(shape[0], data) for cols in cut(shape[1], data)
    ]
    strips = list(join_pieces(pieces, shape[1]))
    assert np.array_equal(np.concatenate([strip for _, strip in strips]), whole)
    even = list(even_strips(strips, step))
    assert np.array_equal(np.concatenate(even), whole) and {len(strip) for strip in even[:-1]} <= {step}


QUICK = CrfOptions(n_threads=1, theta=3, color_scale=20, space_compat=3, color_compat=10, n_iterations=4, tolerance=0)


@in_files
@given(
    rows=st.integers(1, 260), cols=st.integers(1, 40), crf_from=st.sampled_from(["none", "labels", "probabilities"]),
    radius=st.sampled_from([0, 3]), room=st.sampled_from([300_000, 500_000, 1 << 30]), data=st.data(),
)  # fmt: skip
def test_smoothing_in_bands_is_smoothing_at_once(rows, cols, crf_from, radius, room, data):
    """Exactly, without a CRF; with one, of 120 such images 1.1 in 1000 pixels of the worst had another class."""
    image = blot(rows, cols, seed=3)
    probs = np.random.default_rng(1).dirichlet(np.ones(3), (rows, cols)).astype(np.float32) * 0.2 + 0.8 / 3
    probs[..., 1] += 0.1 * (image[..., 1] > 128)
    probs /= probs.sum(axis=2, keepdims=True)
    options = SmoothingOptions(crf_from=crf_from, radius=radius, crf=QUICK)
    whole = smooth_probs(image, probs, options=options)
    strips = [(part.start, probs[part]) for part in cut(rows, data)]
    bands = list(smooth_strips(LazyImage.of(image), strips, n_classes=3, options=options, room=room))
    found = np.concatenate([labels for _, labels in bands])
    assert [start for start, _ in bands] == np.cumsum([0, *(len(labels) for _, labels in bands[:-1])]).tolist()
    if crf_from == "none" or len(bands) == 1:
        assert np.array_equal(found, whole)
    assert (found != whole).mean() <= 0.005


@pytest.mark.parametrize("crf_from", ["labels", "probabilities"])
def test_smoothing_does_not_depend_on_the_memory(monkeypatch, crf_from):
    """Down to the memory of a row of blocks of the CRF."""
    monkeypatch.setattr("hybridseg.crf.blocks._SIDE", 96)
    image = blot(300, 250, seed=3)
    probs = np.random.default_rng(1).dirichlet(np.ones(3), (300, 250)).astype(np.float32)
    options = SmoothingOptions(crf_from=crf_from, radius=3, crf=QUICK)
    smooth = partial(smooth_strips, LazyImage.of(image), n_classes=3, options=options)
    found = [
        list(smooth([(row, probs[row : row + step]) for row in range(0, 300, step)], room=room))
        for room, step in ((1 << 40, 300), (2_500_000, 7))
    ]
    assert [start for start, _ in found[0]] == [start for start, _ in found[1]] and len(found[0]) > 3
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(*found, strict=True))
    judge = partial(judge_room, (300, 250), 3, options=options)
    assert not judge(room=2_500_000) and re.fullmatch(
        r"memory was short, so the CRF worked in smaller .*; to avoid that, remove the result and give more .*",
        judge(room=1_500_000),
    )


def test_smoothing_that_does_not_fit_is_refused():
    strips = [(0, np.full((400, 500, 3), 1 / 3, np.float32))]
    smooth = partial(smooth_strips, LazyImage.of(blot(400, 500)), strips, n_classes=3, room=MIB)
    with pytest.raises(BadInput, match=r"smoothing takes .* GiB for 500 columns, and 0.0 are left for it; give more"):
        next(smooth(options=SmoothingOptions(crf_from="probabilities", crf=QUICK)))


@pytest.mark.parametrize("georeferenced", [False, True])
def test_above_a_size_only_the_geotiff_is_written(tmp_path, fake_dense, monkeypatch, georeferenced):
    place = {"crs": "EPSG:32611", "transform": (0.5, 0, 4e5, 0, -0.5, 4e6)} if georeferenced else {}
    image = np.maximum(blot(300, 200), 1)
    image[40:90, 150:] = 0
    write_tiff(tmp_path / "a.tif", image, nodata=0, tiled=True, blockxsize=64, blockysize=64, **place)
    options, outputs = (
        DenseOptions(native=True, window=96, overlap=32),
        Outputs(tmp_path / "small", FigureOptions(dpi=50), probabilities=True),
    )
    predict = partial(predict_file, tmp_path / "a.tif", [fake_dense()], options=options)
    small = predict(outputs=outputs)
    monkeypatch.setattr("hybridseg.batch.results.MOST_WHOLE_PIXELS", 50_000)
    monkeypatch.setattr("hybridseg.io.lazyimages.MAX_DECODED_PIXELS", 50_000)
    large = predict(outputs=replace(outputs, out_dir=tmp_path / "large"), memory=MemoryOptions(8))
    names = [path.name for path in large.written]
    assert names == [f"a_predseg{ending}" for ending in (".tif", "_composite.png", "_confidence.tif", "_entropy.tif")]
    assert small.written[0].name == "a_predseg.png" and large.shares == small.shares
    assert large.warnings[0].startswith("it has 0 megapixels: above 0 the label map is written as a GeoTIFF alone")
    labels = read_labelmap(large.written[0])
    assert np.array_equal(labels.labels, read_labelmap(small.written[0]).labels)
    assert ((labels.labels == VOID) == (image == 0).all(axis=2)).all()
    assert (labels.georeference is not None) == georeferenced
    pair = [read_confidence(each.written[0].with_name("a_predseg_confidence.tif")) for each in (small, large)]
    assert np.array_equal(*pair, equal_nan=True)
    pair = [
        read_image(each.out_dir / "figures/a_predseg_composite.png")
        for each in (outputs, replace(outputs, out_dir=tmp_path / "large"))
    ]
    assert np.array_equal(*pair)
    assert math.isclose(sum(large.shares.values()), 1)
