"""Unicode forms of a name: macOS writes letters and their accents apart, which looks the same and is another name."""

from __future__ import annotations

import unicodedata


def compose(name: str) -> str:
    """Return the same for all names that look the same.

    Examples
    --------
    >>> compose("Ku\\u0308ste") == "K\\u00fcste"
    True
    """
    return unicodedata.normalize("NFC", name)


def list_forms(name: str) -> tuple[str, ...]:
    """Return a name as it is and in its other forms, by which a file may be there."""
    return name, compose(name), unicodedata.normalize("NFD", name)
