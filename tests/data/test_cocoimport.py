import json
from pathlib import Path

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.data import cocoimport
from hybridseg.data.cocoimport import import_coco
from hybridseg.data.cocoplan import CocoImportOptions, divide
from hybridseg.errors import BadInput, MissingInput, OutputExists, WriteFailed
from hybridseg.io.annotations import strokes
from hybridseg.io.annotations.canvas import Mask
from hybridseg.io.annotations.runlengths import encode_rle, pack_counts
from hybridseg.io.images import as_rgb8, read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.tables import read_csv

SHAPE = (8, 12)
ALL = CocoImportOptions(proportion=1, validation=0)
MASKS = CocoImportOptions(layout="masks", proportion=1, validation=0)


def box(top, left, bottom, right):
    """The polygon around pixels, as COCO writes it: x, y from the corner of the first pixel."""
    return [left, top, right, top, right, bottom, left, bottom]


def pixels(*boxes):
    mask = np.zeros(SHAPE, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


class Set:
    """A folder of photos and their COCO file, which grow."""

    def __init__(self, folder):
        self.path, self.images_dir, self.out = folder / "annotations.json", folder / "photos", folder / "out"
        self.images_dir.mkdir()
        self.record = {
            "images": [],
            "categories": [{"id": 7, "name": "house"}, {"id": 3, "name": "Tree"}],
            "annotations": [],
        }

    def add_image(self, name, *, shape=SHAPE, photo=SHAPE):
        self.record["images"].append({"id": name, "file_name": name, "height": shape[0], "width": shape[1]})
        if photo:
            write_image(self.images_dir / name, np.full((*photo, 3), len(self.record["images"]), np.uint8))

    def add_area(self, name, category_id, segmentation, **more):
        row = {"image_id": name, "category_id": category_id, "segmentation": segmentation, **more}
        self.record["annotations"].append(row)

    def read(self, options=ALL, **more):
        self.path.write_text(json.dumps(self.record))
        return import_coco(self.path, images_dir=self.images_dir, out_dir=self.out, options=options, **more)


@pytest.fixture
def coco(tmp_path):
    made = Set(tmp_path)
    made.add_image("a.png")
    return made


def read(path, name):
    found = read_labelmap(path)
    return found.labels == found.table.index(name)


def test_every_form_of_an_annotation(coco):
    area = pixels((1, 1, 3, 4))
    rle = encode_rle(Mask(area), SHAPE)
    forms = [[box(1, 1, 3, 4)], box(1, 1, 3, 4), {"size": [*SHAPE], "counts": rle.counts.tolist()},
             {"size": [*SHAPE], "counts": pack_counts(rle.counts.tolist())}]  # fmt: skip
    for i, form in enumerate(forms):
        coco.add_image(f"form{i}.png")
        coco.add_area(f"form{i}.png", 7, form, iscrowd=int(i > 1))
    # Parts of one thing: both are in it, and where they overlap it is no hole.
    coco.add_area("a.png", 7, [box(0, 0, 4, 4), box(2, 2, 6, 6)])
    result = coco.read()
    for i in range(len(forms)):
        assert np.array_equal(read(coco.out / "train" / f"form{i}_label.png", "house"), area)
    assert np.array_equal(read(coco.out / "train" / "a_label.png", "house"), pixels((0, 0, 4, 4), (2, 2, 6, 6)))
    assert result.table.names == ("background", "house", "Tree") and result.notes == ()
    assert result.n_images == {"train": 5, "validation": 0, "test": 0} and result.n_areas == {"house": 5, "Tree": 0}
    assert (coco.out / "labels.txt").read_text().split() == ["background", "house", "Tree"]


def test_small_things_lie_over_large_ones(coco):
    coco.add_area("a.png", 7, [box(2, 2, 4, 4)])
    coco.add_area("a.png", 3, [box(0, 0, 8, 12)])
    coco.read()
    assert np.array_equal(read(coco.out / "train" / "a_label.png", "house"), pixels((2, 2, 4, 4)))
    assert np.array_equal(read(coco.out / "train" / "a_label.png", "Tree"), ~pixels((2, 2, 4, 4)))


def test_masks_of_categories_may_overlap(coco):
    coco.add_area("a.png", 7, [box(2, 2, 4, 4)])
    coco.add_area("a.png", 7, [box(3, 3, 6, 6)])
    coco.add_area("a.png", 3, [box(0, 0, 5, 12)])
    coco.read(MASKS)
    train = coco.out / "train"
    assert sorted(path.name for path in train.iterdir()) == ["Tree", "a.png", "house"]
    # The greatest of the things of one category, whatever lies over them.
    assert np.array_equal(read(train / "house" / "a_label.png", "house"), pixels((2, 2, 4, 4), (3, 3, 6, 6)))
    assert np.array_equal(read(train / "Tree" / "a_label.png", "tree"), pixels((0, 0, 5, 12)))
    assert read_labelmap(train / "house" / "a_label.png").table.names == ("background", "house")


@pytest.mark.parametrize(("options", "place"), [(ALL, ""), (MASKS, "house")])
def test_a_crowd_can_be_void(coco, options, place):
    coco.add_area("a.png", 7, [box(1, 1, 5, 6)])
    # Smaller than the single thing, and still below it.
    coco.add_area("a.png", 7, [box(2, 2, 4, 8)], iscrowd=1)
    coco.read(CocoImportOptions(**{**vars(options), "crowd": "void"}))
    found = read_labelmap(coco.out / "train" / place / "a_label.png")
    assert np.array_equal(found.labels == VOID, pixels((2, 6, 4, 8)))
    assert np.array_equal(found.labels == 1, pixels((1, 1, 5, 6)))


def test_images_are_chosen_by_category(coco):
    for name in ("b.png", "c.png", "nowhere.png"):
        coco.add_image(name, photo=SHAPE if name < "d" else None)
    coco.add_area("a.png", 7, [box(2, 2, 4, 4)])
    coco.add_area("b.png", 3, [box(2, 2, 4, 4)])
    coco.add_area("b.png", 7, [box(0, 0, 1, 1)])
    coco.add_area("nowhere.png", 7, [box(2, 2, 4, 4)])
    result = coco.read(CocoImportOptions(categories=("TREE",), proportion=1, validation=0))
    assert [path.name for path in sorted((coco.out / "train").iterdir())] == ["b.png", "b_label.png"]
    labels = read_labelmap(coco.out / "train" / "b_label.png")
    assert labels.table.names == ("background", "Tree") and np.array_equal(labels.labels, pixels((2, 2, 4, 4)))
    # Those of other categories need not be there.
    assert result.problems == () and result.notes[0].startswith("3 images left out for want of an annotation")
    with pytest.raises(BadInput, match=r"annotations.json: it has no category car .*its categories are house, Tree"):
        coco.read(CocoImportOptions(categories=["house, car"]))


def test_a_category_whose_name_has_a_comma(coco):
    coco.record["categories"] = [{"id": i, "name": name} for i, name in enumerate(["house", "car", "house, car", "x"])]
    coco.add_area("a.png", 0, [box(2, 2, 4, 4)])
    for categories, names in {("house, Car",): ("house, car",), ("x,house", "car"): ("x", "house", "car")}.items():
        result = coco.read(CocoImportOptions(categories, keep_empty=True, proportion=1, validation=0), overwrite=True)
        assert result.table.names == ("background", *names)


def test_an_empty_set_is_told(coco):
    fill(coco, 4)
    for proportion, validation, told in (
        (0, 0.3, ["train/ is empty: no image went there, by --proportion 0 and --validation 0.3 of 4 images"]),
        (1, 1, ["train/ is empty: no image went there, by --proportion 1 and --validation 1 of 4 images"]),
        (1, 0.1, ["validation/ is empty: no image went there, by --proportion 1 and --validation 0.1 of 4 images"]),
        (1, 0, []),
        (0.5, 0.5, []),
    ):
        options = CocoImportOptions(proportion=proportion, validation=validation)
        found = coco.read(options, overwrite=True).warnings
        assert [text for text in found if "empty" in text] == told


def test_images_without_annotations_are_background(coco):
    coco.record["categories"].append({"id": 9, "name": "Ground"})
    result = coco.read(CocoImportOptions(keep_empty=True, background="ground", proportion=1, validation=0))
    labels = read_labelmap(coco.out / "train" / "a_label.png")
    # A category of this name is the background.
    assert labels.table.names == ("house", "Tree", "Ground") and (labels.labels == 2).all()
    assert result.written[-1].name == "colors.txt", "nothing to draw"


def test_what_cannot_be_used_is_told(coco):
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    coco.add_area("a.png", 7, [box(-3, -3, 2, 2)])
    coco.add_area("a.png", 7, [box(-0.4, -1, 2, 2)])
    coco.add_area("a.png", 7, [box(0, 12, 5, 20)])
    coco.add_area("a.png", 7, [], bbox=[1, 2, 3, 4])
    coco.add_area("gone", 7, [box(0, 0, 2, 2)])
    coco.add_image("other_size.png", photo=(16, 24))
    coco.add_image("missing.png", photo=None)
    coco.add_image("damaged.png")
    coco.add_image("same.png")
    coco.add_image("x/same.png", photo=None)
    coco.add_image("b_label.png")
    coco.add_image("b.webp", photo=None)
    for image in coco.record["images"][1:]:
        coco.add_area(image["id"], 7, [box(0, 0, 2, 2)])
    coco.add_area("damaged.png", 7, [[1, 2, 3]])
    result = coco.read()
    told = {problem.where: problem.message for problem in result.problems}
    assert told.keys() == {image["id"] for image in coco.record["images"]} - {"a.png"}
    assert told["other_size.png"].startswith("its annotation has 8 x 12 pixels, but other_size.png has 16 x 24; give")
    assert told["missing.png"] == f"it is not in {coco.images_dir} (--images)"
    assert "a polygon is not a list" in told["damaged.png"] and "another image has its name" in told["x/same.png"]
    assert "called like a label map" in told["b_label.png"] and "images end in" in told["b.webp"]
    assert result.n_images["train"] == 1 and result.n_areas["house"] == 3
    assert [note.split(" ", 1) for note in result.notes] == [
        ["1", "annotation without an area (only a box, or nothing)"],
        ["1", "annotation outside of the image"],
        ["1", "annotation cut at the border of the image, beyond which it reached"],
        ["1", "annotation of images that are not in the file"],
    ]


def test_what_is_damaged_is_told_while_the_rest_is_written(coco, monkeypatch):
    fill(coco, 3)
    coco.add_area("photo00.png", 7, [box(0, 0, 2, 10**8)])
    # A polygon of so many lines that drawing it is given up.
    coco.add_area("photo01.png", 7, [[v for i in range(40) for v in (i % 2, 8 * (i % 2))]])
    monkeypatch.setattr(strokes, "MAX_RUNS", 100)
    photo = coco.images_dir / "photo02.png"
    write_image(photo, np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8))
    photo.write_bytes(photo.read_bytes()[:-40])
    result = coco.read()
    told = {Path(problem.where).name: problem.message for problem in result.problems}
    assert "not a position in an image" in told["photo00.png"] and "too many times over" in told["photo01.png"]
    assert told.keys() == {"photo00.png", "photo01.png", "photo02.png"}
    assert result.n_images["train"] == 1, "the others can at least be opened"
    assert sorted(path.name for path in (coco.out / "train").iterdir()) == ["photo02.png", "photo02_label.png"]
    assert [row["image"] for row in read_csv(coco.out / "images.csv", ("image",))] == ["photo02.png"]


