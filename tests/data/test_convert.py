import json

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import VOID, ClassTable
from hybridseg.data.convert import ConvertOptions, convert_masks
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

LABELS = np.repeat(np.array([[0, 1, 2, VOID], [2, 2, 1, 0]], np.uint8), 16, axis=0).repeat(16, axis=1)
SHAPE = LABELS.shape


@pytest.fixture
def photos(tmp_path):
    """A folder with the photo a.jpg."""
    write_image(tmp_path / "jpg" / "a.jpg", np.full((*SHAPE, 3), 90, np.uint8))
    (tmp_path / "gt").mkdir()
    return tmp_path / "jpg"


@pytest.fixture
def save(photos, table):
    """Write LABELS as a mask of a.jpg in some format."""
    masks, rgb = photos.parent / "gt", table.palette()[LABELS]

    def write(name):
        path = masks / name
        if name.endswith(("_rgb.png", "_rgb.tif", ".jpg")):
            Image.fromarray(rgb).save(path.with_name(name.replace("_rgb", "_mask")), quality=60)
        elif name.endswith("_ids.png"):
            Image.fromarray(LABELS).save(path.with_name("a.png"))
        elif name.endswith(".npz"):
            np.savez(path, label=(LABELS[..., None] == np.arange(3)).astype(np.uint8), classes=list(table.names))
        elif name.endswith("_doodles.json"):
            corners = {0: (0, 0), 1: (0, 16), 2: (0, 32)}
            areas = [_square(corner, class_id) for class_id, corner in corners.items()]
            write_strokes(path, StrokeLog("a.jpg", SHAPE, table, tuple(areas)))
        elif name.endswith(".json"):
            path.write_text(json.dumps(_labelme(table)))
        else:
            write_labelmap(path, LabelMap(LABELS, table))
        return masks

    return write


def _square(corner, class_id):
    (top, left) = corner
    points = ((top, left), (top, left + 15), (top + 15, left + 15), (top + 15, left))
    return Stroke("polygon", class_id, 1.0, tuple((float(r), float(c)) for r, c in points), layer="result")


def _labelme(table):
    squares = [(0, 0, 0), (0, 16, 1), (0, 32, 2)]
    shapes = [
        {"label": table.names[k], "points": [[c, r], [c + 15, r], [c + 15, r + 15], [c, r + 15]]} for r, c, k in squares
    ]
    return {"shapes": shapes, "imageHeight": SHAPE[0], "imageWidth": SHAPE[1], "imagePath": "a.jpg"}


def read_result(result):
    [converted] = result.written
    assert result.problems == () and result.rest == ()
    return read_labelmap(converted.path)


@pytest.mark.parametrize("to, ending", [("mat", "_mres.mat"), ("png", "_label.png"), ("tif", "_label.tif")])
@pytest.mark.parametrize("name", [
    "a_mres.mat", "a.mat", "a.png", "a_ids.png", "a_mask.tif", "a_rgb.png", "a_rgb.tif", "a_SOMEONE.npz",
])  # fmt: skip
def test_from_every_format_to_every_format(photos, save, table, name, to, ending):
    result = convert_masks([save(name)], images_dir=photos, table=table, options=ConvertOptions(to=to))
    found = read_result(result)
    assert np.array_equal(found.labels, LABELS) and found.table == table
    assert result.written[0].path == photos.parent / f"gt_{to}" / f"a{ending}"


@pytest.mark.parametrize("name", ["a.json", "a_doodles.json", "coco.json"])
def test_areas_of_other_tools(photos, save, table, name):
    masks = save(name)
    if name == "coco.json":
        names = [{"id": k + 1, "name": table.names[k]} for k in range(3)]
        boxes = [
            {"image_id": 7, "category_id": k, "id": k, "segmentation": [[c, 0, c + 15, 0, c + 15, 15, c, 15]]}
            for k, c in ((1, 0), (2, 16), (3, 32))
        ]
        images = [{"id": 7, "file_name": "a.jpg", "height": SHAPE[0], "width": SHAPE[1]}]
        (masks / name).write_text(json.dumps({"images": images, "categories": names, "annotations": boxes}))
    turned = ClassTable(table.names[::-1], table.colors[::-1])
    for wanted in (None, turned):
        inputs = [masks] if wanted is None else [masks / name]
        found = read_result(convert_masks(inputs, images_dir=photos, table=wanted, overwrite=True))
        ids = [found.table.index(name) for name in table.names]
        assert [found.labels[8, c] for c in (8, 24, 40)] == ids and (found.labels[20:] == VOID).all()
        assert wanted is None or found.table == turned


