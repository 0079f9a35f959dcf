import io
import logging
import lzma
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import rasterio.errors
from PIL import Image, UnidentifiedImageError
from rasterio._err import CPLE_BaseError

from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.damage import hush, list_damage, refuse_damage
from hybridseg.io.images import describe_image
from hybridseg.io.pictures import list_strips, open_picture, read_orientation, unpack_picture

RAISED = (
    *(IndexError(), KeyError("x"), TypeError(), AttributeError(), ZeroDivisionError(), OverflowError(), EOFError()),
    *(SyntaxError(), AssertionError(), RuntimeError(), NotImplementedError(), MemoryError(), UnicodeDecodeError),
    *(struct.error(), zlib.error(), lzma.LZMAError(), zipfile.BadZipFile(), UnidentifiedImageError()),
    *(Image.DecompressionBombError(), rasterio.errors.RasterioError(), rasterio.errors.CRSError()),
    *(rasterio.errors.RasterioIOError(), CPLE_BaseError(3, 1, "bad tag")),
)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: getattr(error, "__name__", type(error).__name__))
def test_whatever_a_decoder_raises_is_a_clear_error(error):
    if isinstance(error, type):
        error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")
    with pytest.raises(BadInput, match=r"^a.png is damaged.*; copy it again from its source$"), refuse_damage("a.png"):
        raise error


def test_errors_of_our_own_are_passed_on():
    for error in (MissingInput("there is no file b.png"), BadInput("b.png is empty")):
        with pytest.raises(type(error), match=r"b\.png"), refuse_damage("a.png"):
            raise error
    with pytest.raises(KeyboardInterrupt), refuse_damage("a.png"):
        raise KeyboardInterrupt


def test_a_message_is_one_short_line():
    with pytest.raises(BadInput) as caught, refuse_damage("a.png"):
        raise ValueError("bad\n" * 5000)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_no_library_is_imported_to_be_caught():
    script = "import sys; from hybridseg.io.damage import list_damage; list_damage(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"PIL", "rasterio", "numpy"} & set(done.stdout.split())
    assert {CPLE_BaseError, zipfile.BadZipFile} <= set(list_damage())


def test_libraries_are_quiet_while_they_read_and_only_then():
    def warn(module):
        warnings.warn_explicit("odd", UserWarning, "x.py", 1, module=module)

    with hush():
        warn("PIL.TiffImagePlugin")
        warn("rasterio")
        with pytest.raises(UserWarning, match="odd"):
            warn("hybridseg.io.images")
    with pytest.raises(UserWarning, match="odd"):
        warn("PIL.TiffImagePlugin")


def test_a_corrupt_exif_is_read_without_a_word(tmp_path, recwarn, capfd):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    exif = b"eXIf" + b"MM\0*\0\0\0\x08\0\x09" + bytes(7)
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert describe_image(tmp_path / "a.png").orientation == 1
    assert not recwarn.list and capfd.readouterr().err == ""
    assert logging.getLogger("rasterio").handlers


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_is_unpacked_strip_by_strip(monkeypatch, mode):
    monkeypatch.setattr("hybridseg.io.pictures._STRIP_BYTES", 300)
    values = np.random.default_rng(0).integers(0, 256, (23, 17, 3), dtype=np.uint8)
    picture = Image.fromarray(values).convert("L").convert(mode) if mode == "I;16" else Image.fromarray(values)
    picture = picture if mode == "I;16" else picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, format="PNG")
    with open_picture(file.getvalue()) as opened:
        assert np.array_equal(unpack_picture(opened), np.asarray(picture.convert("RGB") if mode == "P" else picture))
        assert [rows.start for rows, _ in list_strips(opened)][:3] == [0, 4, 8]


def test_the_orientation_of_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    assert read_orientation(tmp_path / "a.png") == 1
