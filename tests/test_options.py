import math
from dataclasses import dataclass

import pytest

from hybridseg.errors import BadInput
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.options import Span, check_file_name, check_options, describe_range, is_prefix, option


@dataclass(frozen=True)
class Options:
    share: float = option(0.5, "A share.", span=Span(0, 1, above=True, below=True))
    side: int = option(5, "An odd side.", span=Span(1, 9, odd=True))
    width: int = option(64, "A width.", span=Span(32, 128, step=32))
    batch: int = option(8, "Images at once.", span=Span(1), extra=(-1,))
    kind: str = option("a", "A kind.", choices=("a", "b"))
    size: tuple[int, int] = option((4, 4), "Rows and columns.", span=Span(2, 8))
    limit: float | None = option(None, "A limit, or none.", span=Span(0))
    free: int = 0

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("share", [1e-9, 0.999], [0, 1, -0.1, math.nan]),
        ("side", [1, 9], [0, 2, 11]),
        ("width", [32, 128], [33, 160]),
        ("batch", [1, 10**9, -1], [0, -2, math.inf, 10**400]),
        ("kind", ["a", "b"], ["c", ""]),
        ("size", [(2, 8)], [(1, 4), (4, 9)]),
        ("limit", [None, 0, 1e9], [-1, math.inf]),
        ("free", [-5], []),
    ],
)
def test_what_an_option_may_be(name, good, bad):
    for value in good:
        assert getattr(Options(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(BadInput, match=name):
            Options(**{name: value})


def test_a_range_in_words():
    assert describe_range(Options, "share") == "a number above 0 and below 1"
    assert describe_range(Options, "side") == "a whole number from 1 to 9, odd"
    assert describe_range(Options(), "width") == "a whole number from 32 to 128, a multiple of 32"
    assert describe_range(Options, "batch") == "a whole number of 1 or more, or -1"
    assert describe_range(Options, "kind") == "one of a, b"


def test_a_long_value_is_shown_in_part():
    with pytest.raises(BadInput) as caught:
        HybridOptions(decimation=(0,) * 400)
    assert len(str(caught.value)) < 150 and str(caught.value).endswith("give a whole number of 1 or more")


def test_advice_on_a_name_is_whole():
    with pytest.raises(BadInput) as caught:
        check_file_name("n" * 500, what="--name")
    assert str(caught.value).endswith("spaces at its ends, a double quote, or any of / \\ : * ? < > |")
    assert is_prefix("coast 1") and not is_prefix('coast"1')
