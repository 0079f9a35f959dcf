import pytest

from hybridseg.classes import ClassTable
from hybridseg.dense.runs import RunFolder, load_run
from hybridseg.errors import MissingInput
from hybridseg.models.bundles import DenseCard, save_dense
from hybridseg.models.normalization import Normalization
from hybridseg.models.unet import Unet


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of an earlier version and of this one, and with files that are none."""
    for name in ("model.h5", "epoch_0002.h5", "checkpoints/CP_epoch10.h5", "checkpoints/CP_epoch9.h5"):
        path = tmp_path / "coast" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".card.json").write_text('{"kind": "dense"}')
    for name in ("epoch_final.h5", "epoch_1.h5", "checkpoints/CP_epoch.h5", "checkpoints/CP_epoch1.json"):
        (tmp_path / "coast" / name).touch()
    return RunFolder(tmp_path / "coast")


def test_checkpoints_by_their_number(run):
    assert run.list_checkpoints() == {
        2: run.path / "epoch_0002.h5", 9: run.weights_path(9), 10: run.path / "checkpoints/CP_epoch10.h5"
    }  # fmt: skip
    with pytest.raises(MissingInput, match=r"CP_epoch3.h5; there are the checkpoints 2, 9, 10; train it with"):
        load_run(run.path, program="unet", checkpoint=3)


def test_only_files_of_a_run_are_removed(run):
    run.clear()
    left = sorted(path.name for path in run.path.rglob("*.*"))
    assert left == ["CP_epoch.h5", "CP_epoch1.json", "epoch_1.h5", "epoch_final.h5", "model.card.json", "model.h5"]


@pytest.mark.slow
def test_a_checkpoint_of_an_earlier_version_is_loaded(run):
    unet = Unet(1, 2, "none", "plain", (2,), 0.0)
    card = DenseCard(unet, ClassTable.from_names("ab"), (32, 32), Normalization("image"))
    save_dense(run.path / "epoch_0002.h5", unet.build(), card)
    found = load_run(run.path, program="unet", checkpoint=2, engine="tensorflow")
    assert found.path.name == "epoch_0002.h5" and found.card.table.names == ("a", "b")
