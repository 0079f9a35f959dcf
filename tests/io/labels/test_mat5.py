import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.mat5 import read_mat5, write_mat5


def item(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind, shape, name, *parts):
    body = item(6, struct.pack("<II", kind, 0)) + item(5, struct.pack(f"<{len(shape)}i", *shape)) + item(1, name)
    body += b"".join(parts)
    return struct.pack("<II", 14, len(body)) + body


def write(path, *variables, packed=True):
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for variable in variables:
        data = zlib.compress(variable)
        content += struct.pack("<II", 15, len(data)) + data if packed else variable
    path.write_bytes(content)


def test_what_is_written_is_what_scipy_writes(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (40, 60)).astype(np.uint8)
    texts = {"labels": ["sea  ", "écume", "sand "], "made_by": ["x" * 300], "few": ["é"]}
    arrays = {"class": labels, "colors": np.arange(9, dtype=np.uint8).reshape(3, 3), "small": labels[:2, :2]}
    write_mat5(tmp_path / "own.mat", {**arrays, **texts})
    savemat(tmp_path / "scipy.mat", {**arrays, **{k: np.array(v) for k, v in texts.items()}}, do_compression=True)
    own = (tmp_path / "own.mat").read_bytes()
    assert own[124:] == (tmp_path / "scipy.mat").read_bytes()[124:]
    write_mat5(tmp_path / "again.mat", {**arrays, **texts})
    assert (tmp_path / "again.mat").read_bytes() == own


CLASS = matrix(9, (1, 2), b"class", item(2, b"\x00\x01"))


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_made_by_hand_is_read(tmp_path, packed):
    names = matrix(1, (1, 2), b"labels", *(matrix(4, (1, 3), b"", item(16, text)) for text in (b"sea", b"bar")))
    write(tmp_path / "a.mat", CLASS, names, packed=packed)
    back = read_labelmap(tmp_path / "a.mat")
    assert back.labels.tolist() == [[0, 1]] and back.table.names == ("sea", "bar")


def test_nested_cells_by_the_thousand_are_refused(tmp_path):
    deep = matrix(4, (1, 1), b"", item(16, b"x"))
    for _ in range(50):
        deep = matrix(1, (1, 1), b"labels", deep)
    write(tmp_path / "a.mat", CLASS, deep)
    with pytest.raises(BadInput, match="something that is not text"):
        read_labelmap(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (matrix(9, (1, 2), b"class", item(2, bytes(4000))), "does not fit its size"),
        (matrix(9, (1, 2), b"class", struct.pack("<II", 2, 4_000_000_000)), "does not fit its size"),
        (matrix(9, (1, 2), b"class", item(99, b"ab")), "does not fit its size"),
        (matrix(9, (-1, 2), b"class", item(2, b"ab")), "negative"),
        (matrix(4, (1, 2), b"class", item(16, b"ab")), "array of numbers"),
        (matrix(1, (1, 1), b"labels", matrix(6, (1, 9), b"", item(9, bytes(72)))), "something that is not text"),
        (matrix(1, (1, 1), b"labels", matrix(6, (1, 9), b"", item(9, bytes(2_000_000)))), "far too large"),
        (matrix(1, (1, 3000), b"labels", *[matrix(4, (1, 400), b"", item(16, bytes(400)))] * 3000), "far too large"),
        (matrix(4, (2, 2), b"labels", item(4, b"ab")), "does not fit its size"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, variable, message):
    write(tmp_path / "a.mat", variable)
    with pytest.raises(BadInput, match=message):
        read_mat5(tmp_path / "a.mat", {"class"}, list_name="labels")


def test_two_variables_of_one_name_are_refused(tmp_path):
    write(tmp_path / "a.mat", CLASS, CLASS)
    with pytest.raises(BadInput, match="two variables called `class`"):
        read_labelmap(tmp_path / "a.mat")


def test_variables_that_nobody_loads_are_passed_over(tmp_path):
    savemat(tmp_path / "a.mat", {"class": np.eye(2), "preds": np.zeros((300, 300, 4)), "labels": np.array(["a", "b"])})
    content = read_mat5(tmp_path / "a.mat", {"class"}, list_name="labels")
    assert set(content.maps) == {"class"} and not content.arrays and content.names.names == ("a", "b")


@pytest.mark.parametrize("compression", [True, False])
def test_every_single_byte_changed_gives_an_answer(tmp_path, compression):
    cell = np.array([["water", "sand"]], dtype=object)
    savemat(tmp_path / "a.mat", {"class": np.eye(2, dtype=np.uint8), "labels": cell}, do_compression=compression)
    whole = (tmp_path / "a.mat").read_bytes()
    for position in range(120, len(whole)):
        content = bytearray(whole)
        content[position] ^= 0xFF
        (tmp_path / "b.mat").write_bytes(content)
        try:
            assert read_labelmap(tmp_path / "b.mat").labels.ndim == 2
        except BadInput as error:
            assert "b.mat" in str(error)
