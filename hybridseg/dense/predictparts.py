"""Segment image files by a network that was trained on databases: the label map alone, as exact as the whole image."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from hybridseg.batch.jobs import Outputs, load_once
from hybridseg.batch.madeby import check_place
from hybridseg.batch.parts import Work
from hybridseg.batch.results import ImageResult
from hybridseg.dense.predict import PredictJob, predict_file
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput
from hybridseg.machine import MemoryOptions
from hybridseg.markup import spell_command
from hybridseg.models.bundles import DenseModel, load_dense
from hybridseg.models.engines import LITERT
from hybridseg.progress import Progress, no_progress

_ADVICE = re.compile(r"--native --scale \S+$")


@dataclass(frozen=True)
class PartsJob(PredictJob):
    """Segment an image by a network, and write its label map alone: NAME.tif."""

    too_large = "save it as a TIFF, of which parts can be read"

    def load(self) -> list[DenseModel]:
        """Load the network, and check that it sees images as they are."""
        models = super().load()
        for model in models:
            if self.options.choose_scale(model) != 1:
                raise BadInput(
                    f"{model.path} sees images at another scale than their own; use it with "
                    f"`{_name_other_command(model.path)}`"
                )
        return models

    def list_targets(self, image_path: Path) -> list[Path]:
        """List the label map."""
        return [self.outputs.place(image_path, ".tif")]

    def list_places(self, image_path: Path) -> list[Path]:
        """List none: `segment` looks itself, as the place may be that of the image."""
        return []

    def segment(self, image_path: Path, *, work: Work | None = None, progress: Progress = no_progress) -> ImageResult:
        """Segment one image and write the result."""
        [target] = self.list_targets(image_path)
        if target.exists() and target.samefile(image_path):
            raise BadInput(f"its result would replace it; give another --output_folder than {target.parent}")
        check_place(target)
        found = predict_file(
            image_path, self.load(), options=self.options, outputs=self.outputs, table=self.table, memory=self.memory,
            target=target, work=work, progress=progress,
        )  # fmt: skip
        return replace(found, warnings=tuple(_ADVICE.sub(self._advise, text) for text in found.warnings))

    def _advise(self, options: re.Match[str]) -> str:
        """Name a command that has the options of a warning about an image of another scale."""
        return f"`{_name_other_command(self.model_paths[0])} {options[0]}`"


def _name_other_command(path: Path) -> str:
    return spell_command(("segment", "PHOTOS", "--model", path, "--out", "DIR"))


def make_parts_job(
    path: Path, outputs: Outputs, *, engine: str = LITERT, memory: MemoryOptions = MemoryOptions()
) -> PartsJob:
    """Return the job of a network, once it is loaded: what its windows give is what the whole image would.

    Of a network that may see all of an image, as with a pretrained encoder, they share as much as usual.

    Raises
    ------
    MissingInput, BadInput
        When the network cannot be loaded, or sees images at another scale than their own.
    """
    model = load_once(load_dense, path, engine=engine)
    reach = getattr(model.card.architecture, "reach", None)
    options = DenseOptions(blend=False) if reach is None else DenseOptions(overlap=2 * reach, blend=False)
    job = PartsJob((model.path,), outputs, engine=engine, options=options, memory=memory)
    # Before a folder of results is made.
    job.load()
    return job
