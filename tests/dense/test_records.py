import json
import os
import weakref
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.augment import AugmentOptions
from hybridseg.dense.feed import Feed, hold_out
from hybridseg.dense.pairs import FolderPairs
from hybridseg.dense.recordpairs import INDEX_NAME, open_records
from hybridseg.dense.records import PLAN_NAME, RecordOptions, make_records
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.masks import find_masks
from hybridseg.io.pairing import list_images
from hybridseg.io.tfrecords import scan_shard
from hybridseg.models.normalization import Normalization

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
FLIPS = AugmentOptions(flip_rows=True, flip_cols=True)
EVERYTHING = AugmentOptions(20, 0.2, 0.1, 0.1, flip_rows=True, flip_cols=True, brightness=0.1)
OPTIONS = RecordOptions(copies=3, per_shard=4, augment=EVERYTHING)


class Pairs:
    """Seven smooth pictures in memory; each label tells in which third of the columns a pixel lies, or is VOID."""

    def __init__(self, *, bands=3, dtype="uint8", n=7, size=(16, 24), table=TABLE):
        self.n_bands, self.dtype, self.size, self.table = bands, np.dtype(dtype), size, table
        self.sources = tuple(f"photo{i}" for i in range(n))
        self.fingerprint = f"{n} of {bands} {dtype}"
        self.n_reads = []

    def read(self, index):
        self.n_reads.append(index)
        rows, cols = self.size
        row, col = np.mgrid[:rows, :cols]
        image = np.stack([5 * col + 4 * row + 10 * index + band for band in range(self.n_bands)], -1)
        labels = (3 * col // cols).astype(np.uint8)
        labels[:3, :3] = VOID
        return image.astype(self.dtype), labels


def make(out_dir, pairs=None, options=OPTIONS, **settings):
    return make_records(pairs or Pairs(), out_dir, options=options, **settings)


def read_all(folder):
    """The pairs of records by photograph and number of the copy."""
    index, pairs = json.loads((folder / INDEX_NAME).read_text()), open_records(folder)
    rows = [row for shard in index["shards"] for row in shard["records"]]
    return {(index["sources"][row["source"]], row["copy"]): pairs.read(i) for i, row in enumerate(rows)}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_copies_of_all_pairs_are_written(tmp_path):
    result = make(tmp_path / "records")
    names = [f"records-{number:04d}-of-0006.tfrec" for number in range(1, 7)]
    assert [path.name for path in result.shard_paths] == names
    assert (result.n_records, result.n_skipped) == (21, 0)
    assert sorted(contents(tmp_path / "records")) == sorted([INDEX_NAME, PLAN_NAME, *names])
    pairs = open_records(tmp_path / "records")
    assert (pairs.size, pairs.n_bands, pairs.dtype, pairs.table) == ((16, 24), 3, np.uint8, TABLE)
    assert sorted(pairs.sources) == sorted(Pairs().sources * 3)
    copies = read_all(tmp_path / "records")
    assert set(copies) == {(name, copy) for name in Pairs().sources for copy in (1, 2, 3)}
    assert len({image.tobytes() for image, _ in copies.values()}) == 21, "every copy is another"
    index = json.loads(result.index_path.read_text())
    listed = [[(index["sources"][row["source"]], row["copy"]) for row in shard["records"]] for shard in index["shards"]]
    assert listed == [[(source, copy) for _, source, copy in scan_shard(path)] for path in result.shard_paths]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4, 5])
def test_without_changes_the_copies_are_the_originals(bands, dtype, tmp_path):
    source = Pairs(bands=bands, dtype=dtype, n=2)
    make(tmp_path, source, replace(OPTIONS, augment=AugmentOptions()))
    for (name, _), (image, labels) in read_all(tmp_path).items():
        original, original_labels = source.read(source.sources.index(name))
        np.testing.assert_array_equal(labels, original_labels)
        assert image.dtype == original.dtype
        tolerance = 6 if dtype == "uint8" and bands in (1, 3, 4) else 0
        assert np.abs(image.astype(float) - original).max() <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_flips_move_image_and_labels_alike(dtype, tmp_path):
    source = Pairs(bands=5, dtype=dtype)
    make(tmp_path, source, replace(OPTIONS, augment=FLIPS, copies=4))
    seen = set()
    for (name, _), (image, labels) in read_all(tmp_path).items():
        original, original_labels = source.read(source.sources.index(name))
        ways = {
            (step_r, step_c)
            for step_r in (1, -1)
            for step_c in (1, -1)
            if np.allclose(image, original[::step_r, ::step_c], atol=1e-3)
        }
        assert len(ways) == 1
        ((step_r, step_c),) = ways
        np.testing.assert_array_equal(labels, original_labels[::step_r, ::step_c])
        seen |= ways
    assert len(seen) == 4


