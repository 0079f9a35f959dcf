"""Training from end to end on small tiles."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, OutputExists, WriteFailed
from hybridseg.figures import FigureOptions
from hybridseg.hybrid.classifier import RetrainOptions, RetrainPaths, TrainingRun
from hybridseg.hybrid.finetune import FineTuneOptions
from hybridseg.hybrid.head import HeadOptions
from hybridseg.hybrid.imagesets import TESTING, assign_sets
from hybridseg.hybrid.retrain import retrain
from hybridseg.hybrid.tilefolder import ClassList, open_tile_folder, write_class_list
from hybridseg.io.images import read_image, write_image
from hybridseg.models.backbones import BUILTIN
from hybridseg.models.store import load_classifier, read_card
from hybridseg.progress import no_progress


@pytest.fixture(scope="module")
def plain(tile_dir, tiny, tmp_path_factory, paths_in):
    """The result of that training, the bytes of its model, and the folder of its features."""
    paths = paths_in(tmp_path_factory.mktemp("plain"), tile_dir)
    return retrain(paths, options=tiny), paths.output_graph.read_bytes(), paths.bottleneck_dir


@pytest.mark.slow
def test_from_tiles_to_a_model_on_the_built_in_backbone(tile_dir, tmp_path, paths_in):
    options = RetrainOptions(input_size=32, head=HeadOptions(how_many_training_steps=150))
    result = retrain(paths_in(tmp_path, tile_dir), options=options)
    assert result.scores["n_photos"] == 1 and result.scores["accuracy"] > 0.8
    card = read_card(tmp_path / "model.pb")
    assert card.tile_size == 16 and card.input_size == 32 and card.scores == result.scores and not card.fine_tuned
    # Of MobileNetV2 without its last layer, and of the new one.
    assert card.training["n_parameters"] == 2_257_984 + 3 * 1280 + 3
    classifier = load_classifier(tmp_path / "model.pb")
    assert classifier.classify(read_one_of_each(tile_dir, classifier)).argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_the_built_in_backbone_as_a_saved_model(train, tile_dir, tiny, tmp_path, monkeypatch):
    """It is a Keras network, here one of a single layer: to save all of it takes long."""
    from tf_keras import Sequential, layers

    def build_small_network(*, input_size, trainable):
        convolution = layers.Conv2D(1280, 3, 4, input_shape=(input_size, input_size, 3), trainable=trainable)
        return Sequential([convolution, layers.GlobalAveragePooling2D()])

    monkeypatch.setattr("hybridseg.models.mobilenet.build_mobilenet", build_small_network)
    train(replace(tiny, tfhub_module=BUILTIN), saved_model_dir=tmp_path / "saved")
    classifier = load_classifier(tmp_path / "a" / "model.pb")
    stack = read_one_of_each(tile_dir, classifier)
    assert np.abs(run_saved(tmp_path / "saved", stack) - classifier.classify(stack)).max() < 1e-4


def read_one_of_each(tile_dir, classifier):
    return np.stack([read_image(tile_dir / name / "p0_r0_c0.png") for name in classifier.table.names])


def run_saved(folder, tiles, *, output="final_result"):
    import tensorflow as tf

    restored = tf.saved_model.load(str(folder)).signatures["serving_default"]
    assert list(restored.structured_outputs) == [output]
    return restored(tf.constant(tiles.astype(np.float32) / 255))[output].numpy()


@pytest.mark.slow
def test_everything_that_is_written(train, tile_dir, tiny, tmp_path):
    folders = {"saved_model_dir": tmp_path / "saved", "intermediate_output_graphs_dir": tmp_path / "mid"}
    options = replace(tiny, validation_percentage=0, final_tensor_name="my_answer")
    result, model = train(options, **folders, intermediate_store_frequency=10)
    folder = tmp_path / "a"
    assert list(result.written) == [
        folder / "model.pb",
        folder / "labels.txt",
        folder / "model.json",
        folder / "model.tflite",
        folder / "MODEL_CARD.md",
        folder / "model.mlm.json",
        tmp_path / "saved",
    ]
    assert (folder / "labels.txt").read_text() == "sand\nveg\nwater\n"
    assert sum(result.counts.values()) == 45 and result.counts["validation"] == 0
    middle = [(tmp_path / "mid" / f"intermediate_{step}.pb").read_bytes() for step in (10, 20, 30)]
    assert len(set(middle)) == 3 == len(list((tmp_path / "mid").iterdir())) and middle[-1] == model
    classifier = load_classifier(folder / "model.pb")
    stack = read_one_of_each(tile_dir, classifier)
    assert np.abs(run_saved(tmp_path / "saved", stack, output="my_answer") - classifier.classify(stack)).max() < 1e-5
    # The same command, as after an interruption at the very end; and another model.
    train(options, **folders, intermediate_store_frequency=10)
    assert (tmp_path / "saved/card.json").read_bytes() == (folder / "model.json").read_bytes()
    with pytest.raises(OutputExists, match="saved holds files already"):
        train(options, **folders, folder="c", intermediate_store_frequency=10)
    again, same = train(options, folder="b")
    assert same == model and again.scores == result.scores and again.curve == result.curve


@pytest.mark.slow
@pytest.mark.usefixtures("no_runtime")
def test_the_card_says_what_it_was_trained_on(train, tile_dir, tiny, tmp_path, paths_in):
    result, _ = train(tiny)
    first = read_card(result.model_path)
    training = first.training
    assert training["n_photographs"] == 5 and training["n_tiles"] == result.counts
    assert training["options"]["head"]["learning_rate"] == tiny.head.learning_rate
    assert [one["class"] for one in first.scores["classes"]] == ["sand", "veg", "water"]
    assert 0 < first.scores["mean_iou"] <= 1 and training["data_sha256"] != training["test_sha256"]
    # The same tiles in another folder have the same hashes, and other pixels have others.
    copy = shutil.copytree(tile_dir, tmp_path / "copy")
    again = read_card(retrain(paths_in(tmp_path / "c", copy), options=tiny).model_path).training
    assert (again["data_sha256"], again["test_sha256"]) == (training["data_sha256"], training["test_sha256"])
    write_image(copy / "sand/p0_r0_c0.png", read_image(copy / "sand/p0_r0_c0.png") // 2)
    changed = read_card(retrain(paths_in(tmp_path / "d", copy), options=tiny).model_path).training
    assert changed["data_sha256"] != training["data_sha256"]


@pytest.mark.parametrize("content", ["Water, 1, 2, 3\nsand, 4, 5, 6\nlava, 7, 8, 9\nveg, 10, 11, 12\n",
                                     "#040506\n#0A0B0C\n#010203\n"], ids=["by name", "in order"])  # fmt: skip
@pytest.mark.usefixtures("no_runtime")
def test_labels_and_colours(train, tiny, tmp_path, content):
    (tmp_path / "colors.txt").write_text(content)
    train(tiny, output_labels=tmp_path / "names.txt", colors_path=tmp_path / "colors.txt")
    assert (tmp_path / "names.txt").read_text() == "sand\nveg\nwater\n"
    assert read_card(tmp_path / "a" / "model.pb").colors == ((4, 5, 6), (10, 11, 12), (1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"head": {"learning_rate": 0.1}},
        {"head": {"train_batch_size": 5}},
        {"head": {"how_many_training_steps": 20}},
        {"head": {"class_weights": "balanced"}},
        {"head": {"seed": 1}},
        {"distort": {"flip_left_right": True}},
        {"distort": {"random_crop": 50}},
        pytest.param({"distort": {"random_scale": 50}}, marks=pytest.mark.slow),
        pytest.param({"distort": {"random_brightness": 50}}, marks=pytest.mark.slow),
        {"input_size": 48},
        {"testing_percentage": 40},
        {"validation_percentage": 40},
        {"final_tensor_name": "my_answer"},
        {"fine_tune": True},
    ],
    ids=lambda change: str(next(iter(change.values()))),
)
@pytest.mark.usefixtures("no_runtime")
def test_every_option_changes_the_model(train, tiny, plain, change):
    parts = {name: replace(getattr(tiny, name), **change[name]) for name in ("head", "distort") if name in change}
    # All but those of other features find them there.
    _, changed = train(replace(tiny, **{**change, **parts}), bottleneck_dir=plain[2])
    assert changed != plain[1]
    if "final_tensor_name" in change:
        assert b"my_answer" in changed and b"my_answer" not in plain[1]


@pytest.mark.slow
@pytest.mark.usefixtures("no_runtime")
def test_options_of_the_measurements(train, tiny, plain):
    result, _, features = plain
    train = partial(train, bottleneck_dir=features)
    assert [m.step for m in result.curve] == [10, 20, 30]
    n_validation = result.counts["validation"]
    assert n_validation == result.counts["testing"] == result.scores["n_tiles"] == 9
    every, _ = train(replace(tiny, head=replace(tiny.head, eval_step_interval=7)))
    assert [m.step for m in every.curve] == [7, 14, 21, 28, 30]
    single = replace(tiny, head=replace(tiny.head, validation_batch_size=1))
    losses = [m.validation_cross_entropy for m in train(single)[0].curve]
    assert losses != [m.validation_cross_entropy for m in result.curve]
    assert {m.validation_accuracy for m in train(single)[0].curve} <= {0.0, 1.0}
    whole = replace(tiny, head=replace(tiny.head, validation_batch_size=-1))
    assert train(whole)[0].curve == result.curve, "100 are more than there are"
    few, _ = train(replace(tiny, test_batch_size=4))
    assert few.scores["n_tiles"] == 4


@pytest.mark.slow
def test_another_order_of_the_classes_reaches_the_model(tiny, tile_dir, tmp_path, paths_in):
    """Over the cached features and the checkpoints of the order before."""
    tiles = shutil.copytree(tile_dir, tmp_path / "tiles")
    stages = []

    def progress(items, *, label):
        stages.append((label, len(items)))
        return items

    for names in (("Water", "SAND", "veg"), ("veg", "Water", "SAND")):
        table = ClassTable.from_names(names)
        write_class_list(tiles, ClassList(table, {name.lower(): i for i, name in enumerate(names)}))
        stages.clear()
        retrain(paths_in(tmp_path / "a", tiles), options=tiny, progress=progress)
        classifier = load_classifier(tmp_path / "a" / "model.pb")
        assert classifier.table == table
        found = [read_image(tile_dir / name.lower() / "p0_r0_c0.png") for name in names]
        assert classifier.classify(np.stack(found)).argmax(axis=1).tolist() == [0, 1, 2]
    assert stages == [("computing features", 0), ("training the head", 30)]


@pytest.mark.slow
@pytest.mark.usefixtures("no_runtime")
def test_patience_ends_a_training_that_gets_no_better(train, tiny):
    wild = replace(tiny.head, learning_rate=900.0, how_many_training_steps=400)
    patient, _ = train(replace(tiny, head=wild))
    impatient, _ = train(replace(tiny, head=replace(wild, patience=2)))
    assert len(patient.curve) == 40 and len(impatient.curve) < 40
    assert impatient.curve == patient.curve[: len(impatient.curve)]


@pytest.mark.usefixtures("no_runtime")
def test_nothing_is_claimed_without_a_held_out_photo(train, tiny):
    result, _ = train(replace(tiny, testing_percentage=0, validation_percentage=0))
    assert result.scores == {} and result.misclassified == () and result.counts["training"] == 45
    assert all(m.validation_accuracy is None for m in result.curve)


@pytest.mark.usefixtures("no_runtime")
def test_wrong_answers_are_listed(train, tiny):
    result, _ = train(replace(tiny, head=replace(tiny.head, how_many_training_steps=1, learning_rate=0.001)))
    n_wrong = round((1 - result.scores["accuracy"]) * result.scores["n_tiles"])
    assert len(result.misclassified) == n_wrong
    for name, predicted in result.misclassified:
        assert predicted in ("sand", "veg", "water") and not name.startswith(predicted)


@pytest.mark.slow
@pytest.mark.usefixtures("no_runtime")
def test_what_tensorboard_shows(train, tiny, tmp_path):
    import tensorflow as tf

    weak = replace(tiny, fine_tune=True, tuning=FineTuneOptions(epochs=2))
    result, _ = train(weak, summaries_dir=tmp_path / "sums")
    found = {"train": [], "validation": []}
    for run, entries in found.items():
        for path in (tmp_path / "sums" / run).glob("events*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    if value.tag != "misclassified_test_tiles":
                        entries.append((value.tag, event.step, pytest.approx(float(tf.make_ndarray(value.tensor)))))
    for run, entries in found.items():
        curve = [(name, m.step, value) for m in result.curve for name, value in m.by_set()[run].items()]
        assert curve == entries[: len(curve)]
        rest = [(tag, step) for tag, step, _ in entries[len(curve) :]]
        assert rest == ([("fine_tune_cross_entropy", 1), ("fine_tune_cross_entropy", 2)] if run == "train" else [])


@pytest.mark.slow
def test_the_score_of_a_fine_tuned_model_is_its_own(train, tile_dir, tiny, tmp_path):
    """It is not measured on the features on disk, which are those of the backbone before."""
    tuning = FineTuneOptions(epochs=2, learning_rate=0.3)
    result, _ = train(replace(tiny, fine_tune=True, tuning=tuning, testing_percentage=40))
    folder = open_tile_folder(tile_dir)
    sets = assign_sets(folder.sources, folder.class_ids, testing_percentage=40, validation_percentage=10)
    tested = np.flatnonzero(sets == TESTING)
    classifier = load_classifier(tmp_path / "a" / "model.pb")
    predicted = classifier.classify(folder.read_tiles(tested, tile_size=16)).argmax(axis=1)
    wrong = [(folder.names[i], folder.table.names[k]) for i, k in zip(tested, predicted, strict=True)
             if folder.class_ids[i] != k]  # fmt: skip
    assert list(result.misclassified) == wrong


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_batch_size": 0}, "test_batch_size=0"),
        ({"final_tensor_name": "a b"}, "give a plain name"),
        ({"final_tensor_name": "_x"}, "give a plain name"),
        ({"validation_percentage": 0, "head": HeadOptions(patience=3)}, "patience needs a validation set"),
    ],
)
def test_options_that_cannot_work(values, message):
    with pytest.raises(BadInput, match=message):
        RetrainOptions(**values)


def test_paths_that_cannot_work(tile_dir, tmp_path, paths_in):
    with pytest.raises(BadInput, match=r"name it with the suffix .pb"):
        retrain(RetrainPaths(tile_dir, tmp_path / "model"))
    with pytest.raises(BadInput, match="need each other; give both"):
        retrain(paths_in(tmp_path, tile_dir, intermediate_store_frequency=5))
    with pytest.raises(BadInput, match="intermediate_store_frequency=-1"):
        paths_in(tmp_path, tile_dir, intermediate_store_frequency=-1)


def test_outputs_that_cannot_be_written_are_refused_before_the_training(tile_dir, tiny, tmp_path, paths_in):
    text = tmp_path / "text.txt"
    text.touch()

    def progress(items, *, label):
        raise AssertionError(label)

    for more in ({"saved_model_dir": text}, {"output_labels": text / "labels.txt"}, {"summaries_dir": text}):
        with pytest.raises((OutputExists, WriteFailed), match=r"text.txt is a file; (give|choose) another folder"):
            retrain(paths_in(tmp_path, tile_dir, **more), options=tiny, progress=progress)
    with pytest.raises(WriteFailed, match=r"text.txt is a file; choose another folder"):
        retrain(paths_in(text, tile_dir), options=tiny, progress=progress)


@pytest.mark.parametrize("name", ["model_training.png", "mid/intermediate_20.pb"])
def test_a_file_of_the_user_in_the_place_of_a_result_stays(tile_dir, tiny, tmp_path, paths_in, name):
    """Such as what the classic script wrote; told before any work."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    places = {"intermediate_output_graphs_dir": tmp_path / "mid", "intermediate_store_frequency": 10}
    with pytest.raises(OutputExists, match=rf"{name} is there and was not written by hybridseg; move it away, or"):
        retrain(paths_in(tmp_path, tile_dir, **places), options=tiny, figures=FigureOptions())
    assert (tmp_path / name).read_bytes() == b"mine" and not (tmp_path / "bottlenecks").exists()


def test_a_file_in_the_place_of_the_card_stays(tile_dir, tmp_path):
    """Such as the config of a residual U-Net that has the name of the model; told before any work."""
    (tmp_path / "water.json").write_text('{"TARGET_SIZE": [64, 64]}')
    paths = RetrainPaths(tile_dir, tmp_path / "water.pb", bottleneck_dir=tmp_path / "b")
    with pytest.raises(OutputExists, match=r"water\.json is another file.*--output_graph"):
        retrain(paths)
    assert (tmp_path / "water.json").read_text() == '{"TARGET_SIZE": [64, 64]}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["water.json"]


def test_features_of_many_tiles_come_from_litert(tile_dir, tiny, tmp_path, monkeypatch, paths_in):
    few = TrainingRun(paths_in(tmp_path / "few", tile_dir), tiny, no_progress)
    monkeypatch.setattr("hybridseg.hybrid.classifier._LEAST_TILES", 1)
    many = TrainingRun(paths_in(tmp_path / "many", tile_dir), tiny, no_progress)
    assert (few.engine.name, many.engine.name) == ("tensorflow", "litert") and few.fingerprint != many.fingerprint
    assert np.allclose(many.cache_features(), few.cache_features(), atol=1e-5)
