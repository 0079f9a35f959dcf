"""Every way to name a backbone, on small modules made here."""

import hashlib
import http.server
import tarfile
import threading
from typing import ClassVar

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.io import downloads
from hybridseg.models.backbones import BUILTIN, export_builtin, load_backbone
from hybridseg.models.graphs import freeze_model
from hybridseg.models.store import load_classifier


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def save_tf2_module(tf, folder, *, side=None, dtype="float32", n=4, write_file=False):
    """A module with one trainable matrix: the mean colour times it."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.matrix = tf.Variable(np.arange(3 * n, dtype=np.float32).reshape(3, n), name="matrix")
            self.trainable_variables_list = [self.matrix]

        @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3], dtype)])
        def __call__(self, pictures):
            if write_file:
                tf.io.write_file("/tmp/never", "x")
            return tf.matmul(tf.reduce_mean(tf.cast(pictures, tf.float32), [1, 2]), self.matrix)

    module = Module()
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_builtin():
    backbone = load_backbone(BUILTIN, input_size=64)
    features = backbone.extract(np.zeros((2, 96, 96, 3), np.float32)).numpy()
    assert features.shape == (2, 1280) and backbone.input_size == 64 and not backbone.variables
    assert load_backbone(BUILTIN, input_size=64, trainable=True).variables
    with pytest.raises(BadInput, match="there is no built-in backbone 'builtin:vgg'; the only one is"):
        load_backbone("builtin:vgg")
    with pytest.raises(BadInput, match="give a side from 32 to 1024"):
        load_backbone(BUILTIN, input_size=5)


def test_local_tf2_module_gets_the_size_and_range_it_wants(tf, tmp_path):
    pixels = np.full((1, 96, 96, 3), 0.5, np.float32)
    free = load_backbone(str(save_tf2_module(tf, tmp_path / "free")), input_size=40)
    assert free.input_size == 40 and np.allclose(free.extract(pixels), np.full(3, 0.5) @ np.arange(12).reshape(3, 4))
    fixed = load_backbone(str(save_tf2_module(tf, tmp_path / "fixed", side=48)), input_size=160)
    assert fixed.input_size == 48 and np.allclose(fixed.extract(pixels), free.extract(pixels))
    raw = load_backbone(str(save_tf2_module(tf, tmp_path / "bytes", dtype="uint8")), input_size=40)
    assert np.allclose(raw.extract(pixels), np.full(3, 128) @ np.arange(12).reshape(3, 4))
    assert len({b.fingerprint for b in (free, fixed, raw)}) == 3


def test_a_whole_classifier_says_that_its_logits_are_used(tf, tmp_path):
    backbone = load_backbone(str(save_tf2_module(tf, tmp_path / "m", n=1001)))
    assert backbone.n_features == 1001 and "its 1001 logits serve as features" in backbone.note


def test_archive_is_unpacked_once_and_safely(tf, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    module = save_tf2_module(tf, tmp_path / "m")
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.add(module, arcname=".")
    backbone = load_backbone(str(tmp_path / "m.tar.gz"))
    assert backbone.n_features == 4 and len(list((tmp_path / "cache").iterdir())) == 1
    assert load_backbone(str(tmp_path / "m.tar.gz")).fingerprint == backbone.fingerprint
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        archive.add(module / "saved_model.pb", arcname="../../outside.pb")
    with pytest.raises(BadInput, match="points outside the folder"):
        load_backbone(str(tmp_path / "evil.tar.gz"))
    assert not (tmp_path / "outside.pb").exists()
    (tmp_path / "no.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BadInput, match="cannot be unpacked"):
        load_backbone(str(tmp_path / "no.tar.gz"))


def test_an_address_is_taken_from_the_cache_and_named_when_it_is_not_there(tf, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    handle = "https://tfhub.dev/somebody/something/classification/1"
    place = tmp_path / hashlib.sha1(handle.encode()).hexdigest()
    with pytest.raises(MissingInput, match=rf"could not be downloaded .*unpack it to {place}"):
        load_backbone(handle)
    save_tf2_module(tf, place)
    assert load_backbone(handle).n_features == 4


class Modules(http.server.BaseHTTPRequestHandler):
    """Sends what it has under an address, once it is asked for all of a module in one file."""

    archives: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        content = self.archives.get(self.path.removesuffix("?tf-hub-format=compressed"))
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_a_module_is_downloaded_once_and_unpacked_within_bounds(tf, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    downloads._make_opener.cache_clear()
    module = save_tf2_module(tf, tmp_path / "m")
    archives = {}
    for name, size in (("good", 0), ("bomb", 30_000_000)):
        (module / "padding").write_bytes(bytes(size))
        with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
            archive.add(module, arcname=".")
        archives[f"/{name}"] = (tmp_path / "m.tar.gz").read_bytes()
    monkeypatch.setattr(Modules, "archives", archives)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Modules) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}"
        backbone = load_backbone(f"{home}/good")
        monkeypatch.setattr(Modules, "archives", {"/bomb": archives["/bomb"]})
        assert load_backbone(f"{home}/good").fingerprint == backbone.fingerprint
        with pytest.raises(BadInput, match=rf"^{home}/bomb: it unpacks to more than 10,000,000 bytes"):
            load_backbone(f"{home}/bomb")
        with pytest.raises(MissingInput, match=rf"^{home}/none could not be downloaded .*the server says 404"):
            load_backbone(f"{home}/none")
        server.shutdown()
    name = hashlib.sha1(f"{home}/good".encode()).hexdigest()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [name], "as tensorflow-hub would find it"


def test_modules_that_cannot_be_used(tf, tmp_path):
    with pytest.raises(MissingInput, match="there is no module"):
        load_backbone(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"neither saved_model.pb nor tfhub_module.pb"):
        load_backbone(str(tmp_path / "empty"))
    (tmp_path / "empty" / "saved_model.pb").write_bytes(b"nonsense nonsense")
    with pytest.raises(BadInput, match="is damaged"):
        load_backbone(str(tmp_path / "empty"))
    writer = save_tf2_module(tf, tmp_path / "writer", write_file=True)
    with pytest.raises(BadInput, match=r"WriteFile; it is not loaded.*--trust-model"):
        load_backbone(str(writer))
    assert load_backbone(str(writer), trust=True).n_features == 4


def save_tf1_module(tf, folder, *, with_features=True, side=24):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, side, side, 3])
        # Variables and their updates as TF1 layers made them, batch norm's moving averages among them.
        scale = tf.compat.v1.get_variable("scale", initializer=tf.ones([3]) * 2, use_resource=False)
        tf.compat.v1.assign_sub(scale, tf.ones([3]), name="moving_average")
        features = tf.reduce_mean(x, [1, 2]) * scale
        logits = tf.matmul(features, tf.ones([3, 7]))
        v1 = tf.compat.v1.saved_model
        signatures = {"default": v1.predict_signature_def({"images": x}, {"default": logits})}
        if with_features:
            signatures["image_feature_vector"] = v1.predict_signature_def({"images": x}, {"default": features})
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            builder = v1.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, [], signature_def_map=signatures)
            builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("with_features", [True, False])
def test_tf1_modules_are_frozen(tf, tmp_path, with_features):
    folder = save_tf1_module(tf, tmp_path / "m", with_features=with_features)
    backbone = load_backbone(str(folder))
    assert backbone.input_size == 24 and not backbone.variables and backbone.why_frozen
    assert backbone.n_features == (3 if with_features else 7)
    assert ("offers no feature vector" in backbone.note) != with_features
    pixels = np.full((2, 96, 96, 3), 0.5, np.float32)
    assert np.allclose(backbone.extract(pixels), 1.0 if with_features else 3.0)
    content = freeze_model(lambda tiles: tf.nn.softmax(backbone.extract(tiles)), tile_size=96)
    (tmp_path / "m.pb").write_bytes(content)
    (tmp_path / "labels.txt").write_text("".join(f"c{i}\n" for i in range(backbone.n_features)))
    assert np.allclose(load_classifier(tmp_path / "m.pb").classify(pixels), 1 / backbone.n_features)
    free = save_tf1_module(tf, tmp_path / "free", side=None)
    assert load_backbone(str(free), input_size=40).input_size == 40
    with pytest.raises(BadInput, match="TF1 format, whose weights cannot be fine-tuned; leave --fine-tune out"):
        load_backbone(str(folder), trainable=True)


def test_a_hub_module_freezes_to_the_same_bytes(tf, tmp_path):
    folder = str(save_tf2_module(tf, tmp_path / "m"))
    contents = []
    for _ in range(2):
        backbone = load_backbone(folder, input_size=32)
        contents.append(freeze_model(lambda tiles, b=backbone: tf.nn.softmax(b.extract(tiles)), tile_size=32))
    assert contents[0] == contents[1]


def test_damaged_modules_are_named(tf, tmp_path):
    for save in (save_tf1_module, save_tf2_module):
        folder = save(tf, tmp_path / save.__name__)
        for path in (folder / "variables").iterdir():
            path.write_bytes(path.read_bytes()[:10])
        with pytest.raises(BadInput, match=r"cannot be loaded as a TF. module for images"):
            load_backbone(str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
def test_the_exported_module_is_reusable(tf, tmp_path):
    from hybridseg.models.trustedmodules import import_hub

    hub = import_hub()
    export_builtin(tmp_path / "m", input_size=64)
    layer = hub.KerasLayer(str(tmp_path / "m"), trainable=True)
    pixels = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    own = load_backbone(BUILTIN, input_size=64).extract(pixels).numpy()
    assert np.abs(layer(pixels).numpy() - own).max() < 1e-4 and len(layer.trainable_variables) > 40
    loaded = load_backbone(str(tmp_path / "m"), trainable=True)
    assert loaded.input_size == 64 and loaded.variables and np.abs(loaded.extract(pixels).numpy() - own).max() < 1e-4
    with pytest.raises(BadInput, match="input_size=99999: give a side from 32 to 1024 pixels"):
        export_builtin(tmp_path / "new", input_size=99999)
    with pytest.raises(OutputExists, match="holds files already"):
        export_builtin(tmp_path / "m")


def test_what_a_killed_export_left_goes_with_the_next(tmp_path):
    """Also where the module itself is whole, and the next export is refused."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "saved_model.pb").touch()
    (tmp_path / ".m.hybridseg.lock").touch()
    with pytest.raises(OutputExists, match="holds files already"):
        export_builtin(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
