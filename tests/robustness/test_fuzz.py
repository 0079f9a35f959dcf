"""The harness itself: no reader is left out, its damage passes the checks of a format, and it notices every failure."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from discovery import NOT_READERS, find_readers
from fuzz import list_found
from limits import KINDS
from mutations import find_mutator, mutate
from readers import READERS
from structures import _list_chunks, _list_records, mask_checksum, mutate_mat, mutate_png, mutate_proto, mutate_records

from hybridseg.errors import BadInput
from hybridseg.io.images import encode_image
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.io.tiffcheck import check_tiff
from hybridseg.models.weightfile import read_weights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")

HOME = Path(__file__).parent
NAMES = {reader.name for reader in READERS}


def run_script(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, HOME / name, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_reader_of_the_package_is_fuzzed():
    missing = find_readers() - NAMES - NOT_READERS.keys()
    assert not missing, (
        f"add them to READERS in {HOME / 'readers.py'}, or to NOT_READERS in discovery.py with the reason: {missing}"
    )


def test_what_was_found_is_tried_again():
    assert {case.reader for case in list_found()} <= NAMES, "named after a reader that was renamed"


@pytest.mark.slow
def test_what_is_no_reader_is_there_and_looks_like_one():
    assert NOT_READERS.keys() <= find_readers() and not NOT_READERS.keys() & NAMES
    assert len(NAMES) == len(READERS)


def test_a_new_reader_is_found(tmp_path):
    (tmp_path / "io").mkdir()
    (tmp_path / "io" / "new.py").write_text(
        "class A:\n    def __init__(self, path: Path): self.x = read_json_object(path)\n"
        "    def save(self, path: Path): ...\n"
        "def parse_thing(content: bytes): ...\ndef _read_own(path: Path): ...\ndef write_thing(path: Path): ...\n"
        "def measure(path: str | os.PathLike[str]):\n    with open(path) as file: return json.load(file)\n"
    )
    assert find_readers(tmp_path) == {"io.new.A", "io.new.parse_thing", "io.new.measure"}


def test_the_same_numbers_give_the_same_damage():
    data = json.dumps({"a": [1, 2], "b": {"c": "x"}}).encode()
    first = [mutate(data, Random(number)) for number in range(50)]
    assert first == [mutate(data, Random(number)) for number in range(50)]
    assert len(set(first)) > 35 and sum(one != data for one in first) > 45


@pytest.fixture
def png():
    return encode_image(np.random.default_rng(0).integers(0, 255, (9, 7, 3)).astype(np.uint8), suffix=".png")


def test_a_damaged_png_has_checksums_that_fit(png):
    kinds = set()
    for number in range(200):
        found = mutate_png(png, Random(number), ())
        start = 8
        for kind, body in _list_chunks(found):
            start += 12 + len(body)
            kinds.add(kind)
            assert found[start - 4 : start] == zlib.crc32(kind + body).to_bytes(4, "big")
        assert start == len(found)
    assert kinds >= {b"iCCP", b"eXIf", b"tRNS", b"IDAT", b"IEND"}


def test_a_damaged_record_has_checksums_that_fit():
    # The example in the documentation of CRC-32C, masked as TFRecord does it.
    assert mask_checksum(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32
    message = b"\x0a\x03abc\x12\x05\x08\x01\x12\x01x"
    parts = (len(message).to_bytes(8, "little"), message)
    data = b"".join(part + mask_checksum(part).to_bytes(4, "little") for part in parts)
    assert find_mutator(data) is mutate_records
    changed = 0
    for number in range(40):
        found = mutate_records(data, Random(number), ())
        assert found[8:12] == mask_checksum(found[:8]).to_bytes(4, "little")
        for record in _list_records(found):
            changed += record != message
    assert changed > 20


@pytest.mark.slow
def test_damage_that_asks_for_far_more_than_there_is(tmp_path):
    """A mask in a tile of a gigabyte, thousands of texts, and weights that unpack to more than they are."""
    import h5py
    import rasterio

    path, reasons = tmp_path / "a.tif", set()
    with quiet_rasterio(), rasterio.open(path, "w", driver="GTiff", height=9, width=7, count=1, dtype="uint8") as file:
        file.write(np.zeros((1, 9, 7), np.uint8))
    weights = tmp_path / "a.h5"
    with h5py.File(weights, "w") as file:
        file["w/kernel"] = np.zeros((3, 3, 3, 4), np.float32)
        file["w/more"] = np.zeros(100_000, np.float32)
    for place, read, words in (
        (path, check_tiff, ("far larger than itself", "texts in its metadata")),
        (weights, read_weights, ("unpacks to more", "compressed as weights never are")),
    ):
        data = place.read_bytes()
        for number in range(60):
            place.write_bytes(find_mutator(data)(data, Random(number), ()))
            try:
                read(place)
            except BadInput as error:
                reasons |= {one for one in words if one in str(error)}
        assert reasons >= set(words)


def test_a_damaged_message_still_is_one():
    message = b"\x0a\x03abc\x12\x05\x08\x01\x12\x01x\x1d\x01\x02\x03\x04"
    found = [mutate_proto(message, Random(number)) for number in range(60)]
    assert sum(one != message for one in found) > 50
    for one in found:
        assert find_mutator(b"\x00" + one) is mutate_proto


def test_what_is_compressed_is_damaged_inside():
    matrix = zlib.compress(b"\x0e\x00\x00\x00\x40\x00\x00\x00" + bytes(64))
    data = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"\x0f\x00\x00\x00" + len(matrix).to_bytes(4, "little") + matrix
    inner = {zlib.decompress(found[136:]) for n in range(40) if len(found := mutate_mat(data, Random(n), ())) > 140}
    assert len(inner) > 20


@pytest.mark.slow
def test_archives_get_members_that_lead_elsewhere():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("label.npy", b"\x93NUMPY\x01\x00\x06\x00{}    ")
    names = set()
    for number in range(60):
        found = mutate(buffer.getvalue(), Random(number))
        if zipfile.is_zipfile(io.BytesIO(found)):
            names |= set(re.findall(rb"PK\x01\x02.{42}([^PK]{3,20})", found, re.DOTALL))
    assert any(b"../" in name for name in names)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("saved_model.pb"))
    kinds = set()
    for number in range(30):
        found = find_mutator(buffer.getvalue())(buffer.getvalue(), Random(number), ())
        with tarfile.open(fileobj=io.BytesIO(found)) as archive:
            kinds |= {member.type for member in archive} | {member.name for member in archive}
    assert kinds >= {tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, "../x"}


@pytest.mark.slow
def test_a_short_run_over_all_readers():
    result = run_script("fuzz.py", "--each", 20, "--seed", 1)
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-2000:]}"
    assert "none failed" in result.stdout


@pytest.mark.slow
def test_every_failure_is_noticed(tmp_path):
    result = run_script("planted.py", tmp_path)
    assert result.returncode == 1 and not result.stderr, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if re.match(r"\w+ +\d+ +\d+", line)]
    kinds = {row[0]: {kind for kind, n in zip(KINDS, row[1:], strict=False) if n != "0"} for row in rows}
    expected = {kind: kind for kind in KINDS[2:]} | {"message": "wrong", "address": "memory"}
    for name, kind in expected.items():
        assert kinds[name] - {"right", "clear"} == {kind}, name
    assert kinds["clear"] == {"right", "clear"}
    found = list_found(tmp_path)
    assert {case.reader for case in found} == expected.keys()
    for case in found:
        # To wait until it hangs takes too long to try it often.
        assert case.place == "home/whole.txt" and (len(case.data) == 1 or case.reader == "hang"), "as small as it goes"
    assert "late: Outcome(kind='crash', detail='SIGABRT after it had answered'" in result.stdout
