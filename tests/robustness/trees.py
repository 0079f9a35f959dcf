"""The files that a command leaves: those of an undisturbed run, torn, or lost."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from hybridseg.batch.manifest import Manifest
from hybridseg.io.lmdbstore import describe_database
from tests.robustness.writers import DIFFERENCES

# What a tree may hold for a moment, or for the next run to remove.
LEFTOVER = re.compile(r"\.partial|\.lock$|\.parts/")
Tree = dict[str, bytes]


def read_tree(folder: Path) -> Tree:
    """Read every file, link and folder."""
    tree: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            tree[name] = b"-> " + os.fsencode(path.readlink())
        else:
            tree[f"{name}/" if path.is_dir() else name] = b"" if path.is_dir() else path.read_bytes()
    return tree


def normalize(tree: Tree) -> Tree:
    """Leave out what may differ between two runs that nothing disturbed."""
    found = {}
    for name, data in tree.items():
        for difference in DIFFERENCES:
            if re.search(difference.paths, name):
                if difference.strip is None:
                    break
                # One that is cut is judged as it is.
                with suppress(Exception):
                    data = difference.strip(data)
        else:
            found[name] = data
    return found


def compare(whole: Tree, found: Tree) -> str:
    """Say how what is left after another run differs from an undisturbed one; empty: it does not."""
    missing, more = sorted(whole.keys() - found.keys()), sorted(found.keys() - whole.keys())
    other = sorted(name for name in whole.keys() & found.keys() if whole[name] != found[name])
    if left := [name for name in more if LEFTOVER.search(name)]:
        return f"leftovers: {', '.join(left[:4])}"
    for kind, names in (("lost", missing), ("differs", other), ("differs, more", more)):
        if names:
            return f"{kind}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
    return ""


def find_torn(before: Tree, after: Tree, whole: Tree, replaces: str = "") -> str:
    """Say what a killed command tore or lost; empty: nothing. `whole` is a normalized tree.

    Every file is that of before or that of an undisturbed run, or one of a stage between them that its reader reads;
    nothing that was there is gone, unless an undisturbed run removes it, and then its content is somewhere; nor is what
    the pattern `replaces` names missed.
    """
    alike, contents = normalize(after), set(after.values())
    is_done = all(alike.get(name) == data for name, data in whole.items())
    for name, data in before.items():
        is_gone = name not in after and not name.endswith("/") and data not in contents and not LEFTOVER.search(name)
        is_wanted = (replaces and re.match(replaces, name)) or (is_done and name not in whole)
        if is_gone and not is_wanted:
            return f"lost: {name}"
    for name, data in after.items():
        is_old = data == before.get(name)
        if is_old or name not in alike or alike[name] == whole.get(name) or LEFTOVER.search(name):
            continue
        if name in before and normalize({name: before[name]})[name] == whole.get(name):
            return f"input changed: {name}"
        try:
            read_whole(name, data)
        except Exception as error:
            return f"torn: {name} ({type(error).__name__}: {str(error)[:80]})"
    return ""


def read_whole(name: str, data: bytes) -> None:
    """Read a file of a stage between two results, by its suffix."""

    suffix = Path(name).suffix
    if suffix in (".json",):
        json.loads(data)
    elif suffix in (".csv", ".txt", ".md", ".log", ".html"):
        text = data.decode()
        assert text.endswith("\n"), "its last line is not complete"
        if suffix == ".csv":
            rows = list(csv.reader(io.StringIO(text), strict=True))
            assert len({len(row) for row in rows}) == 1, "its rows differ in length"
    elif suffix in (".png", ".jpg", ".tif"):
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            image.load()
    elif suffix == ".h5":
        import h5py

        with h5py.File(io.BytesIO(data)) as file:
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    elif suffix == ".tried":
        data.decode()
    elif suffix in (".npz", ".npy"):
        import numpy as np

        found = np.load(io.BytesIO(data))
        for key in getattr(found, "files", ()):
            found[key]
    elif suffix in (".mdb", ".jsonl"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name.rpartition("/")[2]).write_bytes(data)
            describe_database(Path(folder)) if suffix == ".mdb" else Manifest.read(Path(folder))
    else:
        raise ValueError("it is of no stage that has a reader here")
