"""What a model gives is looked at: that it fails on one picture, or gives no probabilities, is the model's fault."""

import numpy as np
import pytest

import hybridseg
from hybridseg.errors import BadInput
from hybridseg.io.images import write_image
from hybridseg.models import store
from hybridseg.models.bundles import load_dense
from hybridseg.models.engines import classify

TILES = np.full((2, 4, 4, 3), 0.5, np.float32)


class Saying:
    """An engine that gives one answer, or raises one error."""

    name = "test"

    def __init__(self, answer):
        self.answer = answer

    def classify(self, images):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.array([self.answer] * len(images), np.float32)


def test_probabilities_come_back_as_they_are():
    found = classify(Saying([0.25, 0.75, 0.0]), TILES, model="m.pb")
    assert found.tolist() == [[0.25, 0.75, 0.0]] * 2
    # As large as rounding makes it.
    assert classify(Saying([0.2504, 0.75]), TILES, model="m.pb").shape == (2, 2)


@pytest.mark.parametrize("answer", [[float("nan"), 0.5], [float("inf"), 0.5], [0.5, float("-inf")]])
def test_results_that_are_not_numbers(answer):
    with pytest.raises(BadInput, match=r"^m\.pb gives results that are not numbers: its weights"):
        classify(Saying(answer), TILES, model="m.pb")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([-0.5, 1.5], "from -0.5 to 1.5 with sums up to 1;"),
        ([0.5, 0.75], "from 0.5 to 0.75 with sums up to 1.25;"),
        ([0.0, 0.0], "from 0 to 0 with sums up to 0;"),
    ],
)
def test_results_that_are_no_probabilities(answer, words):
    with pytest.raises(BadInput, match=rf"^m\.pb gives no probabilities: .*its results are {words} export it with its"):
        classify(Saying(answer), TILES, model="m.pb")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_picture_without_numbers_is_not_the_fault_of_the_model(value):
    pixels = TILES.copy()
    pixels[1, 2, 3, 0] = value
    with pytest.raises(BadInput, match=r"^m\.h5 cannot classify this picture: it holds values that are infinite or"):
        classify(Saying([float("nan")] * 2), pixels, model="m.h5")


def test_failures_are_one_sentence_and_faults_of_the_program_are_none():
    with pytest.raises(BadInput, match=r"^m\.pb cannot classify this picture \(gather index out of bounds\); use"):
        classify(Saying(RuntimeError("gather index out of boundsNode number 6 (GATHER) failed")), TILES, model="m.pb")
    with pytest.raises(BadInput, match=r"^m\.pb cannot classify this picture \(RuntimeError\)"):
        classify(Saying(RuntimeError()), TILES, model="m.pb")
    with pytest.raises(BadInput, match=r"^it is damaged$"):
        classify(Saying(BadInput("it is damaged")), TILES, model="m.pb")
    with pytest.raises(TypeError):
        classify(Saying(TypeError("a fault of ours")), TILES, model="m.pb")


def test_every_way_to_use_a_tile_classifier(tiny_model, run, tmp_path, monkeypatch, paint_classes, tile_dir):
    """The answer is that of one model, whatever is done with it; the pictures are not blamed."""
    for path in tiny_model.parent.glob("model.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(store, "_load_engine", lambda *_: (Saying([0.5, float("nan"), 0.5]), 16))
    photo, model = tmp_path / "photo.png", tmp_path / "model.pb"
    write_image(photo, paint_classes("sand", "veg"))
    for words in (
        ("semseg", photo, "--model", model, "--out", tmp_path / "out"),
        ("segment", photo, "--model", model, "--out", tmp_path / "out", "--engine", "serial"),
        ("eval-tiles", tile_dir, "--model", model),
    ):
        result = run(*words)
        assert result.exit_code == 1 and "model.pb gives results that are not numbers" in result.output, result.output
    with pytest.raises(BadInput, match=r"model\.pb gives results that are not numbers"):
        hybridseg.segment(photo, model)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_a_model_that_fails_on_one_picture_does_the_others(tmp_path, run, engine):
    """Its place in a table comes from the pixels, and there is none for a white tile."""
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 16, 16, 3), name="Placeholder")
        place = 100_000 * tf.cast(tf.reduce_max(x) >= 1, tf.int32)
        found = tf.reduce_mean(x, (1, 2)) + tf.gather(tf.constant([0.1, 0.2]), place)
        tf.nn.softmax(found, name="final_result")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    (tmp_path / "labels.txt").write_text("sand\nwater\nwood\n")
    for name, value in (("white", 255), ("grey", 128)):
        write_image(tmp_path / f"{name}.png", np.full((48, 64, 3), value, np.uint8))
    result = run(
        "semseg", tmp_path / "white.png", tmp_path / "grey.png", "--model", tmp_path / "m.pb", "--engine", engine,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "white.png: " in result.output and "m.pb cannot classify this picture (" in result.output
    assert [path.name[:4] for path in sorted((tmp_path / "out").glob("*.mat"))] == ["grey"]


@pytest.mark.slow
def test_a_network_whose_weights_are_not_numbers(save_network, tiny, tmp_path):
    class Broken(tiny):
        def build(self):
            network = super().build()
            for weight in network.trainable_weights:
                weight.assign(weight * float("nan"))
            return network

    path = save_network(tmp_path / "net.h5", 0.8, architecture=Broken(n_bands=3, n_outputs=3))
    with pytest.raises(BadInput, match=r"net\.h5 gives results that are not numbers"):
        load_dense(path).predict(np.zeros((1, 32, 32, 3), np.float32))
