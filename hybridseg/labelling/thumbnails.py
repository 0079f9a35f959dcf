"""Small pictures of the images for their list."""

from __future__ import annotations

import threading
from pathlib import Path

from hybridseg.io.images import encode_image
from hybridseg.io.windows import read_small

_SIDE = 96
_QUALITY = 80
# Some kilobytes each.
_MOST = 5000


class Thumbnails:
    """Makes each picture once, and one at a time: tiles of the image that is open must not wait for them."""

    def __init__(self) -> None:
        self._made: dict[Path, bytes] = {}
        self._lock = threading.Lock()

    def draw(self, path: Path) -> bytes:
        """Return a JPEG of an image.

        Raises
        ------
        MissingInput, BadInput
            When it cannot be read.
        """
        with self._lock:
            if path not in self._made:
                if len(self._made) >= _MOST:
                    self._made.pop(next(iter(self._made)))
                self._made[path] = encode_image(read_small(path, _SIDE), suffix=".jpg", quality=_QUALITY)
            return self._made[path]
