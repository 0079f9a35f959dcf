import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, OutputExists, WriteFailed
from hybridseg.hybrid.retile import retile
from hybridseg.hybrid.tilefolder import open_tile_folder, read_class_list
from hybridseg.hybrid.tileplan import RetileOptions
from hybridseg.io.atomic import explain_writing
from hybridseg.io.images import read_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.masks import find_labelled
from hybridseg.io.pairing import Pair
from hybridseg.io.tables import read_csv

COLUMNS = ("tile", "class", "source", "row", "col", "purity", "kept")
OPTIONS = RetileOptions(tile_size=8, keep=1.0, format="png")


def cut(folder, options=OPTIONS, **more):
    found = find_labelled([folder])
    more.setdefault("tiles_dir", folder / "tiles")
    return retile(found.pairs, options=options, problems=found.problems, **more)


@pytest.fixture
def checkered(tmp_path, make_pair):
    """One 16 x 24 image: water left, sand in the middle, cliff right, each 8 pixels wide; every pixel different."""
    labels = np.repeat(np.arange(3, dtype=np.uint8), 8)[None].repeat(16, axis=0)
    image = np.arange(16 * 24 * 3, dtype=np.int64).reshape(16, 24, 3).astype(np.uint8)
    make_pair(tmp_path, "a", labels, image)
    return tmp_path


def test_tiles_by_hand(checkered):
    result = cut(checkered)
    assert result.problems == ()
    # Windows every 4 pixels: 3 rows x 5 columns, of which the columns 0, 8 and 16 are of one class.
    assert result.n_found == result.n_kept == {"cliff": 3, "sand": 3, "water": 3}
    image = read_image(checkered / "a.png")
    rows = read_csv(result.tiles_dir / "tiles.csv", COLUMNS)
    assert [(r["class"], r["row"], r["col"], r["purity"], r["kept"], r["source"]) for r in rows][:2] == [
        ("cliff", "0", "16", "1.0", "1", "a.png"),
        ("cliff", "4", "16", "1.0", "1", "a.png"),
    ]
    for row in rows:
        r, c = int(row["row"]), int(row["col"])
        assert row["tile"] == f"{row['class']}/a_r{r}_c{c}.png"
        assert np.array_equal(read_image(result.tiles_dir / row["tile"]), image[r : r + 8, c : c + 8])


def test_tiles_without_a_picture_are_left_out(checkered):
    rgba = np.dstack([read_image(checkered / "a.png"), np.full((16, 24, 1), 255, np.uint8)])
    rgba[:, :4, 3] = 0
    Image.fromarray(rgba).save(checkered / "a.png")
    assert cut(checkered).n_found == {"cliff": 3, "sand": 3}


def test_purity_is_strictly_greater(tmp_path, make_pair):
    labels = np.zeros((10, 10), np.uint8)
    labels[0] = 1
    make_pair(tmp_path, "a", labels)
    with pytest.raises(BadInput, match="no window of 10 pixels in 1 image has one class on more than 90%"):
        cut(tmp_path, RetileOptions(tile_size=10, purity=0.9))
    assert cut(tmp_path, RetileOptions(tile_size=10, purity=0.89)).n_kept == {"water": 1}


def test_classes_are_matched_by_name_not_by_place(tmp_path, make_pair):
    """The same coast labelled by two people whose class lists are in another order, and spelled otherwise."""
    labels = np.zeros((8, 8), np.uint8)
    make_pair(tmp_path, "a", labels, classes=ClassTable.from_names(["dry_sand", "dune"]))
    make_pair(tmp_path, "b", labels + 1, classes=ClassTable.from_names(["Dune", "Dry sand"]))
    result = cut(tmp_path)
    assert result.n_kept == {"dry_sand": 2}
    assert sorted(path.name for path in (result.tiles_dir / "dry_sand").iterdir()) == ["a_r0_c0.png", "b_r0_c0.png"]


