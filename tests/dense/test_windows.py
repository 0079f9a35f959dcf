import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import ClassTable
from hybridseg.dense.blending import plan_windows
from hybridseg.dense.pieces import enlarge_strips
from hybridseg.dense.windows import DenseOptions, find_size, predict_probs, predict_strips
from hybridseg.errors import BadInput
from hybridseg.models import vgg16
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.views import View
from hybridseg.resample import resize_image

NATIVE = DenseOptions(native=True)


def draw_image(rows, cols, bands=3, seed=0):
    """Blobs of some pixels, so that neighbouring pixels are related."""
    blobs = np.random.default_rng(seed).integers(0, 256, (rows // 8 + 1, cols // 8 + 1, bands)).astype(np.uint8)
    return blobs.repeat(8, axis=0).repeat(8, axis=1)[:rows, :cols]


def load_random(architecture, path):
    """A network of random weights whose predictions vary, ready to use."""
    import tf_keras

    from hybridseg.models.bundles import DenseCard, DenseModel
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    tf_keras.utils.set_random_seed(0)
    network = architecture.build()
    if architecture.name == "fcn8s" and architecture.backbone == "mobilenet_v2":
        architecture.start(network)
    rng = np.random.default_rng(0)
    for name in ("score8", "score16", "score32"):
        if architecture.name == "fcn8s":
            kernel = network.get_layer(name).kernel
            kernel.assign(rng.normal(size=kernel.shape) * 2 / np.sqrt(kernel.shape[2]))
    card = DenseCard(architecture, ClassTable.from_names(["a", "b", "c"]), (64, 64), Normalization("unit"))
    return DenseModel(path / "net.h5", card, network)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "overlap", "too_small"), [
    # A quarter of the overlap is more than the 158, 220 and 283 px that can influence a pixel.
    (ResUnet(n_bands=3, n_outputs=3, filters=4), 672, 32),
    (Fcn8s(n_bands=3, n_outputs=3, backbone="vgg16", wide_channels=8), 896, 64),
    (Fcn8s(n_bands=3, n_outputs=3), 1152, 64),
], ids=["resunet", "vgg16", "mobilenet"])  # fmt: skip
def test_windows_give_what_the_whole_gives(tmp_path, monkeypatch, architecture, overlap, too_small):
    # All layers, of few channels.
    monkeypatch.setattr(vgg16, "_BLOCKS", ((8, 2), (8, 2), (12, 3), (16, 3), (16, 3)))
    model = load_random(architecture, tmp_path)
    image = draw_image(64, 2 * overlap + 300)
    whole = predict_probs(image, [model], options=DenseOptions(native=True, window=4096))
    assert whole.std() > 0.05
    options = DenseOptions(native=True, window=overlap + 256, overlap=overlap)
    windows = predict_probs(image, [model], options=options)
    assert len(plan_windows(image.shape[1], window=overlap + 256, overlap=overlap, stride=32)[1]) >= 4
    assert np.abs(windows - whole).max() < 1e-3
    few = DenseOptions(native=True, window=overlap + 256, overlap=too_small)
    assert np.abs(predict_probs(image, [model], options=few) - whole).max() > 0.01, "or the test could not fail"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (31, 33), (32, 32), (100, 1), (65, 127)])
@pytest.mark.parametrize("flips", [False, True])
def test_images_of_any_size(fake_dense, shape, flips):
    image, model = draw_image(*shape), fake_dense()
    options = DenseOptions(native=True, window=64, overlap=16, flips=flips)
    probs = predict_probs(image, [model], options=options)
    assert probs.shape == (*shape, 3) and probs.dtype == np.float32
    # It looks at one pixel at a time, so windows and mirrored borders must not show.
    scores = np.exp(10 * (image / np.float32(255)))
    np.testing.assert_allclose(probs, scores / scores.sum(axis=-1, keepdims=True), atol=1e-5)
    assert max(max(sides) for sides in model.seen) <= 64


def test_windows_at_uneven_steps(fake_dense):
    """Of the rows that windows share, those that one shares no longer are not those of the one before."""
    assert plan_windows(500, window=256, overlap=64, stride=32)[1] == [0, 128, 288]
    image = draw_image(500, 500)
    probs = predict_probs(image, [fake_dense()], options=DenseOptions(native=True, window=256, overlap=64))
    scores = np.exp(10 * (image / np.float32(255)))
    np.testing.assert_allclose(probs, scores / scores.sum(axis=-1, keepdims=True), atol=1e-5)


