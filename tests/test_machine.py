import os

import pytest

from hybridseg.machine import count_cores


@pytest.mark.parametrize(("limit", "wanted"), [("1", 1), ("100000", None), ("0", None), ("many", None), ("", None)])
def test_omp_num_threads_lowers_the_number_of_cores(limit, wanted, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert count_cores() == (wanted or len(os.sched_getaffinity(0)))
