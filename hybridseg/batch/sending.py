"""Models that travel to the workers of a cluster by content, where there is no disk that all machines have."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from hybridseg.errors import BadInput, MissingInput, WriteFailed
from hybridseg.models.cards import combine_fingerprint, hash_bytes
from hybridseg.models.runtimes import RUNTIME_SUFFIX
from hybridseg.models.trials import kept_dir


@dataclass(frozen=True, repr=False)
class Parcel:
    """The files of some models.

    Parameters
    ----------
    files : tuple of (str, bytes)
        Their places below one folder, ``0/model.pb``, and what is in them.
    sha256 : str
        Of all places and contents: a worker checks it, and keeps them under it.
    """

    files: tuple[tuple[str, bytes], ...]
    sha256: str

    @classmethod
    def pack(cls, model_paths: Sequence[Path]) -> Parcel:
        """Read the files of some models: each with what lies beside it and belongs to it."""
        files = tuple(
            (f"{i}/{file.name}", file.read_bytes())
            for i, path in enumerate(model_paths)
            for file in list_model_files(path)
            if file.is_file()
        )
        return cls(files, _hash_files(files))

    def unpack(self) -> Path:
        """Keep the files on this machine, unless they are there already, and return their folder.

        Raises
        ------
        BadInput
            When they are not what was sent.
        WriteFailed
            When they cannot be written.
        """
        if _hash_files(self.files) != self.sha256:
            raise BadInput("a model did not arrive as it was sent; run the command again")
        folder = sent_folder(self.sha256)
        if _read_kept(folder) == self.sha256:
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(mkdtemp(prefix=".sent-", dir=folder.parent))
            for place, content in self.files:
                target = temporary / place
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content)
            # What is there is damaged. Another worker of this machine may be as far.
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                temporary.rename(folder)
            shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise WriteFailed(f"could not keep a model in {folder}: {error.strerror or error}") from error
        return folder


def list_model_files(path: Path) -> list[Path]:
    """List the files of a model, whether they are there or not: itself, card, runtime graph and labels beside it."""
    beside = (f"{path.stem}.json", f"{path.stem}.card.json", f"{path.stem}{RUNTIME_SUFFIX}", "labels.txt")
    labels = sorted(path.parent.glob(f"{glob.escape(path.stem)}_labels*.txt"))
    return [path, *(path.parent / name for name in beside), *labels]


def sent_folder(sha256: str) -> Path:
    """Return where the models of a parcel are kept on this machine."""
    return kept_dir().expanduser() / f"sent-{sha256}"


def find_sent(sha256: str, model_paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return where some models are on this machine that were sent to it.

    Raises
    ------
    MissingInput
        When they are not there any more.
    """
    found = tuple(sent_folder(sha256) / str(i) / path.name for i, path in enumerate(model_paths))
    for path in found:
        if not path.is_file():
            raise MissingInput(f"{path} was sent to this machine and is gone; run the command again")
    return found


def _hash_files(files: Sequence[tuple[str, bytes]]) -> str:
    return combine_fingerprint(*(f"{place} {hash_bytes(content)}" for place, content in sorted(files)))


def _read_kept(folder: Path) -> str:
    """Return the hash of what is kept in a folder."""
    files = [path for path in folder.glob("*/*") if path.is_file()]
    return _hash_files([(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files])
