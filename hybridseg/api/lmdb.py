"""Put scientific images into databases, as `unet build-lmdb` does; `train_unet` trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hybridseg.api.arguments import Labels, find_list, find_table
from hybridseg.api.calls import public_function, show_progress
from hybridseg.apply import PathLike
from hybridseg.data.buildlmdb import LmdbResult
from hybridseg.data.buildlmdb import build_lmdb as write_databases
from hybridseg.data.lmdbplan import LmdbOptions
from hybridseg.options import make_options
from hybridseg.progress import Progress


@public_function(LmdbOptions)
def build_lmdb(
    images: PathLike,
    masks: PathLike,
    *,
    dataset_name: str,
    out: PathLike = ".",
    train_fraction: float = LmdbOptions.train_fraction,
    image_format: str | None = LmdbOptions.image_format,
    use_tiling: bool = LmdbOptions.use_tiling,
    tile_size: int = LmdbOptions.tile_size,
    group_by: str | None = LmdbOptions.group_by,
    test_list: PathLike | Sequence[str] | None = LmdbOptions.test_list,
    labels: Labels | None = None,
    colors: PathLike | None = None,
    seed: int = LmdbOptions.seed,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LmdbResult:
    """Put images and their masks into a training and a test database; after an interruption it goes on.

    Parameters
    ----------
    images
        The folder of the images: JPEG, PNG or TIFF of any number of bands.
    masks
        The folder of their masks, found by name: class ids from 0, of 8 to 32 bits, or label maps in any form.
    out
        The folder of the databases.
    seed
        Of the draw of the images for training.
    overwrite
        Replace databases of these names that hold another data set.

    Returns
    -------
    LmdbResult
        The databases, `train_path` and `test_path`, and how many images and records each has.

    Examples
    --------
    >>> import hybridseg as hs
    >>> data = hs.build_lmdb("images", "masks", dataset_name="cells")  # doctest: +SKIP
    >>> data  # doctest: +SKIP
    <LmdbResult: train-cells.lmdb and test-cells.lmdb, records: 80 and 20>
    """
    options = make_options(LmdbOptions, locals() | {"test_list": find_list(test_list)})
    return write_databases(
        Path(images), Path(masks), Path(out), options=options, table=find_table(labels, colors), overwrite=overwrite,
        progress=progress or show_progress(),
    )  # fmt: skip
