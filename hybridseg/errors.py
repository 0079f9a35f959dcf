"""Every error that a user can cause.

A message says what is wrong, where, what would be valid, and what to do next. Each kind also has a
built-in parent, so that ``except FileNotFoundError`` works for people who use the library.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

# What moves the cursor, colours a terminal, ends a line somewhere, or turns the direction in which text is shown.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# As repr writes quotes, with a backslash before those that are meant: an apostrophe within a word is none.
_OPENING, _CLOSING = re.compile(r"(?<!\w)['\"]"), re.compile(r"(?<!\\)(?:\\\\)*(['\"])(?!\w)")
# What a line echoes, of which what stands in quotes has a half; texts that short are not counted.
MAX_ECHO, _MAX_QUOTED, _SHORT = 200, 100, 40
_MAX_PART, _MAX_LINE, _MAX_LINES = 255, 800, 100
_MAX_TEXT, _MAX_PATH_BYTES = 20_000, 4_000
# And a stop after it.
_WORD = re.compile(rf"(\S{{{_SHORT + 1},}}?)([:,;]?)(?!\S)")


def escape_controls(text: str) -> str:
    r"""Return a text that only says something to whoever reads it on a terminal; its lines stay.

    Examples
    --------
    >>> escape_controls("sand \x1b[31m\u202edune\n")
    'sand \\x1b[31m\\u202edune\n'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(name: object) -> str:
    r"""Return a name as a message quotes it: a line break in it is no break of the line.

    Examples
    --------
    >>> one_line("a\nb.png")
    'a\\nb.png'
    """
    return "\\n".join(str(name).split("\n"))


def tidy(text: str) -> str:
    """Return a message in which nothing that was quoted is long, so that what it says first and last is seen.

    Of all that is longer than 40 characters, a line keeps 200: of what stands in quotes 100 (of a path 200), of another
    word 200. Paths without quotes, as the user typed them, keep 200 each, however many there are. A line keeps 800
    characters besides its paths, and all lines 20,000. Control characters are escaped.

    Examples
    --------
    >>> len(tidy(f"{'a' * 10_000!r} is no colour; write it like #556B2F"))
    138
    """
    lines = escape_controls(text).split("\n")
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES - 1 :] = [f"  ... and {len(lines) - _MAX_LINES + 1:,} more lines"]
    return shorten("\n".join(map(_tidy_line, lines)), _MAX_TEXT)


def shorten(text: str, most: int = _MAX_QUOTED) -> str:
    """Return a text without its middle if it has more characters than `most`.

    Examples
    --------
    >>> shorten("abcdefghijklmnopqrstuvwxyz", 12), shorten("abc", 12)
    ('abcdef ... z', 'abc')
    """
    if len(text) <= most:
        return text
    n_last = (most - 5) // 4
    return f"{text[: most - 5 - n_last]} ... {text[len(text) - n_last :]}"


def join_names(names: Iterable[object], most: int = _MAX_QUOTED) -> str:
    """Return names for a message: as many as fit into `most` characters, and how many there are besides.

    Examples
    --------
    >>> join_names(["water", "sand", "dune"], 12), join_names(["water", "sand"])
    ('water, sand and 1 more', 'water, sand')
    """
    found = [shorten(str(name), most) for name in names]
    lengths = itertools.accumulate(len(name) + 2 for name in found)
    n_shown = sum(length <= most + 2 for length in lengths)
    more = len(found) - n_shown
    return ", ".join(found[:n_shown]) + (f" and {more:,} more" if more else "")


def _tidy_line(line: str) -> str:
    # First, so that little is looked through; without a blank, so that a word stays one.
    line = line if len(line) <= 4 * _MAX_LINE else line[: 3 * _MAX_LINE] + line[-_MAX_LINE:]
    left, in_paths = MAX_ECHO, 0

    def cut(text: str, most: int) -> str:
        nonlocal left
        if len(text) > _SHORT:
            text = shorten(text, max(min(most, left), _SHORT))
            left -= len(text)
        return text

    def cut_word(match: re.Match[str]) -> str:
        nonlocal in_paths
        word, stop = match.groups()
        if "/" not in word or any(len(part) > _MAX_PART for part in word.split("/")):
            return cut(word, MAX_ECHO) + stop
        word = shorten(word, MAX_ECHO)
        in_paths += len(word)
        return word + stop

    # Quotes first: what is in them may have blanks.
    parts, done = [], 0
    for start, end in _find_quotes(line):
        quoted = line[start:end]
        is_path = "/" in quoted and " " not in quoted
        parts += [_WORD.sub(cut_word, line[done:start]), cut(quoted, MAX_ECHO if is_path else _MAX_QUOTED)]
        done = end
    line = "".join(parts) + _WORD.sub(cut_word, line[done:])
    return shorten(line, _MAX_LINE + in_paths)


