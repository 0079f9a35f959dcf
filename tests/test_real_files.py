"""The real files of the field, as their authors left them; skipped, with the reason, where they are not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.io import savemat

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.evaluation import pixels
from hybridseg.evaluation.pairs import TruthPair, find_result_pairs
from hybridseg.evaluation.pixels import compare_pair, evaluate_pixels
from hybridseg.io.images import as_rgb8, describe_image, read_image, write_image
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.tables import read_csv

pytestmark = pytest.mark.real

# file: rows, cols, number of named classes (0: it names none), has scribbles
MATS = {
    "201302661_mres.mat": (4912, 7360, 10, False),
    "201309922_mres.mat": (4912, 7360, 10, False),
    "20190602_0109_R7C3_split_0_mres.mat": (4096, 6753, 4, True),
    "D800_20160308_221735-0_mres.mat": (4912, 7360, 15, True),
    "D800_20160308_221737-0_mres.mat": (4912, 7360, 15, True),
    "D800_20160308_221738-0_mres_DJWTNN2.mat": (4912, 7360, 15, True),
    "D800_20160308_221741-0_mres.mat": (4912, 7360, 0, False),
    "D800_20160308_221742-0_mres.mat": (4912, 7360, 0, True),
    "RGBraster_geotiff_mres.mat": (2471, 1455, 6, True),
}


# Every kind is also among the others.
SLOW = (
    "201309922_mres.mat", "20190602_0109_R7C3_split_0_mres.mat", "D800_20160308_221737-0_mres.mat",
    "D800_20160308_221738-0_mres_DJWTNN2.mat",
)  # fmt: skip

# Two of them, one that names its classes and one that does not, are also evaluated and cut up at their full size.
WHOLE = ("D800_20160308_221741-0_mres.mat", "RGBraster_geotiff_mres.mat")


@pytest.fixture(scope="module")
def mats(real_data):
    return real_data / "dl_tools" / "mat"


@pytest.fixture(scope="module")
def labels_file(real_data):
    return real_data / "dl_tools" / "labels" / "monterey_labels.txt"


@pytest.fixture(scope="module")
def monterey(labels_file):
    return read_class_files(labels_file, labels_file.with_name("monterey_label_colors.txt"))


@pytest.fixture(scope="module")
def read(mats):
    """Read a file, all of it; once, for that takes a second. Every eighth pixel of it is kept."""

    @cache
    def read_thinned(name):
        given = read_labelmap(mats / name)
        assert given.labels.dtype == np.uint8 and not (given.labels == VOID).any()
        seeds = None if given.seeds is None else given.seeds[::8, ::8].copy()
        return given.labels.shape, LabelMap(given.labels[::8, ::8].copy(), given.table, seeds, made_by=given.made_by)

    return read_thinned


@pytest.fixture(scope="module")
def shrink(read, mats, tmp_path_factory):
    """Return the path of a file at full size where asked, otherwise of a copy of every eighth pixel."""
    folder = tmp_path_factory.mktemp("mats")

    @cache
    def write(name):
        if name in WHOLE:
            return mats / name
        labelmap = read(name)[1]
        if labelmap.table:
            write_matfile(folder / name, labelmap)
        else:
            savemat(folder / name, {"class": labelmap.labels})
        return folder / name

    return write


@pytest.fixture
def link(shrink):
    def link_files(names, folder, suffix="mres"):
        for name in names:
            own = name if suffix == "mres" else f"{name.partition('_mres')[0]}_{suffix}.mat"
            (folder / own).symlink_to(shrink(name))

    return link_files


def test_the_list_is_complete(mats):
    assert {path.name for path in mats.glob("*.mat")} == set(MATS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MATS])
def test_every_mat_is_read(read, mats, monterey, name):
    rows, cols, n_classes, has_seeds = MATS[name]
    shape, given = read(name)
    assert shape == (rows, cols)
    assert (len(given.table) if given.table else 0) == n_classes
    assert (given.seeds is not None) == has_seeds
    if n_classes == 0:
        assert read_labelmap(mats / name, table=monterey, with_seeds=False).table == monterey
        with pytest.raises(BadInput, match=r"does not name its classes.*--labels"):
            given.require_table(mats / name)


def test_the_class_files(real_data, monterey):
    defs = read_class_files(real_data / "dl_tools" / "labels" / "labeldefs.txt")
    assert len(defs) == len(monterey) == 15 and set(defs.keys) == set(monterey.keys)
    assert defs.colors[defs.index("dune")] == monterey.colors[monterey.index("dune")] == (233, 150, 122)


@pytest.mark.slow
def test_lists_in_another_order_are_compared_by_name(shrink):
    """Both files list the same classes, drysand and dune in other places: by place they would be mixed up."""
    a, b = shrink("D800_20160308_221735-0_mres.mat"), shrink("D800_20160308_221737-0_mres.mat")
    first, second = read_labelmap(a, with_seeds=False), read_labelmap(b, with_seeds=False)
    assert first.table.names != second.table.names and set(first.table.names) == set(second.table.names)
    confusion = compare_pair(TruthPair(a, b)).confusion
    for name in ("drysand", "dune", "duneveg", "water"):
        i = confusion.table.index(name)
        true, predicted = first.labels == first.table.index(name), second.labels == second.table.index(name)
        assert confusion.counts[i, i] == (true & predicted).sum()
        assert confusion.support[i] == true.sum() and confusion.counts[:, i].sum() == predicted.sum()


@pytest.mark.slow
def test_eval_pixels_on_every_mat(link, monterey, tmp_path, monkeypatch):
    """Each file against itself under the name of an automatic result: all right, whatever its quirks."""
    link(MATS, tmp_path)
    link(MATS, tmp_path, "ares_96")
    pairs, problems = find_result_pairs(tmp_path)
    assert len(pairs) == len(MATS) and problems == []
    unnamed = {name.split("_mres")[0] + "_ares_96.mat" for name, row in MATS.items() if row[2] == 0}
    # Without a class list only those are compared that name their classes: the smallest of them stands for all.
    few = [pair for pair in pairs if pair.prediction_path.name in unnamed or "RGBraster" in pair.truth_path.name]
    result = evaluate_pixels(few, out_dir=tmp_path / "out")
    assert {p.where.rsplit("/", 1)[1] for p in result.problems} == unnamed
    assert result.pooled.accuracy == 1.0 and len(result.confusions) == 1
    # The figure of all together is enough.
    draw = pixels.draw_confusion
    monkeypatch.setattr(
        pixels, "draw_confusion", lambda path, *args, **more: path.stem.startswith("eval") and draw(path, *args, **more)
    )
    result = evaluate_pixels(pairs, out_dir=tmp_path / "out", table=monterey)
    assert result.problems == () and result.pooled.accuracy == 1.0 and len(result.confusions) == len(MATS)


@pytest.mark.slow
def test_retile_on_every_mat(link, monterey, labels_file, tmp_path, run):
    """Stand-in photos that show the class of each pixel as grey: every tile must be of its folder's grey."""
    link(MATS, tmp_path)
    for name in MATS:
        labelmap = read_labelmap(tmp_path / name, table=monterey, with_seeds=False)
        grey = np.array([sum(key.encode()) % 256 for key in labelmap.table.keys], np.uint8)[labelmap.labels]
        write_image(tmp_path / f"{name.split('_mres')[0]}.jpg", grey[..., None].repeat(3, axis=2))
    result = run("retile", "-t", 64, "-a", "0.9", "-b", "0.05", tmp_path, "--labels", labels_file)
    assert result.exit_code == 0, result.output
    tiles_dir = tmp_path / "tile_64"
    rows = [r for r in read_csv(tiles_dir / "tiles.csv", ("tile", "class", "kept", "purity")) if r["kept"] == "1"]
    assert len(rows) > 1500 and len({row["class"] for row in rows}) >= 20
    for row in rows[::7]:
        expected = sum(row["class"].lower().encode()) % 256
        assert abs(int(np.median(read_image(tiles_dir / row["tile"]))) - expected) <= 2, row


