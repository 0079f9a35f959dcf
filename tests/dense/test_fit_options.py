"""What the options of a training make of its course, without any training."""

import pytest

from hybridseg.dense.fit import Epoch, FitOptions
from hybridseg.dense.schedules import Schedule
from hybridseg.errors import BadInput

RATE = Schedule(start=0.02, top=0.02, bottom=0.001, sustain_epochs=1, decay=0.5)


def make_epoch(iou, loss, *, dice=0.5, accuracy=0.5):
    return Epoch(1, 0.1, 9.0, 0.5, 0.5, 0.5, 0.5, loss, iou, dice, accuracy, 0.5, 1.0, 0.0)


@pytest.mark.parametrize(("best_by", "best"), [("mean_iou", 2), ("dice", 3), ("accuracy", 4), ("loss", 1)])
def test_what_makes_an_epoch_the_best(best_by, best):
    history = [
        make_epoch(0.5, 0.1), make_epoch(0.7, 0.4), make_epoch(0.6, 0.5, dice=0.9), make_epoch(0.6, 0.6, accuracy=0.9),
        make_epoch(None, 0.7), make_epoch(0.4, 0.8),
    ]  # fmt: skip
    options = FitOptions(best_by=best_by, patience=4, plateau_patience=2, schedule=RATE)
    assert options.find_best(history) == best and options.find_best([]) == 0
    assert [options.has_stalled(history[:n]) for n in range(7)] == [n >= best + 4 for n in range(7)]
    assert round(RATE.learning_rate(6) / options.learning_rate(history)) == (10 if best == 3 else 100)
    assert options.find_best([make_epoch(0.5, loss) for loss in (0.4, 0.2, 0.3)]) == 2, "of equals"


def test_the_learning_rate_stays_above_nothing():
    options = FitOptions(plateau_patience=2, schedule=RATE)
    history = [make_epoch(0.5, 0.1), *[make_epoch(0.5, 0.2)] * 50]
    assert RATE.learning_rate(51) / options.learning_rate(history) == pytest.approx(1e4)


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"patience": -1}, {"checkpoint_interval": -1}, {"frozen_epochs": -2}]
)
def test_options_out_of_range(values):
    with pytest.raises(BadInput, match=f"{next(iter(values))}=.*: give "):
        FitOptions(**values)