def test_scribbles_are_no_areas(photos, table):
    stroke = Stroke("pen", 1, 3.0, ((3.0, 3.0), (9.0, 9.0)))
    write_strokes(photos / "a_doodles.json", StrokeLog("a.jpg", SHAPE, table, (stroke,)))
    with pytest.raises(BadInput, match=r"a_doodles.json: has no areas; spread its scribbles .*: `hybridseg crf"):
        convert_masks([photos / "a_doodles.json"])


def test_what_is_in_progress_is_left_out_and_told(photos, save, table, run):
    """It is no failure that a folder is not labelled to its end."""
    masks = save("a_mres.mat")
    stroke = Stroke("pen", 1, 3.0, ((3.0, 3.0), (9.0, 9.0)))
    write_image(photos / "b.jpg", np.zeros((*SHAPE, 3), np.uint8))
    write_strokes(masks / "b_doodles.json", StrokeLog("b.jpg", SHAPE, table, (stroke,)))
    for _ in ("first", "again"):
        done = run("convert", masks, "--images", photos, "--to", "gpkg")
        assert done.exit_code == 0 and "in progress, with scribbles alone, and left out: b.jpg" in done.stdout
    assert [path.name for path in (photos.parent / "gt_gpkg").iterdir() if path.suffix] == ["a.gpkg"]


def test_to_coco_and_back(photos, save, table):
    """No pixel is lost, and a class that is called background is one like any other."""
    names = ClassTable((*table.names[:2], "background", *table.names[3:]), table.colors)
    masks = save("a_mres.mat")
    write_labelmap(masks / "a_mres.mat", LabelMap(LABELS, names))
    [written] = convert_masks([masks], images_dir=photos, options=ConvertOptions(to="coco")).written
    assert written.path == photos.parent / "gt_coco" / "a.json"
    found = read_result(convert_masks([written.path.parent], images_dir=photos, table=names))
    assert np.array_equal(found.labels, LABELS)


def test_jpeg_masks(photos, save, table):
    masks = save("a_mask.jpg")
    with pytest.raises(BadInput, match=r"a_mask.jpg: is a JPEG, .*give --nearest-color for .*, or --threshold N"):
        convert_masks([masks], images_dir=photos, table=table)
    assert not list(masks.parent.glob("gt_*")), "no empty folder is left"
    options = ConvertOptions(nearest_color=True)
    result = convert_masks([masks], images_dir=photos, table=table, options=options)
    found, [note] = read_result(result), result.written[0].notes
    assert (found.labels == LABELS).mean() > 0.97
    blurred = read_image(masks / "a_mask.jpg")
    n = np.count_nonzero((blurred != table.palette()[LABELS]).any(axis=2))
    assert n > 100 and note.startswith(f"{n:,} pixels ({n / LABELS.size:.2%}) were no exact colour of a class, ")
    other = ClassTable(table.names, ((9, 9, 9), (200, 9, 100), (0, 90, 0)))
    with pytest.raises(BadInput, match=r"%\) far from all of them; give the colours of the mask"):
        convert_masks([masks], images_dir=photos, table=other, options=options, overwrite=True)
    assert (read_result(result).labels == found.labels).all(), "and nothing is replaced"


