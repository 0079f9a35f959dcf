import unicodedata

import numpy as np

from hybridseg.draw import count_share, draw_numbers, shuffle_names

NAMES = [f"photo_{i:02d}.jpg" for i in range(12)]


def test_the_order_is_the_same_on_any_machine():
    """Written down once: a change of library or Python version must not change anybody's split."""
    first = [name[6:8] for name in shuffle_names(NAMES, seed=0)]
    assert first == ["07", "00", "10", "02", "08", "09", "11", "03", "05", "06", "01", "04"]
    assert shuffle_names(reversed(NAMES), seed=0) == shuffle_names(NAMES, seed=0)
    assert shuffle_names(NAMES, seed=1) != shuffle_names(NAMES, seed=0)


def test_adding_a_name_does_not_reshuffle_the_others():
    more = shuffle_names([*NAMES, "new.jpg"], seed=3)
    more.remove("new.jpg")
    assert more == shuffle_names(NAMES, seed=3)


def test_the_same_name_in_two_unicode_forms_has_one_place():
    composed, decomposed = (unicodedata.normalize(form, "plage_été.jpg") for form in ("NFC", "NFD"))
    assert composed != decomposed
    place = shuffle_names([*NAMES, composed], seed=0).index(composed)
    assert shuffle_names([*NAMES, decomposed], seed=0).index(decomposed) == place


def test_count_share():
    assert [count_share(n, 0.5) for n in range(5)] == [0, 1, 1, 2, 2]
    assert count_share(61, 0.5) == 31 and count_share(10, 1.0) == 10


def test_numbers_are_the_same_on_any_machine_and_fill_the_span():
    assert draw_numbers(3, name="a", seed=0).round(6).tolist() == [0.176044, 0.270835, 0.143998]
    assert (draw_numbers(3, name="b", seed=0) != draw_numbers(3, name="a", seed=0)).all()
    assert (draw_numbers(3, name="a", seed=1) != draw_numbers(3, name="a", seed=0)).all()
    many = draw_numbers(10_000, name="many", seed=0)
    assert many.dtype == np.float64 and many.min() >= 0 and many.max() < 1
    assert np.abs(np.histogram(many, 10, (0, 1))[0] - 1000).max() < 120
