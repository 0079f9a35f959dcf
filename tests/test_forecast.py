"""Time that is left, by a clock that the tests turn: never that of a part."""

import pytest

from hybridseg.forecast import UNKNOWN, Forecast, Weighted, followed_by


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def work(forecast, items, seconds, *, within=None):
    """Do all items, each in so many seconds, and yield what is left after each; `within` is work within each."""
    with forecast.span(items) as span:
        for i in range(len(items)):
            if within:
                yield from within(i)
            forecast.clock.now += seconds(i) if callable(seconds) else seconds
            span.finish_item(forecast.clock())
            yield forecast.tell_left()


def test_the_first_item_tells_nothing(clock):
    """Something is loaded or compiled for it."""
    left = list(work(Forecast(clock=clock), range(5), lambda i: 90 if i == 0 else 2))
    assert left == [None, 6, 4, 2, 0]


def test_items_that_differ(clock):
    """Two epochs of three steps and one third of a step for the validation."""
    costs = [1, 1, 1, 1 / 3] * 2
    left = list(work(Forecast(clock=clock), Weighted(range(8), costs), lambda i: 6 * costs[i]))
    assert left[1:] == pytest.approx([28 - 6 * sum(costs[: i + 1]) + 12 for i in range(1, 8)])


@pytest.mark.parametrize("slowness", [1, 5, 0.1])
def test_parts_that_follow_one_another(clock, slowness):
    """Features, head and fine-tuning, on a machine that is slower or faster than was thought."""
    forecast, expected = Forecast(clock=clock), (50.0, 5.0, 300.0)
    total, began, seen = slowness * sum(expected), clock.now, []
    for number, (n, seconds) in enumerate(zip((100, 1000, 60), expected, strict=True)):
        items = Weighted(range(n), seconds / n, after=sum(expected[number + 1 :]))
        for left in work(forecast, items, slowness * seconds / n):
            if left is not None:
                seen.append((clock.now - began, left))
    for passed, left in seen:
        truth = total - passed
        # At first expectations are all there is: they may be wrong by as much as the machine is.
        tolerance = max(slowness, 1 / slowness, 1.01) if passed < 0.15 * total else 1.8
        assert truth / tolerance - 2 <= left <= truth * tolerance + 2, (passed, left, truth)
    assert len(seen) == 1160 - 3 and seen[-1][1] == 0


def test_what_nobody_can_tell_is_not_told(clock):
    forecast = Forecast(clock=clock)
    assert set(work(forecast, Weighted(range(5), 0.1, after=UNKNOWN), 0.1)) == {None}
    assert set(work(forecast, Weighted(range(5), after=UNKNOWN), 0.1)) == {None}
    assert forecast.tell_left() is None, "nothing is being done"
    # A command that another runs without a plan.
    assert set(work(Forecast(forecast, clock), range(5), 1)) == {None}


def test_items_within_items(clock):
    """Windows of photos: what is left is that of all photos, and grows smaller."""
    forecast = Forecast(clock=clock)
    left = list(work(forecast, range(10), 1, within=lambda _: work(forecast, range(9), 1)))
    told = [(99 - i, value) for i, value in enumerate(left) if value is not None]
    assert len(told) > 75
    for truth, value in told:
        assert value == pytest.approx(truth, rel=0.15, abs=3), (truth, value)


def test_commands_that_a_command_runs(clock):
    """Three steps, expected to take 20, 40 and 80 seconds, of which each takes twice as long."""
    outer, seconds = Forecast(clock=clock), [20.0, 40.0, 80.0]

    def run(i):
        return work(Forecast(outer, clock), range(40), 2 * seconds[i] / 40)

    began = clock.now
    for left in work(outer, Weighted("abc", seconds), 0, within=run):
        truth = 280 - (clock.now - began)
        if left is not None:
            assert truth * 0.4 - 2 <= left <= truth * 1.3 + 2, (truth, left)
        if left is not None and truth < 240:
            assert left >= truth * 0.65 - 2, "the first step has told how slow the machine is"


def test_other_work_that_follows():
    seen = []

    def hook(items, *, label):
        seen.append(items)
        return items

    outer = followed_by(followed_by(hook, 5.0), 3.0)
    assert list(outer(Weighted([1, 2], 1.0, after=2.0), label="x")) == [1, 2]
    assert list(outer("ab", label="y")) == ["a", "b"]
    assert [(items.after, items.each) for items in seen] == [(10.0, 1.0), (8.0, None)]


def test_weighted_items_are_a_sequence():
    items = Weighted(range(3, 6), [1.0, 2.0, 4.0])
    assert list(items) == [3, 4, 5] and len(items) == 3 and items[-1] == 5 and list(items[1:]) == [4, 5]
    assert [items.cost(n) for n in range(4)] == [0, 1, 3, 7]
