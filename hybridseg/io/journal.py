"""A log of long work that a person reads: a line for each step, with its time, at the end of a text file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from hybridseg.errors import WriteFailed


class Journal:
    """Lines such as ``2021/03/28 17:26:20-INFO - 320 pairs``, each on the disk at once; earlier ones are kept.

    Raises
    ------
    WriteFailed
        When the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "review.log"
    >>> with Journal(path) as journal:
    ...     journal.note("begin")
    >>> path.read_text()[19:]
    '-INFO - begin\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise self._explain(error) from error

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note how the work was ended, if not as planned, and close the file."""
        with self._file:
            if error is not None:
                self.note(f"{kind.__name__ if kind else ''}: {error}", level="ERROR")

    def note(self, text: str, *, level: str = "INFO") -> None:
        """Add a line; `level` is ``INFO``, ``WARNING`` or ``ERROR``."""
        stamp = time.strftime("%Y/%m/%d %H:%M:%S")
        try:
            self._file.write(f"{stamp}-{level} - {' '.join(text.split())}\n")
            self._file.flush()
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> WriteFailed:
        return WriteFailed(f"could not write {self.path}: {error.strerror or error}; check the free space there")