@pytest.mark.slow
def test_thinning_spares_small_classes(tmp_path, make_pair):
    labels = np.zeros((40, 120), np.uint8)
    labels[:, 104:] = 1
    make_pair(tmp_path, "a", labels)
    options = RetileOptions(tile_size=8, keep=0.25, min_keep=60, seed=3)
    result = cut(tmp_path, options)
    assert result.n_found == {"sand": 27, "water": 225}
    assert result.n_kept == {"sand": 27, "water": 56}
    kept = {row["tile"] for row in read_csv(result.tiles_dir / "tiles.csv", COLUMNS) if row["kept"] == "1"}
    written = {path.relative_to(result.tiles_dir).as_posix() for path in result.tiles_dir.rglob("*.jpg")}
    assert kept == written
    again = cut(tmp_path, options, tiles_dir=tmp_path / "again", n_jobs=2)
    assert (again.tiles_dir / "tiles.csv").read_bytes() == (result.tiles_dir / "tiles.csv").read_bytes()
    for tile in kept:
        assert (again.tiles_dir / tile).read_bytes() == (result.tiles_dir / tile).read_bytes()
    other = cut(tmp_path, RetileOptions(tile_size=8, keep=0.25, min_keep=60, seed=4), tiles_dir=tmp_path / "other")
    assert (other.tiles_dir / "tiles.csv").read_bytes() != (result.tiles_dir / "tiles.csv").read_bytes()


def test_every_bad_input_is_named_and_the_good_ones_are_done(checkered, make_pair):
    labels = np.zeros((8, 8), np.uint8)
    make_pair(checkered, "turned", np.zeros((8, 12), np.uint8), np.zeros((12, 8, 3), np.uint8))
    make_pair(checkered, "small", np.zeros((6, 20), np.uint8))
    make_pair(checkered, "cut", labels)
    content = (checkered / "cut_mres.mat").read_bytes()
    (checkered / "cut_mres.mat").write_bytes(content[:-40])
    make_pair(checkered, "blind", labels)
    (checkered / "blind.png").write_bytes((checkered / "blind.png").read_bytes()[:-30])
    make_pair(checkered, "nameless", labels)
    savemat(checkered / "nameless_mres.mat", {"class": labels})
    result = cut(checkered)
    assert result.n_kept == {"cliff": 3, "sand": 3, "water": 3}
    told = {os.path.basename(p.where): p.message for p in result.problems}  # noqa: PTH119
    assert told.keys() == {
        "turned_mres.mat", "small_mres.mat", "cut_mres.mat", "blind.png", "nameless_mres.mat"
    }  # fmt: skip
    assert "has 8 x 12 pixels, but turned.png has 12 x 8" in told["turned_mres.mat"]
    assert "smaller than one tile of 8" in told["small_mres.mat"]
    assert "cannot be read as a .mat file" in told["cut_mres.mat"]
    assert "is damaged or cut short" in told["blind.png"]
    assert "does not name its classes; give the class file" in told["nameless_mres.mat"]
    given = cut(checkered, table=ClassTable.from_names(["water", "mud"]), overwrite=True)
    assert given.n_kept["water"] == 4 and len(given.problems) == 4