@pytest.mark.slow
def test_a_real_network_sees_small_images(tmp_path):
    model = load_random(ResUnet(n_bands=1, n_outputs=3, filters=1), tmp_path)
    for shape in ((1, 1), (5, 70)):
        probs = predict_probs(draw_image(*shape, 1), [model], options=NATIVE)
        assert probs.shape == (*shape, 3) and np.allclose(probs.sum(axis=-1), 1, atol=1e-5)


def test_what_is_beyond_the_border_is_the_mirror_image(fake_dense, monkeypatch):
    model, seen = fake_dense(), []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda pixels: seen.append(pixels) or predict(pixels))
    image = draw_image(40, 20)
    predict_probs(image, [model], options=NATIVE)
    expected = np.pad(image, [(0, 24), (0, 12), (0, 0)], mode="symmetric") / np.float32(255)
    np.testing.assert_allclose(seen[0][0], expected, atol=1e-6)


@given(
    n=st.integers(1, 5000), window=st.integers(32, 2000), share=st.floats(0, 0.99), stride=st.sampled_from([8, 16, 32])
)
def test_windows_cover_a_side(n, window, share, stride):
    overlap = int(window * share)
    size, starts = plan_windows(n, window=window, overlap=overlap, stride=stride)
    assert size % stride == 0 and size < window + stride
    assert starts[0] == 0 and all(start % stride == 0 for start in starts)
    steps = np.diff(starts)
    # Neighbours share what was asked for, as far as the stride allows.
    assert (steps > 0).all() and (steps <= max(size - overlap, stride)).all()
    assert n <= starts[-1] + size < n + stride
    # No smaller ones would do.
    smaller = size - stride
    assert smaller + len(steps) * max((smaller - overlap) // stride * stride, stride) < starts[-1] + size


def test_windows_are_blended_where_they_overlap(fake_dense):
    """A network whose prediction depends on the place in the window: no seam is left between two."""
    image = np.full((32, 300, 3), 100, np.uint8)
    options = DenseOptions(native=True, window=96, overlap=64)
    probs = predict_probs(image, [fake_dense(by_place=True)], options=options)
    assert np.abs(np.diff(probs, axis=1)).max() < 0.05
    assert np.allclose(probs.sum(axis=-1), 1, atol=1e-5)
    hard = predict_probs(image, [fake_dense(by_place=True)], options=DenseOptions(native=True, window=96, overlap=0))
    assert np.abs(np.diff(hard, axis=1)).max() > 0.2


@settings(deadline=None)
@given(
    old=st.tuples(st.integers(1, 20), st.integers(1, 20)), new=st.tuples(st.integers(1, 600), st.integers(1, 40)),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_enlarging_in_strips_is_enlarging_at_once(old, new, seed):
    probs = np.random.default_rng(seed).random((*old, 3)).astype(np.float32)
    strips = list(enlarge_strips([(0, probs)], probs.shape[:2], new))
    assert [start for start, _ in strips] == list(range(0, new[0], 256))
    places = [np.clip((np.arange(b) + 0.5) * a / b - 0.5, 0, a - 1) for a, b in zip(old, new, strict=True)]
    expected = np.apply_along_axis(lambda line: np.interp(places[0], np.arange(old[0]), line), 0, probs)
    expected = np.apply_along_axis(lambda line: np.interp(places[1], np.arange(old[1]), line), 1, expected)
    np.testing.assert_allclose(np.concatenate([strip for _, strip in strips]), expected, atol=1e-5)


def test_without_native_the_image_is_brought_to_the_training_size(fake_dense):
    image, model = draw_image(300, 200), fake_dense(size=(40, 48))
    probs = predict_probs(image, [model])
    assert probs.shape == (40, 48, 3) and model.seen == [(64, 64)]
    strips = list(predict_strips(image, [model], shape=(300, 200)))
    assert [start for start, _ in strips] == [0, 256]
    enlarged = np.concatenate([strip for _, strip in enlarge_strips([(0, probs)], probs.shape[:2], (300, 200))])
    assert np.array_equal(np.concatenate([strip for _, strip in strips]), enlarged)


def seen_as(model, view):
    object.__setattr__(model.card, "view", view)
    return model


WINDOWS, FITTED = View(True, (0.5, 2.0), (64, 96)), View(False, (0.5, 0.5), (64, 96))


@pytest.mark.parametrize(("view", "native", "scale"), [
    (None, None, None), (FITTED, None, None), (WINDOWS, None, 1.0), (WINDOWS, False, None), (FITTED, True, 1.0),
    (None, True, 1.0), (View(True, (0.2, 0.8), (64, 96)), None, 0.4),
])  # fmt: skip
def test_images_are_predicted_as_the_network_was_trained(fake_dense, view, native, scale):
    model = seen_as(fake_dense(size=(32, 64)), view)
    assert DenseOptions(native=native).choose_scale(model) == scale
    found = predict_probs(draw_image(96, 160), [model], options=DenseOptions(native=native))
    assert found.shape[:2] == ((32, 64) if scale is None else (round(96 * scale), round(160 * scale)))


def test_a_network_of_windows_gives_what_native_gave(fake_dense):
    """And one without a view what it gave before there were windows."""
    image, old, new = draw_image(150, 170), fake_dense(by_place=True), seen_as(fake_dense(by_place=True), WINDOWS)
    given = {"window": 64, "overlap": 32}
    for before, now in ((DenseOptions(native=True, **given), new), (DenseOptions(native=False, **given), old)):
        expected = predict_probs(image, [old], options=before)
        assert np.array_equal(predict_probs(image, [now], options=DenseOptions(**given)), expected)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_an_image_is_predicted_at_another_scale(fake_dense, scale):
    image, model = draw_image(300, 100), seen_as(fake_dense(), WINDOWS)
    options = DenseOptions(scale=scale, window=64, overlap=16)
    strips = list(predict_strips(image, [model], shape=(300, 100), options=options))
    assert [start for start, _ in strips] == [0, 256]
    probs = np.concatenate([strip for _, strip in strips])
    expected = resize_image(image, (int(300 * scale), int(100 * scale)))
    inner = np.exp(10 * expected.astype(np.float32) / 255)
    inner /= inner.sum(axis=-1, keepdims=True)
    enlarged = np.concatenate([strip for _, strip in enlarge_strips([(0, inner)], inner.shape[:2], (300, 100))])
    np.testing.assert_allclose(probs, enlarged, atol=1e-5)


def test_windows_are_normalized_as_the_photo_is_at_its_own_size(fake_dense):
    """As in training; a whole image, as it is resized."""
    rule, image = Normalization("image"), np.random.default_rng(0).integers(0, 99, (64, 96, 3)).astype(np.uint8)
    for view, size in ((View(True, (0.5, 0.5), (64, 96)), (64, 96)), (None, (32, 48))):
        model = seen_as(fake_dense(size=(32, 48)), view)
        object.__setattr__(model.card, "normalization", rule)
        small = resize_image(image, (32, 48))
        offset, factor = rule.measure(resize_image(image, size))
        scores = np.exp(10 * (small - offset) * factor)
        np.testing.assert_allclose(predict_probs(image, [model]), scores / scores.sum(-1, keepdims=True), atol=1e-5)


def test_a_scale_is_for_windows(fake_dense):
    with pytest.raises(BadInput, match=r"cliff\.h5 is given whole images, and --scale is for windows: add --native"):
        predict_probs(draw_image(32, 32), [fake_dense()], options=DenseOptions(scale=0.5))
    with pytest.raises(BadInput, match=r"cliff\.h5 is given whole images, .* leave --fitted or --scale out"):
        predict_probs(draw_image(32, 32), [fake_dense()], options=DenseOptions(native=False, scale=0.5))


def test_networks_of_windows_and_of_whole_images_vote(fake_dense):
    image = draw_image(300, 20)
    models = [seen_as(fake_dense(by_place=True), WINDOWS), fake_dense(size=(64, 32))]
    both, first, second = (
        np.concatenate([strip for _, strip in predict_strips(image, some, shape=(300, 20))])
        for some in (models, models[:1], models[1:])
    )
    assert np.abs(first - second).max() > 0.05
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-6)
    assert predict_probs(image, models).shape == (300, 20, 3) and predict_probs(image, models[::-1]).shape == (
        64,
        32,
        3,
    )


def test_flips_are_averaged(fake_dense):
    image, model = draw_image(64, 96), fake_dense(by_place=True)
    found = predict_probs(image, [model], options=DenseOptions(native=True, flips=True))
    views = []
    for axes in ((), (0,), (1,), (0, 1)):
        turned = np.ascontiguousarray(np.flip(image, axes))
        views.append(np.flip(predict_probs(turned, [model], options=NATIVE), axes))
    assert np.abs(views[0] - views[2]).max() > 0.1
    np.testing.assert_allclose(found, np.mean(views, axis=0), atol=1e-5)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("sizes", [((32, 48), (64, 64)), ((400, 48), (32, 48)), ((64, 64), (300, 20))])
def test_several_vote_and_classes_are_matched_by_name(fake_dense, native, sizes):
    first = fake_dense(size=sizes[0])
    second = fake_dense(("water", "Cliff", "veg"), size=sizes[1], order=(2, 0, 1), by_place=True)
    image = draw_image(300, 20)
    options = DenseOptions(native=native)
    both, one = (
        np.concatenate([strip for _, strip in predict_strips(image, models, shape=(300, 20), options=options)])
        for models in ([first, second], [first])
    )
    other = np.concatenate([strip for _, strip in predict_strips(image, [second], shape=(300, 20), options=options)])
    assert both.shape == (300, 20, 3) and np.abs(one - other[..., [1, 2, 0]]).max() > 0.05
    np.testing.assert_allclose(both, (one + other[..., [1, 2, 0]]) / 2, atol=1e-5)
    assert predict_probs(image, [first, second], options=options).shape == ((300, 20, 3) if native else (*sizes[0], 3))


def test_networks_of_other_classes_do_not_vote_together(fake_dense):
    message = r"rock.h5 has the classes rock, veg, water, cliff.h5 has cliff, veg, water; .* need the same classes"
    with pytest.raises(BadInput, match=message):
        predict_probs(draw_image(32, 32), [fake_dense(), fake_dense(("rock", "veg", "water"))])


@pytest.mark.parametrize("bands", [2, 4])
def test_images_of_other_bands(fake_dense, bands):
    with pytest.raises(
        BadInput, match=rf"has {bands} bands, and cliff\.h5 takes 3: give .* or train a network on such"
    ):
        predict_probs(draw_image(32, 32, bands), [fake_dense()])


def test_a_grey_image_stands_for_red_green_and_blue(fake_dense):
    grey = draw_image(32, 32, 1)
    grey_probs, rgb_probs = (predict_probs(image, [fake_dense()]) for image in (grey, grey.repeat(3, axis=2)))
    np.testing.assert_array_equal(grey_probs, rgb_probs)
    with pytest.raises(BadInput, match=r"has 1 band, and cliff\.h5 takes 4"):
        predict_probs(grey, [fake_dense(n_bands=4)])


def test_an_image_is_normalized_as_a_whole(fake_dense):
    """Not window by window, or a dark window would be made as bright as the others."""
    image = draw_image(32, 256)
    image[:, :128] //= 4
    model = fake_dense()
    object.__setattr__(model.card, "normalization", Normalization("photo"))
    parts = predict_probs(image, [model], options=DenseOptions(native=True, window=64, overlap=0))
    scores = np.exp(10 * Normalization("photo").apply(image))
    np.testing.assert_allclose(parts, scores / scores.sum(axis=-1, keepdims=True), atol=1e-5)


def test_progress_counts_windows_of_every_network(fake_dense):
    told = []

    def progress(items, *, label):
        told.append((label, len(items), "begun"))
        yield from items
        told.append((label, len(items), "ended"))

    options = DenseOptions(native=True, window=64, overlap=0)
    predict_probs(draw_image(128, 192), [fake_dense()], options=options, progress=progress)
    assert told == [("windows", 6, "begun"), ("windows", 6, "ended")]


@pytest.mark.slow
@pytest.mark.parametrize("options", [DenseOptions(native=True, window=256, overlap=64), DenseOptions()], ids=str)
def test_strips_of_a_tall_image_are_never_held_at_once(fake_dense, options):
    image, model = np.zeros((20_000, 64, 3), np.uint8), fake_dense(size=(64, 64))
    tracemalloc.start()
    n_rows = sum(len(strip) for _, strip in predict_strips(image, [model], shape=(20_000, 64), options=options))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_rows == 20_000
    assert peak < 5_000_000, "all probabilities are 15 MB"


@pytest.mark.parametrize(("values", "message"), [
    ({"window": 31}, "window=31: give a whole number of 32 or more"),
    ({"window": 64, "overlap": 64}, "overlap=64 must be smaller than the window of 64 pixels"),
    ({"overlap": -1}, "overlap=-1: give a whole number of 0 or more"),
])  # fmt: skip
def test_options_without_meaning(values, message):
    with pytest.raises(BadInput, match=message):
        DenseOptions(**values)


def test_a_card_that_enlarges_images_beyond_measure(tmp_path):
    """A number in a card could fill the memory, and the photo would be blamed; whoever asks for as much gets it."""
    model = SimpleNamespace(path=Path("net.h5"), card=SimpleNamespace(view=View(True, (16.0, 16.0), (64, 96))))
    image = np.zeros((3000, 4000, 1), np.uint8)
    with pytest.raises(BadInput, match=r"^net\.card\.json enlarges images 16 times, this one to 48,000 x 64,000"):
        find_size(image.shape, model, DenseOptions())
    assert find_size(image.shape, model, DenseOptions(scale=16)) == (48_000, 64_000)
    assert find_size((100, 100), model, DenseOptions()) == (1600, 1600)