def test_labels_are_never_interpolated_and_void_stays(tmp_path):
    class Coarse(Pairs):
        def read(self, index):
            image, labels = super().read(index)
            return image, np.where(labels == 0, np.uint8(0), np.where(labels == VOID, labels, np.uint8(2)))

    make(tmp_path, Coarse())
    found = {tuple(np.unique(labels).tolist()) for _, labels in read_all(tmp_path).values()}
    assert set().union(*found) == {0, 2, VOID} and (0, 2, VOID) in found


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("uint32", 2**32 - 1)])
def test_brighter_than_the_type_can_tell_is_the_brightest(dtype, top, tmp_path):
    class White(Pairs):
        def read(self, index):
            image, labels = super().read(index)
            return np.full_like(image, top), labels

    bright = replace(OPTIONS, augment=AugmentOptions(brightness=0.9), copies=8)
    make(tmp_path, White(dtype=dtype, bands=5), bright)
    values = np.array([image.flat[0] for image, _ in read_all(tmp_path).values()], np.float64)
    assert values.max() == top and values.min() < 0.5 * top
    assert 15 < (values == top).sum() < 45, "about half of 56 are brighter, none has wrapped around to dark"


def test_the_same_call_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make(tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    make(tmp_path / "c", options=replace(OPTIONS, seed=1))
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_copy_depends_on_its_name_and_the_seed_alone(tmp_path):
    make(tmp_path / "all")
    make(tmp_path / "some", Pairs(n=3), replace(OPTIONS, copies=2, per_shard=1))
    every = read_all(tmp_path / "all")
    for key, (image, labels) in read_all(tmp_path / "some").items():
        np.testing.assert_array_equal(every[key][0], image)
        np.testing.assert_array_equal(every[key][1], labels)


@pytest.mark.slow
@pytest.mark.parametrize("n_loops", [2, 7, 100])
def test_portions_give_the_same_records_with_fewer_images_in_memory(n_loops, tmp_path):
    make(tmp_path / "one")
    source, seen, held = Pairs(), [], []

    class Watched(np.ndarray):
        pass

    class Watching(Pairs):
        def read(self, index):
            held.append(sum(image() is not None for image in seen))
            image, labels = source.read(index)
            image = image.view(Watched)
            seen.append(weakref.ref(image))
            return image, labels

    make(tmp_path / "portions", Watching(), replace(OPTIONS, loops=n_loops))
    assert sorted(source.n_reads) == list(range(7)), "each is read once"
    assert max(held) <= -(-7 // n_loops), "no more than one portion"
    one, portions = read_all(tmp_path / "one"), read_all(tmp_path / "portions")
    assert one.keys() == portions.keys()
    assert all(np.array_equal(one[key][0], portions[key][0]) for key in one)
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "portions").keys()


def test_a_run_that_was_stopped_goes_on(stop_at, tmp_path):
    make(tmp_path / "whole", options=replace(OPTIONS, loops=3))
    folder, options = tmp_path / "stopped", replace(OPTIONS, loops=3)
    with pytest.raises(KeyboardInterrupt):
        make(folder, options=options, progress=stop_at(2))
    first = sorted(folder.glob("*.tfrec"))
    assert len(first) == 2 and not (folder / INDEX_NAME).exists()
    with pytest.raises(MissingInput, match="run make-tfrecords again"):
        open_records(folder)
    (folder / ".0123456789abcdef.partial.tfrec").write_bytes(b"half")
    stamps = [path.stat().st_mtime_ns for path in first]
    source = Pairs()
    result = make(folder, source, options=options)
    assert (result.n_skipped, result.n_records) == (2, 21)
    assert [path.stat().st_mtime_ns for path in first] == stamps
    assert contents(folder) == contents(tmp_path / "whole")
    # A portion of three pairs makes nine copies: eight of them were there.
    assert len(source.n_reads) == 5, "one for the ninth, four for the other portions"


def test_an_image_that_goes_missing_stops_the_run_and_nothing_is_lost(tmp_path):
    class Failing(Pairs):
        def read(self, index):
            if len(self.n_reads) == 5:
                raise MissingInput("photo5.jpg is gone")
            return super().read(index)

    with pytest.raises(MissingInput, match=r"photo5\.jpg is gone"):
        make(tmp_path, Failing(), replace(OPTIONS, loops=7))
    assert len(list(tmp_path.glob("*.tfrec"))) == 3
    assert make(tmp_path, options=replace(OPTIONS, loops=7)).n_skipped == 3


def test_a_damaged_shard_is_made_again(tmp_path):
    result = make(tmp_path)
    before = contents(tmp_path)
    cut, flipped, swapped = result.shard_paths[:3]
    cut.write_bytes(before[cut.name][:-50])
    flipped.write_bytes(before[flipped.name][:99] + b"~" + before[flipped.name][100:])
    swapped.write_bytes(before[result.shard_paths[4].name])
    assert make(tmp_path).n_skipped == 3
    assert contents(tmp_path) == before


def test_a_finished_folder_is_left_as_it_is_unless_told(tmp_path):
    result = make(tmp_path)
    stamp = result.shard_paths[0].stat().st_mtime_ns
    assert make(tmp_path).n_skipped == 6
    assert result.shard_paths[0].stat().st_mtime_ns == stamp
    assert make(tmp_path, overwrite=True).n_skipped == 0
    assert result.shard_paths[0].stat().st_mtime_ns != stamp


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"options": replace(OPTIONS, copies=2)},
        {"options": replace(OPTIONS, prefix="other")},
        {"options": replace(OPTIONS, augment=FLIPS)},
        {"options": replace(OPTIONS, seed=3)},
        {"pairs": Pairs(n=4)},
        {"pairs": Pairs(n=3, table=ClassTable.from_names(["water", "sand", "rock"]))},
        {"remap": {2: 1}},
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_records_are_not_replaced_unless_told(change, finished, stop_at, tmp_path):
    few = {"pairs": Pairs(n=3)}
    if finished:
        make(tmp_path, **few)
    else:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, **few, progress=stop_at(2))
    (tmp_path / "notes-0001-of-0002.tfrec").write_bytes(b"of another program")
    before = contents(tmp_path)
    with pytest.raises(OutputExists, match="--overwrite"):
        make(tmp_path, **few | change)
    assert contents(tmp_path) == before
    result = make(tmp_path, **few | change, overwrite=True)
    kept = {path.name for path in result.shard_paths} | {INDEX_NAME, PLAN_NAME, "notes-0001-of-0002.tfrec"}
    assert result.n_skipped == 0 and contents(tmp_path).keys() == kept
    assert len(read_all(tmp_path)) == result.n_records


