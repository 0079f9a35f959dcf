import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybridseg.classes import VOID
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.annotations import doodler as doodlernpz
from hybridseg.io.annotations.doodler import read_doodlernpz

DOODLES = np.array([[0, 1, 1, 0], [0, 0, 2, 0], [3, 0, 0, 0]], np.uint8)
LABELS = np.array([[0, 0, 0, 1], [1, 1, 1, VOID], [2, 2, 2, 2]], np.uint8)
NAMES = ("water", "sand", "cliff")


def one_hot(labels: np.ndarray, n_classes: int = 3) -> np.ndarray:
    return (labels[..., None] == np.arange(n_classes)).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a_someone.npz"


@pytest.fixture
def arrays():
    return {
        "image": np.zeros((3, 4, 3), np.uint8),
        "label": one_hot(LABELS),
        "color_doodles": np.zeros((3, 4, 3), np.uint8),
        "doodles": DOODLES,
        "settings": np.array([3, 1.0]),
        "classes": np.array(NAMES),
    }


def write_member(path, name: str, header: str, data: bytes, *, magic: bytes = b"\x93NUMPY\x01\x00") -> None:
    """Write an archive of one array whose header says whatever one wants."""
    head = header.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", magic + len(head).to_bytes(2, "little") + head + data)


def describe(kind: str = "|u1", shape: str = "(3, 4)", by_cols: bool = False) -> str:
    return f"{{'descr': '{kind}', 'fortran_order': {by_cols}, 'shape': {shape}, }}   \n"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_doodler_saves_is_read(path, arrays, save):
    save(path, **arrays)
    found = read_doodlernpz(path, shape=(3, 4))
    assert np.array_equal(found.seeds, DOODLES) and found.seeds.dtype == np.uint8
    assert np.array_equal(found.labels, LABELS) and found.labels.dtype == np.uint8
    assert found.names == NAMES


def test_the_newest_of_several_is_read(path, arrays):
    old = {f"0{name}": np.zeros_like(values) for name, values in arrays.items()}
    older = {f"00{name}": np.ones_like(values) for name, values in arrays.items()}
    np.savez(path, **older, **old, **arrays)
    assert np.array_equal(read_doodlernpz(path, shape=(3, 4)).seeds, DOODLES)
    np.savez(path, **{f"0{name}": values for name, values in arrays.items()}, **older)
    found = read_doodlernpz(path, shape=(3, 4))
    assert np.array_equal(found.labels, LABELS) and found.names == NAMES


@pytest.mark.parametrize("kind", ["u1", "i4", "<i8", ">i2", "bool", "f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_numbers_in_any_order(path, kind, order, monkeypatch):
    # A row of 4 columns and 3 classes is more than that: each is a piece of its own.
    monkeypatch.setattr(doodlernpz, "_BLOCK_BYTES", 10)
    label = np.asarray(one_hot(LABELS).astype(kind), order=order)
    doodles = np.asarray((DOODLES > 0).astype(kind), order=order)
    np.savez(path, label=label, doodles=doodles)
    found = read_doodlernpz(path, shape=(3, 4))
    assert np.array_equal(found.labels, LABELS)
    assert np.array_equal(found.seeds, DOODLES > 0)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5)), st.booleans())
def test_labels_come_back(tmp_path_factory, labels, by_cols):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    label = one_hot(labels, 5)
    np.savez(path, label=np.asfortranarray(label) if by_cols else label, doodles=labels)
    found = read_doodlernpz(path, shape=labels.shape)
    assert np.array_equal(found.labels, np.where(labels == 5, VOID, labels))
    assert np.array_equal(found.seeds, labels)


def test_either_of_the_two_is_enough(path, arrays):
    np.savez(path, doodles=DOODLES)
    found = read_doodlernpz(path, shape=(3, 4))
    assert found.labels is None and found.names is None
    np.savez(path, label=LABELS)
    found = read_doodlernpz(path, shape=(3, 4))
    assert found.seeds is None and np.array_equal(found.labels, LABELS)
    np.savez(path, image=arrays["image"])
    with pytest.raises(BadInput, match=r"no `doodles` and no `label` \(it has image\)"):
        read_doodlernpz(path, shape=(3, 4))


