"""What every test may use: small seeded coast scenes, the command line in this process, real files if there are any."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hybridseg.classes import ClassTable
from hybridseg.cli.main import main
from hybridseg.demo.demoscenes import SceneOptions, write_demo_scenes
from hybridseg.figures import DPI
from hybridseg.io.atomic import atomic_path
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.layout import Sheet
from hybridseg.models.store import TileClassifier
from hybridseg.panels import GAP, Panels, fit_row
from hybridseg.resample import resize_nearest

REPOSITORY = Path(__file__).parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for examples in the docstrings of the program, not in those of tests, which have none."""
    return [found for found in (yield) if type(found).__name__ != "DoctestModule"]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory):
    """Keep the graphs that are made here out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _files_need_not_last():
    """Do not wait for the disk, as thousands of writes would: no file of a test must survive a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _trials_at_once():
    """Try models in this process: another takes seconds to start. `apart` tries them as users do."""

    def call(what, function, *arguments, content=b"", **limits):
        return function(*arguments, content) or b""

    with pytest.MonkeyPatch.context() as patch:
        for room in ("runtimes", "store", "bundles", "backbones", "sam"):
            patch.setattr(f"hybridseg.models.{room}.run_apart", call)
        yield


@pytest.fixture
def apart(monkeypatch):
    """Try models in a process of their own, as everywhere but in tests."""
    from hybridseg.models.trials import run_apart

    for room in ("runtimes", "store", "bundles", "backbones", "sam"):
        monkeypatch.setattr(f"hybridseg.models.{room}.run_apart", run_apart)


@pytest.fixture
def hears_ctrl_c():
    """Let Ctrl-C be heard, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def launch():
    """Start programs that hear Ctrl-C even where the tests run in the background; none outlives its test."""
    processes = []

    def launch_program(command, **settings) -> subprocess.Popen:
        def hear_ctrl_c() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c, **settings
        )
        processes.append(process)
        return process

    yield launch_program
    for process in processes:
        # Ends what a failed test left running, and closes the pipes.
        with process:
            process.kill()


@pytest.fixture
def run():
    """Run a command: ``run("split", folder)``; a traceback fails the test, an exit code is the test's business."""

    def run_command(*words: object) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_command


@pytest.fixture(scope="session")
def _coast_originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coast") / "photos"
    write_demo_scenes(folder, options=SceneOptions(n=4, rows=64, cols=96))
    return folder


@pytest.fixture
def coast(_coast_originals, tmp_path):
    """A folder of four 64 x 96 coast scenes with label maps, the test's own."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in _coast_originals.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def table():
    return ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))


@pytest.fixture
def make_pair(table):
    """Write ``STEM.png`` and ``STEM_mres.mat``: `labels` as given, the picture a plain grey unless given."""

    def write(folder: Path, stem: str, labels: np.ndarray, image: np.ndarray | None = None, classes=table) -> None:
        labels = np.asarray(labels, np.uint8)
        picture = np.full((*labels.shape, 3), 128, np.uint8) if image is None else image
        write_image(folder / f"{stem}.png", picture)
        write_matfile(folder / f"{stem}_mres.mat", LabelMap(labels, classes))

    return write


@pytest.fixture(scope="session")
def stripes():
    """Left fine stripes, right coarse ones of the same colours: a CRF of colours is blind to that."""
    rows, cols = np.indices((96, 160))
    is_light = np.where(cols < 80, rows // 2 % 2, rows // 8 % 2)
    noise = np.random.default_rng(0).integers(0, 20, (96, 160, 3))
    return (np.where(is_light, 180, 60)[..., None] + noise).astype(np.uint8)


class ByColor:
    """An engine that tells tiles by their strongest colour, and is 80 % sure."""

    name = "test"

    def classify(self, tiles):
        winner = tiles.mean(axis=(1, 2)).argmax(axis=1)
        return np.where(np.arange(3) == winner[:, None], 0.8, 0.1).astype(np.float32)


@pytest.fixture
def by_color():
    """A classifier of 16 px tiles that takes no TensorFlow: red is cliff, green is veg, blue is water."""
    colors = ((200, 10, 20), (30, 210, 40), (50, 60, 220))
    return TileClassifier(Path("model.pb"), ClassTable(("cliff", "veg", "water"), colors), 16, ByColor())


@pytest.fixture
def paint_coast():
    """Make a picture of one class to the left of a column and another to its right; band 0 is cliff, 2 water."""

    def paint(rows: int, cols: int, *, border: int, bands: tuple[int, int] = (0, 2)) -> np.ndarray:
        image = np.random.default_rng(0).integers(0, 30, (rows, cols, 3)).astype(np.uint8)
        image[:, :border, bands[0]] += 180
        image[:, border:, bands[1]] += 180
        return image

    return paint


TILE_COLORS = {"sand": (230, 200, 120), "veg": (40, 120, 40), "water": (30, 70, 160)}


@pytest.fixture(scope="session")
def tile_dir(tmp_path_factory):
    """Tiles of 16 pixels of three classes told apart by colour, from five photos: 1, 4 and 4 of each photo."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("tiles") / "tile_16"
    for name, color in TILE_COLORS.items():
        for photo in range(5):
            for j in range(1 if name == "sand" else 4):
                tile = np.clip(np.array(color) + rng.integers(-40, 41, (16, 16, 3)), 0, 255)
                write_image(root / name / f"p{photo}_r{j}_c0.png", tile.astype(np.uint8))
    return root