def test_files_of_another_program_are_never_replaced(tmp_path):
    for name in (INDEX_NAME, PLAN_NAME):
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        for content in ('{"kind": "a web page"}', "[]", "not JSON"):
            (folder / name).write_text(content)
            with pytest.raises(OutputExists, match="not written by this command"):
                make(folder, overwrite=True)
            assert contents(folder) == {name: content.encode()}


def test_labels_of_no_class_and_images_of_another_size_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"photo\d has the label 2; the classes go from 0 to 1"):
        make(tmp_path / "a", Pairs(table=ClassTable.from_names(["water", "sand"])))

    class Smaller(Pairs):
        def read(self, index):
            image, labels = super().read(index)
            return image[:8, :8], labels[:8, :8]

    with pytest.raises(BadInput, match=r"photo\d has the shape \(8, 8, 3\), not \(16, 24, 3\)"):
        make(tmp_path / "b", Smaller())
    with pytest.raises(BadInput, match="convert the images to float32"):
        make(tmp_path / "c", Pairs(dtype="int64"))
    assert not list(tmp_path.rglob("*.tfrec"))


@pytest.mark.parametrize(
    "change",
    [
        {"copies": 0},
        {"loops": 0},
        {"per_shard": 0},
        {"prefix": ""},
        {"prefix": "../a"},
        {"prefix": ".a"},
        {"prefix": "a\n"},
        {"seed": -1},
        {"seed": 1 << 63},
    ],
)
def test_options_without_meaning_are_refused(change):
    with pytest.raises(BadInput, match=next(iter(change))):
        replace(OPTIONS, **change)


def test_pairs_of_one_photograph_stay_apart(tmp_path):
    """Two windows of one photograph: each has copies of its own, and both are known to be of one photograph."""
    source = Pairs(n=4)
    source.sources = ("a", "a", "b", "b")
    result = make(tmp_path, source)
    assert result.n_records == 12
    pairs = open_records(tmp_path)
    assert sorted(pairs.sources) == ["a"] * 6 + ["b"] * 6
    assert len({pairs.read(i)[0].tobytes() for i in range(12)}) == 12
    training, validation = hold_out(pairs.sources, share=0.5, seed=0)
    assert {pairs.sources[i] for i in training}.isdisjoint(pairs.sources[i] for i in validation)


def test_names_that_are_not_utf8(tmp_path):
    source = Pairs(n=2)
    source.sources = (os.fsdecode(b"na\xe9me"), "plain")
    make(tmp_path / os.fsdecode(b"f\xe9"), source)
    pairs = open_records(tmp_path / os.fsdecode(b"f\xe9"))
    assert set(pairs.sources) == set(source.sources) and pairs.read(0)[0].shape == (16, 24, 3)


@pytest.mark.slow
def test_records_feed_a_network(coast, tmp_path):
    """From files over records to batches, as training does it."""
    found = find_masks(list_images(coast)).pairs
    classes = read_labelmap(found[0].labels_path).require_table(coast)
    folder_pairs = FolderPairs(
        found, lambda path: read_labelmap(path, with_seeds=False).labels, table=classes, size=(32, 48)
    )
    make_records(folder_pairs, tmp_path / "out", options=OPTIONS)
    pairs = open_records(tmp_path / "out")
    feed = Feed(pairs, range(len(pairs.sources)), batch_size=5, normalization=Normalization("image"))
    batches = list(feed.batches())
    assert [images.shape for images, _ in batches] == [(5, 32, 48, 3), (5, 32, 48, 3), (2, 32, 48, 3)]
    assert {int(i) for _, labels in batches for i in np.unique(labels)} <= {*range(len(classes)), VOID}
    make_records(folder_pairs, tmp_path / "again", options=replace(OPTIONS, seed=1))
    assert pairs.fingerprint == open_records(tmp_path / "out").fingerprint
    assert pairs.fingerprint != open_records(tmp_path / "again").fingerprint
