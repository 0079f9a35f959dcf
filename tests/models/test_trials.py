"""Models from elsewhere are tried in a process of their own: what they do to it ends in one sentence here."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models import trials
from hybridseg.models.cards import hash_bytes
from hybridseg.models.litegraphs import check_lite
from hybridseg.models.store import load_classifier
from hybridseg.models.trials import is_known, remember, run_apart

MISCHIEF = """
import os, time
import numpy as np
from hybridseg.errors import MissingInput

def say(word, content): return f"{word} {len(content)}".encode()
def miss(content): raise MissingInput("it is not there")
def fail(content): raise ZeroDivisionError
def crash(content): os.abort()
def hang(content): time.sleep(100)
def eat(n, content): return str(np.ones(n, np.uint8).sum()).encode()
def chat(content): os.write(1, b"noise"); print("noise"); return b"answer"
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call a function of the module above in another process."""
    (tmp_path / "mischief.py").write_text(MISCHIEF)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def call(name, *arguments, **settings):
        return run_apart("m.pb", SimpleNamespace(__module__="mischief", __qualname__=name), *arguments, **settings)

    return call


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine on which nothing was made or tried."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tiny_model, tmp_path):
    """The files of a trained classifier, the test's own."""
    for path in tiny_model.parent.glob("*.*"):
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "model.pb"


def test_what_a_function_returns_and_what_it_raises(call):
    assert call("say", "size", content=bytes(10**6)) == b"size 1000000"
    assert call("chat") == b"answer"
    with pytest.raises(MissingInput, match=r"^it is not there$"):
        call("miss")


@pytest.mark.parametrize("name", ["crash", "fail"])
def test_a_crash_is_one_sentence(call, name):
    with pytest.raises(
        BadInput, match=r"^m\.pb cannot be used: the process that ran it for the first time crashed, or"
    ):
        call(name)


@pytest.mark.slow
def test_memory_and_time_are_limited(call, monkeypatch):
    assert call("eat", 10**8, max_bytes=2**29) == b"100000000"
    with pytest.raises(BadInput, match=r"needed more than 1 GiB of memory"):
        call("eat", 2 * 10**9, max_bytes=2**30)
    monkeypatch.setattr(trials, "SECONDS", 2)
    start = time.monotonic()
    with pytest.raises(BadInput, match="its first run took more than 2 seconds"):
        call("hang")
    assert time.monotonic() - start < 20


