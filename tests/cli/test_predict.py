"""``predict`` as users of the published program type it: masks of a few images with any model, and pictures of them."""

import json
import os
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense import predict as dense_predict
from hybridseg.hybrid import semseg
from hybridseg.io import lazyimages
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.models.bundles import DenseCard
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.views import View
from tests.io.test_lazyimages import write_tiff

PAIR, OVERLAY = "reports/predict/image_pair_jet.png", "reports/predict/sample.png"


class ByBand:
    """A network whose probability of a class is the share of its band; it records the sizes that it sees."""

    def __init__(self, path, names=("cliff", "veg", "water"), *, n_bands=3, view=None):
        architecture = ResUnet(n_bands=n_bands, n_outputs=len(names))
        self.card = DenseCard(
            architecture, ClassTable.from_names(names), (32, 64), Normalization("unit", 255.0), view=view
        )
        self.path, self.seen, self.engine = path, [], None

    @property
    def table(self):
        return self.card.table

    def predict(self, pixels):
        self.seen.append(pixels.shape[1:3])
        bands = pixels[..., : len(self.table)] + 1e-6
        return (bands / bands.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def use_network(monkeypatch):
    """Let ``net.h5`` be a network that takes no TensorFlow."""

    def use(*names, **settings):
        network = ByBand(dense_predict.Path("net.h5"), *([names] if names else []), **settings)
        monkeypatch.setattr(dense_predict, "load_dense", lambda path, **_: network)
        return network

    return use


@pytest.fixture
def folder(tmp_path, monkeypatch, by_color):
    """The folder where the test is; in it ``model.pb`` classifies tiles by colour."""
    monkeypatch.setattr(semseg, "load_classifier", lambda path, **_: by_color)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(folder, paint_coast):
    """``photo.png``: cliff to the left of column 60, water to its right."""
    image = paint_coast(64, 96, border=60)
    write_image(folder / "photo.png", image)
    return image


def write_band(path, values, *, west=500_000.0, **settings):
    rows, cols = values.shape
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": values.dtype, **settings}
    profile |= {"crs": "EPSG:32611", "transform": from_origin(west, 4_000_000, 0.5, 0.5)}
    with quiet_rasterio(), rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def test_a_mask_and_pictures_as_the_published_program_wrote_them(run, photo, folder, use_network, cut_panel):
    network = use_network(view=View(True, (0.5, 2.0), (64, 96)))
    result = run("predict", "-i", "photo.png", "-o", "output_test.png", "-m", "net.h5", "-v")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "prediction:",
        "  model           net.h5",
        "  classes         cliff, veg, water",
        "  input           photo.png",
    ]
    assert "  mask threshold  none" in lines and "  scale           that of the training" in lines
    assert lines[-3:] == ["  wrote output_test.png", f"  wrote {PAIR}", f"  wrote {OVERLAY}"]
    found = read_labelmap(folder / "output_test.png")
    assert np.array_equal(found.labels, photo.argmax(axis=2)) and found.table == network.table
    assert json.loads(found.made_by)["command"] == "dense" and network.seen == [(64, 96)]
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {"photo.png", "output_test.png", PAIR, OVERLAY}
    # The ids from blue to red, in the colours of the classes over the image.
    assert np.abs(cut_panel(folder / PAIR, 0, 2, (64, 96))[8:56, 8:50].astype(int) - photo[8:56, 8:50]).mean() < 3
    mask = cut_panel(folder / PAIR, 1, 2, (64, 96))
    assert mask[30, 30].tolist() == [0, 0, 128] and mask[30, 80].tolist() == [128, 0, 0]
    overlay = cut_panel(folder / OVERLAY, 0, 1, (64, 96))
    for row, col, color in ((30, 30, network.table.colors[0]), (30, 80, network.table.colors[2])):
        assert np.abs(overlay[row, col] - (0.4 * photo[row, col] + 0.6 * np.array(color))).max() < 4