def test_of_many_images_that_are_missing_some_are_named_and_the_rest_counted(coco):
    coco.record["images"] = [{"id": i, "file_name": f"gone{i}.png"} for i in range(1, 8)]
    coco.record["annotations"] = []
    for i in range(1, 8):
        coco.add_area(i, 7, [box(0, 0, 2, 2)])
    with pytest.raises(BadInput, match=r"has no image that can be used:(\n  gone\d\.png: .*){5}\n  and 2 more"):
        coco.read()


def test_no_image_from_outside_of_the_folder(coco):
    write_image(coco.path.parent / "secret.png", np.zeros((*SHAPE, 3), np.uint8))
    coco.record["images"] = []
    for name in ("../secret.png", str(coco.path.parent / "secret.png"), "..\\secret.png"):
        coco.record["images"] = [{"id": 1, "file_name": name}]
        coco.record["annotations"] = []
        coco.add_area(1, 7, [box(0, 0, 2, 2)])
        with pytest.raises(BadInput, match=r"has no image that can be used:\n.*it is not in"):
            coco.read()
    assert not coco.out.exists()


def test_images_in_folders_of_their_own(coco):
    (coco.images_dir / "deep").mkdir()
    (coco.images_dir / "a.png").rename(coco.images_dir / "deep" / "a.png")
    (coco.images_dir / "deep" / "a.pgw").write_text("world")
    coco.record["images"][0]["file_name"] = "deep\\a.png"
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    coco.read()
    names = sorted(path.name for path in (coco.out / "train").iterdir())
    assert names == ["a.pgw", "a.png", "a_label.png"]
    coco.read(overwrite=True)


