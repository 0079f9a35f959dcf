import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.images import describe_image
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.pngcheck import check_png


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (100, 33)])
def test_whole_files_pass(tmp_path, mode, size):
    Image.new(mode if mode != "I;16" else "I;16", size).save(tmp_path / "a.png")
    check_png(tmp_path / "a.png")


def interlaced(rows, cols):
    """An interlaced 8-bit grey picture, all rows unfiltered."""
    import struct
    import zlib

    from hybridseg.io.labels.pngcheck import _PASSES

    image = np.random.default_rng(0).integers(0, 256, (rows, cols), dtype=np.uint8)
    body = b"".join(b"\0" + line.tobytes() for c, r, dc, dr in _PASSES for line in image[r::dr, c::dc] if line.size)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(
        b"IEND", b""
    ), image


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 3)])
def test_interlaced_files_pass(tmp_path, size):
    content, image = interlaced(*size)
    (tmp_path / "a.png").write_bytes(content)
    check_png(tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif", ".mat"])
def test_no_flipped_bit_changes_a_label_in_silence(tmp_path, suffix):
    table = ClassTable.from_names(list("abcdef"))
    labels = np.random.default_rng(0).integers(0, 6, (60, 90), dtype=np.uint8)
    write_labelmap(tmp_path / f"a{suffix}", LabelMap(labels, table))
    whole = (tmp_path / f"a{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(whole), 150):
        content = bytearray(whole)
        content[position] ^= 1 << rng.integers(8)
        (tmp_path / f"b{suffix}").write_bytes(content)
        try:
            back = read_labelmap(tmp_path / f"b{suffix}", table=table)
        except BadInput:
            continue
        assert np.array_equal(back.labels, labels), position


def test_a_file_with_too_few_rows_is_refused(tmp_path):
    import struct
    import zlib

    Image.new("L", (10, 20), 3).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[20:24] = struct.pack(">I", 40)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(BadInput, match="not as long as its size says"):
        read_labelmap(tmp_path / "b.png")


def test_the_way_up_is_found_without_decoding_the_pixels(tmp_path, monkeypatch):
    """Behind the pixels too. Pillow would decode them to look there, before anyone has asked how many they are."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "before.png", exif=exif)
    whole = (tmp_path / "before.png").read_bytes()
    start = whole.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(whole[start : start + 4], "big")
    (tmp_path / "behind.png").write_bytes(whole[:start] + whole[end:-12] + whole[start:end] + whole[-12:])
    (tmp_path / "none.png").write_bytes(whole[:start] + whole[end:])
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    found = {name: describe_image(tmp_path / f"{name}.png") for name in ("before", "behind", "none")}
    assert {name: info.orientation for name, info in found.items()} == {"before": 6, "behind": 6, "none": 1}
    assert (found["behind"].rows, found["behind"].cols) == (6, 4)
