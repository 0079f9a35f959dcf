import io
import os
import zipfile

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.arrays import map_array, read_arrays


def save_header(shape, dtype="<f4"):
    """Make a .npy that says a shape and holds nothing."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_arrays_come_back(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "a.npz", record=np.array("é"), values=values, none=np.zeros((0, 3)))
    found = read_arrays(tmp_path / "a.npz")
    assert str(found["record"]) == "é" and np.array_equal(found["values"], values) and found["none"].shape == (0, 3)
    found["values"][0] = 1
    np.save(tmp_path / "a.npy", values)
    map_array(tmp_path / "a.npy", "r+")[2, 3] = 7
    assert map_array(tmp_path / "a.npy")[2, 3] == 7


@pytest.mark.parametrize("member", [
    save_header((2**40,)), save_header((2**62, 2**62)), save_header((4,), "|O"), b"no array", save_header((2,), "<U1")
    + b"\xff" * 8,
])  # fmt: skip
def test_an_archive_is_not_larger_than_its_file(tmp_path, member):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v0.npy", member)
    with pytest.raises(BadInput, match=r"a\.npz: it is damaged"):
        read_arrays(path)


def write_npy(header):
    """Make a .npy with any header, which is Python."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("header", [b"{'descr': (", b"{'descr': '<f4', 'shape': (3,L", b"[[[[" * 900, b"\x00", b"1/0"])
def test_a_header_that_is_no_header(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(write_npy(header))
    with pytest.raises(BadInput, match=r"a\.npy: it is no array, or damaged"):
        map_array(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("v0.npy", write_npy(header))
    with pytest.raises(BadInput, match=r"a\.npz: it is damaged"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_what_is_packed(tmp_path, kind):
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(0).random(40))
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("v0.npy", buffer.getvalue())
        archive.writestr("more", bytes(10))
    data = bytearray(path.read_bytes())
    data[60:90] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"a\.npz: it is damaged"):
        read_arrays(path)


def test_an_archive_that_is_compressed_or_cut_short(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, values=np.zeros(1_000_000))
    with pytest.raises(BadInput, match="its arrays are larger than the file"):
        read_arrays(path)
    np.savez(path, values=np.zeros(1000))
    os.truncate(path, 4000)
    with pytest.raises(BadInput, match="damaged"):
        read_arrays(path)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(BadInput, match="pipe or device"):
        read_arrays(tmp_path / "pipe.npz")


def test_a_file_that_is_mapped_is_not_made_longer(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(save_header((2**40,)))
    with pytest.raises(BadInput, match=r"a\.npy: it is no array"):
        map_array(path, "r+")
    assert path.stat().st_size == len(save_header((2**40,)))
    np.savez(tmp_path / "b.npz", values=np.zeros(3))
    with pytest.raises(BadInput, match="it is an archive"):
        map_array(tmp_path / "b.npz")
    with pytest.raises(MissingInput):
        map_array(tmp_path / "none.npy")
