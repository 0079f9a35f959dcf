"""Models on disk: ours there and back, a classic one, and every one that must be refused."""

import json
import shutil

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.models import bundles
from hybridseg.models.architectures import ARCHITECTURES
from hybridseg.models.cards import hash_bytes
from hybridseg.models.graphs import freeze_model
from hybridseg.models.store import ModelCard, load_classifier, read_card, save_classifier

SIZE = 8
TABLE = ClassTable.from_names(["sand", "water", "wood"])


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, 3)).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def content(tf, weights):
    return freeze_model(
        lambda x: tf.nn.softmax(
            tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, SIZE * SIZE * 3]), weights), [0.1, 0.0, 0.2])
        ),
        tile_size=SIZE,
    )


@pytest.fixture
def saved(tmp_path, content):
    card = ModelCard(
        TABLE.names, TABLE.colors, SIZE, SIZE, "builtin:test", "none", False, {}, {"accuracy": 1.0}, hash_bytes(content)
    )
    save_classifier(tmp_path / "model.pb", content, card, tmp_path / "labels.txt")
    return tmp_path


@pytest.fixture
def tiles():
    return np.random.default_rng(1).integers(0, 256, (37, SIZE, SIZE, 3), dtype=np.uint8)


def expect(tiles, weights):
    logits = (tiles.astype(np.float32) / 255).reshape(len(tiles), -1) @ weights + np.float32([0.1, 0.0, 0.2])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_there_and_back(saved, tiles, weights):
    classifier = load_classifier(saved / "model.pb")
    assert classifier.table == TABLE and classifier.tile_size == SIZE and classifier.engine_name == "litert"
    probs = classifier.classify(tiles)
    assert probs.shape == (37, 3) and np.abs(probs - expect(tiles, weights)).max() < 1e-5
    assert np.array_equal(classifier.classify(tiles[:5]), classifier.classify(tiles)[:5])
    assert np.allclose(classifier.classify(tiles[:2].astype(np.float32) / 255), probs[:2], atol=1e-6)
    assert classifier.classify(tiles[:0]).shape == (0, 3)
    with pytest.raises(BadInput, match=r"takes tiles of 8 x 8 x 3, these are \(9, 9, 3\)"):
        classifier.classify(np.zeros((1, 9, 9, 3), np.uint8))


def test_the_same_variables_give_the_same_bytes(tf, weights, content):
    again = freeze_model(
        lambda x: tf.nn.softmax(
            tf.nn.bias_add(tf.matmul(tf.reshape(x, [-1, SIZE * SIZE * 3]), weights), [0.1, 0.0, 0.2])
        ),
        tile_size=SIZE,
    )
    assert again == content


def test_names_of_the_frozen_graph(tf, content):
    graph = tf.compat.v1.GraphDef.FromString(content)
    names = [node.name for node in graph.node]
    assert names[0] == "Placeholder" and "final_result" in names and not graph.library.function
    used = {name.split(":")[0] for node in graph.node for name in node.input}
    assert "final_result" not in used, "the output is the end of the graph"


