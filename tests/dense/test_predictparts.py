"""Images of any size part by part: the same as the whole image, in place, in little memory."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from hybridseg import machine
from hybridseg.classes import ClassTable
from hybridseg.dense.predict import predict_labels
from hybridseg.dense.predictparts import PartsJob, make_parts_job
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.machine import MemoryOptions
from hybridseg.models.bundles import DenseCard, DenseModel, save_dense
from hybridseg.models.normalization import Normalization
from hybridseg.models.unet import Unet
from hybridseg.models.views import View

UNET = Unet(n_bands=2, n_outputs=3, encoder="none", block="plain", widths=(3, 3, 2, 2))


def make_card(architecture=UNET, *, windows=True, scale=(1.0, 1.0)):
    table = ClassTable.from_names(["a", "b", "c"])
    view = View(windows, scale, (64, 64))
    return DenseCard(architecture, table, (64, 64), Normalization("image"), view=view)


@pytest.fixture(scope="module")
def network():
    """A U-Net with random weights that lets far pixels matter."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    network = UNET.build()
    for variable in network.trainable_variables:
        if "kernel" in variable.name:
            variable.assign(np.random.default_rng(variable.shape[2]).normal(0, 0.5, variable.shape))
    # The statistics of its layers are those of such images, and each class is somewhere the best.
    images = Normalization("image").apply(make_image(96, 96)).astype(np.float32)[None]
    for _ in range(40):
        network(images, training=True)
    scores = network(images).numpy().reshape(-1, 3)
    network.get_layer("scores").bias.assign(-scores.mean(0))
    return network


@pytest.fixture(scope="module")
def model_path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "net.h5"
    save_dense(path, network, make_card(), probes=[np.random.default_rng(0).random((1, 64, 64, 2), np.float32)])
    return path


def make_image(rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.normal(0, 1, (rows // 40 + 1, cols // 40 + 1, 2)), np.ones((40, 40, 1)))[:rows, :cols]
    return ((coarse + rng.normal(0, 0.3, (rows, cols, 2))) * 500 + 5000).astype(np.uint16)


def write_tiff(path, image, *, nodata=None, **profile):
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "dtype": image.dtype, **profile}
    with quiet_rasterio(), rasterio.open(path, "w", count=image.shape[2], nodata=nodata, **profile) as dataset:
        dataset.write(image.transpose(2, 0, 1))


@pytest.mark.slow
def test_the_reach_of_a_network(network):
    reach = UNET.reach
    assert reach == 137 and Unet(n_bands=3, n_outputs=2).reach is None
    image = np.random.default_rng(0).normal(0, 1, (1, 288, 288, 2)).astype(np.float32)
    before = network(image).numpy()
    image[0, 144, 144] += 50
    changed = np.argwhere(np.abs(network(image).numpy() - before).max(-1)[0] > 0)
    far = np.abs(changed - 144).max()
    # As far as that, but no further.
    assert 100 < far <= reach


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(500, 431), (300, 640), (70, 50)])
def test_parts_are_the_whole_image(network, shape):
    model = DenseModel(Path("net.h5"), make_card(), network)
    image = make_image(*shape)
    padded = np.pad(image, [(0, -shape[0] % 32), (0, -shape[1] % 32), (0, 0)], mode="symmetric")
    offset, factor = Normalization("image").measure(image)
    probs = model.predict(((padded.astype(np.float32) - offset) * factor)[None])[0, : shape[0], : shape[1]]
    whole = probs.argmax(-1)
    options = DenseOptions(window=320, overlap=2 * UNET.reach, blend=False)
    found, _ = predict_labels(image, [model], options=options)
    sure = np.abs(np.diff(np.sort(probs, -1)[..., 1:], axis=-1)[..., 0]) > 1e-4
    assert sure.mean() > 0.99 and (found == whole)[sure].all() and len(np.unique(found)) > 1
    if max(shape) > 400:
        # Windows that share too little are not.
        for near in (replace(options, overlap=32), replace(options, blend=True)):
            assert (predict_labels(image, [model], options=near)[0] != whole)[sure].any()


def label(model_path, folder, *names):
    job = make_parts_job(model_path, outputs_of(folder))
    return [job.segment(folder / name) for name in names]


