import os

import pytest

from hybridseg import machine
from hybridseg.errors import BadInput
from hybridseg.machine import MemoryOptions, count_cores


@pytest.mark.parametrize(("limit", "wanted"), [("1", 1), ("100000", None), ("0", None), ("many", None), ("", None)])
def test_omp_num_threads_lowers_the_number_of_cores(limit, wanted, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert count_cores() == (wanted or len(os.sched_getaffinity(0)))


def test_room_beside_what_networks_take(monkeypatch):
    mib = 2**20
    monkeypatch.setattr(machine, "read_resident", lambda: 300 * mib)
    monkeypatch.setattr(machine, "count_free", lambda: 1000 * mib)
    assert MemoryOptions(1).find_room() == 724 * mib
    assert MemoryOptions(1).find_room(needed=400 * mib) == 324 * mib
    # Of these 300, 50 are what networks have already.
    assert MemoryOptions(1).find_room(needed=400 * mib, held=50 * mib) == 374 * mib
    with pytest.raises(
        BadInput, match=r"takes 0\.29 and a window in its networks about 0\.59; .* --max-memory 1\.01 or"
    ):
        MemoryOptions(1).find_room(needed=600 * mib)
    assert MemoryOptions(1.01).find_room(needed=600 * mib) >= 128 * mib
    # The program takes no less in the end, however little it has now.
    monkeypatch.setattr(machine, "read_resident", lambda: 60 * mib)
    assert MemoryOptions(1).find_room() == 800 * mib
    # Where nothing is said, half of what is free is not a limit for networks.
    assert MemoryOptions().find_room() == 500 * mib and MemoryOptions().find_room(needed=900 * mib) == 128 * mib