@pytest.mark.parametrize("prefix", ["", "import/"])
@pytest.mark.parametrize("batch", [None, 1])
def test_a_classic_graph_gives_identical_answers(tf, tmp_path, tiles, weights, prefix, batch):
    """As the TF1 script wrote it: an input without a name of its own, maybe under import/, maybe one tile at a time."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [batch, SIZE, SIZE, 3], name=f"{prefix}Placeholder")
        flat = tf.reshape(x, [-1 if batch is None else batch, SIZE * SIZE * 3])
        logits = tf.compat.v1.nn.bias_add(tf.matmul(flat, tf.constant(weights)), tf.constant([0.1, 0.0, 0.2]))
        tf.nn.softmax(logits, name=f"{prefix}final_result")
    (tmp_path / "old.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (tmp_path / "labels.txt").write_text("sand\nwater\nwood\n")
    with tf.compat.v1.Session(graph=graph) as session:
        scaled = tiles.astype(np.float32) / 255
        reference = np.concatenate([
            session.run(f"{prefix}final_result:0", {f"{prefix}Placeholder:0": tile[None]}) for tile in scaled
        ])  # fmt: skip
    classifier = load_classifier(tmp_path / "old.pb")
    probs = classifier.classify(tiles)
    assert np.array_equal(probs.argmax(axis=1), reference.argmax(axis=1)) and np.abs(probs - reference).max() < 1e-5
    assert classifier.engine_name == "litert"
    exact = load_classifier(tmp_path / "old.pb", engine="tensorflow")
    assert exact.engine_name == "tensorflow" and np.abs(exact.classify(tiles) - reference).max() < 1e-6


@pytest.mark.parametrize("op", ["ReadFile", "WriteFile", "PyFunc", "Print", "PrintV2", "EagerPyFunc", "RemoteCall"])
def test_graphs_that_reach_out_are_refused_by_name(tf, tmp_path, op):
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="Placeholder", op="Placeholder")
    graph.node.add(name="bad", op=op)
    graph.node.add(name="final_result", op="Softmax", input=["Placeholder"])
    (tmp_path / "bad.pb").write_bytes(graph.SerializeToString())
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(BadInput, match=rf"bad.pb holds operations .*: {op}; it is not loaded; get the model from a"):
        load_classifier(tmp_path / "bad.pb")


def test_an_operation_hidden_in_a_function_is_found(tf, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
    def inner(x):
        tf.print("psst")
        return tf.nn.softmax(tf.reduce_mean(x, [1, 2]))

    graph = inner.get_concrete_function().graph.as_graph_def()
    outer = tf.compat.v1.GraphDef()
    function = outer.library.function.add()
    function.signature.name = "hidden"
    for node in graph.node:
        function.node_def.add().CopyFrom(node)
    outer.node.add(name="Placeholder", op="Placeholder")
    outer.node.add(name="final_result", op="hidden", input=["Placeholder"])
    (tmp_path / "bad.pb").write_bytes(outer.SerializeToString())
    (tmp_path / "labels.txt").write_text("sand\nwater\nwood\n")
    with pytest.raises(BadInput, match="PrintV2"):
        load_classifier(tmp_path / "bad.pb")


def test_labels_and_tile_size_must_fit(saved, content):
    bare = saved / "bare"
    bare.mkdir()
    (bare / "m.pb").write_bytes(content)
    with pytest.raises(MissingInput, match=r"neither m.json nor labels.txt beside it; give its labels: --labels"):
        load_classifier(bare / "m.pb")
    (bare / "labels.txt").write_text("a\nb\n")
    with pytest.raises(BadInput, match=r"has 2 classes but .*m.pb has 3 outputs"):
        load_classifier(bare / "m.pb")
    with pytest.raises(BadInput, match=r"takes tiles of 8 pixels, not 96"):
        load_classifier(saved / "model.pb", tile_size=96)
    (bare / "other.txt").write_text("sand\nwater\nmud\n")
    with pytest.raises(BadInput, match=r"lists sand, water, mud but .* was trained on sand, water, wood"):
        load_classifier(saved / "model.pb", labels_path=bare / "other.txt")


def test_damaged_and_mismatched_files(saved, tmp_path):
    (saved / "x.pb").write_bytes(b"\x08not a graph" * 20)
    with pytest.raises(BadInput, match=r"x.pb is damaged or not a frozen graph"):
        load_classifier(saved / "x.pb")
    (saved / "e.pb").touch()
    with pytest.raises(BadInput, match="is an empty file"):
        load_classifier(saved / "e.pb")
    with pytest.raises(MissingInput, match="there is no model"):
        load_classifier(saved / "none.pb")
    shutil.copy(saved / "model.json", saved / "x.json")
    with pytest.raises(BadInput, match=r"x\.pb is not the file that x\.json describes .*, or remove x\.json if"):
        read_card(saved / "x.pb")
    record = json.loads((saved / "model.json").read_text())
    for change, message in [
        ({"format": 99}, "another version"),
        ({"colors": 3}, "is damaged"),
        ({"colors": [[0, 0, 300]] * 3}, "300"),
        ({"tile_size": "8"}, "is damaged"),
        ({"extra": 1}, "is damaged"),
    ]:
        (saved / "model.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(BadInput, match=rf"model.json: .*{message}"):
            load_classifier(saved / "model.pb")
    (saved / "model.json").write_text("{")
    with pytest.raises(BadInput, match="it is damaged"):
        load_classifier(saved / "model.pb")


def test_what_is_cheap_is_checked_before_a_graph_is_converted(saved, content, tmp_path, monkeypatch):
    def fail(*args, **settings):
        raise AssertionError("it is converted")

    monkeypatch.setattr("hybridseg.models.runtimes.fetch_runtime", fail)
    monkeypatch.setattr("hybridseg.models.store.parse_graph", fail)
    model = tmp_path / "bare/m.pb"
    model.parent.mkdir()
    for damaged in (b"some notes\n" * 20, content[:-1], content + b"\xff", b"\x0a" + b"\xff" * 30):
        model.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"m.pb is damaged or not a frozen graph"):
            load_classifier(model)
    model.write_bytes(content)
    with pytest.raises(MissingInput, match="give its labels: --labels"):
        load_classifier(model)
    with pytest.raises(MissingInput, match=r"none\.txt"):
        load_classifier(model, labels_path=tmp_path / "none.txt")
    with pytest.raises(AssertionError, match="it is converted"):
        load_classifier(model, labels_path=saved / "labels.txt")


def save_graph(tf, path, build):
    graph = tf.Graph()
    with graph.as_default():
        build(tf.compat.v1)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    path.with_name("labels.txt").write_text("sand\nwater\nwood\n")


def test_graphs_that_cannot_be_fed_or_run_are_refused(tf, tmp_path):
    def with_dropout(v1):
        keep = v1.placeholder(tf.float32, [], name="keep_prob")
        tf.nn.softmax(tf.reduce_mean(v1.placeholder(tf.float32, [None, 8, 8, 3]), [1, 2]) * keep, name="final_result")

    def of_bytes(v1):
        pixels = tf.cast(v1.placeholder(tf.uint8, [None, 8, 8, 3]), tf.float32)
        tf.nn.softmax(tf.reduce_mean(pixels, [1, 2]), name="final_result")

    def of_other_length(v1):
        x = v1.placeholder(tf.float32)
        tf.nn.softmax(tf.reshape(x, [7, 5]), name="final_result")

    for build, message in (
        (with_dropout, "keep_prob"),
        (of_bytes, "32-bit floats"),
        (of_other_length, "cannot be run"),
    ):
        save_graph(tf, tmp_path / "m.pb", build)
        with pytest.raises(BadInput, match=message):
            load_classifier(tmp_path / "m.pb", tile_size=8)
    graph = tf.compat.v1.GraphDef()
    graph.node.add(name="final_result", op="Softmax", input=["nowhere"])
    (tmp_path / "m.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(BadInput, match="is damaged"):
        load_classifier(tmp_path / "m.pb")


def test_a_last_layer_without_bias_and_an_input_without_shape(tf, tmp_path):
    def build(v1):
        x = v1.placeholder(tf.float32)
        early = v1.nn.bias_add(tf.reshape(x, [-1, 192]), tf.zeros([192]))
        tf.nn.softmax(tf.matmul(early, tf.ones([192, 3])), name="final_result")

    save_graph(tf, tmp_path / "m.pb", build)
    with pytest.raises(BadInput, match="does not say the size of its tiles"):
        load_classifier(tmp_path / "m.pb")
    assert load_classifier(tmp_path / "m.pb", tile_size=8).classify(np.zeros((2, 8, 8, 3), np.uint8)).shape == (2, 3)


def test_a_name_that_is_taken_is_refused(tf, weights):
    def apply(x):
        return tf.nn.softmax(tf.matmul(tf.reshape(x, [-1, SIZE * SIZE * 3]), weights))

    with pytest.raises(BadInput, match="'MatMul' is taken"):
        freeze_model(apply, tile_size=SIZE, output_name="MatMul")


@pytest.fixture
def save(content):
    """Save the model in a folder with its labels under a name, and return what was written and the note."""

    def write(folder, name="labels.txt", table=TABLE):
        card = ModelCard(
            table.names, table.colors, SIZE, SIZE, "builtin:test", "none", False, {}, {}, hash_bytes(content)
        )
        written, note = save_classifier(folder / "model.pb", content, card, folder / name)
        return [path.name for path in written], note

    return write


def test_a_model_from_elsewhere_is_not_replaced(save, tmp_path):
    """A classic one has no card; and beside our card there may be another one."""
    path = tmp_path / "model.pb"
    for _ in range(2):
        path.write_bytes(b"the work of others")
        with pytest.raises(
            OutputExists, match=r"model\.pb is another model: model\.json, its card, .* move it away, or"
        ):
            save(tmp_path)
        assert path.read_bytes() == b"the work of others"
        path.unlink()
        save(tmp_path)


@pytest.mark.parametrize("broken", ["write_bytes", "write_class_files", "write_json"])
def test_a_killed_run_is_given_again(save, content, tmp_path, monkeypatch, broken):
    """Between the two the model has no card, whether it is the old one or the new one."""
    path = tmp_path / "model.pb"
    # Made on another machine.
    path.write_bytes(old := b"the old model")
    path.with_suffix(".json").write_text(json.dumps({"tile_size": SIZE, "sha256": hash_bytes(old)}))

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"hybridseg.models.store.{broken}", die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path)
    assert not path.with_suffix(".json").exists()
    save(tmp_path)
    assert path.read_bytes() == content


def test_labels_of_the_user_are_never_overwritten(save, tmp_path):
    assert save(tmp_path) == (["model.pb", "labels.txt", "model.json"], "")
    assert save(tmp_path) == (["model.pb", "model.json"], ""), "the same list is left alone"
    mine = tmp_path / "labels.txt"
    for same in ("Sand\n\nWATER\nwood", "sand, 1, 2, 3\nwater, 4, 5, 6\nwood, 7, 8, 9\n"):
        mine.write_text(same)
        assert save(tmp_path) == (["model.pb", "model.json"], "") and mine.read_text() == same
    mine.write_text("water\nsand\nwood\n")
    written, note = save(tmp_path)
    assert written == ["model.pb", "model_labels.txt", "model.json"]
    assert "labels.txt has another class list and stays as it is; that of the model is in" in note
    assert mine.read_text() == "water\nsand\nwood\n"
    assert (tmp_path / "model_labels.txt").read_text() == "sand\nwater\nwood\n"
    assert save(tmp_path)[0] == ["model.pb", "model.json"]
    assert save(tmp_path, table=ClassTable.from_names("abc"))[0] == ["model.pb", "model_labels_2.txt", "model.json"]
    (tmp_path / "names.txt").write_bytes(b"\xff not a class file")
    assert save(tmp_path, "names.txt")[0] == ["model.pb", "model.json"]
    assert (tmp_path / "names.txt").read_bytes() == b"\xff not a class file"


def test_a_model_without_its_card_finds_its_own_labels(save, tmp_path):
    (tmp_path / "labels.txt").write_text("sky\nsand\nwater\nwood\n")
    save(tmp_path)
    assert load_classifier(tmp_path / "model.pb", labels_path=tmp_path / "labels.txt").table == TABLE
    assert load_classifier(tmp_path / "model.pb").table == TABLE
    (tmp_path / "model.json").unlink()
    assert load_classifier(tmp_path / "model.pb").table.names == TABLE.names, "the other list has a class too many"
    (tmp_path / "labels.txt").write_text("water\nsand\nwood\n")
    with pytest.raises(BadInput, match=r"has no model.json, and labels.txt, model_labels.txt beside it differ; say"):
        load_classifier(tmp_path / "model.pb")
    found = load_classifier(tmp_path / "model.pb", labels_path=tmp_path / "model_labels.txt")
    assert found.table.names == TABLE.names
    with pytest.raises(MissingInput, match=r"there is no file .*none.txt"):
        load_classifier(tmp_path / "model.pb", labels_path=tmp_path / "none.txt")


@pytest.mark.parametrize(
    "name, program", [("fcn8s", "fcn infer"), ("unet", "unet infer"), ("resunet", "resunet segment")]
)
def test_a_dense_network_is_sent_to_its_own_command(tmp_path, name, program):
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "model.card.json").write_text(json.dumps({"kind": "dense", "architecture": {"name": name}}))
    for path in (tmp_path / "model.h5", tmp_path):
        with pytest.raises(
            BadInput, match=rf"{path.name} is a dense network, which `hybridseg {program}` applies; give"
        ):
            load_classifier(path)


def test_what_is_no_model_is_told_so(saved, tmp_path):
    with pytest.raises(BadInput, match=r"labels\.txt is not a model; give a \.pb file"):
        load_classifier(saved / "labels.txt")
    (tmp_path / "bare.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(BadInput, match=r"bare\.h5 is a dense network, which .*fcn infer.*unet infer.*resunet segment"):
        load_classifier(tmp_path / "bare.h5")
    assert set(ARCHITECTURES) <= {*bundles._PROGRAMS, "tiny"}, "each has a command"