def outputs_of(folder):
    from hybridseg.batch.jobs import Outputs

    return Outputs(folder / "out", None)


@pytest.mark.slow
def test_a_mask_in_its_place(model_path, network, tmp_path):
    image = make_image(200, 260)
    transform = rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 4e6)
    write_tiff(tmp_path / "a.tif", image, crs="EPSG:32611", transform=transform)
    (result,) = label(model_path, tmp_path, "a.tif")
    assert result.written == (tmp_path / "out/a.tif",)
    found = read_labelmap(tmp_path / "out/a.tif")
    expected, _ = predict_labels(image, [DenseModel(Path("net.h5"), make_card(), network)])
    assert (found.labels == expected).mean() > 0.999 and found.table.names == ("a", "b", "c")
    with rasterio.open(tmp_path / "out/a.tif") as dataset:
        assert dataset.transform == transform and dataset.crs.to_epsg() == 32611
        assert dataset.shape == (200, 260) and dataset.dtypes == ("uint8",)
    counts = np.bincount(found.labels.ravel(), minlength=3) / found.labels.size
    assert result.shares == pytest.approx({n: c for n, c in zip("abc", counts, strict=True) if c}, abs=1e-6)


@pytest.mark.slow
def test_an_image_of_another_scale_is_told(model_path, tmp_path):
    """By the metres of its pixels, or else by its size; with a command that can do something about it."""
    path = tmp_path / "net.h5"
    for file in model_path.parent.glob("net*"):
        shutil.copy(file, tmp_path)
    card = json.loads((tmp_path / "net.card.json").read_text())
    card["view"]["resolution"] = 0.5
    (tmp_path / "net.card.json").write_text(json.dumps(card))
    for name, side in (("near", 0.6), ("far", 4.0), ("nowhere", None)):
        place = {"crs": "EPSG:32611", "transform": rasterio.Affine(side, 0, 4e5, 0, -side, 4e6)} if side else {}
        write_tiff(tmp_path / f"{name}.tif", make_image(64, 480), **place)
    near, far, nowhere = (result.warnings for result in label(path, tmp_path, "near.tif", "far.tif", "nowhere.tif"))
    command = f"hybridseg segment PHOTOS --model {path} --out DIR --native --scale"
    assert near == () and len(far) == len(nowhere) == 1
    assert far[0].startswith("has pixels of 4 m, the photos of the training 0.5 m: its objects look 8.0 times smaller")
    assert far[0].endswith(f"try `{command} 8`")
    assert nowhere[0].startswith("has 64 x 480 pixels, the photos of the training about 64 x 64: if it does not show")


