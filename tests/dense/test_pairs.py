import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense import crops
from hybridseg.dense.pairs import SIDES, FolderPairs, RememberedPairs, check_pairs, fit_size, hash_pairs
from hybridseg.dense.programs import configproposal
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.pairing import Pair
from hybridseg.io.rasters import quiet_rasterio

TWELVE = ClassTable.from_names([f"class {i}" for i in range(12)])


def read_labels(path):
    return read_labelmap(path, with_seeds=False).labels


def pair_of(folder, stem="a", suffix=".png"):
    return Pair(folder / f"{stem}_mres.mat", folder / f"{stem}{suffix}")


def save_tiff(path, image, **profile):
    rows, cols, bands = image.shape
    profile.update(driver="GTiff", height=rows, width=cols, count=bands, dtype=image.dtype)
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as file:
        file.write(image.transpose(2, 0, 1))


@pytest.fixture
def write_pair(tmp_path, make_pair):
    """Write an image of noise with labels of ids 0, 7 and 11, and give both."""

    def write(stem="a", shape=(20, 30)):
        rng = np.random.default_rng(len(stem))
        image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        labels = rng.choice(np.array([0, 7, 11, VOID], np.uint8), shape)
        make_pair(tmp_path, stem, labels, image, TWELVE)
        return image, labels

    return write


def test_pairs_of_their_own_size_come_as_they_are(tmp_path, write_pair):
    image, labels = write_pair("a")
    pairs = FolderPairs([pair_of(tmp_path)], read_labels, table=TWELVE, size=(20, 30))
    assert (pairs.n_bands, pairs.dtype, pairs.sources) == (3, np.uint8, ("a",))
    read_back, labels_back = pairs.read(0)
    assert np.array_equal(read_back, image) and np.array_equal(labels_back, labels)
    assert read_back.dtype == labels_back.dtype == np.uint8