def fill(coco, n):
    for i in range(n):
        coco.add_image(f"photo{i:02}.png")
        coco.add_area(f"photo{i:02}.png", 7, [box(0, 0, 2, 2)])


def test_the_split_is_drawn_with_a_seed(coco):
    fill(coco, 20)
    result = coco.read(CocoImportOptions(seed=5))
    assert result.n_images == {"train": 10, "validation": 4, "test": 6}
    rows = {row["image"]: row["set"] for row in read_csv(coco.out / "images.csv", ("image", "set"))}
    for name, home in rows.items():
        original = coco.images_dir / name
        assert (coco.out / home / name).read_bytes() == original.read_bytes()
        assert (coco.out / home / f"{original.stem}_label.png").exists()
    coco.read(CocoImportOptions(seed=6), overwrite=True)
    other = {row["image"]: row["set"] for row in read_csv(coco.out / "images.csv", ("image", "set"))}
    assert other != rows and len(list(coco.out.glob("*/photo*.png"))) == 2 * 20


def test_the_counts_of_the_published_program():
    homes = divide([f"{i:06}.jpg" for i in range(4099 + 1757 + 2510)], CocoImportOptions(seed=108241))
    sets = [name for name, _ in homes.values()]
    assert [sets.count(name) for name in ("train", "validation", "test")] == [4099, 1757, 2510]