def test_a_tile_classifier(run, photo, folder):
    result = run("predict", "-m", "model.pb", "-i", "photo.png", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["written"] == ["photo_predseg.png"] and report["result"]["settings"]["models"] == ["model.pb"]
    found = read_labelmap(folder / "photo_predseg.png")
    assert found.table.names == ("cliff", "veg", "water")
    assert (found.labels[:, :54] == 0).all() and (found.labels[:, 66:] == 2).all()
    assert run("semseg", "photo.png", "--model", "model.pb", "--out", "other").exit_code == 0
    theirs = read_labelmap(folder / "other/photo_ares_16.mat")
    assert np.array_equal(theirs.labels, found.labels) and theirs.made_by == found.made_by
    # At half the size there are fewer tiles, and the mask is as large as before.
    assert run("predict", "-m", "model.pb", "-i", "photo.png", "-s", 0.5, "-o", "half.mat").exit_code == 0
    half = read_labelmap(folder / "half.mat")
    assert half.labels.shape == (64, 96) and np.array_equal(half.labels[::2, ::2], half.labels[1::2, 1::2])
    assert (half.labels[:, :50] == 0).all() and (half.labels[:, 70:] == 2).all()
    assert json.loads(half.made_by)["settings"]["prediction"] == {"scale": 0.5}


def test_several_images_and_masks_after_one_flag(run, photo, folder, use_network):
    use_network()
    write_image(folder / "other.png", photo[:, ::-1])
    words = ("-i", "photo.png", "other.png", "-o", "a.tif", "b.mat", "-m", "net.h5", "--viz")
    result = run("predict", *words)
    assert result.exit_code == 0 and "2 images done" in result.stdout, result.output
    assert read_labelmap(folder / "a.tif").labels[0, 0] == 0 and read_labelmap(folder / "b.mat").labels[0, 0] == 2
    names = {path.name for path in (folder / "reports/predict").iterdir()}
    assert names == {f"{stem}_{name}" for stem in ("photo", "other") for name in ("image_pair_jet.png", "sample.png")}
    # A folder of images, and one of masks.
    for name in ("photo.png", "other.png"):
        write_image(folder / "images" / name, photo)
    assert run("predict", "--input", "images", "--output", "masks", "--model", "net.h5").exit_code == 0
    assert {path.name for path in (folder / "masks").iterdir()} == {"photo_predseg.png", "other_predseg.png"}
    # Each again, as click has it, and without masks.
    before = set(folder.rglob("*"))
    result = run("predict", "-i", "photo.png", "-i", "other.png", "-m", "net.h5", "-n")
    assert result.exit_code == 0 and "  output          no masks" in result.stdout and "wrote" not in result.stdout
    assert set(folder.rglob("*")) == before
    result = run("predict", "-i", "photo.png", "none.png", "-m", "net.h5")
    assert result.exit_code == 1 and "none.png: there is no file of this name" in result.stderr
    assert read_labelmap(folder / "photo_predseg.png").labels[0, 0] == 0, "the others are done"


def test_the_threshold_of_two_classes_and_of_more(run, folder, use_network):
    image = np.zeros((32, 64, 3), np.uint8)
    # Of the first two bands the second has a share of 0.25, 0.45, 0.55 and 0.75.
    image[..., 1] = np.repeat([50, 90, 110, 150], 16)
    image[..., 0] = 200 - image[..., 1]
    write_image(folder / "photo.png", image)
    predict = ("predict", "-m", "net.h5", "-i", "photo.png", "-o", "mask.png")
    use_network("land", "water")
    for words, wanted in (
        ((), [0, 0, 1, 1]),
        (("-t", 0.5), [0, 0, 1, 1]),
        (("--maskthreshold", 0.4), [0, 1, 1, 1]),
        (("--mask-threshold", 0.6), [0, 0, 0, 1]),
    ):
        assert run(*predict, *words).exit_code == 0
        assert read_labelmap(folder / "mask.png").labels[0, 8::16].tolist() == wanted
    assert json.loads(read_labelmap(folder / "mask.png").made_by)["settings"]["prediction"] == {"mask_threshold": 0.6}
    use_network()
    result = run(*predict, "-t", 0.6)
    assert read_labelmap(folder / "mask.png").labels[0, 8::16].tolist() == [0, VOID, VOID, 1] and not result.stderr
    assert "no class 50.0%" in result.stdout
    result = run(*predict, "-t", 0.9, "-v")
    assert "photo.png: 100% of the pixels are void: their class is less probable than the --mask-th" in result.stderr
    assert (read_labelmap(folder / "mask.png").labels == VOID).all()
    assert run(*predict, "-t", 1.1).exit_code == 1


def test_what_is_no_model(run, folder, photo):
    (folder / "net.pth").touch()
    for name, said in (("net.pth", "net.pth is a network of PyTorch"), ("none", "there is no file or folder none")):
        result = run("predict", "-m", name, "-i", "photo.png")
        assert result.exit_code == 1 and said in result.stderr


def test_the_scale_at_which_a_network_sees_an_image(run, photo, folder, use_network):
    fitted = use_network()
    assert run("predict", "-m", "net.h5", "-i", "photo.png").exit_code == 0 and fitted.seen == [(32, 64)]
    # -s is by itself what --native --scale is elsewhere.
    network = use_network()
    result = run("predict", "-m", "net.h5", "-i", "photo.png", "-s", 0.25)
    assert result.exit_code == 0 and network.seen == [(32, 32)], "16 x 24, as the stride of the network has it"
    assert read_labelmap(folder / "photo_predseg.png").labels.shape == (64, 96)
    assert json.loads(read_labelmap(folder / "photo_predseg.png").made_by)["settings"]["options"]["scale"] == 0.25
    use_network(view=View(True, (1.0, 1.0), (6, 9)))
    result = run("predict", "-m", "net.h5", "-i", "photo.png")
    assert "try --scale 0.094" in result.stderr, "as it is typed here"


def test_bands_in_files_of_their_own(run, folder, use_network):
    rng = np.random.default_rng(0)
    bands = rng.integers(0, 1000, (4, 32, 64)).astype(np.uint16)
    for i, band in enumerate(bands):
        write_band(folder / f"B{i}.tif", band)
    names = ("a", "b", "c", "d")
    use_network(*names, n_bands=4)
    stack = ("predict", "-m", "net.h5", "--stack", "-v", "-i")
    result = run(*stack, "B2.tif", "B0.tif", "B3.tif", "B1.tif")
    assert result.exit_code == 0, result.output
    assert "input           B2.tif, B0.tif, B3.tif and 1 more, the bands of one image" in result.stdout
    found = read_labelmap(folder / "B2_predseg.tif")
    assert np.array_equal(found.labels, bands[[2, 0, 3, 1]].argmax(axis=0)), "in the order in which they are given"
    assert found.georeference.transform[2] == 500_000 and (folder / PAIR).exists()
    assert np.array_equal(read_labelmap(folder / "B2_predseg.png").labels, found.labels)
    assert run(*stack[:-2], "-o", "out", "-i", *(f"B{i}.tif" for i in range(4))).exit_code == 0
    assert {path.name for path in (folder / "out").glob("*.*[fg]")} == {"B0_predseg.tif", "B0_predseg.png"}
    settings = json.loads(found.made_by)["settings"]["prediction"]
    assert settings == {"bands": ["B2.tif", "B0.tif", "B3.tif", "B1.tif"]}

    write_band(folder / "away.tif", bands[0], west=500_001.0)
    write_band(folder / "small.tif", bands[0, :20])
    write_image(folder / "rgb.png", np.zeros((32, 64, 3), np.uint8))
    for name, message in (
        ("away.tif", "away.tif lies elsewhere on Earth than B0.tif"),
        ("small.tif", "small.tif has 20 x 64 pixels, and B0.tif has 32 x 64"),
        ("rgb.png", "rgb.png has 3 bands; give files of one band each"),
    ):
        result = run(*stack, "B0.tif", name)
        assert result.exit_code == 1 and message in result.stderr
    result = run(*stack, "B0.tif", "B1.tif", "B0.tif")
    assert result.exit_code == 1 and "the image has 3 bands, and net.h5 takes 4" in result.stderr, "none is left out"
    assert "--stack takes two files or more, and not 1." in run(*stack, "B0.tif").stderr
    result = run("predict", "-m", "model.pb", "--stack", "-i", "B0.tif", "B1.tif")
    assert result.exit_code == 2 and "takes three files, red, green and blue, for tile classifiers" in result.stderr


def test_words_that_do_not_go_together(run, photo, folder, use_network):
    use_network()
    write_image(folder / "sub/photo.png", photo)
    before = set(folder.rglob("*"))
    for words, message in (
        (("-i", "photo.png", "-o", "a.png", "b.png"), "--output names 2 masks for 1 image; name one for each image"),
        (("-i", "photo.png", "sub/photo.png", "-o", "a.png"), "--output names 1 mask for 2 images"),
        (
            ("-i", "photo.png", "sub/photo.png", "-o", "out"),
            "would both be out/photo_predseg.png; give them one by one",
        ),
        (("-i", "photo.png", "sub/photo.png", "-v"), "would both be reports/predict/photo_image_pair_jet.png"),
        (("-i", "photo.png", "-n", "-o", "a.png"), "--output is for masks, and --no-save writes none"),
        (("-i", "photo.png", "-n", "--resume"), "--resume is for masks, and --no-save writes none"),
        (("-i", "photo.png", "--reports", "r"), "--reports is for pictures; add --viz"),
        (("-i", "photo.png", "--labels", "l.txt"), "is a dense network, which knows its classes"),
        (("-i", "photo.png", "-o", "a.jpg"), "a.jpg cannot hold a mask, whose class ids must stay as they are"),
        (("-i",), "Option '-i' requires an argument"),
        (("photo.png",), "Missing option '-i' / '--input'"),
        (("-i", "photo.png", "-v", "sub/photo.png"), "unexpected extra argument (sub/photo.png)"),
    ):
        result = run("predict", "-m", "net.h5", *words)
        assert result.exit_code and message in result.stderr, result.stderr
    assert set(folder.rglob("*")) == before


@pytest.mark.slow
def test_nothing_of_a_user_is_replaced(run, photo, folder, use_network):
    use_network()
    predict = ("predict", "-m", "net.h5", "-i", "photo.png", "-v", "-o")
    write_image(folder / "mine.png", photo)
    for name in ("mine.png", "photo.png"):
        result = run(*predict, name)
        assert result.exit_code == 1 and not (folder / "reports").exists(), "told before any work"
        assert np.array_equal(read_image(folder / name), photo)
    assert "photo.png is one of the images; give another --output" in result.stderr
    for name in (PAIR, OVERLAY):
        write_image(folder / name, photo)
        result = run(*predict, "mask.png")
        assert result.exit_code == 1 and f"{name} is there and was not written by hybridseg" in result.stderr
        assert np.array_equal(read_image(folder / name), photo) and not (folder / "mask.png").exists()
        assert run(*predict, "mask.png", "--reports", "other").exit_code == 0
        for path in (folder / "mask.png", folder / name):
            path.unlink()
    # What was predicted before may be.
    for threshold in (0.4, 0.5):
        assert run(*predict, "mask.png", "-t", threshold).exit_code == 0
    assert '"mask_threshold": 0.5' in read_labelmap(folder / "mask.png").made_by
    # Nor is it made again for nothing.
    result = run(*predict, "mask.png", "-t", 0.5, "--resume")
    assert "were skipped (--resume): 1" in result.stdout
    result = run(*predict, "mask.png", "--resume")
    assert "1 made with other settings (mask_threshold)" in result.stdout
    (folder / OVERLAY).unlink()
    assert "wrote mask.png" in run(*predict, "mask.png", "--resume").stdout


def test_links_that_lead_nowhere_and_pipes(run, photo, folder, use_network):
    use_network()
    for name, target in (("loop.png", "loop.png"), ("lost.png", "nowhere.png")):
        (folder / name).symlink_to(target)
        result = run("predict", "-m", "net.h5", "-i", "photo.png", "-o", name)
        assert result.exit_code == 1 and f"{name} is there and is no result" in result.stderr
        assert (folder / name).is_symlink() and not (folder / "nowhere.png").exists()
    result = run("predict", "-m", "net.h5", "-i", "loop.png", "photo.png", "-o", "out")
    assert result.exit_code == 1 and "loop.png: cannot be read" in result.stderr
    assert (folder / "out/photo_predseg.png").exists(), "the others are done"
    (folder / OVERLAY).parent.mkdir(parents=True)
    os.mkfifo(folder / OVERLAY)
    result = run("predict", "-m", "net.h5", "-i", "photo.png", "-n", "-v")
    assert result.exit_code == 1 and "sample.png is there and was not written by hybridseg" in result.stderr


@pytest.mark.slow
def test_names_in_other_letters(run, photo, folder, use_network):
    """matplotlib draws what the font of the other pictures lacks; its pictures are ours, too."""
    use_network("\u6c34", "\u7802")
    for _ in range(2):
        assert run("predict", "-m", "net.h5", "-i", "photo.png", "-v", "-n").exit_code == 0
    with Image.open(folder / PAIR) as picture:
        assert picture.info["Software"] == "hybridseg"


def test_the_folder_of_a_model(run, photo, folder, tiny_model, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    (folder / "models").mkdir()
    shutil.copytree(tiny_model.parent, folder / "models/coast", ignore=shutil.ignore_patterns("bottlenecks"))
    result = run("predict", "-m", "models/coast", "-i", "photo.png")
    assert result.exit_code == 0 and "  model           models/coast/model.pb" in result.stdout, result.output
    assert read_labelmap(folder / "photo_predseg.png").table.names == ("sand", "veg", "water")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["model.pb", "net.h5"])
@pytest.mark.parametrize("scale", [(), ("-s", 0.5)], ids=["", "half"])
def test_a_large_image_goes_part_by_part(run, folder, paint_coast, use_network, monkeypatch, model, scale):
    """With the same result, and beside a GeoTIFF nothing that would be made as a whole."""
    use_network(view=View(True, (0.5, 2.0), (64, 96)))
    image = paint_coast(300, 200, border=110)
    image[40:91, 151:] = 0
    write_tiff(folder / "a.tif", image, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    predict = ("predict", "-m", model, "-i", "a.tif", *scale, "-t", 0.4, "-v")
    assert run(*predict).exit_code == 0
    small = read_labelmap(folder / "a_predseg.png")
    pictures = [read_image(folder / name) for name in (PAIR, OVERLAY)]
    assert (small.labels[(image == 0).all(axis=2)] == VOID).all() and (small.labels == VOID).mean() < 0.1
    monkeypatch.setattr("hybridseg.batch.results.MOST_WHOLE_PIXELS", 50_000)
    monkeypatch.setattr("hybridseg.io.lazyimages.MAX_DECODED_PIXELS", 50_000)
    seen, read = [], lazyimages.read_part
    monkeypatch.setattr(lazyimages, "read_part", lambda *words: seen.append(words[1]) or read(*words))
    (folder / "a_predseg.png").unlink()
    result = run(*predict, "--max-memory", 8)
    assert result.exit_code == 0 and "the label map is written as a GeoTIFF alone" in result.stderr, result.output
    large = read_labelmap(folder / "a_predseg.tif")
    assert np.array_equal(large.labels, small.labels) and large.made_by == small.made_by
    assert seen and not (folder / "a_predseg.png").exists(), "it was read in parts"
    for name, picture in zip((PAIR, OVERLAY), pictures, strict=True):
        assert np.array_equal(read_image(folder / name), picture)
    result = run(*predict, "-o", "mask.mat")
    assert result.exit_code == 0 and np.array_equal(read_labelmap(folder / "mask.mat").labels, small.labels)
    monkeypatch.setattr("hybridseg.prediction._WHOLE_BYTES", 1 << 30)
    result = run(*predict, "-o", "mask.png")
    assert result.exit_code == 1 and not (folder / "mask.png").exists()
    assert "mask.png is made as a whole, which takes 60000.0 GiB" in result.stderr, result.stderr
    assert "name a mask that ends in .tif" in result.stderr
