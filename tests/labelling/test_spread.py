import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.hybrid.segmentation import reduce_image
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.images import describe_image, read_image, write_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.labelling.spread import DrawnSeeds, read_seeds, spread_file
from hybridseg.labelling.spreading import SpreadOptions, reduce_seeds, spread_seeds

NEAR = SpreadOptions(scale=0.5, crf=CrfOptions(theta=8.0, color_scale=10.0, gt_prob=0.9, n_threads=1), features="none")


@pytest.fixture
def photo(tmp_path, paint_coast):
    write_image(tmp_path / "my photo.png", paint_coast(60, 90, border=40))
    return tmp_path / "my photo.png"


@pytest.fixture
def seeds():
    found = np.zeros((60, 90), np.uint8)
    found[30, 5:20], found[31, 60:80] = 3, 1
    return found


def test_scribbles_reach_the_border_and_stay_as_they_are(photo, seeds):
    image = read_image(photo)
    seeds[10, 70] = 2  # Somebody knows better than the colours.
    labels = spread_seeds(reduce_image(image, 0.5), seeds, n_classes=3, options=NEAR.constants)
    assert labels.shape == (60, 90) and (labels[seeds > 0] == seeds[seeds > 0] - 1).all()
    expected = np.where(np.arange(90) < 40, 2, 0) * np.ones((60, 1))
    assert (labels == expected).mean() > 0.97


def test_a_thin_line_is_still_there_when_the_map_is_a_tenth():
    seeds = np.zeros((100, 100), np.uint8)
    seeds[57, 3:97] = 2
    small = reduce_seeds(seeds, (10, 10))
    assert small[5].tolist() == [2] * 10 and np.count_nonzero(small) == 10


def test_a_pixel_takes_the_class_with_most_seeds():
    assert reduce_seeds(np.array([[4, 4, 2], [0, 2, 2]], np.uint8), (1, 1)).tolist() == [[2]]
    assert reduce_seeds(np.array([[4, 2]], np.uint8), (1, 1)).tolist() == [[2]], "of equal ones the lowest"
    assert reduce_seeds(np.zeros((4, 4), np.uint8), (2, 2)).tolist() == [[0, 0], [0, 0]]


def test_all_files_are_written_and_hold_the_same(photo, seeds, table, tmp_path):
    written = spread_file(photo, DrawnSeeds(seeds, table, 90.0), options=NEAR, out_dir=tmp_path / "out").written
    assert [p.name for p in written] == [
        "my photo_mres.mat", "my photo_mres_label.png", "my photo_mres.png", "my photo_report.txt",
    ]  # fmt: skip
    mat, png = (read_labelmap(path) for path in written[:2])
    assert (mat.labels == png.labels).all() and (mat.seeds == seeds).all() and mat.table.names == table.names
    assert min(read_image(written[2]).shape[:2]) > 200
    report = written[3].read_text()
    assert "pixels: 5400\n" in report and "minutes: 1.5\n" in report and f"scribbled: {35 / 5400:.2%}\n" in report
    share = np.mean(mat.labels == 2)
    assert f"cliff: {share:.2%}\n" in report


def test_ground_truth_is_not_replaced_unasked(photo, seeds, table, quick_panels):
    spread_file(photo, DrawnSeeds(seeds, table), options=NEAR)
    before = (photo.parent / "my photo_mres.mat").read_bytes()
    with pytest.raises(OutputExists, match="--overwrite replaces it"):
        spread_file(photo, DrawnSeeds(seeds[::-1], table), options=NEAR)
    assert (photo.parent / "my photo_mres.mat").read_bytes() == before
    spread_file(photo, DrawnSeeds(seeds[::-1].copy(), table), options=NEAR, overwrite=True)
    assert (photo.parent / "my photo_mres.mat").read_bytes() != before


@pytest.mark.parametrize("name", ["my photo_mres_label.png", "my photo_report.txt", "figures/my photo_mres.png"])
def test_what_lies_beside_the_photo_is_not_replaced_unasked(photo, seeds, table, quick_panels, name):
    other = photo.parent / name
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(photo.read_bytes() if name.endswith(".png") else b"my own report")
    before = other.read_bytes()
    with pytest.raises(OutputExists, match=f"{name} is there and was not written by hybridseg; move it away, or let"):
        spread_file(photo, DrawnSeeds(seeds, table), options=NEAR)
    assert other.read_bytes() == before and not photo.with_name("my photo_mres.mat").exists()
    spread_file(photo, DrawnSeeds(seeds, table), options=NEAR, overwrite=True)
    assert other.read_bytes() != before


def test_a_mask_that_was_converted_is_not_what_a_killed_run_left(photo, seeds, table, quick_panels):
    mask = photo.with_name("my photo_mres_label.png")
    write_labelmap(mask, LabelMap(np.zeros((60, 90), np.uint8), table))
    with pytest.raises(OutputExists, match=r"label\.png is there and was not written"):
        spread_file(photo, DrawnSeeds(seeds, table), options=NEAR)
    assert not read_labelmap(mask).labels.any()