def test_files_where_the_user_is_do_not_run(call, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("open('prey', 'w')")
    monkeypatch.chdir(tmp_path / "here")
    assert call("say", "a") == b"a 0" and not (tmp_path / "here" / "prey").exists()


@pytest.mark.usefixtures("elsewhere")
def test_what_was_tried_is_remembered(tmp_path, monkeypatch):
    assert not is_known("a", 1)
    remember("a", 1)
    assert is_known("a", 1) and not is_known("a", 2)
    monkeypatch.setattr(trials, "_MAX_MARKS", 2)
    for i in range(4):
        remember("b", i)
    assert len(list((tmp_path / "cache" / "hybridseg").iterdir())) == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("a", 1)
    assert not is_known("a", 1)


@pytest.fixture
def tried(monkeypatch):
    """The names of the functions that were tried."""
    from hybridseg.models import runtimes, store

    names = []

    def note(what, function, *arguments, content=b"", **limits):
        names.append((function.__name__, *arguments[:1]))
        return function(*arguments, content) or b""

    for room in (runtimes, store):
        monkeypatch.setattr(room, "run_apart", note)
    return names


def test_what_was_trained_here_is_not_tried(model, tried):
    for engine in ("litert", "tensorflow"):
        load_classifier(model, engine=engine).classify(np.zeros((3, 16, 16, 3), np.uint8))
    assert tried == []


@pytest.mark.usefixtures("elsewhere")
def test_a_model_from_elsewhere_is_tried_once_with_all_that_it_will_run(model, tried):
    tiles = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    for _ in range(2):
        found = load_classifier(model).classify(tiles)
        exact = load_classifier(model, engine="tensorflow").classify(tiles)
        assert np.abs(found - exact).max() < 1e-5
    assert tried == [("try_runtime", None), ("try_graph", str(model))]


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere", "apart")
def test_damaged_runtime_graphs_end_in_one_sentence(model):
    """The card vouches for each of them, as one from elsewhere can."""
    place, card = model.with_name("model.tflite"), model.with_suffix(".json")
    content, record = place.read_bytes(), json.loads(card.read_text())
    n_refused = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(content, np.uint8).copy()
        start = int(rng.integers(0, len(content) - 40)) if seed else len(content) // 2
        damaged[start : start + 40] = rng.integers(0, 256, 40)
        place.write_bytes(damaged.tobytes())
        card.write_text(json.dumps({**record, "runtime": {**record["runtime"], "sha256": hash_bytes(damaged)}}))
        try:
            load_classifier(model).classify(np.zeros((2, 16, 16, 3), np.uint8))
        except BadInput as error:
            n_refused += 1
            assert "model.tflite" in str(error) and "\n" not in str(error)
    assert n_refused


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere", "apart")
def test_a_classic_graph_is_converted_in_another_process(model):
    bare = model.with_name("bare.pb")
    model.rename(bare)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    assert load_classifier(bare).classify(tiles).shape == (3, 3)


@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_a_runtime_graph_that_is_no_file(model, run, make, paint_classes, tmp_path):
    import os

    from hybridseg.io.images import write_image

    place = model.with_name("model.tflite")
    place.unlink()
    getattr(os, make)(place)
    write_image(tmp_path / "photo.png", paint_classes("sand", "veg", rows=32))
    result = run("semseg", tmp_path / "photo.png", "--model", model, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "not a file" in result.output and "Traceback" not in result.output


def save_graph(tf, path, answer):
    """Write a classic graph of 8 x 8 tiles: `answer` makes the scores of three classes out of the mean colours."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="Placeholder")
        tf.nn.softmax(answer(tf.reduce_mean(x, (1, 2))), name="final_result")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    path.with_name("labels.txt").write_text("sand\nwater\nwood\n")


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("number", range(6))
def test_graphs_that_ask_for_the_memory_of_the_machine(tmp_path, number):
    """What they ask for is found out before it is taken; the size of one of them is in the pixels."""
    tf = pytest.importorskip("tensorflow")
    huge = 60_000

    def of_pixels(scores):
        return scores + tf.reduce_sum(tf.fill([tf.cast(tf.reduce_max(scores) * 1e6, tf.int32)], 1.0))

    answers = (
        lambda scores: scores + tf.reduce_sum(tf.fill([huge, huge], 1.0)),
        lambda scores: scores + tf.reduce_sum(tf.tile(scores[:, :1], [1, huge * huge // 2])),
        lambda scores: scores + tf.reduce_sum(tf.broadcast_to(scores[:1, :1], [huge, huge])),
        lambda scores: scores + tf.reduce_sum(tf.range(0.0, 4e9, 1.0)),
        lambda scores: scores + tf.reduce_mean(tf.compat.v1.image.resize_bilinear(
            scores[:, :, None, None], [huge, huge])),
        of_pixels,
    )  # fmt: skip
    save_graph(tf, tmp_path / "m.pb", answers[number])
    with pytest.raises(
        BadInput, match=r"m\.pb cannot be run: .*(takes more memory than|depends on what is in an image).*; get the"
    ):
        load_classifier(tmp_path / "m.pb")


def rewrite_graph(content, spoil):
    """Change the operations of a runtime graph."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    for operator in graph.operators:
        operator.inputs, operator.outputs = list(operator.inputs), list(operator.outputs)
    spoil(graph, {codes[operator.opcodeIndex]: operator for operator in graph.operators}, model.buffers)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def average_along_a_pixel(graph, operators, buffers):
    operators["MEAN"].inputs[1] = operators["ROUND"].outputs[0]


def round_later(graph, operators, buffers):
    graph.operators.remove(operators["ROUND"])
    graph.operators.append(operators["ROUND"])


def replace_a_constant(graph, operators, buffers):
    operators["ROUND"].outputs[0] = operators["MEAN"].inputs[1]


def leave_a_constant_open(graph, operators, buffers):
    buffers[graph.tensors[operators["MEAN"].inputs[1]].buffer].data = None


SPOILERS = (
    (average_along_a_pixel, "the size of what MEAN gives does not follow from that of the image alone"),
    (round_later, "uses what is computed later, or replaces what is there"),
    (replace_a_constant, "uses what is computed later, or replaces what is there"),
    (leave_a_constant_open, "uses what is computed later, or replaces what is there"),
)


@pytest.mark.slow
def test_runtime_graphs_whose_sizes_cannot_be_known():
    tf = pytest.importorskip("tensorflow")

    def convert(compute, shape=(None, 8, 8, 3)):
        function = tf.function(compute, input_signature=[tf.TensorSpec(shape)]).get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()

    def spread(x, n):
        return tf.reduce_mean(x, (1, 2)) + tf.reduce_sum(tf.fill([n], 1.0))

    check_lite(convert(lambda x: tf.reshape(x, [tf.shape(x)[0], 192])))
    check_lite(convert(lambda x: spread(x, tf.shape(x)[0])))
    for compute in (
        # A pixel; more for fewer images; the same by way of a slice.
        lambda x: spread(x, tf.cast(x[0, 0, 0, 0], tf.int32)),
        lambda x: spread(x, 100_000_000 - 10_000_000 * tf.shape(x)[0]),
        lambda x: spread(x, tf.size(tf.range(1000.0)[tf.shape(x)[0] :])),
        lambda x: x[: tf.shape(x)[0] - 1] * tf.range(1000.0)[None, None, tf.shape(x)[1] :, None][:, :, :1],
    ):
        with pytest.raises(BadInput, match="does not follow from that of the image alone"):
            check_lite(convert(compute))
    content = convert(lambda x: tf.reduce_mean(x, (1, 2)) + tf.reduce_mean(tf.round(x), 1)[:, 0])
    check_lite(content)
    for spoil, reason in SPOILERS:
        with pytest.raises(BadInput, match=reason):
            check_lite(rewrite_graph(content, spoil))


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_whole_numbers_of_pixels_do_not_end_the_program(tmp_path):
    """LiteRT leaves the rest of a division to the processor, which takes no least number divided by -1."""
    tf = pytest.importorskip("tensorflow")

    def divide(scores):
        by = 1 - 2 * tf.cast(tf.reduce_min(scores) >= 1.0, tf.int32)
        return scores + tf.cast(tf.math.floormod(tf.constant([-(2**31)] * 3), by), tf.float32)

    save_graph(tf, tmp_path / "m.pb", divide)
    model = load_classifier(tmp_path / "m.pb")
    assert model.engine_name == "tensorflow"
    for value in (0, 255):
        assert np.allclose(model.classify(np.full((2, 8, 8, 3), value, np.uint8)), 1 / 3)


@pytest.mark.usefixtures("elsewhere")
def test_what_was_tried_with_large_images_is_not_tried_with_small_ones(save_network, tmp_path, tried):
    from hybridseg.models.bundles import load_dense

    path = save_network(tmp_path / "net.h5", 0.8, runtime=True)
    for mark in (tmp_path / "cache" / "hybridseg").glob("*.tried"):
        mark.unlink()
    for rows, cols in ((32, 96), (96, 64), (80, 200), (16, 16), (96, 200)):
        pixels = np.random.default_rng(0).random((1, rows, cols, 3), dtype=np.float32)
        assert load_dense(path).predict(pixels).shape == (1, rows, cols, 3)
    shapes = [None, (1, 96, 64, 3), (1, 80, 200, 3), (1, 96, 200, 3)]
    assert tried == [("try_runtime", shape) for shape in shapes], "64 x 96 is its own size"
