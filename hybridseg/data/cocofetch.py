"""Fetch the images of a COCO file that a folder lacks, from the addresses in the file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hybridseg.errors import BadInput, HybridSegError, MissingInput, OutputExists
from hybridseg.io.annotations.coco import CocoImage, Id
from hybridseg.io.atomic import claim_folder
from hybridseg.io.downloads import Unreachable, download, find_host
from hybridseg.io.images import describe_image, read_image
from hybridseg.io.labelled import check_size
from hybridseg.progress import Progress

_N_CONNECTIONS = 4
# A server that did not answer so many times in a row is left alone.
_PATIENCE = 3


@dataclass
class _Fetcher:
    """Fetches images, in several threads."""

    silent: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)
    # An image may take much memory: one at a time is decoded.
    decoding: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, image: CocoImage, path: Path) -> HybridSegError | None:
        """Fetch an image from the first address that has it; return what was wrong with the last one."""
        error: HybridSegError = BadInput("the file has no address of it (coco_url, flickr_url)")
        for url in image.urls:
            try:
                host = find_host(url)
                if self.silent[host] >= _PATIENCE:
                    raise Unreachable(f"{host} cannot be reached")
                download(url, path, check=partial(self._check, image), is_stopped=self.stopped.is_set)
            except Unreachable as problem:
                self.silent[host] += 1
                error = problem
            except (BadInput, MissingInput, OutputExists) as problem:
                error = problem
            else:
                self.silent[host] = 0
                return None
        return error

    def _check(self, image: CocoImage, path: Path) -> None:
        """Raise unless a file is a whole image of the size that was annotated."""
        try:
            with self.decoding:
                read_image(path)
            if image.shape is not None:
                check_size("its annotation", image.shape, describe_image(path), advice="another image has its address")
        except HybridSegError as error:
            raise BadInput(
                str(error).replace(str(path), "what was sent").replace(path.name, "what was sent")
            ) from error


def fetch_images(wanted: Sequence[tuple[CocoImage, Path]], images_dir: Path, *, progress: Progress) -> dict[Id, str]:
    """Fetch images, each to its path; what was fetched before stays when this is interrupted.

    Returns
    -------
    dict of Id to str
        Why images could not be had.

    Raises
    ------
    MissingInput
        When no server could be reached.
    WriteFailed
    """
    claim_folder(images_dir)
    fetcher, errors = _Fetcher(), {}
    with ThreadPoolExecutor(_N_CONNECTIONS) as pool:
        try:
            jobs = [(image, pool.submit(fetcher.fetch, image, path)) for image, path in wanted]
            for image, job in progress(jobs, label="fetching images"):
                if (error := job.result()) is not None:
                    errors[image.id] = error
        finally:
            fetcher.stopped.set()
            pool.shutdown(cancel_futures=True)
    if errors and len(errors) == len(wanted) and all(isinstance(error, Unreachable) for error in errors.values()):
        raise MissingInput(
            f"none of the images that {images_dir} lacks ({len(wanted):,}) could be fetched: "
            f"{next(iter(errors.values()))}; check the connection, or leave out --download and take what is there"
        )
    return {key: str(error) for key, error in errors.items()}