def test_hostile_class_names_stay_in_the_folder(tmp_path, make_pair):
    names = ["../../etc", "/abs/olute", "..", "a\\b", "sand/gravel"]
    labels = np.arange(5, dtype=np.uint8).repeat(8)[None].repeat(8, axis=0)
    with pytest.raises(BadInput, match="has no letter or digit"):
        ClassTable.from_names(names)
    names[2] = ".hidden."
    make_pair(tmp_path, "a", labels, classes=ClassTable.from_names(names))
    result = cut(tmp_path)
    folders = sorted(path.name for path in result.tiles_dir.iterdir() if path.is_dir())
    assert folders == ["_.._etc", "_abs_olute", "a_b", "hidden", "sand_gravel"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a_mres.mat", "tiles"]


def test_classes_called_like_the_lists_of_the_folder(tmp_path, make_pair):
    labels = np.arange(2, dtype=np.uint8).repeat(8)[None].repeat(8, axis=0)
    make_pair(tmp_path, "a", labels, classes=ClassTable.from_names(["classes.json", "tiles.csv"]))
    result = cut(tmp_path)
    assert sorted(path.name for path in result.tiles_dir.iterdir() if path.is_dir()) == ["classes.json_", "tiles.csv_"]
    assert read_class_list(result.tiles_dir).table.names == ("classes.json", "tiles.csv")


def test_existing_tiles_are_kept_unless_asked(checkered):
    cut(checkered)
    (checkered / "tiles" / "sand" / "a_r0_c8.png").unlink()
    with pytest.raises(OutputExists, match="is there already; give --overwrite"):
        cut(checkered)
    assert not (checkered / "tiles" / "sand" / "a_r0_c8.png").exists()
    cut(checkered, overwrite=True)
    assert (checkered / "tiles" / "sand" / "a_r0_c8.png").exists()


def test_the_same_tiles_are_not_cut_again(checkered, make_pair):
    first = cut(checkered)
    before = {path: path.stat().st_mtime_ns for path in (checkered / "tiles").rglob("*")}
    again = cut(checkered)
    assert again == replace(first, was_there=True) and not first.was_there
    assert {path: path.stat().st_mtime_ns for path in (checkered / "tiles").rglob("*")} == before
    make_pair(checkered, "b", np.zeros((16, 24)))
    with pytest.raises(OutputExists, match="is there already; give --overwrite"):
        cut(checkered)
    (checkered / "b.png").unlink()
    (checkered / "b_mres.mat").unlink()
    assert cut(checkered).was_there
    with pytest.raises(OutputExists, match="is there already; give --overwrite"):
        cut(checkered, RetileOptions(tile_size=8, purity=0.5))
    # Another photo of the same name: all of its tiles are there.
    os.utime(checkered / "a.png", ns=(0, 0))
    with pytest.raises(OutputExists, match="is there already; give --overwrite"):
        cut(checkered)


def test_an_interrupted_run_shows_nothing_and_goes_on(checkered, monkeypatch):
    import hybridseg.hybrid.retile as module

    original, written = module.write_image, []

    def stop_after_four(path, image, **more):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        original(path, image, **more)

    monkeypatch.setattr(module, "write_image", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        cut(checkered)
    assert not (checkered / "tiles").exists()
    first = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(
        module, "write_image", lambda path, image, **more: written.append(path) or original(path, image, **more)
    )
    cut(checkered)
    assert len(written) == 9, "the four tiles of the first run were not written again"
    assert all((checkered / "tiles" / p.parent.name / p.name).stat().st_mtime_ns == t for p, t in first.items())
    assert sorted(path.name for path in checkered.iterdir()) == ["a.png", "a_mres.mat", "tiles"]


def test_a_full_disk_is_told_and_what_fits_is_kept(checkered, monkeypatch):
    import hybridseg.hybrid.retile as module

    write_image, written = module.write_image, []

    def write_one(path, *args, **settings):
        with explain_writing(path):
            if written:
                raise OSError(28, "No space left on device")
            written.append(path)
            write_image(path, *args, **settings)

    monkeypatch.setattr(module, "write_image", write_one)
    with pytest.raises(WriteFailed, match=r"could not write \S*/tiles/.*No space.* the same command goes on") as failed:
        cut(checkered)
    [kept] = checkered.glob(".tiles.*.partial")
    assert str(failed.value).endswith(f"from the tiles in {kept}, which you may remove")
    assert written[0].exists() and kept in written[0].parents
    monkeypatch.undo()
    cut(checkered)
    assert not kept.exists()


def test_leftovers_of_another_plan_do_not_mix_in(checkered):
    leftover = checkered / ".tiles.0123456789ab.partial"
    (leftover / "sand").mkdir(parents=True)
    (leftover / "sand" / "old.png").touch()
    cut(checkered)
    assert not leftover.exists() and not (checkered / "tiles" / "sand" / "old.png").exists()


def test_wide_images_become_bytes(tmp_path, make_pair):
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    make_pair(tmp_path, "a", np.zeros((8, 8), np.uint8))
    (tmp_path / "a.png").unlink()
    profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 5, "dtype": "uint16"}
    with quiet_rasterio(), rasterio.open(tmp_path / "a.tif", "w", **profile) as f:
        f.write(np.arange(8 * 8 * 5, dtype=np.uint16).reshape(5, 8, 8) * 100)
    result = cut(tmp_path, tiles_dir=tmp_path / "t")
    tile = read_image(tmp_path / "t" / "water" / "a_r0_c0.png")
    assert result.n_kept == {"water": 1} and tile.shape == (8, 8, 3) and tile[-1, -1, 2] > tile[0, 0, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tile_size": 7}, "8 or more"),
        ({"purity": 1.0}, "from 0 to below 1"),
        ({"keep": 0}, "above 0 and up to 1"),
        ({"min_keep": -1}, "0 or more"),
        ({"format": "gif"}, "one of jpg, png"),
    ],
)
def test_options_that_cannot_work(values, message):
    with pytest.raises(BadInput, match=message):
        RetileOptions(**values)