@pytest.mark.parametrize("size", [(8, 12), (40, 60), (32, 16)])
def test_labels_are_resized_to_the_nearest(tmp_path, write_pair, size):
    _, labels = write_pair("a")
    image_back, labels_back = FolderPairs([pair_of(tmp_path)], read_labels, table=TWELVE, size=size).read(0)
    assert image_back.shape == (*size, 3) and labels_back.shape == size
    assert set(np.unique(labels_back)) <= {0, 7, 11, VOID}
    rows, cols = ([(2 * i + 1) * old // (2 * new) for i in range(new)] for new, old in zip(size, (20, 30), strict=True))
    assert np.array_equal(labels_back, labels[np.ix_(rows, cols)])


def test_what_holds_no_picture_is_void_and_filled(tmp_path, make_pair):
    image = np.full((6, 8, 1), 40, np.uint16)
    image[:, 4:] = 60
    image[:2] = 9
    save_tiff(tmp_path / "a.tif", image, nodata=9)
    make_pair(tmp_path, "a", np.ones((6, 8)))
    (tmp_path / "a.png").unlink()
    read_back, labels = FolderPairs([pair_of(tmp_path, suffix=".tif")], read_labels, table=TWELVE, size=(6, 8)).read(0)
    assert read_back.dtype == np.uint16 and (read_back[:2] == 50).all() and np.array_equal(read_back[2:], image[2:])
    assert (labels[:2] == VOID).all() and (labels[2:] == 1).all()


def test_nan_is_no_picture(tmp_path, make_pair):
    image = np.ones((6, 8, 2), np.float32)
    image[0, 0, 1], image[5, 7] = np.nan, np.inf
    save_tiff(tmp_path / "a.tif", image)
    make_pair(tmp_path, "a", np.zeros((6, 8)))
    (tmp_path / "a.png").unlink()
    read_back, labels = FolderPairs([pair_of(tmp_path, suffix=".tif")], read_labels, table=TWELVE, size=(6, 8)).read(0)
    assert (read_back == 1).all()
    assert labels[0, 0] == labels[5, 7] == VOID and (labels == VOID).sum() == 2


def test_a_label_map_of_another_size(tmp_path, write_pair):
    write_pair("a")
    write_image(tmp_path / "a.png", np.zeros((20, 31, 3), np.uint8))
    message = r"has 20 x 30 pixels, but a.png has 20 x 31"
    with pytest.raises(BadInput, match=message):
        FolderPairs([pair_of(tmp_path)], read_labels, table=TWELVE, size=(20, 30)).read(0)
    [problem], _ = check_pairs([pair_of(tmp_path)], read_labels, n_classes=12)
    assert problem.where == str(tmp_path / "a_mres.mat") and problem.message.startswith("has 20 x 30 pixels, but a.png")


def test_every_kind_of_wrong_labels_is_told(tmp_path, write_pair):
    stems = ["good", "strange", "cut", "gone", "nopicture"]
    for stem in stems:
        write_pair(stem)
    labels = np.zeros((20, 30), np.uint8)
    labels[0, :3] = 12, 200, VOID
    write_labelmap(tmp_path / "strange_mres.mat", LabelMap(labels, ClassTable.from_names(map(str, range(201)))))
    whole = (tmp_path / "cut_mres.mat").read_bytes()
    (tmp_path / "cut_mres.mat").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "gone_mres.mat").unlink()
    (tmp_path / "nopicture.png").write_bytes(b"no picture")
    seen = []

    def watch(items, *, label):
        for item in items:
            yield item
            seen.append((item.image_path.stem, label))

    problems, values = check_pairs([pair_of(tmp_path, s) for s in stems], read_labels, n_classes=12, progress=watch)
    assert [problem.where for problem in problems] == [
        str(tmp_path / f"{stem}{'.png' if stem == 'nopicture' else '_mres.mat'}") for stem in stems[1:]
    ]
    assert set(values) == {tmp_path / "good_mres.mat", tmp_path / "strange_mres.mat"}
    assert values[tmp_path / "strange_mres.mat"] == [0, 12, 200, 255]
    assert problems[0].message == (
        "has the values 12, 200; classes go from 0 to 11, and 255 is void; "
        "name all classes (--labels), or give other masks"
    )
    assert "damaged" in problems[1].message or "cut short" in problems[1].message
    assert "there is no file" in problems[2].message and "is not a JPEG, PNG or TIFF" in problems[3].message
    assert seen == [(stem, "checking images") for stem in stems]


def test_good_labels_have_no_problem(coast):
    pairs = [Pair(path.with_name(f"{path.stem}_mres.mat"), path) for path in sorted(coast.glob("*.jpg"))]
    assert len(pairs) == 4 and check_pairs(pairs, read_labels, n_classes=11)[0] == []
    # Three of them have a road or a building.
    assert len(check_pairs(pairs, read_labels, n_classes=9)[0]) == 3


def test_images_of_different_kinds(tmp_path, write_pair):
    with pytest.raises(BadInput, match="there is no image with labels"):
        FolderPairs([], read_labels, table=TWELVE, size=(20, 30))
    write_pair("a")
    for stem, image in (("b", np.zeros((20, 30, 1), np.uint8)), ("c", np.zeros((20, 30, 3), np.uint16))):
        save_tiff(tmp_path / f"{stem}.tif", image)
        kind = f"{image.shape[2]} of {image.dtype}"
        with pytest.raises(BadInput, match=f"a.png has 3 bands of uint8, {stem}.tif {kind}; .* images of one kind"):
            FolderPairs([pair_of(tmp_path), pair_of(tmp_path, stem, ".tif")], read_labels, table=TWELVE, size=(20, 30))
    with pytest.raises(MissingInput):
        FolderPairs([pair_of(tmp_path, "none")], read_labels, table=TWELVE, size=(20, 30))


def test_fingerprint_follows_the_files_and_the_size(tmp_path, write_pair):
    for stem in "ab":
        write_pair(stem)

    def fingerprint(stems="ab", size=(20, 30)):
        return FolderPairs(
            [pair_of(tmp_path, stem) for stem in stems], read_labels, table=TWELVE, size=size
        ).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len({first, fingerprint("a"), fingerprint("ba"), fingerprint(size=(20, 31))}) == 4
    write_image(tmp_path / "b.png", read_image(tmp_path / "b.png") // 2)
    assert fingerprint() != first


def test_the_hash_is_of_the_contents_and_not_of_the_names(tmp_path, write_pair):
    write_pair("a")
    write_pair("bb")

    def hash_of(*stems):
        pairs = FolderPairs([pair_of(tmp_path, stem) for stem in stems], read_labels, table=TWELVE, size=(20, 30))
        first = hash_pairs(pairs, range(len(stems)))
        assert hash_pairs(RememberedPairs(pairs), range(len(stems))) == first
        return first

    first = hash_of("a", "bb")
    assert hash_of("bb", "a") == first and len({first, hash_of("a"), hash_of("bb")}) == 3
    originals = {path.name[1:]: path.read_bytes() for path in tmp_path.glob("a*")}
    for rest, content in originals.items():
        (tmp_path / f"c{rest}").write_bytes(content)
    assert hash_of("c", "bb") == first, "under another name, and with another time"
    image = read_image(tmp_path / "c.png")
    write_image(tmp_path / "c.png", image // 2)
    changed = hash_of("c", "bb")
    write_image(tmp_path / "c.png", image)
    labels = pair_of(tmp_path, "c").labels_path
    labels.write_bytes(pair_of(tmp_path, "bb").labels_path.read_bytes())
    assert len({first, changed, hash_of("c", "bb")}) == 3


def test_pairs_are_remembered_up_to_the_limit(make_pairs):
    source = make_pairs(4)
    n_bytes = 32 * 32 * 2
    remembered = RememberedPairs(source, limit=2 * n_bytes + n_bytes - 1)
    for _ in range(3):
        for index in range(4):
            image, labels = remembered.read(index)
            assert np.array_equal(image, source.images[index]) and np.array_equal(labels, source.labels[index])
    assert source.was_read == [0, 1, 2, 3, 2, 3, 2, 3]
    assert (remembered.sources, remembered.n_bands, remembered.dtype) == (source.sources, 1, np.uint8)
    assert remembered.fingerprint == "abc"


def test_nothing_is_remembered_without_room(make_pairs):
    source = make_pairs(2)
    remembered = RememberedPairs(source, limit=0)
    for index in (0, 0, 1, 1):
        remembered.read(index)
    assert source.was_read == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ((64, 96), (64, 96)),
        ((95, 127), (64, 96)),
        ((1000, 1500), (512, 768)),
        ((4000, 3000), (640, 480)),
        ((32, 20000), (32, 8192)),
        ((20000, 32), (8192, 32)),
    ],
)
def test_the_size_to_train_at(image, target):
    assert fit_size(*image, max_area=512 * 768) == target


def test_the_sizes_of_the_best_results_are_chosen_for_their_photographs():
    """See docs/benchmarks.md."""
    assert fit_size(614, 920, max_area=crops.MAX_AREA) == (256, 384)
    assert fit_size(614, 920, max_area=configproposal.MAX_AREA) == (192, 288)
    assert {fit_size(256, 256, max_area=p.MAX_AREA) for p in (crops, configproposal)} == {(256, 256)}


@settings(deadline=None)
@given(st.integers(32, 30_000), st.integers(32, 30_000))
def test_any_size_is_valid_and_fits(rows, cols):
    high, wide = fit_size(rows, cols, max_area=512 * 768)
    assert high in SIDES and wide in SIDES
    assert high <= rows and wide <= cols and high * wide <= 512 * 768
    if min(rows, cols) >= 256 and max(rows, cols) <= 4 * min(rows, cols):
        assert abs(np.log(high * cols / (wide * rows))) < 0.1
