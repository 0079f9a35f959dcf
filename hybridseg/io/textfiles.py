"""Files that are read whole, and the lines of a text: regular files only, of a size that is checked first."""

from __future__ import annotations

import os

from hybridseg.errors import BadInput, located
from hybridseg.io.rasters import check_regular

# Of a list that a person keeps, such as names of files.
MAX_TEXT_BYTES = 20_000_000


def read_whole(path: str | os.PathLike[str], *, most: int, remedy: str) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    most : int
        Bytes that it may have.
    remedy : str
        What to do about a file that is larger.

    Raises
    ------
    MissingInput, BadInput
    """
    path = check_regular(path)
    with located(path):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > most:
                    raise BadInput(f"it is larger than {_spell_size(most)}; {remedy}")
                data = file.read(size)
        except OSError as error:
            raise BadInput(
                f"it cannot be read ({error.strerror or error}); check the file and its permissions"
            ) from error
    return data


def read_lines(
    path: str | os.PathLike[str], *, remedy: str, most: int = MAX_TEXT_BYTES, errors: str = "strict"
) -> list[str]:
    """Return the lines of a text in UTF-8, which end as on Linux, Windows or an old Mac, and nowhere else.

    Parameters
    ----------
    remedy : str
        What to give in place of a file that is too large or no such text.
    errors : str
        As of `open`: "surrogateescape" for names of files, which may not be UTF-8.

    Raises
    ------
    MissingInput, BadInput

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels.txt"
    >>> _ = path.write_bytes(b"water\\r\\nsand\\n")
    >>> read_lines(path, remedy="")
    ['water', 'sand']
    """
    data = read_whole(path, most=most, remedy=remedy)
    try:
        text = data.decode("utf-8-sig", errors)
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not a text file in UTF-8; save it as UTF-8, or {remedy}") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def _spell_size(n_bytes: int) -> str:
    return f"{n_bytes / 1_000_000:g} MB" if n_bytes >= 1_000_000 else f"{n_bytes / 1000:g} kB"