def test_jpeg_tiles_are_nearly_the_picture(tmp_path, make_pair):
    smooth = np.linspace(0, 255, 64).reshape(8, 8)[..., None].repeat(3, axis=2).astype(np.uint8)
    make_pair(tmp_path, "a", np.zeros((8, 8), np.uint8), smooth)
    cut(tmp_path, RetileOptions(tile_size=8))
    tile = read_image(tmp_path / "tiles" / "water" / "a_r0_c0.jpg")
    assert np.abs(tile.astype(int) - smooth).max() < 12


def test_labels_turned_by_exif_are_explained(tmp_path, make_pair):
    make_pair(tmp_path, "a", np.zeros((8, 12), np.uint8))
    (tmp_path / "a.png").unlink()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(BadInput, match="turned by its EXIF orientation 6; the labels were made before turning"):
        cut(tmp_path)


def test_nothing_at_all(tmp_path):
    with pytest.raises(BadInput, match="no label map was given"):
        retile([], tiles_dir=tmp_path / "t")


def test_two_images_of_one_name_are_told_apart_or_refused(tmp_path, make_pair):
    make_pair(tmp_path, "a", np.zeros((8, 8), np.uint8))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.tif")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    with pytest.raises(BadInput, match=r"could belong to a.jpg, a.tif; keep one"):
        cut(tmp_path)


def test_overwriting_never_takes_what_it_did_not_write(checkered):
    for target in (checkered, checkered.parent):
        with pytest.raises(OutputExists, match="was not written by this command"):
            cut(checkered, tiles_dir=target, overwrite=True)
    cut(checkered)
    (checkered / "tiles" / "notes.txt").write_text("which tiles are doubtful")
    with pytest.raises(OutputExists, match=r"notes.txt was not written by this command and would be lost"):
        cut(checkered, overwrite=True)
    (checkered / "tiles" / "notes.txt").unlink()
    (checkered / "tiles" / "eval_tiles.csv").touch()
    cut(checkered, overwrite=True)


def test_good_tiles_are_not_replaced_by_none(checkered):
    cut(checkered)
    whole = (checkered / "a.png").read_bytes()
    (checkered / "a.png").write_bytes(whole[:-40])
    with pytest.raises(BadInput, match=r"nothing to cut:\n.*a.png: is damaged"):
        cut(checkered, overwrite=True)
    assert (checkered / "tiles" / "sand" / "a_r0_c8.png").exists()
    (checkered / "a.png").write_bytes(whole)
    with pytest.raises(BadInput, match="keeps no tile at all; raise it"):
        cut(checkered, RetileOptions(tile_size=8, keep=0.001, min_keep=0), tiles_dir=checkered / "none")


def test_two_runs_at_once_do_not_meet(checkered):
    from hybridseg.io.locks import lock_output

    with lock_output(checkered / "tiles"), pytest.raises(OutputExists, match="another run is writing"):
        cut(checkered)
    cut(checkered)
    assert sorted(path.name for path in checkered.iterdir()) == ["a.png", "a_mres.mat", "tiles"]


