"""The list of a review on disk: each image with its scores, what was decided about it, by whom and when.

It is whole after each decision. What another program has decided meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hybridseg.io.locks import lock_output
from hybridseg.io.marks import check_table
from hybridseg.io.tables import format_csv, read_csv, write_csv

LIST_NAME = "review_decisions.csv"
COLUMNS = ("image", "disagreement", "kappa", "uncertainty", "reason", "decision", "by", "when", "result")
ACCEPTED, REJECTED, MENDING, MENDED = "accepted", "rejected", "mending", "mended"


@dataclass(frozen=True)
class Decision:
    """What was decided about the automatic result of an image.

    Parameters
    ----------
    decision : {"accepted", "rejected", "mending", "mended"}
        Mending: it was opened on the labelling page, and is not accepted there yet.
    by : str
        Who decided; empty where nobody is named.
    when : str
        Local time with its offset from UTC, as ISO 8601 has it; of a mended one, when it was accepted.
    result : str
        The name of the automatic result.
    """

    decision: str
    by: str
    when: str
    result: str


class DecisionList:
    """The decisions in a file; `rows` given to its methods are those of all images, see `COLUMNS`.

    Raises
    ------
    BadInput
        When the file is not such a list.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, dict[str, Any]] = {}
        self.read()

    def read(self) -> None:
        """Read what is in the file, if it is there."""
        if self.path.exists():
            self._kept = {row["image"]: dict(row) for row in read_csv(self.path, COLUMNS)}

    def get(self, image: str) -> Decision | None:
        """Return what was decided about an image."""
        row = self._kept.get(image)
        if row is None or not row["decision"]:
            return None
        return Decision(row["decision"], row["by"], row["when"], row["result"])

    def put(self, image: str, decision: Decision | None, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a decision, or None to take it back.

        Raises
        ------
        OutputExists
            When a file of that name is there that is no such list.
        WriteFailed
        """
        with lock_output(self.path, wait=True):
            check_table(self.path, COLUMNS, advice="let --out name another folder")
            self.read()
            before = self._kept
            fresh = {row["image"]: {**dict.fromkeys(COLUMNS), **row, **self._decided(row["image"])} for row in rows}
            kept = {**fresh, **{name: row for name, row in before.items() if name not in fresh}}
            empty = dict.fromkeys(("decision", "by", "when", "result"), "")
            kept[image] |= asdict(decision) if decision else empty
            write_csv(self.path, COLUMNS, kept.values())
            self._kept = kept

    def format(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Return the list as the text of a CSV."""
        return format_csv(COLUMNS, ({**row, **self._decided(row["image"])} for row in rows))

    def _decided(self, image: str) -> dict[str, str]:
        found = self.get(image)
        return asdict(found) if found else {}