def test_what_a_killed_run_left_is_replaced(photo, seeds, table, quick_panels):
    """Its label map comes last; the rest says who made it."""
    first = spread_file(photo, DrawnSeeds(seeds, table), options=NEAR)
    first.written[0].unlink()
    assert spread_file(photo, DrawnSeeds(seeds, table), options=NEAR).written == first.written


def test_scribbles_of_another_image(photo, seeds, table):
    with pytest.raises(BadInput, match=r"50 x 90 pixels, but my photo\.png has 60 x 90"):
        spread_file(photo, DrawnSeeds(seeds[:50], table))


def test_every_kind_of_scribbles_gives_the_same(table, tmp_path):
    stroke = Stroke("pen", 1, 3.0, ((4.0, 2.0), (4.0, 12.0)))
    write_strokes(tmp_path / "a_doodles.json", StrokeLog("a.jpg", (9, 16), table, (stroke,), 30.0))
    image = tmp_path / "a.jpg"
    first = read_seeds(tmp_path / "a_doodles.json", image)
    assert first.seconds == 30.0 and first.seeds[4, 7] == 2 and np.count_nonzero(first.seeds) > 30
    write_matfile(tmp_path / "a_mres.mat", LabelMap(np.zeros((9, 16), np.uint8), table, first.seeds))
    write_labelmap(tmp_path / "a.png", LabelMap(first.seeds - np.uint8(1), table))
    for name in ("a_mres.mat", "a.png"):
        found = read_seeds(tmp_path / name, image)
        assert (found.seeds == first.seeds).all() and found.table == table and found.seconds is None
    # The same classes in another order: by name.
    turned = ClassTable(table.names[::-1], table.colors[::-1])
    assert set(np.unique(read_seeds(tmp_path / "a.png", image, table=turned).seeds)) == {0, 2}
    wider = ClassTable.from_names(["foam", *table.names])
    assert set(np.unique(read_seeds(tmp_path / "a_doodles.json", image, table=wider).seeds)) == {0, 3}