def test_retile_names_the_files_it_cannot_use(link, tmp_path, run):
    unnamed, alone = "D800_20160308_221742-0_mres.mat", "RGBraster_geotiff_mres.mat"
    link((unnamed, alone), tmp_path)
    write_image(tmp_path / "D800_20160308_221742-0.jpg", np.zeros((614, 920, 3), np.uint8))
    result = run("retile", tmp_path)
    assert result.exit_code == 1
    assert f"{unnamed}: does not name its classes" in result.stderr
    assert f"masks without an image (1): {alone}" in result.stdout


def test_georeference_in_georeference_out(real_data, tmp_path, table):
    paths = sorted(p for p in (real_data / "geotiff").iterdir() if p.suffix.lower() == ".tif")
    assert len(paths) == 6
    for path in paths:
        info, image = describe_image(path), read_image(path)
        assert image.shape[:2] == (info.rows, info.cols) and as_rgb8(image).dtype == np.uint8
        assert info.georeference is not None and info.georeference.crs
        labels = np.zeros((info.rows, info.cols), np.uint8)
        write_labelmap(tmp_path / path.name, LabelMap(labels, table, georeference=info.georeference))
        back = describe_image(tmp_path / path.name).georeference
        assert back.transform == info.georeference.transform, path
        assert back.crs == info.georeference.crs, path


def test_masks_and_many_bands(real_data):
    mask = read_labelmap(real_data / "obx" / "masks" / "2014_0905_133718d.png")
    assert set(np.unique(mask.labels)) <= {0, 1, 2} and mask.table is None
    water = read_image(next((real_data / "water12" / "images").glob("*.tif")))
    assert water.shape == (128, 128, 12) and water.dtype == np.int16
    cells = next((real_data / "nist" / "images").glob("*.tif"))
    assert read_image(cells).dtype == np.uint16
