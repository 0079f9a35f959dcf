"""Pictures that are damaged in every way, beside good ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from hybridseg.io.images import read_image

BAD = ("cut.jpg", "sums.png", "strip.tif", "empty.png")


@pytest.fixture(scope="session")
def spoil():
    """Write pictures beside a good one: cut short, of wrong checksum, of a damaged strip, an empty file.

    And a pipe, which is no picture whatever its name: it is not taken, and nobody waits for it.
    """

    def write(good: Path) -> tuple[str, ...]:
        folder, picture = good.parent, Image.fromarray(read_image(good))
        picture.save(folder / "cut.jpg")
        picture.save(folder / "sums.png")
        picture.save(folder / "strip.tif", compression="tiff_deflate")
        whole = {name: (folder / name).read_bytes() for name in BAD[:3]}
        (folder / "cut.jpg").write_bytes(whole["cut.jpg"][: len(whole["cut.jpg"]) // 2])
        # In the checksum of the pixels, before the chunk at the end.
        (folder / "sums.png").write_bytes(whole["sums.png"][:-16] + b"\0\0\0\0" + whole["sums.png"][-12:])
        (folder / "strip.tif").write_bytes(whole["strip.tif"][:300] + b"\xff" * 2000 + whole["strip.tif"][2300:])
        os.mkfifo(folder / "pipe.jpg")
        (folder / "empty.png").touch()
        return BAD

    return write


@pytest.fixture(scope="session")
def check_named():
    """Assert that a command has named each file that it could not use in a sentence of its own, and failed."""

    def check(result, names) -> None:
        assert result.exit_code == 1 and "Traceback" not in result.output, result.output
        lines = result.stderr.splitlines()
        for name in names:
            assert sum(f"{name}: " in line or f"{name} " in line for line in lines) == 1, (name, result.stderr)

    return check