def _find_quotes(line: str) -> Iterator[tuple[int, int]]:
    """Yield where what stands in quotes begins and ends."""
    ends: dict[str, list[int]] = {"'": [], '"': []}
    for match in _CLOSING.finditer(line):
        ends[match[1]].append(match.start(1))
    done = 0
    for match in _OPENING.finditer(line):
        start, places = match.end(), ends[match[0]]
        next_end = bisect.bisect_left(places, start)
        # The quotes that end one text may look like the beginning of another.
        if match.start() >= done and next_end < len(places):
            end = places[next_end]
            yield start, end
            done = end + 1


class HybridSegError(Exception):
    """Anything that went wrong for a reason the user can fix."""

    def __str__(self) -> str:
        """Return the message, see `tidy`: it may quote a file from elsewhere."""
        # Not that of the built-in parents, of which some keep a copy of their own.
        return tidy(str(self.args[0])) if self.args else ""


class MissingInput(HybridSegError, FileNotFoundError):
    """A file or folder that was requested does not exist."""


class BadInput(HybridSegError, ValueError):
    """A file, an array or an option holds something unusable."""


class TooLittleMemory(BadInput):
    """The work on an image needs more memory than it may take."""


class NoPicture(BadInput):
    """An image holds no data at all: every pixel is nodata or transparent."""


class BadUsage(BadInput):
    """Options were given that do not go together."""


class OutputExists(HybridSegError, FileExistsError):
    """The result exists already, and replacing it was not requested."""


class WriteFailed(HybridSegError, OSError):
    """The result could not be written (a full disk, a folder without permission)."""


class DiskFull(WriteFailed):
    """There is no space left where the result goes."""


class Conflict(HybridSegError):
    """Someone else changed what was to be changed."""


class WorkerLost(HybridSegError, ConnectionError):
    """Another machine, which trained the same network, is gone."""


class MissingPackage(HybridSegError, ImportError):
    """A feature needs a package that is not installed."""


def check_path(path: object) -> None:
    """Raise BadUsage for what a user gives as a path and no file can have: a message would echo all of it.

    Examples
    --------
    >>> check_path("photos/a.jpg")
    >>> check_path("photo " * 50)
    Traceback (most recent call last):
    hybridseg.errors.BadUsage: 'photo photo photo photo photo photo photo photo photo photo photo photo  ... \
photo photo photo ' is longer than the name of a file can be; rename it
    """
    text = str(path)
    whole = text.encode(errors="surrogatepass")
    # An address may be of any length.
    is_address = "://" in text or text.startswith("/vsi")
    if not is_address and (len(whole) > _MAX_PATH_BYTES or max(map(len, whole.split(b"/"))) > _MAX_PART):
        raise is_too_long(text)


def is_too_long(path: object) -> BadUsage:
    """Return the error for what no file can be called."""
    name = max(str(path).split("/"), key=len)
    is_name = len(name.encode(errors="surrogatepass")) > _MAX_PART
    advice = "the name of a file can be; rename it" if is_name else "the path of a file can be"
    return BadUsage(f"{shorten(name if is_name else str(path))!r} is longer than {advice}")


@dataclass(frozen=True)
class Problem:
    """One input of many that could not be used; the others are still processed.

    Examples
    --------
    >>> str(Problem("a_mres.mat", "has no image beside it"))
    'a_mres.mat: has no image beside it'
    """

    where: str
    message: str

    @classmethod
    def of(cls, path: object, error: Exception) -> Problem:
        """Make a problem from an error, whose message often begins with the path already."""
        message, where = str(error), str(path)
        # As the error has it.
        path = tidy(where)
        message = message.removeprefix(f"{path}: ").removeprefix(f"{path} ")
        message = "there is no file of this name" if message == f"there is no file {path}" else message
        name = path.rpartition("/")[2]
        return cls(where, message.replace(name, one_line(name)))

    def __str__(self) -> str:
        """Return the line for a summary; a line break in a name is written as `one_line` does."""
        return tidy(f"{one_line(self.where)}: {self.message}")


def count_problems(problems: Sequence[Problem]) -> str:
    """Return how a short line on a result ends: with the number of files that could not be used, if there are any.

    Examples
    --------
    >>> count_problems([Problem("a.jpg", "is damaged")])
    '; 1 file could not be used, see .problems'
    """
    n = len(problems)
    return f"; {n} file{'s' * (n > 1)} could not be used, see .problems" if n else ""


def list_problems(problems: Sequence[Problem], *, most: int = 20) -> str:
    """Return a line for each problem, as the end of a message; of more than `most` how many there are besides.

    Examples
    --------
    >>> print("unusable:" + list_problems([Problem("a.jpg", "is damaged"), Problem("b.jpg", "is empty")], most=1))
    unusable:
      a.jpg: is damaged
      and 1 more
    """
    lines = [str(problem) for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"and {len(problems) - most} more")
    return "".join(f"\n  {line}" for line in lines)


@contextmanager
def located(where: object) -> Iterator[None]:
    """Prefix the message of a BadInput with the file, and the line if known.

    Examples
    --------
    >>> with located("colors.txt, line 3"):
    ...     raise BadInput("'rde' is not a colour")
    Traceback (most recent call last):
    hybridseg.errors.BadInput: colors.txt, line 3: 'rde' is not a colour
    """
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
