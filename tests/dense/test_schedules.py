from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.dense.schedules import CosineRestarts, Schedule, count_plateaus
from hybridseg.errors import BadInput


def test_ramp_plateau_and_decay_by_hand():
    schedule = Schedule(start=1.0, top=5.0, bottom=1.0, ramp_epochs=4, sustain_epochs=2, decay=0.5)
    assert [schedule.learning_rate(epoch) for epoch in range(10)] == [1, 2, 3, 4, 5, 5, 5, 3, 2, 1.5]


def test_the_default_is_one_rate():
    assert {Schedule().learning_rate(epoch) for epoch in range(1000)} == {1e-4}


def test_without_a_ramp_it_starts_at_the_peak():
    schedule = Schedule(start=0.0, top=1.0, bottom=0.0, decay=0.5)
    assert [schedule.learning_rate(epoch) for epoch in range(3)] == [1, 0.5, 0.25]


def test_without_decay_it_stays_at_the_peak():
    assert Schedule(start=0.0, top=2.0, bottom=1.0, ramp_epochs=1).learning_rate(10_000) == 2


def test_part_of_an_epoch_of_plateau():
    schedule = Schedule(start=1.0, top=1.0, bottom=0.0, sustain_epochs=1.5, decay=0.25)
    assert [schedule.learning_rate(epoch) for epoch in range(4)] == [1, 1, 0.5, 0.125]


@given(
    rates=st.tuples(*[st.floats(0, 999)] * 2, st.floats(1e-6, 999)),
    ramp=st.integers(0, 50), sustain=st.floats(0, 50), decay=st.floats(0.01, 1), epoch=st.integers(0, 10_000),
)  # fmt: skip
def test_the_learning_rate_stays_in_its_bounds(rates, ramp, sustain, decay, epoch):
    start, bottom, top = *sorted(rates[:2]), max(rates)
    schedule = Schedule(start, top, bottom, ramp, sustain, decay)
    assert min(start, bottom) - 1e-9 <= schedule.learning_rate(epoch) <= top + 1e-9
    if epoch >= ramp:
        assert schedule.learning_rate(epoch + 1) <= schedule.learning_rate(epoch) + 1e-9


@pytest.mark.parametrize("values", [{"start": 1.0}, {"bottom": 1.0}], ids=str)
def test_the_peak_is_the_largest(values):
    with pytest.raises(BadInput, match="the peak between them must be the largest"):
        Schedule(**values)


@pytest.mark.parametrize("values", [
    {"start": -1e-9}, {"start": float("nan")}, {"bottom": -1.0}, {"bottom": float("nan")}, {"top": 1000.0},
    {"top": 0.0}, {"top": float("nan")}, {"ramp_epochs": -1}, {"sustain_epochs": -0.5}, {"decay": 0.0},
    {"decay": 1.1}, {"decay": float("nan")},
], ids=str)  # fmt: skip
def test_values_out_of_range(values):
    with pytest.raises(BadInput, match=f"{next(iter(values))}=.*: give a"):
        Schedule(**values)


@pytest.mark.slow
@pytest.mark.parametrize("values", [
    {}, {"first_epochs": 7, "t_mul": 2.0, "m_mul": 0.7, "alpha": 0.0}, {"first_epochs": 3, "t_mul": 1.5, "alpha": 0.3},
], ids=str)  # fmt: skip
def test_a_cosine_with_restarts_is_that_of_keras(values):
    from tf_keras.optimizers.schedules import CosineDecayRestarts

    ours = CosineRestarts(**values)
    theirs = CosineDecayRestarts(ours.top, ours.first_epochs, ours.t_mul, ours.m_mul, ours.alpha)
    # Where a period ends, one rounds to before and the other to after the restart.
    found = [(ours.learning_rate(epoch), float(theirs(epoch))) for epoch in range(121)]
    assert sum(a == pytest.approx(b, rel=1e-3) for a, b in found) >= 119
    assert CosineRestarts().learning_rate(0) == 0.005 and CosineRestarts().learning_rate(50) == pytest.approx(0.00365)


def test_a_ramp_before_the_cosine():
    schedule = CosineRestarts(1.0, first_epochs=2, alpha=0.0, ramp_epochs=2)
    assert [schedule.learning_rate(epoch) for epoch in range(4)] == pytest.approx([0.1, 0.55, 1, 0.5])


@pytest.mark.parametrize(("schedule", "changes"), [
    (Schedule(0.1, 1, 0.01, 3, 4, 0.5), {"ramp_epochs": 4, "sustain_epochs": 0.0, "decay": 0.9}),
    (CosineRestarts(1, 5, 2.0, 0.7, 0.1, 3), {"ramp_epochs": 4, "m_mul": 0.5, "t_mul": 3.0}),
], ids=["ramp", "cosine"])  # fmt: skip
def test_where_a_setting_has_its_first_effect(schedule, changes):
    """Changing it changes this epoch, and none before; a longer ramp also those on the way up."""
    starts = schedule.find_starts()
    for name, value in changes.items():
        other, start = replace(schedule, **{name: value}), int(starts[name])
        same = [schedule.learning_rate(epoch) == other.learning_rate(epoch) for epoch in range(start + 1)]
        assert not same[start] and (name == "ramp_epochs" or all(same[:start])), name
    assert schedule.learning_rate(starts["ramp_epochs"]) == 1 > schedule.learning_rate(starts["ramp_epochs"] - 1)


@pytest.mark.parametrize("values", [
    {"top": 0.0}, {"first_epochs": 0}, {"t_mul": 0.5}, {"m_mul": 0.0}, {"alpha": 1.5},
], ids=str)  # fmt: skip
def test_restarts_out_of_range(values):
    with pytest.raises(BadInput, match=f"{next(iter(values))}=.*: give a"):
        CosineRestarts(**values)


def test_plateaus_by_hand():
    losses = [5, 4, 4, 4, 4, 3, 3.5, float("nan"), 3]
    assert [count_plateaus(losses[:n], patience=2) for n in range(10)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert count_plateaus(losses, patience=0) == 0 and count_plateaus(losses, patience=9) == 0