def save_tiny_module(folder: Path) -> None:
    """Write a TF Hub module of one convolution that can be fine-tuned: a backbone that is loaded in no time."""
    import tensorflow as tf

    class Module(tf.train.Checkpoint):
        def __init__(self):
            super().__init__()
            kernel = np.random.default_rng(0).normal(0, 0.5, (3, 3, 3, 8)).astype(np.float32)
            self.kernel, self.scale = tf.Variable(kernel), tf.Variable(np.ones(8, np.float32))
            self.variables = self.trainable_variables = [self.kernel, self.scale]
            self.regularization_losses = []

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        def __call__(self, pixels):
            features = tf.nn.relu(tf.nn.conv2d(pixels, self.kernel, 2, "SAME") * self.scale)
            return tf.reduce_mean(features, [1, 2])

    tf.saved_model.save(Module(), str(folder))


@pytest.fixture(scope="session")
def tiny_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module") / "tiny"
    save_tiny_module(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tile_dir, tiny_module, tmp_path_factory):
    """The ``model.pb`` of a classifier that was trained on `tile_dir`, with its card and labels."""
    from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths
    from hybridseg.hybrid.head import HeadOptions
    from hybridseg.hybrid.retrain import retrain

    folder = tmp_path_factory.mktemp("model")
    head = HeadOptions(how_many_training_steps=200, learning_rate=0.3)
    paths = RetrainPaths(tile_dir, folder / "model.pb", bottleneck_dir=folder / "bottlenecks")
    retrain(paths, options=RetrainOptions(tfhub_module=str(tiny_module), input_size=32, head=head))
    return folder / "model.pb"


