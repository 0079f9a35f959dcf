import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.dense.warmstart import start_from
from hybridseg.errors import BadInput, MissingInput
from hybridseg.models.bundles import DenseCard, DenseModel, save_dense
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.unet import Unet

SETTINGS = {"n_bands": 1, "n_outputs": 3, "encoder": "none", "block": "plain", "widths": (3, 2), "dropout": 0.0}


def make_model(path, *, names="abc", kind="image", network=None, **settings):
    unet = Unet(**{**SETTINGS, **settings})
    card = DenseCard(unet, ClassTable.from_names(names), (32, 32), Normalization(kind))
    return DenseModel(path, card, network or unet.build())


@pytest.fixture(scope="module")
def refused(checkpoint):
    """A network that no weights come into: what its card says is looked at before."""
    network = make_model(checkpoint).network
    before = network.get_weights()
    yield network
    assert all(map(np.array_equal, network.get_weights(), before))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of such a network."""
    path = tmp_path_factory.mktemp("run") / "checkpoints" / "CP_epoch3.h5"
    model = make_model(path)
    save_dense(path, model.network, model.card)
    return path


@pytest.mark.slow
def test_a_network_takes_all_weights_of_a_checkpoint(checkpoint, tmp_path):
    model = make_model(tmp_path / "model.h5")
    wanted = make_model(checkpoint).network
    wanted.load_weights(checkpoint)
    before = model.network.get_weights()
    assert start_from(checkpoint, model) == f"starting from the weights of {checkpoint}"
    assert all(map(np.array_equal, model.network.get_weights(), wanted.get_weights()))
    assert not all(map(np.array_equal, model.network.get_weights(), before))
    record = json.loads(checkpoint.with_suffix(".card.json").read_text())
    assert model.card.training == {"load": {"file": "CP_epoch3.h5", "sha256": record["sha256"]}}
    # Its folder will do.
    assert start_from(checkpoint.parent, make_model(tmp_path / "model.h5")).endswith("CP_epoch3.h5")


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "message"), [
    ({"n_bands": 4}, "was trained on images of 1 band, and these have 4; give images of as many, or leave --load out"),
    ({"names": "acb"}, "knows the classes a, b, c in this order, and these masks have a, c, b; give masks or --labels"),
    ({"names": "abcd", "n_outputs": 4}, "knows the classes a, b, c in this order, and these masks have a, b, c, d"),
    ({"kind": "photo"}, r"was trained on images that were normalized in another way \(image, here photo\)"),
    ({"widths": (4, 2)}, r"is a network with other settings \(widths=3,2\); give those, or leave"),
    ({"upsample": "bilinear", "dropout": 0.5}, r"is a network with other settings \(dropout=0.0, no upsample\)"),
], ids=str)  # fmt: skip
def test_a_network_of_another_kind(checkpoint, refused, tmp_path, changes, message):
    model = make_model(tmp_path / "model.h5", network=refused, **changes)
    with pytest.raises(BadInput, match=f"CP_epoch3.h5 {message}"):
        start_from(checkpoint, model)
    assert model.card.training == {}


@pytest.mark.slow
def test_files_that_cannot_be_used(refused, tmp_path):
    """They are refused before any work."""
    places = {"weights": tmp_path / "model.h5", "run_dir": tmp_path}
    (tmp_path / "CP_epoch10.pth").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"CP_epoch10.pth is a file of PyTorch, .* give NAME.h5 of a training"):
        TrainingPaths(**places, load=tmp_path / "CP_epoch10.pth")
    with pytest.raises(MissingInput, match=r"there is no .*none.h5 to start from; give a model or a checkpoint"):
        TrainingPaths(**places, load=tmp_path / "none.h5")
    (tmp_path / "bare.h5").touch()
    with pytest.raises(MissingInput, match=r"bare.h5 has no bare.card.json beside it"):
        start_from(tmp_path / "bare.h5", make_model(tmp_path / "model.h5", network=refused))


@pytest.mark.slow
def test_a_network_of_another_command(checkpoint, refused, tmp_path):
    model = make_model(tmp_path / "model.h5", network=refused)
    card = DenseCard(Fcn8s(1, 3), model.card.table, (32, 32), Normalization("image"))
    with pytest.raises(BadInput, match="is a unet, not a fcn8s; give a model of the same command"):
        start_from(checkpoint, DenseModel(tmp_path / "fcn.h5", card, model.network))
