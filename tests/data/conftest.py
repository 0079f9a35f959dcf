import numpy as np
import pytest

from hybridseg.io.images import encode_image

# Bytes may follow the picture, which tell one file from another.
PHOTO = encode_image(np.zeros((2, 2, 3), np.uint8), suffix=".jpg")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "data" / "jpg"
    folder.mkdir(parents=True)
    for i in range(10):
        (folder / f"p{i}.jpg").write_bytes(PHOTO + bytes([i]))
        if i < 6:
            (folder / f"p{i}_mres.mat").write_bytes(bytes([i]))
    (folder / "p0.jgw").write_text("1\n0\n0\n-1\n5\n5\n")
    return folder