def test_a_threshold_makes_two_classes(photos, table):
    grey = np.where(LABELS == 1, 230, 20).astype(np.uint8)
    Image.fromarray(grey).save(photos.parent / "gt" / "a.jpg", quality=60)
    two, options = ClassTable.from_names(["water", "land"]), ConvertOptions("mat", threshold=127)
    masks = photos.parent / "gt"
    found = read_result(convert_masks([masks], images_dir=photos, table=two, options=options))
    assert np.array_equal(found.labels, LABELS == 1)
    for wanted, more, message in [
        (table, options, "two classes, but --labels has 3"), (None, options, "give the class file"),
        (two, ConvertOptions(nearest_color=True), "it is not in colours; give --threshold"),
    ]:  # fmt: skip
        with pytest.raises(BadInput, match=message):
            convert_masks([masks], images_dir=photos, table=wanted, options=more, overwrite=True)
    Image.fromarray(table.palette()[LABELS]).save(masks / "a.jpg")
    with pytest.raises(BadInput, match="in colours, so a threshold means nothing; give --nearest-color"):
        convert_masks([masks], images_dir=photos, table=two, options=options, overwrite=True)


def test_options_that_cannot_work(photos, save, table):
    with pytest.raises(BadInput, match="give --threshold or --nearest-color"):
        ConvertOptions(threshold=3, nearest_color=True)
    with pytest.raises(BadInput, match="no mask is a picture that --threshold or --nearest-color could be for"):
        convert_masks([save("a_ids.png")], images_dir=photos, options=ConvertOptions(nearest_color=True), table=table)


def test_the_place_on_earth_is_that_of_the_image(tmp_path, table):
    import rasterio

    transform = rasterio.transform.from_origin(500_000, 4_000_000, 0.5, 0.5)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=3,
                       dtype="uint8", crs="EPSG:32618", transform=transform) as file:  # fmt: skip
        file.write(np.zeros((3, *SHAPE), np.uint8))
    write_labelmap(tmp_path / "a_mask.png", LabelMap(LABELS, table))
    result = convert_masks([tmp_path], options=ConvertOptions("tif"), out_dir=tmp_path / "out")
    place = read_result(result).georeference
    assert place.transform == tuple(transform)[:6] and "32618" in place.crs


def test_nothing_that_is_there_is_lost(photos, save, table):
    masks = save("a.png")
    out = photos.parent / "out"
    write_labelmap(out / "a_label.png", LabelMap(np.zeros_like(LABELS), table))
    result = convert_masks([masks], images_dir=photos, out_dir=out)
    assert result.skipped == (out / "a_label.png",) and not read_labelmap(out / "a_label.png").labels.any()
    convert_masks([masks], images_dir=photos, out_dir=out, overwrite=True)
    assert np.array_equal(read_labelmap(out / "a_label.png").labels, LABELS)
    before = (out / "a_label.png").read_bytes()
    with pytest.raises(BadInput, match=r"would be replaced by its own copy a_label.png; give --out"):
        convert_masks([out], images_dir=photos, out_dir=out, overwrite=True)
    assert (out / "a_label.png").read_bytes() == before


def test_bad_files_are_named_and_the_others_are_done(photos, save, table):
    masks = save("a.png")
    for name in "bcd":
        write_image(photos / f"{name}.jpg", np.zeros((*SHAPE, 3), np.uint8))
    write_labelmap(masks / "b.png", LabelMap(LABELS[:-1], table))
    (masks / "c.png").write_bytes(b"no")
    save("e.png")
    result = convert_masks([masks], images_dir=photos)
    assert [converted.path.name for converted in result.written] == ["a_label.png"]
    assert result.rest == ("images without a mask (1 of 4): d.jpg", "masks without an image (1): e.png")
    with pytest.raises(BadInput, match=r"e.png: has no image in .*jpg \(--images\); looked for e.jpg, e.jpeg"):
        convert_masks([masks / "e.png"], images_dir=photos)
    problems = {problem.where: problem.message for problem in result.problems}
    assert "has 31 x 64 pixels, but b.jpg has 32 x 64" in problems[str(masks / "b.png")]
    assert str(masks / "c.png") in problems
    with pytest.raises(BadInput, match="the classes water are not among sand, cliff"):
        convert_masks(
            [masks / "a.png"], images_dir=photos, table=ClassTable.from_names(["sand", "cliff"]), overwrite=True
        )