def test_leftovers_of_a_killed_run_are_not_published(checkered, monkeypatch):
    import hybridseg.hybrid.retile as module

    original = module._open_partial

    def open_with_leftover(*args):
        partial = original(*args)
        (partial / "sand").mkdir(parents=True)
        (partial / "sand" / ".0123456789abcdef.partial.png").touch()
        return partial

    monkeypatch.setattr(module, "_open_partial", open_with_leftover)
    cut(checkered)
    assert not [path for path in (checkered / "tiles").rglob("*") if path.name.startswith(".")]


def test_the_class_list_is_written_beside_the_tiles(checkered, table, make_pair):
    first = ClassTable(("Lava/rock", "Dry Sand", "sky"), ((9, 9, 9), (8, 8, 8), (7, 7, 7)))
    make_pair(checkered, "0", np.zeros((8, 16), np.uint8), classes=first)
    result = cut(checkered)
    found = read_class_list(result.tiles_dir)
    assert found.table == first.union(table)
    assert found.folders == {"Lava_rock": 0, "water": 3, "sand": 4, "cliff": 5}
    opened = open_tile_folder(result.tiles_dir)
    assert opened.table.names == ("Lava/rock", "water", "sand", "cliff")
    assert [count.name for count in result.counts] == list(found.table.names)
    cut(checkered, overwrite=True)
    (result.tiles_dir / "classes.json").write_text('{"mine": 1}')
    with pytest.raises(OutputExists, match=r"classes.json was not written by this command and would be lost"):
        cut(checkered, overwrite=True)


def test_names_that_no_folder_can_tell_apart_have_two(tmp_path, make_pair):
    names = ("\u0915\u093f", "\u0915\u0940")  # A letter with one vowel sign and with another.
    labels = np.arange(2, dtype=np.uint8).repeat(8)[None].repeat(12, axis=0)
    make_pair(tmp_path, "a", labels)
    write_labelmap(tmp_path / "a_mres.tif", LabelMap(labels, ClassTable.from_names(names)))
    pair = Pair(tmp_path / "a_mres.tif", tmp_path / "a.png")
    result = retile([pair], tiles_dir=tmp_path / "t", options=OPTIONS)
    assert result.n_kept == dict.fromkeys(names, 2)
    folder = open_tile_folder(tmp_path / "t")
    assert folder.table.names == names and folder.class_ids.tolist() == [0, 0, 1, 1]


def test_a_class_that_purity_shuts_out_is_told(tmp_path, make_pair):
    """Sand covers a quarter of the photo in stripes narrower than a tile, cliff half a percent."""
    labels = np.zeros((48, 96), np.uint8)
    labels[:, 48:] = np.arange(48) % 12 < 6
    labels[0, :24] = 2
    make_pair(tmp_path, "a", labels)
    result = cut(tmp_path)
    sand = result.counts[1]
    assert (sand.name, sand.n_pixels, sand.n_found, sand.n_kept) == ("sand", 48 * 24, 0, 0)
    assert result.warnings[0] == "sand is 25.0 % of the labelled pixels but no window is pure"
    assert len(result.warnings) == 2 and "(-t)" in result.warnings[1] and "hybridseg fcn" in result.warnings[1]
    assert cut(tmp_path, RetileOptions(tile_size=8, purity=0.7), tiles_dir=tmp_path / "b").warnings == ()


def test_masks_in_black_and_white_are_told(checkered):
    """255 is void: without a word, all of a photo was 'land'."""
    (checkered / "a_mres.mat").unlink()
    Image.fromarray(np.repeat(np.uint8([255, 0, 0]), 8)[None].repeat(16, axis=0)).save(checkered / "a_mask.png")
    told = "no mask shows a class other than 'land'; .*hybridseg convert MASKS .* --threshold 128"
    assert re.fullmatch(told, *cut(checkered, table=ClassTable.from_names(["land", "water"])).warnings)


def test_void_is_no_labelled_pixel(tmp_path, make_pair):
    labels = np.full((8, 16), 255, np.uint8)
    labels[:, :8] = 1
    make_pair(tmp_path, "a", labels)
    assert [(c.name, c.n_pixels) for c in cut(tmp_path).counts] == [("water", 0), ("sand", 64), ("cliff", 0)]
