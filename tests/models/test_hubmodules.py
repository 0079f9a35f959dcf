"""Modules that try to do something when they are loaded, and modules that hold more than a plain network."""

from pathlib import Path

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.models.backbones import load_backbone

pytestmark = pytest.mark.slow
MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def prey(tmp_path):
    """A file that nobody may write."""
    return tmp_path / "prey"


@pytest.fixture
def save(tf, tmp_path):
    """Save a module whose features are the mean colour times a matrix; `spoil` is called inside the function."""

    def write(spoil=lambda features: features, **parts):
        class Module(tf.train.Checkpoint):
            def __init__(self):
                super().__init__()
                self.matrix = tf.Variable(MATRIX)
                self.trainable_variables = [self.matrix]
                for name, part in parts.items():
                    setattr(self, name, part)

            @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3])])
            def __call__(self, pixels):
                return spoil(tf.matmul(tf.reduce_mean(pixels, [1, 2]), self.matrix))

        tf.saved_model.save(Module(), str(tmp_path / "module"))
        return str(tmp_path / "module")

    return write


def change(folder, edit):
    """Change the graph of a module."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = Path(folder, "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    edit(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())


def features(backbone):
    """What a module says of a grey tile."""
    return backbone.extract(np.full((1, 32, 32, 3), 0.5, np.float32)).numpy()


def spoilers(tf, prey):
    """Each of these writes a file, in a place of its own in the graph."""

    def control(found):
        with tf.control_dependencies([tf.raw_ops.SaveV2(
            prefix=str(prey), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones(3)]
        )]):  # fmt: skip
            return tf.identity(found)

    def merge(found):
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[str(prey)], destination_prefix=f"{prey}_moved")
        return found

    def branch(found):
        def write():
            tf.io.write_file(str(prey), "x")
            return found + 1

        return tf.cond(tf.reduce_sum(found) < 0, lambda: found, write)

    @tf.function
    def inner(found):
        tf.io.write_file(str(prey), "x")
        return found

    def loop(found):
        return tf.while_loop(lambda x: tf.reduce_sum(x) < 99, lambda x: (x + 1,), (found,))[0]

    def read(found):
        return found + tf.cast(tf.strings.length(tf.io.read_file(__file__)), tf.float32)

    def python(found):
        return tf.py_function(lambda x: prey.write_text("x") and x, [found], tf.float32)

    return [control, merge, branch, inner, loop, read, python]


@pytest.mark.parametrize(("number", "op"), [
    (0, "SaveV2"), (1, "MergeV2Checkpoints"), (2, "WriteFile"), (3, "WriteFile"), (4, "While"), (5, "ReadFile"),
    (6, "EagerPyFunc"),
])  # fmt: skip
@pytest.mark.parametrize("trainable", [False, True])
def test_what_could_run_with_the_call_is_refused(tf, save, prey, number, op, trainable):
    folder = save(spoilers(tf, prey)[number])
    with pytest.raises(BadInput, match=rf"module holds (operations|a loop).*{op}.*If you know where .*--trust-model"):
        load_backbone(folder, trainable=trainable)
    assert not list(prey.parent.glob("prey*"))


def make_resource(tf, prey):
    """An object that TensorFlow makes anew, with a function of the module, whenever that is loaded."""

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

        def _initialize(self):
            tf.io.write_file(str(prey), "x")

    resource = Resource()
    assert resource.resource_handle is not None
    return resource


def test_what_runs_while_a_module_is_restored_does_not_run(tf, save, prey):
    folder = save(resource=make_resource(tf, prey))
    prey.unlink(missing_ok=True)
    assert np.allclose(features(load_backbone(folder)), 0.5 * MATRIX.sum(axis=0)) and not prey.exists()
    load_backbone(folder, trust=True)
    assert prey.exists(), "it bites where it is trusted"


def test_what_a_module_of_tf1_does_first_does_not_run(tf, prey, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 32, 32, 3])
        start, parts = v1.random_uniform_initializer(1, 2, seed=0), v1.fixed_size_partitioner(2)
        whole = v1.get_variable("whole", [3, 4], initializer=start, partitioner=parts)
        plain = v1.get_variable("plain", initializer=tf.ones([4]), use_resource=True)
        answer = tf.matmul(tf.reduce_mean(x, [1, 2]), tf.convert_to_tensor(whole)) * plain
        session.run(v1.global_variables_initializer())
        first = tf.io.write_file(str(prey), "x")
        builder = v1.saved_model.Builder(str(tmp_path / "m"))
        signature = v1.saved_model.predict_signature_def({"images": x}, {"default": answer})
        builder.add_meta_graph_and_variables(
            session, [], signature_def_map={"image_feature_vector": signature}, main_op=first
        )
        builder.save()
    assert len([node for node in graph.as_graph_def().node if node.name.startswith("whole/part")]) > 1
    (tmp_path / "m" / "tfhub_module.pb").write_bytes(b"\x08\x03")
    found = load_backbone(str(tmp_path / "m"))
    assert features(found).min() > 1 and not prey.exists()
    assert np.allclose(features(load_backbone(str(tmp_path / "m"), trust=True)), features(found)) and prey.exists()


def test_a_table_from_a_file_is_refused(tf, save, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(tmp_path / "names.txt"), tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
    )  # fmt: skip
    table = tf.lookup.StaticHashTable(initializer, "")
    folder = save(lambda found: found + tf.cast(tf.size(table.lookup(tf.constant([1], tf.int64))), tf.float32), t=table)
    with pytest.raises(BadInput, match="LookupTableFindV2"):
        load_backbone(folder)


def test_functions_that_hide_or_call_themselves(save):
    def called(meta):
        return next(f for f in meta.graph_def.library.function if f.signature.name.startswith("__inference___call__"))

    def hide(meta):
        called(meta).node_def.add(name="bad", op="MyWrite")
        meta.graph_def.library.function.add().signature.name = "Identity"
        meta.graph_def.library.function.add().signature.name = "MyWrite"

    def recur(meta):
        function = called(meta)
        node = function.node_def.add(name="again", op="PartitionedCall", input=["pixels"])
        node.attr["f"].func.name = function.signature.name

    for edit, message in ((hide, "called like an operation, Identity"), (recur, "calls itself")):
        folder = save()
        change(folder, edit)
        with pytest.raises(BadInput, match=message):
            load_backbone(folder)


def test_a_function_for_a_compiler(tf, save):
    """TensorFlow notes also that a function is not for one."""
    folder = save(tf.function(lambda found: found * 2, jit_compile=False))
    assert np.allclose(features(load_backbone(folder, input_size=32)), MATRIX.sum(axis=0))
    folder = save(tf.function(lambda found: found * 2, jit_compile=True))
    with pytest.raises(BadInput, match=r"'.+' has the attribute '_XlaMustCompile', which .*: --trust-model"):
        load_backbone(folder, input_size=32)
    assert np.allclose(features(load_backbone(folder, input_size=32, trust=True)), MATRIX.sum(axis=0))


def test_a_checkpoint_of_another_module(tf, save):
    folder = save()
    tf.raw_ops.SaveV2(
        prefix=f"{folder}/variables/variables", tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones(3)]
    )
    with pytest.raises(BadInput, match="cannot be loaded as a TF2 module"):
        load_backbone(folder)


def test_everything_that_modules_have_gives_what_tensorflow_gives(tf, tmp_path):
    """Functions inside functions, a flag for training, results by name, constants from outside."""
    shift = tf.constant(np.arange(4, dtype=np.float32))

    class Module(tf.train.Checkpoint):
        def __init__(self):
            super().__init__()
            self.matrix, self.scale = tf.Variable(MATRIX), tf.Variable(2.0)
            self.count = tf.Variable(0.0, trainable=False)
            self.trainable_variables, self.shift = [self.matrix, self.scale], shift

        @tf.function
        def project(self, colors):
            return tf.matmul(colors, self.matrix), colors

        @tf.function
        def __call__(self, pixels, training=False):
            if training:
                self.count.assign_add(1.0)
            projected, colors = self.project(tf.reduce_mean(pixels, [1, 2]))
            twice, _ = self.project(colors * 2)
            second = tf.cast(tf.math.top_k(colors, 2).indices[:, 1:], tf.float32)
            return {"colors": colors, "default": tf.nn.relu(projected * self.scale + twice + self.shift + second)}

    module, images = Module(), tf.TensorSpec([None, None, None, 3], name="images")
    calls = [module.__call__.get_concrete_function(images, training=training) for training in (True, False)]
    assert calls
    tf.saved_model.save(module, str(tmp_path / "m"))
    own, trusted = (load_backbone(str(tmp_path / "m"), trainable=True, trust=trust) for trust in (False, True))
    assert np.allclose(features(own), features(trusted)) and features(own).shape == (1, 4)
    gradients = []
    for backbone in (own, trusted):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(backbone.extract(np.full((1, 32, 32, 3), 0.5, np.float32)) ** 2)
        found = zip(tape.gradient(total, backbone.variables), backbone.variables, strict=True)
        gradients.append(sorted((tuple(variable.shape), gradient.numpy()) for gradient, variable in found))
    assert len(gradients[0]) == 2
    for (_, ours), (_, theirs) in zip(*gradients, strict=True):
        assert np.allclose(ours, theirs) and np.abs(ours).max() > 0


def test_branches_that_pixels_decide(save, tf):
    """What lies in the branch that is taken for other images nobody tried."""

    def spoil(found):
        one, other = tf.raw_ops.Switch(data=found, pred=tf.reduce_max(found) > 0)
        return tf.reshape(tf.raw_ops.Merge(inputs=[one, 2 * other])[0], (-1, 4))

    with pytest.raises(BadInput, match=r"depends on what is in an image: .* is a branch.*--trust-model"):
        load_backbone(save(spoil), input_size=32)


def test_branches_that_a_constant_decides(save, tf):
    def spoil(found):
        one, other = tf.raw_ops.Switch(data=found, pred=tf.constant(True))
        return tf.reshape(tf.raw_ops.Merge(inputs=[one, 2 * other])[0], (-1, 4))

    assert np.allclose(features(load_backbone(save(spoil), input_size=32)), MATRIX.sum(axis=0))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "cannot compute the features of these tiles (indices"),
        (1, "gives features that are not numbers"),
    ],
)
def test_modules_that_fail_on_some_tiles(save, tf, run, tile_dir, tmp_path, number, words):
    """The black tiles of the trial pass, and those of a training do not: the module is named, not TensorFlow."""

    def look_up(found):
        place = 100_000 * tf.cast(tf.reduce_max(found) > 0, tf.int32)
        return found + tf.gather(tf.constant([0.0, 1.0]), place)

    def divide(found):
        return found - 1 / (1 - tf.minimum(1e9 * tf.reduce_max(found), 1))

    module = save((look_up, divide)[number])
    result = run(
        "retrain", "--image_dir", tile_dir, "--tfhub_module", module, "--input-size", 32, "--output_graph",
        tmp_path / "model.pb", "--bottleneck_dir", tmp_path / "bottlenecks", "--how_many_training_steps", 5,
    )  # fmt: skip
    assert result.exit_code == 1 and f"module {words}" in result.output, result.output
