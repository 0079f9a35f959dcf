"""Runtime graphs: beside their models, kept for those that come without one, and refused where they do not belong."""

import json
import logging
import os

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, OutputExists
from hybridseg.models import runtimes
from hybridseg.models.bundles import DenseCard, DenseModel, load_dense, save_dense
from hybridseg.models.cards import hash_bytes
from hybridseg.models.engines import LiteEngine, TensorFlowEngine, do_agree
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.graphs import freeze
from hybridseg.models.litegraphs import check_lite, fit_lite
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.store import load_classifier
from hybridseg.models.unet import Unet

SIZE = 64
LABELS = ("sand", "veg", "water")


@pytest.fixture
def said(caplog):
    """What whoever waits is told."""
    caplog.set_level(logging.INFO, "hybridseg.progress")
    return caplog


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hybridseg"


@pytest.fixture
def tiles():
    return np.random.default_rng(1).integers(0, 256, (37, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def model(tiny_model, tmp_path):
    """The files of a trained classifier, the test's own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model.parent.glob("*.*"):
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder / "model.pb"


def write_dense(path, architecture, table=None, probes=True, size=(SIZE, SIZE)):
    """Save a network whose every weight matters, and return it."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    network = architecture.build()
    for layer in network.layers:
        if "score" in layer.name:
            layer.set_weights([np.random.default_rng(0).normal(size=v.shape) for v in layer.get_weights()])
    table = table or ClassTable.from_names(["rest", "water", "sand"][: max(architecture.n_outputs, 2)])
    card = DenseCard(architecture, table, size, Normalization("unit"))
    windows = np.random.default_rng(0).random((2, *size, architecture.n_bands), dtype=np.float32)
    written = save_dense(path, network, card, probes=[windows] if probes else ())
    return DenseModel(path, card, network), written


def test_training_writes_the_runtime_graph_and_the_card_names_it(model, tiles):
    record = json.loads(model.with_suffix(".json").read_text())["runtime"]
    content = model.with_name("model.tflite").read_bytes()
    assert record == {"file": "model.tflite", "sha256": hash_bytes(content)}
    lite, exact = load_classifier(model), load_classifier(model, engine="tensorflow")
    assert (lite.engine_name, exact.engine_name) == ("litert", "tensorflow")
    found, expected = lite.classify(tiles), exact.classify(tiles)
    assert np.abs(found - expected).max() < 1e-5 and expected.std() > 0.01


@pytest.fixture
def shallow(monkeypatch):
    """Residual U-Nets of three levels."""
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 3)


@pytest.mark.usefixtures("small_encoder", "shallow")
@pytest.mark.parametrize(("architecture", "rows", "cols"), [
    (Fcn8s(n_bands=3, n_outputs=3), 128, 32),
    pytest.param(ResUnet(n_bands=4, n_outputs=1, filters=1, upsample="bilinear"), 32, 96, marks=pytest.mark.slow),
    pytest.param(ResUnet(n_bands=2, n_outputs=3, filters=1), 96, 64, marks=pytest.mark.slow),
], ids=str)  # fmt: skip
def test_one_runtime_graph_takes_images_of_any_size(tmp_path, architecture, rows, cols):
    model, written = write_dense(tmp_path / "net.h5", architecture)
    assert [path.name for path in written] == ["net.h5", "net.card.json", "net.tflite"]
    lite = load_dense(tmp_path / "net.h5")
    assert lite.engine_name == "litert"
    rng = np.random.default_rng(2)
    # There and back again: the last shape must not be taken for the graph's own.
    for shape in ((1, SIZE, SIZE), (3, rows, cols), (1, SIZE, SIZE), (2, rows, rows)):
        pixels = rng.random((*shape, architecture.n_bands), dtype=np.float32)
        assert np.allclose(lite.predict(pixels), model.predict(pixels), atol=1e-4)


def test_another_graph_than_that_of_the_card_is_refused(model):
    place = model.with_name("model.tflite")
    content = bytearray(place.read_bytes())
    content[-100] ^= 1
    place.write_bytes(content)
    with pytest.raises(BadInput, match=r"model.tflite: it is not the runtime graph of model.pb that its card names"):
        load_classifier(model)
    assert load_classifier(model, engine="tensorflow").engine_name == "tensorflow"


def test_a_file_of_the_user_is_not_replaced(tmp_path, tiny):
    architecture = tiny(n_bands=1, n_outputs=1)
    write_dense(tmp_path / "a.h5", architecture)
    write_dense(tmp_path / "a.h5", architecture, probes=False)
    assert not (tmp_path / "a.tflite").exists(), "ours goes with the network that it belonged to"
    (tmp_path / "a.tflite").write_text("mine")
    with pytest.raises(OutputExists, match=r"a.tflite is another file, and the runtime graph of a.h5 would replace"):
        write_dense(tmp_path / "a.h5", architecture)
    assert (tmp_path / "a.tflite").read_text() == "mine"


def test_a_model_renamed_with_all_its_files_needs_nothing_else(model, tiles, cache):
    expected = load_classifier(model).classify(tiles)
    for path in list(model.parent.glob("model.*")):
        path.rename(path.with_name(path.name.replace("model", "coast", 1)))
    assert np.array_equal(load_classifier(model.with_name("coast.pb")).classify(tiles), expected)
    assert not list(cache.glob("*.tflite"))


def test_a_model_without_a_runtime_graph_is_converted_once(model, tiles, cache, said):
    expected = load_classifier(model).classify(tiles)
    model.with_name("model.tflite").unlink()
    model.with_suffix(".json").unlink()
    assert np.allclose(load_classifier(model).classify(tiles), expected, atol=1e-6)
    assert f"model.pb has no runtime graph: TensorFlow makes it once, and it is kept in {cache}" in said.text
    kept = list(cache.glob("*.tflite"))
    assert len(kept) == 1 and kept[0].suffix == ".tflite"
    said.clear()
    again = load_classifier(model)
    assert np.allclose(again.classify(tiles), expected, atol=1e-6) and "no runtime graph" not in said.text
    assert "model.pb has no card: it is fed with values in 0..1; if it was trained on -1..1, give" in said.text
    # A damaged one is made anew.
    kept[0].write_bytes(kept[0].read_bytes()[:1000])
    assert np.allclose(load_classifier(model).classify(tiles), expected, atol=1e-6)
    assert "no runtime graph" in said.text and len(kept[0].read_bytes()) > 1000


def test_a_network_without_a_runtime_graph_is_converted_once(tmp_path, cache, said, tiny):
    own, _ = write_dense(tmp_path / "old.h5", tiny(n_bands=3, n_outputs=3), probes=False)
    card = json.loads((tmp_path / "old.card.json").read_text())
    del card["runtime"]
    (tmp_path / "old.card.json").write_text(json.dumps(card))
    pixels = np.random.default_rng(3).random((1, 32, 64, 3), dtype=np.float32)
    for n_lines in (1, 0):
        said.clear()
        loaded = load_dense(tmp_path / "old.h5")
        assert loaded.engine_name == "litert" and said.text.count("no runtime graph") == n_lines
        assert np.allclose(loaded.predict(pixels), own.predict(pixels), atol=1e-4)
    assert len(list(cache.glob("*.tflite"))) == 1


def test_a_cache_that_cannot_be_written_costs_time_alone(model, tiles, tmp_path, monkeypatch, said):
    (tmp_path / "file").touch()
    model.with_name("model.tflite").unlink()
    expected = load_classifier(model, engine="tensorflow").classify(tiles)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert np.allclose(load_classifier(model).classify(tiles), expected, atol=1e-6)
    assert "the runtime graph is made again next time: could not write" in said.text


def test_what_is_kept_is_bounded(cache, monkeypatch, tmp_path):
    cache.mkdir(parents=True)
    (cache / "notes.txt").write_text("mine")
    for i, name in enumerate("abc"):
        (cache / f"{name}.tflite").write_bytes(b"x" * 10)
        os.utime(cache / f"{name}.tflite", (i, i))
    monkeypatch.setattr(runtimes, "_MAX_KEPT_FILES", 3)
    runtimes.fetch_runtime(tmp_path / "m.pb", ("key",), lambda: None)
    names = {path.name for path in cache.iterdir()}
    assert "a.tflite" not in names and {"b.tflite", "c.tflite", "notes.txt"} <= names and len(names) == 4


def test_what_litert_does_not_support_is_remembered(cache, tmp_path):
    made = []
    for _ in range(2):
        assert runtimes.fetch_runtime(tmp_path / "m.pb", ("key",), lambda: made.append(1)) is None
    assert made == [1]


class Answers:
    """An engine that always says the same."""

    name = "test"

    def __init__(self, probs):
        self.probs = np.float32(probs)

    def classify(self, images):
        return self.probs


@pytest.mark.parametrize(("found", "agree"), [
    ([[0.6, 0.4], [0.2, 0.8]], True), ([[0.6005, 0.3995], [0.2, 0.8]], True), ([[0.602, 0.398], [0.2, 0.8]], False),
    ([[np.nan, 0.4], [0.2, 0.8]], False), ([[0.6, 0.4]], False),
])  # fmt: skip
def test_engines_agree_to_a_thousandth(found, agree):
    assert do_agree(Answers(found), Answers([[0.6, 0.4], [0.2, 0.8]]), [np.zeros((2, 1, 1, 3), np.float32)]) is agree


def test_engines_that_choose_other_classes_disagree():
    even, tipped = np.full((100, 2), 0.5), np.full((100, 2), 0.5)
    tipped[0] = 0.4999, 0.5001
    assert not do_agree(Answers(tipped), Answers(even), [np.zeros((100, 1, 1, 3), np.float32)])


def rewrite(content, change):
    """Change a graph as objects, and return its bytes."""
    import flatbuffers

    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(graph)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_graphs_that_could_do_more_than_compute_are_refused(model):
    content = model.with_name("model.tflite").read_bytes()
    check_lite(rewrite(content, lambda graph: None))

    def call_foreign_code(graph):
        graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
        graph.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        graph.operatorCodes[0].customCode = "FlexReadFile"

    def ask_for_everything(graph):
        graph.subgraphs[0].tensors[0].shape = [1, 1_000_000, 1_000_000, 3]

    def ask_by_the_other_shape(graph):
        graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]].shapeSignature = [1 << 24, 32, 32, 3]

    def want_many_images(graph):
        tensor = graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]]
        tensor.shape = tensor.shapeSignature = [257, *list(tensor.shape)[1:]]

    with pytest.raises(BadInput, match="it takes 257 images at once, more than 256; convert it for one image at a tim"):
        LiteEngine(rewrite(content, want_many_images))

    def name_without_text(graph):
        graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]].name = b"\xff\xfe"

    with pytest.raises(BadInput, match="a name that is no text"):
        LiteEngine(rewrite(content, name_without_text))
    for bad, message in (
        (rewrite(content, call_foreign_code), "operations that a network does not need: CUSTOM"),
        (rewrite(content, ask_for_everything), "more memory than any network needs"),
        (rewrite(content, ask_by_the_other_shape), "more memory than any network needs"),
        (b"not a graph at all", "not a graph of LiteRT"),
        (content[:600], "damaged"),
    ):
        with pytest.raises(BadInput, match=message):
            check_lite(bad)
        with pytest.raises(BadInput):
            LiteEngine(bad)


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_sizes_that_a_network_does_not_take_are_refused(tmp_path):
    write_dense(tmp_path / "net.h5", ResUnet(n_bands=1, n_outputs=1, filters=1))
    content = (tmp_path / "net.tflite").read_bytes()
    assert fit_lite(content, (SIZE, SIZE)) == content
    with pytest.raises(BadInput, match="does not take images of 65 x 64"):
        fit_lite(content, (65, 64))

    def forget_sizes(graph):
        for tensor in graph.subgraphs[0].tensors:
            tensor.shape = None

    def make_them_nothing(graph):
        graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]].shape = [1, 0, 0, 1]

    for bad in (rewrite(content, forget_sizes), rewrite(content, make_them_nothing), content[:600]):
        with pytest.raises(BadInput, match=r"it is damaged|does not say how large its images are"):
            fit_lite(bad, (SIZE, SIZE))