@pytest.mark.parametrize(
    "names",
    [np.array([b"water", b"sand "]), np.array([], "U1"), np.array(NAMES, ">U5"), np.array("water"), ["\u00e9t\u00e9"]],
)
def test_names_of_any_text(path, names):
    np.savez(path, doodles=DOODLES, classes=names)
    expected = [name.decode() if isinstance(name, bytes) else str(name) for name in np.ravel(names)]
    assert read_doodlernpz(path, shape=(3, 4)).names == tuple(expected)


class Spy:
    """What would run if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_ever_unpickled(path, tmp_path):
    spy = np.array([Spy(tmp_path / "ran")], object)
    np.savez(path, doodles=DOODLES, classes=spy, settings=spy)
    assert read_doodlernpz(path, shape=(3, 4)).names is None
    for name in ("doodles", "label"):
        np.savez(path, **{name: spy})
        with pytest.raises(BadInput, match=f"`{name}` holds pickled objects, which are never opened"):
            read_doodlernpz(path, shape=(3, 4))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", [
    {"doodles": np.zeros((3, 5), np.uint8)}, {"doodles": np.zeros((3, 4, 1), np.uint8)}, {"doodles": np.uint8(1)},
    {"doodles": np.full((3, 4), 300)}, {"doodles": np.full((3, 4), -1)}, {"doodles": np.full((3, 4), 0.5)},
    {"doodles": np.full((3, 4), np.nan)}, {"doodles": np.full((3, 4), 1j)}, {"doodles": np.full((3, 4), "a")},
    {"doodles": np.zeros((3, 4), [("a", "u1")])}, {"doodles": np.zeros((3, 4), "M8[s]")},
    {"label": np.zeros((4, 3, 3))}, {"label": np.zeros((3, 4, 0))}, {"label": np.zeros((3, 4, 256), np.uint8)},
    {"label": np.ones((3, 4, 2), np.uint8)}, {"label": np.asfortranarray(np.ones((3, 4, 2), np.uint8))},
    {"label": np.full((3, 4, 1), np.nan)}, {"label": np.zeros((3, 4, 2, 1))}, {"label": np.zeros(3)},
    {"classes": np.zeros((2, 2), "U3")}, {"classes": np.full(300, "a")}, {"classes": np.full(2, "a" * 900_000)},
    {"classes": np.arange(3)}, {"classes": np.array([b"\xff"])}, {"classes": np.array([2**31], "<u4").view("<U1")},
], ids=lambda change: next(f"{k}-{v.dtype}-{v.shape}" for k, v in change.items()))  # fmt: skip
def test_arrays_that_do_not_fit(path, arrays, change):
    np.savez(path, **{**arrays, **change})
    with pytest.raises(BadInput, match=r"a_someone\.npz: "):
        read_doodlernpz(path, shape=(3, 4))


@pytest.mark.parametrize(("header", "data"), [
    (describe(shape="(1000000000, 1000000000)"), b""), (describe(shape="(3, -4)"), b""),
    (describe("|u99"), b"\0" * 1188),
    (describe(), b"\0" * 11), (describe(), b"\0" * 13), (describe(), b"\0" * 10_000_000), (describe("<i3"), b"\0" * 36),
    (describe(shape="(3 4, 2)"), b""), (describe(shape="(3,4"), b""), (describe(kind="__import__"), b""), ("", b""),
    (describe(shape="(3, 4" + ", 1" * 4000 + ")"), b""), ("(" * 9000, b""), ("-" * 9000 + "1", b""),
    (describe("O"), b""),
], ids=lambda value: repr(value[:60]))  # fmt: skip
def test_arrays_that_say_of_themselves_what_is_not_so(path, header, data):
    write_member(path, "doodles", header, data)
    with pytest.raises(BadInput, match=r"a_someone\.npz: "):
        read_doodlernpz(path, shape=(3, 4))


def test_a_bomb_is_not_unpacked(path, monkeypatch):
    """A kilobyte of it would be a megabyte; no more is read than the image has pixels."""
    n_read = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: n_read.append(n) or read(self, n))
    write_member(path, "doodles", describe(shape="(100, 200000)"), b"\0" * 20_000_000)
    with pytest.raises(BadInput, match="of 100 x 200000"):
        read_doodlernpz(path, shape=(3, 4))
    write_member(path, "doodles", describe(), b"\0" * 20_000_000)
    with pytest.raises(BadInput, match="not as long as its size says"):
        read_doodlernpz(path, shape=(3, 4))
    assert max(n_read) < 200 and min(n_read) >= 0


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_checksums_are_compared(path, arrays, save):
    save(path, **arrays)
    whole = bytearray(path.read_bytes())
    for at in find_all(whole, b"PK\x01\x02", 16):
        whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(BadInput, match=r"CRC"):
        read_doodlernpz(path, shape=(3, 4))


@pytest.mark.parametrize("shape", [(3, 4, 2, 1), (4, 3, 2), (3,)])
def test_labels_of_another_shape(path, shape):
    np.savez(path, label=np.zeros(shape, np.uint8))
    with pytest.raises(BadInput, match=f"`label` is of {' x '.join(map(str, shape))} .* the image of 3 x 4"):
        read_doodlernpz(path, shape=(3, 4))


def test_a_bool_is_true_whatever_its_byte(path):
    write_member(path, "doodles", describe("|b1"), bytes([0, 1, 7, 255] * 3))
    assert read_doodlernpz(path, shape=(3, 4)).seeds.tolist() == [[0, 1, 1, 1]] * 3


@pytest.mark.slow
def test_damaged_archives(path, arrays):
    np.savez(path, **arrays)
    whole = path.read_bytes()
    at = whole.index(DOODLES.tobytes())
    ways = {
        "a pixel": whole[:at] + b"\x01" + whole[at + 1 :],
        "cut": whole[:-30],
        "half": whole[: len(whole) // 2],
        "head": whole[:4],
        "none": b"",
        "text": b"PK\x03\x04 and so on",
        "encrypted": bytes(b | 1 if i in flags(whole) else b for i, b in enumerate(whole)),
        "packed otherwise": bytes(99 if i in methods(whole) else b for i, b in enumerate(whole)),
    }
    for name, method in (("lzma", zipfile.ZIP_LZMA), ("bzip2", zipfile.ZIP_BZIP2)):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("doodles.npy", bytes(range(256)) * 20)
        packed = path.read_bytes()
        ways[name] = packed[:50] + b"\xff" * 20 + packed[70:]
    for way, content in ways.items():
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"a_someone\.npz: "):
            pytest.fail(f"{way}: {read_doodlernpz(path, shape=(3, 4))}")
    for content in (
        whole[:-12] + b"\xff\xff" + whole[-10:],
        whole[:-10] + b"\xff\xff\xff\x00" + whole[-6:],
        whole[:-22] + b"PK\x06\x07" + b"\0" * 16 + whole[-22:],
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="far too many or too large arrays"):
            read_doodlernpz(path, shape=(3, 4))
    with pytest.raises(MissingInput):
        read_doodlernpz(path.with_name("none.npz"), shape=(3, 4))


def flags(content: bytes) -> set[int]:
    """Where the flags of every member stand, in both places."""
    return find_all(content, b"PK\x03\x04", 6) | find_all(content, b"PK\x01\x02", 8)


def methods(content: bytes) -> set[int]:
    return find_all(content, b"PK\x03\x04", 8) | find_all(content, b"PK\x01\x02", 10)


def find_all(content: bytes | bytearray, sign: bytes, offset: int) -> set[int]:
    return {i + offset for i in range(len(content)) if content.startswith(sign, i)}


def test_an_array_twice(path):
    buffer = io.BytesIO()
    np.save(buffer, DOODLES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("doodles.npy", buffer.getvalue())
        archive.writestr("doodles", buffer.getvalue())
    with pytest.raises(BadInput, match="two of its arrays are called 'doodles'"):
        read_doodlernpz(path, shape=(3, 4))


@given(st.binary(max_size=60), st.integers(0, 2000), st.integers(0, 60))
def test_any_damage_is_read_or_refused(tmp_path_factory, data, place, length):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, doodles=DOODLES, label=one_hot(LABELS), classes=NAMES)
    content = path.read_bytes()
    path.write_bytes(content[:place] + data + content[place + length :])
    try:
        found = read_doodlernpz(path, shape=(3, 4))
    except BadInput:
        return
    assert found.seeds is None or found.seeds.shape == (3, 4)
    assert found.labels is None or found.labels.shape == (3, 4)