def define_small_encoder():
    """Make a few convolutions that stand in for the MobileNetV2 of a dense network."""
    from hybridseg.models.encoders import Encoder

    class SmallEncoder(Encoder):
        name, title, prefixes = "mobilenet_v2", "MobileNetV2", ("stride",)

        def _add_layers(self, pixels, *, wide_channels):
            from tf_keras import layers

            found = {2: layers.AveragePooling2D(2)(pixels)}
            for stride in (4, 8, 16, 32):
                convolution = layers.Conv2D(6, 3, 2, "same", activation="relu", name=f"stride{stride}")
                found[stride] = convolution(found[stride // 2])
            return found

        def _load_imagenet(self, network):
            return "random weights of a small encoder"

    return SmallEncoder


@pytest.fixture(scope="session")
def make_small_encoder():
    return define_small_encoder()


@pytest.fixture
def small_encoder(make_small_encoder, monkeypatch):
    """Put it in the place of the MobileNetV2."""
    from hybridseg.models.encoders import ENCODERS

    monkeypatch.setitem(ENCODERS, "mobilenet_v2", make_small_encoder())


@pytest.fixture
def paint_classes():
    """Paint the classes of `tile_dir` side by side, each `width` columns wide."""

    def paint(*names, rows=48, width=32):
        noise = np.random.default_rng(0).integers(-15, 16, (rows, width * len(names), 3))
        colors = np.repeat([TILE_COLORS[name] for name in names], width, axis=0)
        return np.clip(noise + colors, 0, 255).astype(np.uint8)

    return paint


def draw_nothing(path: Path, *_: object, **__: object) -> None:
    """Stand in for what draws a figure, with its mark."""
    with atomic_path(path) as temporary:
        Sheet(dpi=50, width=40).save(temporary)


@pytest.fixture
def quick_charts(monkeypatch):
    """Leave out the confusion matrices and curves of a training or a comparison."""
    for place in (
        "evaluation.pixels.draw_confusion", "hybrid.evaltiles.draw_confusion", "hybrid.evaltiles.draw_calibration",
        "hybrid.retrain.draw_learning_curve",
    ):  # fmt: skip
        monkeypatch.setattr(f"hybridseg.{place}", draw_nothing)


@pytest.fixture
def quick_panels(quick_charts, monkeypatch):
    """Leave out the figure of each image, which takes longer than all the rest: its panels, its confusion matrix."""
    for room in ("labelling.spread", "hybrid.semseg", "dense.predict", "evaluation.errorpanels"):
        monkeypatch.setattr(f"hybridseg.{room}.draw_panels", draw_nothing)
    monkeypatch.setattr("hybridseg.evaluation.errorpanels.draw_panel_rows", draw_nothing)


@pytest.fixture
def cut_panel():
    """Cut a panel out of the upper row of a figure without a title, at the size of the photo that it shows."""

    def cut(path: Path, place: int, n_panels: int, shape: tuple[int, int], *, dpi: int = DPI) -> np.ndarray:
        pictures = (np.zeros((*shape, 3), np.uint8),) * n_panels
        (row, *_), width = Panels(("",) * n_panels, pictures, ()).arrange()
        gap, margin, n = round(GAP * dpi), round(0.08 * dpi), len(row.pictures)
        height, (cols, *_) = fit_row([shape[1] / shape[0]] * n, round(width * dpi), gap=gap)
        top, left = margin + round(13 / 72 * dpi), margin + place * (cols + gap)
        return resize_nearest(read_image(path)[top : top + height, left : left + cols, :3], shape)

    return cut


@pytest.fixture(scope="session")
def real_data():
    """The folder of real files; a test that wants it is skipped where it is not."""
    folder = Path(os.environ.get("HYBRIDSEG_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the real files are not here ({folder}); set HYBRIDSEG_DATA to use them")
    return folder


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    """Images of 32 x 32 x 2 in 16 bits with their masks, and databases of them: ``images/``, ``masks/``, ``data/``.

    Of class 1 is what is bright in the first band; only cell_03 has class 2, which is bright in the second.
    """
    import rasterio

    from hybridseg.data.buildlmdb import build_lmdb
    from hybridseg.data.lmdbplan import LmdbOptions
    from hybridseg.io.rasters import quiet_rasterio

    folder = tmp_path_factory.mktemp("cells")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(10):
        rng = np.random.default_rng(i)
        mask = np.zeros((32, 32), np.uint16)
        row, col = rng.integers(2, 14, 2)
        mask[row : row + 14, col : col + 14] = 1
        if i == 3:
            mask[:4, :4] = 2
        image = rng.integers(900, 1100, (2, 32, 32)) + np.stack([mask == 1, mask == 2]) * 3000
        profile = {"driver": "GTiff", "height": 32, "width": 32, "dtype": "uint16"}
        for kind, bands in (("images", image), ("masks", mask[None])):
            path = folder / kind / f"cell_{i:02}.tif"
            with quiet_rasterio(), rasterio.open(path, "w", count=len(bands), **profile) as dataset:
                dataset.write(bands.astype(np.uint16))
    options = LmdbOptions("cells", test_list=("cell_08", "cell_09"))
    build_lmdb(folder / "images", folder / "masks", folder / "data", options=options)
    return folder
