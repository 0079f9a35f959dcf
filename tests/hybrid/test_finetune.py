from functools import partial

import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.hybrid.distort import DistortOptions
from hybridseg.hybrid.finetune import FineTuneOptions, fine_tune
from hybridseg.hybrid.head import Head
from hybridseg.hybrid.tilefolder import open_tile_folder
from hybridseg.models.backbones import load_backbone


@pytest.fixture(scope="module")
def tune_in(tile_dir, tiny_module):
    """Fine-tune a fresh backbone: the head, and the variables of the backbone before and after."""
    folder = open_tile_folder(tile_dir)

    def run(
        checkpoint_dir, *, checkpoint="a.npz", distort=DistortOptions(), on_epoch=lambda epoch, loss: None, **options
    ):
        backbone = load_backbone(str(tiny_module), input_size=32, trainable=True)
        before = [variable.numpy() for variable in backbone.variables]
        rng = np.random.default_rng(1)
        head = fine_tune(
            backbone,
            Head(rng.normal(0, 1, (8, 3)).astype(np.float32), np.zeros(3, np.float32)),
            folder,
            np.arange(0, len(folder.names), 2),
            tile_size=16,
            options=FineTuneOptions(**{"epochs": 2, "learning_rate": 0.01, **options}),
            distort=distort,
            checkpoint_path=checkpoint_dir / checkpoint,
            on_epoch=on_epoch,
        )
        return head, before, [variable.numpy() for variable in backbone.variables]

    return run


@pytest.fixture
def tune(tune_in, tmp_path):
    """The same with a checkpoint in a folder of this test."""
    return partial(tune_in, tmp_path)


@pytest.fixture(scope="module")
def plain(tune_in, tmp_path_factory):
    """What the options that are given by default make."""
    return tune_in(tmp_path_factory.mktemp("plain"))


def is_same(one, other):
    pairs = zip(*((head.weights, head.bias, *after) for head, _, after in (one, other)), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_backbone_and_head_are_trained_together(tune):
    losses = []
    head, before, after = tune(epochs=6, on_epoch=lambda epoch, loss: losses.append((epoch, loss)))
    assert len(before) == 2 and not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    start = np.random.default_rng(1).normal(0, 1, (8, 3)).astype(np.float32)
    assert not np.array_equal(head.weights, start) and np.abs(head.bias).min() > 0
    assert [epoch for epoch, _ in losses] == [1, 2, 3, 4, 5, 6] and losses[-1][1] < losses[0][1]


@pytest.mark.slow
def test_the_first_step_follows_the_gradient(tune):
    """Adam moves each weight by the learning rate, whatever the size of its gradient."""
    _, before, after = tune(epochs=1, learning_rate=0.001)
    steps = np.abs(before[0] - after[0])
    assert 0.0005 < np.median(steps) < 0.0015 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.02},
        {"class_weights": "balanced"},
        {"seed": 1},
        {"epochs": 1},
        {"distort": DistortOptions(random_brightness=50)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_has_an_effect(plain, tune, change):
    assert not is_same(plain, tune(**change))


@pytest.mark.slow
def test_the_same_options_give_the_same_result(plain, tune):
    assert is_same(plain, tune())


@pytest.mark.slow
def test_more_epochs_resume_fewer_and_end_the_same(tune, tmp_path):
    whole = tune(epochs=3, checkpoint="whole.npz")
    one = tune(epochs=1)
    epochs = []
    resumed = tune(epochs=3, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [2, 3] and is_same(resumed, whole)
    again = tune(epochs=3, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [2, 3] and is_same(again, whole), "an epoch that is done is not done again"
    assert is_same(tune(epochs=1), one), "fewer epochs than are done start over"
    path = tmp_path / "a.npz"
    path.write_bytes(path.read_bytes()[:500])
    assert is_same(tune(epochs=1), one), "so they do after a damaged checkpoint"


def test_a_backbone_that_cannot_be_trained(tile_dir, tiny_module, tmp_path):
    folder = open_tile_folder(tile_dir)
    frozen = load_backbone(str(tiny_module), input_size=32, trainable=False)
    with pytest.raises(BadInput, match="cannot be fine-tuned: the module offers no trainable weights"):
        fine_tune(
            frozen, Head(np.zeros((8, 3), np.float32), np.zeros(3, np.float32)), folder, np.arange(4), tile_size=16,
            options=FineTuneOptions(), distort=DistortOptions(), checkpoint_path=tmp_path / "a.npz",
        )  # fmt: skip


@pytest.mark.parametrize("values", [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.0}])
def test_options_that_cannot_work(values):
    with pytest.raises(BadInput, match=next(iter(values))):
        FineTuneOptions(**values)
