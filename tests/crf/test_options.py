from dataclasses import replace

import pytest

from hybridseg.crf.options import ENGINES, CrfOptions
from hybridseg.errors import BadInput


def test_defaults_are_the_constants_of_the_paper():
    options = CrfOptions()
    assert (options.theta, options.color_scale) == (60, 1)
    assert (options.space_compat, options.color_compat) == (5, 100)
    assert (options.n_iterations, options.gt_prob) == (20, 0.5)
    assert options.space_theta is None
    assert not options.reference_geometry and options.engine == "auto"


NUMBERS = {
    "theta": ([1e-6, 60, 999_999], [0, -1, 1e6, float("inf"), float("nan")]),
    "space_theta": ([None, 1e-6, 999_999], [0, -1, 1e6, float("inf"), float("nan")]),
    "color_scale": ([1e-6, 999_999], [0, -1, 1e6, float("nan")]),
    "space_compat": ([0, 999_999], [-1e-9, 1e6, float("nan")]),
    "color_compat": ([0, 999_999], [-1e-9, 1e6, float("nan")]),
    "n_iterations": ([1, 10_000], [0, -1, 10_001]),
    "tolerance": ([0, 0.999], [-1e-9, 1, float("nan")]),
    "gt_prob": ([1e-6, 0.999], [0, 1, -0.5, 1.5, float("nan")]),
    "n_threads": ([0, 1, 1024], [-1, 1025]),
    "max_memory": ([1e-6, 999_999], [0, -4, 1e6, float("nan")]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_range_of(name):
    good, bad = NUMBERS[name]
    for value in good:
        assert getattr(replace(CrfOptions(), **{name: value}), name) == value
    for value in bad:
        with pytest.raises(BadInput, match=rf"{name}={value}: give a"):
            replace(CrfOptions(), **{name: value})


def test_nearness_has_the_theta_of_both_unless_it_has_its_own():
    assert (CrfOptions(theta=9).near_theta, CrfOptions(theta=9).reach) == (9, 9)
    assert (CrfOptions(theta=9, space_theta=5).near_theta, CrfOptions(theta=9, space_theta=5).reach) == (5, 9)
    assert CrfOptions(theta=9, space_theta=50).reach == 50


def test_engine_is_one_of_those_that_there_are():
    assert {replace(CrfOptions(), engine=name).engine for name in ENGINES} == {"auto", "native", "pydensecrf"}
    with pytest.raises(BadInput, match="engine='gpu': give one of auto, native, pydensecrf"):
        CrfOptions(engine="gpu")