@pytest.mark.parametrize(("name", "given", "used"), [
    ("input", None, "-1..1"), ("input", "0..1", "0..1"),
    ("Placeholder", None, "0..1"), ("Placeholder", "-1..1", "-1..1"),
])  # fmt: skip
def test_graphs_of_poets_are_fed_with_their_values(tmp_path, cache, said, name, given, used):
    """As tensorflow-for-poets writes them: an input called `input` of one size, and a placeholder for bottlenecks."""
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(16 * 16 * 3, 3)).astype(np.float32) * 0.1
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 16, 16, 3], name=name)
        features = tf.compat.v1.placeholder_with_default(
            tf.reshape(x, [-1, 768]), [None, 768], name="input_1/BottleneckInputPlaceholder"
        )
        tf.nn.softmax(tf.matmul(features, weights), name="final_result")
    (tmp_path / "retrained_graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    tiles = np.random.default_rng(1).random((5, 16, 16, 3), dtype=np.float32)
    fed = tiles * 2 - 1 if used == "-1..1" else tiles
    powers = np.exp(fed.reshape(5, -1) @ weights)
    expected = powers / powers.sum(axis=1, keepdims=True)
    # The second time it comes from the cache, which must know the range as well.
    for engine in ("litert", "litert", "tensorflow"):
        said.clear()
        classifier = load_classifier(tmp_path / "retrained_graph.pb", input_range=given, engine=engine)
        assert classifier.engine_name == engine and np.allclose(classifier.classify(tiles), expected, atol=1e-5)
        assert f"it is fed with values in {used};" in said.text


def test_the_range_of_a_model_with_a_card_is_no_question(model):
    with pytest.raises(BadInput, match=r"takes values in 0..1, as its card says; leave --input-range out"):
        load_classifier(model, input_range="-1..1")


def test_a_graph_that_disagrees_with_tensorflow_is_not_used():
    import tensorflow as tf

    graph = freeze(lambda images: tf.nn.softmax(tf.reduce_mean(images, [1, 2])), (None, 4, 4, 3))
    images = np.random.default_rng(0).random((5, 4, 4, 3), dtype=np.float32)
    exact = TensorFlowEngine(graph)
    content = runtimes.make_runtime(graph, exact, [images])
    assert np.allclose(LiteEngine(content).classify(images), exact.classify(images), atol=1e-6)
    assert runtimes.make_runtime(graph, Answers(exact.classify(images) + 0.01), [images]) is None


@pytest.mark.slow
def test_a_training_at_any_size_leaves_a_runtime_graph(tmp_path):
    unet = Unet(n_bands=3, n_outputs=3, encoder="none", block="plain", widths=(4, 4, 4, 4))
    _, written = write_dense(tmp_path / "net.h5", unet, size=(40, 50))
    assert written[-1].name == "net.tflite"
