import re
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.augment import AugmentOptions, augment_batch
from hybridseg.dense.feed import Feed, WindowFeed, hold_out
from hybridseg.dense.pairs import FolderPairs, RememberedPairs
from hybridseg.dense.photos import PhotoPairs, Window
from hybridseg.dense.pictures import draw_examples, pick_examples
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import Pair
from hybridseg.models.normalization import Normalization

PLAIN = Normalization("unit", 1.0)
AUGMENT = AugmentOptions(rotation=20, zoom=0.2, flip_cols=True, brightness=0.2)


def collect(feed, **epochs):
    return [(images.numpy(), labels.numpy()) for images, labels in feed.batches(**epochs)]


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


def find_order(batches, pairs):
    """Which pair every image of the batches is."""
    images = np.concatenate([images for images, _ in batches])
    return [int(np.flatnonzero([np.array_equal(image, known) for known in pairs.images])[0]) for image in images]


@pytest.fixture
def feed_of():
    def make(pairs, indices=None, **options):
        options = {"batch_size": 2, "normalization": PLAIN, **options}
        return Feed(pairs, range(len(pairs.images)) if indices is None else indices, **options)

    return make


def test_an_epoch_in_order_with_a_last_partial_batch(make_pairs, feed_of):
    pairs = make_pairs(5)
    feed = feed_of(pairs)
    batches = collect(feed)
    assert feed.n_steps == len(batches) == 3 and [len(images) for images, _ in batches] == [2, 2, 1]
    assert all(images.dtype == np.float32 and labels.dtype == np.uint8 for images, labels in batches)
    assert np.array_equal(np.concatenate([images for images, _ in batches]), pairs.images)
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), pairs.labels)


def test_only_the_pairs_that_were_asked_for(make_pairs, feed_of):
    pairs = make_pairs(5)
    assert find_order(collect(feed_of(pairs, [4, 1, 2])), pairs) == [4, 1, 2]
    assert set(pairs.was_read) == {4, 1, 2}


def test_the_photos_of_an_epoch_are_named_on_its_sheet(make_pairs, feed_of, tmp_path):
    pairs = make_pairs(7)
    feed = feed_of(pairs, [4, 1, 5, 2, 6, 0], batch_size=4, shuffle=True)
    order = [f"photo_{i}" for i in find_order(collect(feed), pairs)]
    assert feed.list_sources() == order != ["photo_4", "photo_1", "photo_5", "photo_2", "photo_6", "photo_0"]
    examples = pick_examples(feed, 5)
    assert [example.source for example in examples] == order[:5]
    draw_examples(tmp_path / "sheet.svg", examples, pairs.table)
    written = re.findall(r">(photo_\d|truth)</text>", (tmp_path / "sheet.svg").read_text())
    assert written == [text for name in order[:5] for text in (name, "truth")]


def test_pixels_without_a_class_are_in_the_legend_of_a_sheet(make_pairs, feed_of, tmp_path):
    pairs = make_pairs(2)
    [example] = pick_examples(feed_of(pairs), 1)
    for label, is_named in ((0, False), (VOID, True)):
        draw_examples(
            tmp_path / "sheet.svg", [replace(example, labels=np.full((32, 32), label, np.uint8))], pairs.table
        )
        assert (">no class</text>" in (tmp_path / "sheet.svg").read_text()) == is_named


def test_every_epoch_has_its_own_order(make_pairs, feed_of):
    pairs = make_pairs(5)
    orders = [find_order(collect(feed_of(pairs, shuffle=True), first_epoch=epoch), pairs) for epoch in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) >= 3
    other_seed = [find_order(collect(feed_of(pairs, shuffle=True, seed=1), first_epoch=e), pairs) for e in range(4)]
    assert other_seed != orders