def test_files_without_a_scribble(table, tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    write_matfile(tmp_path / "dense_mres.mat", LabelMap(labels, table))
    write_matfile(tmp_path / "blank_mres.mat", LabelMap(labels, table, labels))
    with pytest.raises(BadInput, match="no `sparse`"):
        read_seeds(tmp_path / "dense_mres.mat", tmp_path / "a.jpg")
    with pytest.raises(BadInput, match=r"blank_mres\.mat has no scribbles"):
        read_seeds(tmp_path / "blank_mres.mat", tmp_path / "a.jpg")


def test_a_geotiff_keeps_its_place(seeds, table, tmp_path, paint_coast, quick_panels):
    import rasterio

    path = tmp_path / "ortho.tif"
    transform = rasterio.transform.from_origin(500_000, 4_000_000, 0.5, 0.5)
    image = paint_coast(60, 90, border=40)
    image[:, 85:] = 0
    with rasterio.open(path, "w", driver="GTiff", height=60, width=90, count=3, dtype="uint8", crs="EPSG:32618",
                       transform=transform, nodata=0) as dataset:  # fmt: skip
        dataset.write(image.transpose(2, 0, 1))
    written = spread_file(path, DrawnSeeds(seeds, table), options=NEAR).written
    place = describe_image(written[-1]).georeference
    assert written[-1].name == "ortho_mres_label.tif" and place.transform == tuple(transform)[:6]
    labels = read_labelmap(written[-1]).labels
    assert (labels[:, 85:] == 255).all() and (labels[:, :80] != 255).mean() > 0.99


def test_the_command(run, photo, seeds, table, quick_panels):
    write_matfile(photo.with_name("drawn.mat"), LabelMap(np.zeros((60, 90), np.uint8), table, seeds))
    result = run(
        "crf",
        photo,
        photo.with_name("drawn.mat"),
        "-s",
        "0.5",
        "--features",
        "none",
        "--theta",
        "8",
        "--color-scale",
        "10",
    )
    assert result.exit_code == 0 and "wrote" in result.output
    found = read_labelmap(photo.with_name("my photo_mres.mat"))
    small = reduce_image(read_image(photo), 0.5)
    assert (found.labels == spread_seeds(small, seeds, n_classes=3, options=NEAR.constants)).all()
    assert run("crf", photo, photo.with_name("drawn.mat")).exit_code == 1
    assert run("crf", photo, photo.with_name("drawn.mat"), "-s", "7", "--overwrite").exit_code == 1


def save_strokes(path, table, *strokes, undone=()):
    write_strokes(path, StrokeLog("a.png", (6, 8), table, strokes, undone=undone))
    return path


def test_doodles_of_paint_alone(table, tmp_path, quick_panels):
    """There is nothing to spread: what is painted is the result, all else is void."""
    paint = Stroke("region", 2, 1.0, ((1.0, 2.0), (1.0, 5.0)), layer="result")
    undone = Stroke("pen", 0, 3.0, ((4.0, 4.0),))
    found = read_seeds(save_strokes(tmp_path / "a_doodles.json", table, paint, undone=(undone,)), tmp_path / "a.png")
    assert not found.seeds.any() and found.painted is not None and found.painted[1].tolist() == [0, 0, 3, 3, 3, 3, 0, 0]
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    spread_file(tmp_path / "a.png", found)
    labels = read_labelmap(tmp_path / "a_mres.mat").labels
    assert labels[1, 2] == 2 and np.count_nonzero(labels != 255) == 4


def test_doodles_in_which_nothing_is_left(table, tmp_path):
    pen, erase = Stroke("pen", 1, 2.0, ((3.0, 3.0),)), Stroke("erase", 0, 9.0, ((3.0, 3.0),))
    for strokes, undone in (((erase,), ()), ((pen, erase), ()), ((), (pen,))):
        with pytest.raises(BadInput, match="has no scribbles"):
            read_seeds(save_strokes(tmp_path / "a_doodles.json", table, *strokes, undone=undone), tmp_path / "a.png")


def test_strokes_of_another_image(photo, run, table, quick_panels):
    stroke = Stroke("pen", 0, 3.0, ((5.0, 5.0), (20.0, 9.0)))
    rows, cols = read_image(photo).shape[:2]
    path = photo.with_name("other_doodles.json")
    write_strokes(path, StrokeLog("other.jpg", (rows, cols), table, (stroke,)))
    refused = run("crf", photo, path)
    assert refused.exit_code == 1 and "drawn on other, not on my photo" in refused.output
    path.rename(photo.with_name("my photo_doodles.json"))
    assert run("crf", photo, photo.with_name("my photo_doodles.json")).exit_code == 0


def test_only_what_lies_in_the_picture_counts(table):
    seeds = np.array([[1, 2], [0, 3]], np.uint8)
    valid = np.array([[True, False], [True, True]])
    assert DrawnSeeds(seeds, table).within(valid).seeds.tolist() == [[1, 0], [0, 3]]
    with pytest.raises(BadInput, match="no picture"):
        DrawnSeeds(seeds, table).within(np.zeros((2, 2), bool))


def test_what_holds_no_scribbles(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(BadInput, match=r"notes.txt is of no format that can be read; give a label map \(\.mat"):
        read_seeds(tmp_path / "notes.txt", tmp_path / "a.png")
    with pytest.raises(MissingInput, match=r"none\.json"):
        read_seeds(tmp_path / "none.json", tmp_path / "a.png")


def test_scribbles_of_doodler(photo, seeds, table, run, quick_panels):
    """The labels that Doodler made of them are not seeds."""
    dense = np.zeros((60, 90, 3), np.uint8)
    dense[..., 1] = 1
    path = photo.with_name("my photo_ann.npz")
    np.savez(path, doodles=seeds, label=dense, classes=list(table.names))
    found = read_seeds(path, photo)
    assert (found.seeds == seeds).all() and found.painted is None and found.table.names == table.names
    turned = ClassTable(table.names[::-1], table.colors[::-1])
    assert set(np.unique(read_seeds(path, photo, table=turned).seeds)) == {0, 1, 3}
    with pytest.raises(BadInput, match="no class is called 'water'"):
        read_seeds(path, photo, table=ClassTable.from_names(["sky", "sand"]))
    assert run("crf", photo, path, "-s", 0.5, "--features", "none", "--theta", 8, "--color-scale", 10).exit_code == 0
    result = read_labelmap(photo.with_name("my photo_mres.mat"))
    assert (result.labels == np.where(np.arange(90) < 40, 2, 0)).mean() > 0.97 and (result.seeds == seeds).all()
    np.savez(path, label=dense, classes=list(table.names))
    assert set(np.unique(read_seeds(path, photo).seeds)) == {2}


def test_areas_of_labelme_are_seeds_too(photo, run, quick_panels):
    shapes = [
        {"label": "cliff", "points": [[2, 2], [20, 2], [20, 30], [2, 30]]},
        {"label": "water", "shape_type": "linestrip", "points": [[60, 31], [80, 31]]},
    ]
    path = photo.with_name("my photo.json")
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 60, "imageWidth": 90, "imagePath": "b.png"}))
    result = run("crf", photo, path, "-s", 0.5, "--features", "none", "--theta", 8, "--color-scale", 10)
    assert result.exit_code == 0 and "warning" in result.stderr and "it was drawn on b.png" in result.stderr
    found = read_labelmap(photo.with_name("my photo_mres.mat"))
    expected = np.where(np.arange(90) < 40, found.table.index("cliff"), found.table.index("water"))
    assert (found.labels == expected).mean() > 0.97
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 60, "imageWidth": 91}))
    refused = run("crf", photo, path, "--overwrite")
    assert refused.exit_code == 1 and "drawn on 60 x 91 pixels" in refused.stderr
