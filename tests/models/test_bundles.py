import json
import os
import re
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists
from hybridseg.models.bundles import DenseCard, DenseModel, load_dense, save_dense
from hybridseg.models.cards import hash_bytes
from hybridseg.models.engines import class_scores
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.views import View
from hybridseg.models.weightfile import encode_weights

TABLE = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))


def make_card(architecture, table=TABLE):
    return DenseCard(
        architecture, table, size=(64, 96), normalization=Normalization("photo", 65535.0),
        training={"data": "abc", "epochs": 3}, scores={"macro": {"iou": 0.5, "f1": None}}, versions={"numpy": "2"},
    )  # fmt: skip


def build(architecture):
    """A network whose every weight matters."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    network = architecture.build()
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("score"):
            layer.set_weights([rng.normal(size=values.shape) for values in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory, tiny):
    """A folder with one bundle, not to be changed."""
    folder = tmp_path_factory.mktemp("bundle")
    architecture = tiny(n_bands=3, n_outputs=3)
    save_dense(folder / "coast.h5", build(architecture), make_card(architecture))
    return folder


@pytest.fixture
def bundle(bundle_dir, tmp_path):
    """The path of the weights of a bundle that a test may damage."""
    shutil.copytree(bundle_dir, tmp_path / "model")
    return tmp_path / "model" / "coast.h5"


def change_card(path, change):
    card_path = path.with_suffix(".card.json")
    record = json.loads(card_path.read_text())
    change(record)
    card_path.write_text(json.dumps(record))


@pytest.mark.parametrize("view", [None, View(True, (0.5, 2.0), (600, 900)), View(False, (0.4, 0.4), (60, 90), 0.25)])
def test_the_card_says_how_photos_were_seen(tiny, tmp_path, view):
    architecture = tiny(n_bands=3, n_outputs=3)
    card = replace(make_card(architecture), view=view)
    save_dense(tmp_path / "a.h5", build(architecture), card)
    assert load_dense(tmp_path / "a.h5").card == card
    assert ("view" in json.loads((tmp_path / "a.card.json").read_text())) == (view is not None), "as earlier versions"


@pytest.mark.parametrize("view", [
    3, {}, {"windows": True}, {"windows": 1, "scale": [1, 1], "photo": [5, 5], "resolution": None},
    {"windows": True, "scale": [2.0, 1.0], "photo": [5, 5], "resolution": None},
])  # fmt: skip
def test_a_view_that_cannot_be(bundle, view):
    change_card(bundle, lambda record: record.update(view=view))
    with pytest.raises(BadInput, match=r"coast\.card\.json"):
        load_dense(bundle)


def view_of(**changes):
    return {"view": {"windows": True, "scale": [1.0, 1.0], "photo": [64, 96], "resolution": 0.5, **changes}}


def rule_of(mean, deviation, n_bands=3):
    values = {"means": [mean] * n_bands, "deviations": [deviation] * n_bands}
    return {"normalization": {"kind": "dataset", "scale": 255.0, **values}}


@pytest.mark.parametrize(("changes", "words"), [
    ({"size": [40_000, 40_000]}, r"size=\(40000, 40000\) is not the size of an image"),
    ({"size": [32, 10**15]}, "is not the size of an image"),
    (view_of(scale=[120.0, 120.0]), r"scale=120\.0, which is not from 0.0001 to 16"),
    (view_of(scale=[0.5, 300.0]), r"scale=300\.0, which is not from 0.0001 to 16"),
    (view_of(scale=[1e300, 1e300]), r"scale=1e\+300"),
    (view_of(scale=[1e-9, 1e-9]), "scale=1e-09"),
    (view_of(windows=False, scale=[1e300, 1e300]), r"scale=1e\+300, which is not from 1e-06 to 1,000,000"),
    (view_of(photo=[10**15, 1]), "photo=1000"),
    (view_of(photo=[0, 1]), "photo=0"),
    (view_of(resolution=1e-300), "resolution=1e-300"),
    (rule_of(1e300, 1e-300), "are not those of a data set"),
    (rule_of(0.0, 1e-300), "are not those of a data set"),
    (rule_of(1e300, 1.0), "are not those of a data set"),
    (rule_of(1.0, 1.0, n_bands=2), "means of 2 bands for a network of 3"),
    ({"normalization": {"kind": "unit", "scale": 1e-300}}, "scale=1e-300: give a number from 1e-06 to below"),
])  # fmt: skip
def test_numbers_that_no_training_writes(bundle, changes, words):
    """They would fill the memory, or end in a traceback, with the first image, which would be blamed."""
    change_card(bundle, lambda record: record.update(changes))
    with pytest.raises(BadInput, match=rf"coast\.card\.json: .*{words}") as caught:
        load_dense(bundle)
    assert len(str(caught.value)) < 400


def replace_weights(path, content):
    """Other weights, and a card that vouches for them: whoever makes one can make the other."""
    path.write_bytes(content)
    change_card(path, lambda record: record.update(sha256=hash_bytes(content)))


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize("architecture", [
    ResUnet(n_bands=4, n_outputs=1, filters=1, kernel_size=(3, 5), upsample="bilinear"),
    pytest.param(Fcn8s(n_bands=3, n_outputs=3), marks=pytest.mark.slow),
    pytest.param(Fcn8s(n_bands=2, n_outputs=3, backbone="vgg16", wide_channels=4), marks=pytest.mark.slow),
], ids=str)  # fmt: skip
def test_what_is_loaded_predicts_what_was_saved(tmp_path, monkeypatch, architecture):
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 3)
    network = build(architecture)
    table = TABLE if architecture.n_outputs == 3 else ClassTable.from_names(["rest", "water"])
    card = make_card(architecture, table)
    written = save_dense(tmp_path / "net.h5", network, card)
    assert written == [tmp_path / "net.h5", tmp_path / "net.card.json"] and all(path.exists() for path in written)
    pixels = np.random.default_rng(1).random((2, 64, 32, architecture.n_bands)).astype(np.float32)
    expected = DenseModel(tmp_path / "x.h5", card, network).predict(pixels)
    assert expected.shape == (2, 64, 32, len(table)) and expected.dtype == np.float32
    assert np.allclose(expected.sum(axis=-1), 1, atol=1e-5) and expected.std() > 0.01
    loaded = load_dense(tmp_path / "net.h5", engine="tensorflow")
    assert loaded.card == card and loaded.table == table
    assert np.array_equal(loaded.predict(pixels), expected)
    if "vgg16" in str(architecture):  # The runtime graphs of the others are tested with their files.
        lite = load_dense(tmp_path / "net.h5")
        assert lite.engine_name == "litert" and np.allclose(lite.predict(pixels), expected, atol=1e-5)
    # A folder that holds one bundle is enough.
    assert load_dense(tmp_path, engine="tensorflow").path == tmp_path / "net.h5"


def test_one_output_is_the_second_class_against_the_first():
    scores = class_scores(np.array([[[[2.0]]]], np.float32)).numpy()
    assert scores.ravel().tolist() == [0, 2]
    several = np.zeros((1, 1, 1, 3), np.float32)
    assert class_scores(several) is several


def test_a_bundle_cannot_run_code(bundle, monkeypatch):
    """Whatever a file says of layers and models: they are never made from it."""
    import tf_keras

    def refuse(*args, **settings):
        raise AssertionError("a model was made from what a file says")

    for module, name in (
        (tf_keras.models, "load_model"), (tf_keras.saving, "load_model"), (tf_keras.models, "model_from_json"),
        (tf_keras.models, "model_from_config"), (tf_keras.layers, "deserialize"), (tf_keras.Model, "from_config"),
        (tf_keras.Model, "load_weights"), (tf_keras.layers.Lambda, "__init__"), (tf_keras.layers.Lambda, "from_config"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, refuse)
    layer = {"class_name": "Lambda", "config": {"name": "scores", "function": ["exec('raise SystemExit')", None, None]}}
    with h5py.File(bundle, "a") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [layer]}})
    replace_weights(bundle, bundle.read_bytes())
    assert load_dense(bundle).predict(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 32, 32, 3)
    change_card(bundle, lambda record: record["architecture"].update(layers=[layer]))
    with pytest.raises(BadInput, match="the network tiny needs n_bands"):
        load_dense(bundle)


def test_missing_parts(bundle, tmp_path):
    with pytest.raises(MissingInput, match=r"there is no network .*none\.h5; train one, or give another path"):
        load_dense(tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match=r"should hold one network .* and holds none; give its path"):
        load_dense(tmp_path / "empty")
    for suffix in (".h5", ".card.json"):
        shutil.copy(bundle.with_suffix(suffix), bundle.with_name("other" + suffix))
    with pytest.raises(MissingInput, match=r"should hold one network .* holds coast\.h5, other\.h5; give its path"):
        load_dense(bundle.parent)
    bundle.with_suffix(".card.json").unlink()
    with pytest.raises(MissingInput, match=r"coast\.h5 has no coast\.card\.json beside it"):
        load_dense(bundle)
    assert load_dense(bundle.parent).path.name == "other.h5"


def test_a_config_of_the_same_name_stays(bundle):
    """`water.json` beside `water.h5` is the config of the published program."""
    config = bundle.with_suffix(".json")
    config.write_text('{"TARGET_SIZE": [64, 96]}')
    model = load_dense(bundle)
    save_dense(bundle, model.network, model.card)
    assert config.read_text() == '{"TARGET_SIZE": [64, 96]}' and load_dense(bundle).card == model.card
    bundle.with_suffix(".card.json").unlink()
    with pytest.raises(MissingInput, match=r"has no coast\.card\.json beside it.* \(coast\.json is a config\); give w"):
        load_dense(bundle)
    with pytest.raises(BadInput, match=r"coast\.json is a config; give the weights of a network, NAME\.h5"):
        load_dense(config)


def test_a_card_of_an_earlier_name_is_read_and_replaced(bundle):
    old = bundle.with_suffix(".card.json").rename(bundle.with_suffix(".json"))
    assert load_dense(bundle.parent).path == bundle
    model = load_dense(bundle)
    with pytest.raises(BadInput, match=r"coast\.json is the card of a network; give the weights"):
        load_dense(old)
    save_dense(bundle, model.network, model.card)
    assert not old.exists() and load_dense(bundle).card == model.card


@pytest.mark.parametrize(("content", "kind"), [
    ('{"shapes": []}', "neither a config nor the card of a network"), ('{"TARGET_SIZE": 64}', "a config"),
    ("mine", "not JSON, or damaged"),
])  # fmt: skip
def test_a_foreign_file_in_the_place_of_the_card_stays(bundle, content, kind):
    model, place, weights = load_dense(bundle), bundle.with_suffix(".card.json"), bundle.read_bytes()
    place.write_text(content)
    with pytest.raises(OutputExists, match=rf"coast\.card\.json is {kind}, and the card of coast\.h5 would replace it"):
        save_dense(bundle, model.network, model.card)
    assert place.read_text() == content and bundle.read_bytes() == weights


def test_weights_that_the_card_does_not_tell_of(bundle):
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(BadInput, match=r"coast\.h5 is not the file that coast\.card\.json describes \(the SHA"):
        load_dense(bundle)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89HDF\r\n\x1a\n", "cut"])
def test_damaged_weights(bundle, content):
    replace_weights(bundle, bundle.read_bytes()[:3000] if content == "cut" else content)
    with pytest.raises(BadInput, match=r"coast\.h5 is damaged or not a weight file"):
        load_dense(bundle)


def test_weights_of_another_network(bundle, tiny):
    replace_weights(bundle, encode_weights(tiny(n_bands=3, n_outputs=3, width=5).build()))
    with pytest.raises(BadInput, match=r"coast\.h5 has weights of another network"):
        load_dense(bundle)


@pytest.mark.parametrize("suffix", [".h5", ".tflite"])
def test_files_that_are_larger_than_any_network(bundle, suffix):
    """A file with a hole takes no place on a disk, and all memory where it is read."""
    record = json.loads(bundle.with_suffix(".card.json").read_text())
    place = bundle.with_suffix(suffix)
    place.touch()
    os.truncate(place, 10**12)
    bundle.with_suffix(".card.json").write_text(json.dumps({**record, "runtime": {"sha256": "0"}}))
    with pytest.raises(BadInput, match=rf"{re.escape(place.name)}: it is larger than [24]000 MB"):
        load_dense(bundle)


def test_a_pipe_is_not_read_for_ever(bundle):
    bundle.unlink()
    os.mkfifo(bundle)
    with pytest.raises(BadInput, match="is a pipe or device, not a file"):
        load_dense(bundle)


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"[]", b"5", b"\xff\xfe", b'{"format": 1, "kind": "dense"}', b"[" * 100_000,
    b'{"a":' * 100_000, b"9" * 5000,
])  # fmt: skip
def test_damaged_cards(bundle, content):
    bundle.with_suffix(".card.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"coast\.card\.json: it (is damaged|holds a list)"):
        load_dense(bundle)


def test_a_cut_card(bundle):
    card_path = bundle.with_suffix(".card.json")
    whole = card_path.read_bytes()
    for end in range(0, len(whole) - 3, 40):
        card_path.write_bytes(whole[:end])
        with pytest.raises(BadInput, match=r"coast\.card\.json: it is damaged"):
            load_dense(bundle)


@pytest.mark.parametrize(("name", "value"), [
    ("format", 2), ("format", None), ("kind", "tiles"), ("architecture", None), ("architecture", "resunet"),
    ("classes", []), ("classes", None), ("classes", 3), ("classes", ["water"]), ("classes", [{"name": "water"}]),
    ("classes", [{"name": f"c{i}", "color": [0, 0, 300]} for i in range(3)]),
    ("classes", [{"name": f"c{i}", "color": [0, 0, "9"]} for i in range(3)]),
    ("classes", [{"name": f"c{i}", "color": [0, 0]} for i in range(3)]),
    ("classes", [{"name": "same", "color": [0, 0, i]} for i in range(3)]),
    ("classes", [{"name": f"c{i}", "color": [0, 0, i]} for i in range(2)]),
    ("classes", [{"name": f"c{i}", "color": [0, 0, 0]} for i in range(4)]),
    ("size", "64"), ("size", [64]), ("size", [64, 0]), ("size", [64, 10**9]), ("size", [64.5, 96]),
    ("size", [64, True]), ("size", [64, float("inf")]), ("size", [float("nan"), 64]), ("size", {"64": 1, "96": 2}),
    ("normalization", None), ("normalization", {"kind": "unit"}), ("normalization", {"kind": "eval", "scale": 1}),
    ("normalization", {"kind": "unit", "scale": 0}), ("normalization", {"kind": "unit", "scale": "x"}),
    ("normalization", {"kind": "unit", "scale": float("nan")}), ("normalization", {"kind": "unit", "scale": 10**400}),
    ("training", 5), ("scores", "good"), ("versions", ["numpy"]), ("versions", None), ("sha256", None),
], ids=str)  # fmt: skip
def test_cards_that_say_what_cannot_be(bundle, name, value):
    change_card(bundle, lambda record: record.update({name: value}))
    with pytest.raises(BadInput) as caught:
        load_dense(bundle)
    message = str(caught.value)
    assert "coast" in message and "\n" not in message and len(message) < 400
    change_card(bundle, lambda record: record.pop(name))
    with pytest.raises(HybridSegError, match="coast"):
        load_dense(bundle)


def test_parts_that_do_not_fit_are_refused_before_they_are_saved():
    with pytest.raises(BadInput, match="3 classes for a network of 2"):
        make_card(ResUnet(n_bands=3, n_outputs=1))
    with pytest.raises(BadInput, match=r"size=\(0, 4\) is not the size of an image"):
        DenseCard(ResUnet(n_bands=3, n_outputs=3), TABLE, size=(0, 4), normalization=Normalization("unit"))


def test_an_interrupted_save_leaves_no_card_of_other_weights(bundle, tiny, monkeypatch):
    import hybridseg.models.bundles as bundles

    def stop(*args):
        raise KeyboardInterrupt

    architecture = tiny(n_bands=3, n_outputs=3)
    for stopped in ("write_bytes", "write_json"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(bundles, stopped, stop)
            save_dense(bundle, architecture.build(), make_card(architecture))
        with pytest.raises(MissingInput, match=r"has no coast\.card\.json beside it"):
            load_dense(bundle)