@pytest.mark.slow
@pytest.mark.parametrize("n_pairs", [4, 5])
def test_epochs_do_not_depend_on_those_before(make_pairs, feed_of, n_pairs):
    options = {"shuffle": True, "augment": AUGMENT, "seed": 3, "normalization": Normalization("image")}
    whole = collect(feed_of(make_pairs(n_pairs), **options), n_epochs=4)
    n_steps = -(-n_pairs // 2)
    assert len(whole) == 4 * n_steps
    assert same(collect(feed_of(make_pairs(n_pairs), **options), first_epoch=2, n_epochs=2), whole[2 * n_steps :])
    assert same(collect(feed_of(make_pairs(n_pairs), **options), first_epoch=3), whole[3 * n_steps :])
    assert not same(whole[:n_steps], whole[n_steps : 2 * n_steps])


def test_images_are_changed_and_then_normalized(make_pairs, feed_of):
    pairs = make_pairs(2, dtype=np.uint16)
    normalization = Normalization("photo")
    [(images, labels)] = collect(feed_of(pairs, augment=AUGMENT, seed=9, normalization=normalization), first_epoch=7)
    moved, moved_labels = augment_batch(pairs.images.astype(np.float32), pairs.labels, AUGMENT, seed=(9, 7))
    np.testing.assert_allclose(images, normalization.apply_batch(moved), atol=1e-5)
    assert np.array_equal(labels, moved_labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_images_of_any_type(make_pairs, feed_of, dtype):
    pairs = make_pairs(2, n_bands=4, dtype=dtype)
    [(images, _)] = collect(feed_of(pairs))
    assert images.dtype == np.float32 and np.array_equal(images, pairs.images.astype(np.float32))


def test_shapes_are_known_to_the_graph(make_pairs, feed_of):
    images, labels = feed_of(make_pairs(2, n_bands=3)).dataset().element_spec
    assert images.shape.as_list() == [None, None, None, 3] and labels.shape.rank == 3


@pytest.mark.parametrize("remember", [False, True])
def test_a_broken_image_in_the_middle_of_an_epoch_is_named(coast, remember):
    images = sorted(coast.glob("*.jpg"))
    pairs = FolderPairs(
        [Pair(path.with_name(f"{path.stem}_mres.mat"), path) for path in images],
        lambda path: read_labelmap(path).labels, table=ClassTable.from_names("ab"), size=(32, 48),
    )  # fmt: skip
    content = images[2].read_bytes()
    images[2].write_bytes(content[: len(content) // 2])
    feed = Feed(RememberedPairs(pairs) if remember else pairs, range(4), batch_size=1, normalization=PLAIN)
    n_batches = 0
    with pytest.raises(BadInput, match=r"scene_02\.jpg is damaged or cut short"):
        for _ in feed.batches():
            n_batches += 1
    assert n_batches == 2
    # Mended, the same feed goes on.
    images[2].write_bytes(content)
    assert len(collect(feed)) == 4


@pytest.fixture
def photos(coast):
    images = sorted(coast.glob("*.jpg"))
    pairs = [Pair(path.with_name(f"{path.stem}_mres.mat"), path) for path in images]
    table = ClassTable.from_names(map(str, range(11)))
    return PhotoPairs(pairs, lambda path: read_labelmap(path).labels, table=table, size=(32, 64))


def feed_windows(photos, windows, **options):
    """A feed of given windows in every epoch, in order; a list of lists: of each epoch."""
    lists = windows if isinstance(windows[0], list) else [windows] * 9
    options = {"batch_size": 2, "normalization": PLAIN, "shape": (32, 64), **options}
    return WindowFeed(photos, [0, 1], lambda epoch: lists[epoch], **options)


A, B, C = Window(0, 0, 32, 64), Window(10, 20, 32, 64), Window(0, 0, 64, 96)


def test_windows_of_photos_in_batches(photos):
    feed = feed_windows(photos, [[(0, A), (1, B), (1, C)], [(0, C), (0, B), (1, A)]])
    assert (feed.n_samples, feed.n_steps, feed.indices.tolist()) == (3, 2, [0, 1])
    assert feed.list_sources(1) == [photos.sources[i] for i in (0, 0, 1)]
    batches = collect(feed, n_epochs=2)
    assert [len(images) for images, _ in batches] == [2, 1, 2, 1]
    image, labels = photos.read(1)
    assert np.array_equal(batches[0][0][1], image[10:42, 20:84].astype(np.float32))
    assert np.array_equal(batches[0][1][1], labels[10:42, 20:84])
    shrunk = photos.read_window(1, C, (32, 64))
    assert np.array_equal(batches[1][0][0], shrunk[0]) and np.array_equal(batches[1][1][0], shrunk[1])
    assert same(collect(feed, first_epoch=1), batches[2:])


@pytest.mark.parametrize("kind", ["unit", "image", "photo"])
def test_a_window_is_normalized_as_its_photo_is(photos, kind):
    rule = Normalization(kind)
    [(images, _)] = collect(feed_windows(photos, [(0, A), (1, B)], normalization=rule))
    for image, index, (rows, cols) in zip(
        images, (0, 1), ((slice(0, 32), slice(0, 64)), (slice(10, 42), slice(20, 84))), strict=True
    ):
        np.testing.assert_allclose(image, rule.apply(photos.read(index)[0])[rows, cols], atol=1e-5)


def test_windows_are_changed_before_they_are_normalized(photos):
    feed = feed_windows(photos, [(0, A), (1, B)], augment=AUGMENT, seed=9, normalization=Normalization("unit"))
    [(images, labels)] = collect(feed, first_epoch=7)
    [(raw, own)] = collect(feed_windows(photos, [(0, A), (1, B)]))
    moved, moved_labels = augment_batch(raw, own, AUGMENT, seed=(9, 7))
    np.testing.assert_allclose(images, moved / 255, atol=1e-6)
    assert np.array_equal(labels, moved_labels)


def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(make_pairs, feed_of):
    import tensorflow as tf

    pairs = make_pairs(2)
    pairs.images = pairs.images[:1]
    with pytest.raises(tf.errors.OpError, match="IndexError"):
        collect(feed_of(pairs, [0, 1]))


def test_no_batch_is_refused(make_pairs, feed_of):
    with pytest.raises(BadInput, match="batch_size=0: give a whole number of 1 or more"):
        feed_of(make_pairs(2), batch_size=0)


def test_photographs_are_never_parted():
    sources = [f"photo {i % 10}" for i in range(57)]
    for seed in range(20):
        training, validation = hold_out(sources, share=0.3, seed=seed)
        assert sorted([*training, *validation]) == list(range(57))
        kept, watched = ({sources[i] for i in indices} for indices in (training, validation))
        assert not kept & watched and len(watched) == 3


def test_what_is_held_out_follows_from_the_seed_and_the_names():
    sources = [f"photo {i}" for i in range(30)]
    draws = [tuple(hold_out(sources, share=0.2, seed=seed)[1]) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    turned = sources[::-1]
    assert {turned[i] for i in hold_out(turned, share=0.2, seed=0)[1]} == {sources[i] for i in draws[0]}


@pytest.mark.parametrize(("share", "n_watched"), [(0.0, 1), (0.01, 1), (0.5, 2), (0.99, 3), (1.0, 3)])
def test_at_least_one_is_watched_and_one_is_left(share, n_watched):
    training, validation = hold_out(["a", "b", "c", "d"], share=share, seed=0)
    assert (len(training), len(validation)) == (4 - n_watched, n_watched)


def test_one_photograph_cannot_be_divided():
    with pytest.raises(BadInput, match="there is only one photograph, so none can be held out"):
        hold_out(["a", "a", "a"], share=0.5, seed=0)