def test_groups_stay_together():
    names = [f"flight{i // 5}_{i}.jpg" for i in range(50)]
    homes = divide(names, CocoImportOptions(group_by=r"(flight\d+)_"))
    assert len({(home, group) for home, group in homes.values()}) == 10
    assert len({home for home, _ in homes.values()}) == 3


def test_links_take_no_room(coco):
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    coco.read(CocoImportOptions(link=True, proportion=1, validation=0))
    assert (coco.out / "train" / "a.png").is_symlink()
    assert (coco.out / "train" / "a.png").resolve() == (coco.images_dir / "a.png").resolve()


def test_nothing_of_the_user_is_replaced(coco):
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    coco.out.mkdir()
    (coco.out / "mine.txt").touch()
    with pytest.raises(OutputExists, match="was not written by this command; give --out"):
        coco.read(overwrite=True)
    (coco.out / "mine.txt").unlink()
    coco.read()
    with pytest.raises(OutputExists, match="give --overwrite to replace it"):
        coco.read()
    for name in ("train/tile_96/tiles.csv", "train/b.png", "mine.txt", "figures/mine.png"):
        (coco.out / name).parent.mkdir(exist_ok=True)
        (coco.out / name).touch()
        with pytest.raises(OutputExists, match=r"would be lost; move it away first"):
            coco.read(overwrite=True)
        (coco.out / name).unlink()
    coco.read(MASKS, overwrite=True)
    assert not (coco.out / "train" / "a_label.png").exists()


def test_an_interrupted_run_leaves_nothing_behind(coco, monkeypatch):
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    with monkeypatch.context() as patch:
        patch.setattr(cocoimport, "place_file", lambda *_, **__: (_ for _ in ()).throw(WriteFailed("full")))
        with pytest.raises(WriteFailed):
            coco.read()
    assert not coco.out.exists()
    coco.read()
    assert sorted(path.name for path in coco.path.parent.iterdir()) == ["annotations.json", "out", "photos"]


@pytest.mark.slow
def test_instances_are_drawn_in_many_colours(coco):
    coco.images_dir.joinpath("a.png").unlink()
    write_image(coco.images_dir / "a.png", np.full((*SHAPE, 3), 128, np.uint8))
    for i in range(3):
        coco.add_area("a.png", 7, [box(1, 1 + 4 * i, 4, 3 + 4 * i)])
    [figure] = [path for path in coco.read().written if path.suffix == ".png"]
    assert figure == coco.out / "figures" / "instances.png"
    drawn = as_rgb8(read_image(figure)).reshape(-1, 3)
    colors, counts = np.unique(drawn, axis=0, return_counts=True)
    tinted = [c for c, n in zip(colors.tolist(), counts, strict=True) if n > 1000 and max(c) - min(c) > 20]
    # Each annotation has its own; beside them they have that of their class, which the legend names.
    assert len(tinted) == 4
    house = ClassTable.from_names(["background", "house", "Tree"]).colors[1]
    assert house in [tuple(c) for c in colors.tolist()]


def test_without_photos(coco):
    coco.add_area("a.png", 7, [box(0, 0, 2, 2)])
    coco.images_dir = coco.images_dir / "none"
    with pytest.raises(MissingInput, match=r"there is no folder .*none \(--images\)"):
        coco.read()