def test_the_areas_of_another_image_are_not_used(photos, save, table):
    """A stray JSON of labelme is not for every image, as one of COCO is."""
    masks = save("a.png")
    for name in "bc":
        write_image(photos / f"{name}.jpg", np.zeros((*SHAPE, 3), np.uint8))
    (masks / "split.json").write_text('{"n": 3}')
    (masks / "z.json").write_text(json.dumps(_labelme(table) | {"imagePath": "z.jpg"}))
    result = convert_masks([masks], images_dir=photos)
    assert [converted.path.name for converted in result.written] == ["a_label.png"]
    assert result.rest == (
        "images without a mask (2 of 3): b.jpg, c.jpg", "masks without an image (1): z.json",
        "JSON files without labels (1): split.json",
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"z.json: has no image in .*jpg \(--images\); looked for z.jpg"):
        convert_masks([masks / "z.json"], images_dir=photos)


def test_masks_come_before_the_strokes_that_they_were_made_of(photos, save, table):
    """As in the folder of `label`; what strokes alone leave open is told."""
    masks = save("a_mres.mat")
    for target in ("a", "b"):
        write_strokes(masks / f"{target}_doodles.json", StrokeLog(f"{target}.jpg", SHAPE, table, (_square((0, 0), 1),)))
    write_image(photos / "b.jpg", np.zeros((*SHAPE, 3), np.uint8))
    whole, part = convert_masks([masks], images_dir=photos, table=table).written
    assert np.array_equal(read_labelmap(whole.path).labels, LABELS) and whole.notes == ()
    n_void = (read_labelmap(part.path).labels == VOID).sum()
    assert 1500 < n_void < LABELS.size
    assert part.notes == (f"{n_void / LABELS.size:.1%} of the pixels have no area and became void",)


def test_jpeg_masks_beside_their_photos_are_given_by_name(photos, save, table):
    save("a_mask.jpg").joinpath("a_mask.jpg").rename(photos / "a_mask.jpg")
    options = ConvertOptions(nearest_color=True)
    with pytest.raises(MissingInput, match=r"a_mask.jpg counts as a photo: give JPEG masks by name to hybridseg conv"):
        convert_masks([photos], table=table, options=options)
    found = read_result(convert_masks([photos / "a_mask.jpg"], table=table, options=options))
    assert (found.labels == LABELS).mean() > 0.97


def test_nothing_to_convert(photos, save):
    with pytest.raises(MissingInput, match=r"gt has no label map; looked for .*its own: --images DIR$"):
        convert_masks([photos.parent / "gt"])
    with pytest.raises(MissingInput, match=r"gt has no label map of the 1 image \(a.jpg"):
        convert_masks([photos.parent / "gt"], images_dir=photos)
    with pytest.raises(MissingInput, match="there is no file or folder"):
        convert_masks([photos / "none"])


def test_ids_that_may_be_two_classes_are_told(photos, save, table):
    masks = save("a_ids.png")
    Image.fromarray(np.where(LABELS == 1, 255, 0).astype(np.uint8)).save(masks / "a.png")
    result = convert_masks([masks], images_dir=photos, table=table)
    assert "if these are two classes, give --threshold 128" in result.written[0].notes[0]


@pytest.mark.parametrize("to, ending", [("labelme", ".json"), ("doodler", ".npz"), ("gpkg", ".gpkg")])
def test_for_other_programs(photos, save, table, to, ending):
    result = convert_masks([save("a_mres.mat")], images_dir=photos, table=table, options=ConvertOptions(to=to))
    written = photos.parent / f"gt_{to}" / f"a{ending}"
    assert [done.path for done in result.written] == [written]
    if to == "gpkg":
        assert written.read_bytes().startswith(b"SQLite format 3")
        return
    again = convert_masks([written], images_dir=photos, table=table, options=ConvertOptions(to="png"))
    assert np.array_equal(read_result(again).labels, LABELS)