@pytest.mark.slow
def test_pixels_without_a_picture_are_void(model_path, tmp_path, monkeypatch):
    image = make_image(300, 280)
    image[40:300, 100:] = 0
    write_tiff(tmp_path / "a.tif", image, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    label(model_path, tmp_path, "a.tif")
    whole = read_labelmap(tmp_path / "out/a.tif").labels
    assert (whole[40:300, 100:] == 255).all() and (whole[:40] != 255).all()
    # A large one is read in parts, and gives the same.
    monkeypatch.setattr("hybridseg.io.lazyimages.MAX_DECODED_PIXELS", 1000)
    label(model_path, tmp_path, "a.tif")
    assert (read_labelmap(tmp_path / "out/a.tif").labels == whole).all()


@pytest.mark.slow
def test_images_that_are_refused(model_path, network, tmp_path):
    write_tiff(tmp_path / "three.tif", np.zeros((40, 40, 3), np.uint16))
    with pytest.raises(BadInput, match=r"the image has 3 bands, and net.h5 takes 2"):
        label(model_path, tmp_path, "three.tif")
    write_tiff(tmp_path / "a.tif", make_image(64, 64))
    from hybridseg.batch.jobs import Outputs

    with pytest.raises(BadInput, match="its result would replace it; give another --output_folder"):
        make_parts_job(model_path, Outputs(tmp_path, None)).segment(tmp_path / "a.tif")
    path = tmp_path / "fitted.h5"
    save_dense(path, network, make_card(windows=False))
    with pytest.raises(BadInput, match=r"fitted.h5 sees images at another scale than their own"):
        PartsJob((path,), outputs_of(tmp_path), engine="tensorflow").load()


WEIGH = """
import sys
from pathlib import Path
import numpy as np
from hybridseg.machine import forget_peak, read_peak
from hybridseg.models.bundles import load_dense
model = load_dense(Path(sys.argv[1]))
forget_peak()
before = read_peak()
assert model.engine.count_bytes() == 0
model.predict(np.zeros((1, 768, 640, 2), np.float32))
needed = model.engine.count_bytes(768 * 640)
assert model.engine.count_bytes() == needed
print((read_peak() - before) * 2**20 / needed)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell the peak")
def test_what_a_network_takes_is_known_before(model_path):
    command = [sys.executable, "-c", WEIGH, model_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # Above 1: the image, the probabilities, and what a first run sets up.
    assert 0.8 < float(done.stdout) < 1.6


@pytest.mark.slow
def test_too_little_memory_for_a_window_is_refused(model_path, tmp_path, monkeypatch):
    write_tiff(tmp_path / "a.tif", make_image(900, 700))
    job = replace(make_parts_job(model_path, outputs_of(tmp_path)), memory=MemoryOptions(0.01))
    (model,) = job.load()
    # This process has all of TensorFlow as well.
    monkeypatch.setattr(machine, "read_resident", lambda: (300 << 20) + model.engine.count_bytes())
    messages = []
    for window in (1024, 512):
        with pytest.raises(BadInput, match=r"0.01 GiB .* a window in its networks about 0\.\d\d; .*or more") as caught:
            replace(job, options=DenseOptions(window=window)).segment(tmp_path / "a.tif")
        messages.append(str(caught.value))
    large, small = (float(message.split("about ")[1].split(";")[0]) for message in messages)
    assert small < 0.6 * large and not (tmp_path / "out/a.tif").exists()
    least = float(messages[1].split("--max-memory ")[1].split()[0])
    # Once more: what the networks have by then is not counted twice.
    for _ in range(2):
        replace(job, options=DenseOptions(window=512), memory=MemoryOptions(least)).segment(tmp_path / "a.tif")


# The peak of a process that labels a TIFF of 36 megapixels, 412 MB of samples, by a network that takes no time.
MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from hybridseg.batch.jobs import Outputs
from hybridseg.dense import predictparts
from hybridseg.machine import MemoryOptions
from hybridseg.dense.windows import DenseOptions

class Quick:
    path, table, engine = Path("net.h5"), None, None
    def __init__(self, card):
        self.card, self.table = card, card.table
    def predict(self, pixels):
        return np.stack([pixels[..., 0], -pixels[..., 0], pixels[..., 1] * 0 - 9], -1)

sys.path.insert(0, sys.argv[2])
from test_predictparts import UNET, make_card
from dataclasses import replace
class Job(predictparts.PartsJob):
    def load(self):
        return [Quick(make_card(replace(UNET, n_bands=6)))]
    def record(self, path):
        return "{}"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
options = DenseOptions(overlap=274, blend=False)
memory = MemoryOptions(max_memory=0.6)
Job((Quick.path,), Outputs(folder / "out", None), options=options, memory=memory).segment(folder / "large.tif")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_large_image_takes_little_memory(tmp_path):
    profile = {"driver": "GTiff", "height": 6000, "width": 6000, "count": 6, "dtype": "uint16", "tiled": True}
    profile |= {"blockxsize": 256, "blockysize": 256, "compress": "deflate", "SPARSE_OK": True}
    with quiet_rasterio(), rasterio.open(tmp_path / "large.tif", "w", **profile) as dataset:
        for row in range(0, 6000, 2000):
            spot = np.random.default_rng(row).integers(1000, 2000, (6, 300, 300)).astype(np.uint16)
            dataset.write(spot, window=Window(row, row, 300, 300))
    command = [sys.executable, "-c", MEMORY, tmp_path, str(__file__).rpartition("/")[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # Of which 64 are blocks that GDAL keeps; the samples alone would be 412.
    assert int(done.stdout) < 280
    found = read_labelmap(tmp_path / "out/large.tif").labels
    assert found.shape == (6000, 6000) and (found[:300, :300] == 0).mean() > 0.9 and (found[400, 400:] == 1).all()
