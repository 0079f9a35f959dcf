"""Networks of Segment Anything (SAM) that a person has, as ONNX files: an area from points and a box.

The encoder is the image encoder of the published program (`x`, 1024 x 1024 pixels, to `image_embeddings`), the decoder
what its export script writes (`SamOnnxModel`). They are run by onnxruntime, without operations of anyone else's.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput, MissingPackage
from hybridseg.io.rasters import check_regular
from hybridseg.models.trials import is_known, remember, run_apart
from hybridseg.resample import resize_image

SIDE, EMBEDDING, LOW_SIDE = 1024, (1, 256, 64, 64), 256
MAX_BYTES = 4 * 2**30
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_N_KEPT = 8
# A position that is none, and the corners of a box, as the network was trained.
_NO_POINT, _FIRST_CORNER, _LAST_CORNER = -1, 2, 3
# What the decoder takes: the shape of each input, 0 where it varies.
_DECODER_INPUTS = {
    "image_embeddings": EMBEDDING, "point_coords": (1, 0, 2), "point_labels": (1, 0),
    "mask_input": (1, 1, LOW_SIDE, LOW_SIDE), "has_mask_input": (1,), "orig_im_size": (2,),
}  # fmt: skip
_OUTPUTS = {"masks", "iou_predictions"}


@dataclass(frozen=True)
class Prompt:
    """What is asked: points (row, column, whether it belongs to the area) and a box (row and column of two corners)."""

    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None


class Sam:
    """An encoder and a decoder that were checked.

    Parameters
    ----------
    encoder_path, decoder_path : pathlib.Path

    Raises
    ------
    MissingPackage
        When onnxruntime or onnx is not installed.
    MissingInput, BadInput
        When a file is missing, not what it should be, or fails on its first image.
    """

    def __init__(self, encoder_path: Path, decoder_path: Path) -> None:
        import_onnx()
        paths = (encoder_path, decoder_path)
        for path in paths:
            check_onnx(path)
        both = f"{encoder_path} and {decoder_path}"
        known = ["sam", *(f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths)]
        if not is_known(*known):
            run_apart(both, try_networks, *(str(path.absolute()) for path in paths))
            remember(*known)
        self._encoder, self._decoder = open_networks(encoder_path, decoder_path)
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def segment(self, image: np.ndarray, prompt: Prompt, *, key: Hashable = None) -> np.ndarray:
        """Return the area of an image that a prompt asks for.

        Parameters
        ----------
        image : numpy.ndarray
            (rows, cols, 3) uint8.
        key : hashable
            Names the image: what the encoder makes of the last few is kept. None: nothing is kept.

        Returns
        -------
        numpy.ndarray
            (rows, cols) bool.

        Raises
        ------
        BadInput
            When a network fails.
        """
        with self._lock:
            embedding = self._kept.pop(key, None) if key is not None else None
            if embedding is None:
                embedding = embed(self._encoder, image)
            if key is not None:
                self._kept[key] = embedding
                if len(self._kept) > _N_KEPT:
                    self._kept.popitem(last=False)
            return decode(self._decoder, embedding, prompt, (image.shape[0], image.shape[1]))


def import_onnx() -> tuple[Any, Any]:
    """Return onnxruntime and onnx.

    Raises
    ------
    MissingPackage
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingPackage(
            f"networks of SAM need onnxruntime and onnx; {sys.executable} -m pip install onnxruntime onnx installs them"
        ) from error
    return onnxruntime, onnx


def check_onnx(path: Path) -> None:
    """Check an ONNX file before it is run: its size, and that all that it has lies in its own folder.

    Raises
    ------
    MissingInput, BadInput
    """
    _, onnx = import_onnx()
    if check_regular(path).stat().st_size > MAX_BYTES:
        raise BadInput(f"{path} has more than {MAX_BYTES // 2**30} GiB; that is no network of SAM")
    try:
        model = onnx.load_model(path, load_external_data=False, format="protobuf")
        locations = {
            entry.value for tensor in _list_tensors(model) for entry in tensor.external_data if entry.key == "location"
        }
    except Exception as error:  # The library raises whatever protobuf does.
        raise BadInput(f"{path} is not an ONNX file, or it is damaged; export the network again") from error
    folder, size = path.resolve().parent, 0
    for location in locations:
        beside = folder / location
        if "\0" in location or Path(location).is_absolute() or not beside.resolve().is_relative_to(folder):
            raise BadInput(f"{path} wants data from outside of its folder ({location[:80]!r}); such a file is not used")
        size += check_regular(beside).stat().st_size
    if size > MAX_BYTES:
        raise BadInput(f"the data beside {path} have more than {MAX_BYTES // 2**30} GiB; that is no network of SAM")


def _list_tensors(message: Any) -> Iterator[Any]:
    """Yield all tensors of a model, wherever they are: in graphs within graphs too."""
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in value if isinstance(value, Sequence) or hasattr(value, "append") else [value]:
            if part.DESCRIPTOR.name == "TensorProto":
                yield part
            else:
                yield from _list_tensors(part)


def open_networks(encoder_path: Path, decoder_path: Path) -> tuple[Any, Any]:
    """Open both networks, and check the names and shapes of what they take and give.

    Raises
    ------
    BadInput
    """
    encoder, decoder = map(_open, (encoder_path, decoder_path))
    given = encoder.get_inputs()
    if len(given) != 1 or given[0].type != "tensor(float)" or not _fits(given[0].shape, (1, 3, SIDE, SIDE)):
        raise BadInput(
            f"{encoder_path} is not the encoder of SAM: it takes {_tell(given)}, not one image of 1 x 3 x {SIDE} x "
            f"{SIDE} numbers; export `sam.image_encoder` as it is"
        )
    if not _fits(encoder.get_outputs()[0].shape, EMBEDDING):
        raise BadInput(
            f"{encoder_path} is not the encoder of SAM: it gives {_tell(encoder.get_outputs())}, not {EMBEDDING}"
        )
    found = {one.name: one for one in decoder.get_inputs()}
    wrong = [
        name
        for name, shape in _DECODER_INPUTS.items()
        if name not in found or found[name].type != "tensor(float)" or not _fits(found[name].shape, shape)
    ]
    if wrong or len(found) != len(_DECODER_INPUTS) or _OUTPUTS - {one.name for one in decoder.get_outputs()}:
        raise BadInput(
            f"{decoder_path} is not the decoder of SAM: it takes {_tell(found.values())}, not "
            f"{', '.join(_DECODER_INPUTS)}, or does not give masks and iou_predictions; write it with "
            "export_onnx_model.py of segment-anything"
        )
    return encoder, decoder


def try_networks(encoder_path: str, decoder_path: str, _content: bytes) -> None:
    """Run both networks once, on a grey image.

    Raises
    ------
    BadInput
    """
    encoder, decoder = open_networks(Path(encoder_path), Path(decoder_path))
    image = np.full((48, 64, 3), 128, np.uint8)
    decode(decoder, embed(encoder, image), Prompt(((20.0, 30.0, True),)), (48, 64))


def _open(path: Path) -> Any:
    onnxruntime, _ = import_onnx()
    options = onnxruntime.SessionOptions()
    # Warnings of the library are about how a network was exported.
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path.absolute()), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # It has an exception of its own for each kind of failure.
        raise BadInput(f"{path} cannot be run: {str(error)[:150]}") from error


def _fits(shape: Sequence[Any], wanted: Sequence[int]) -> bool:
    """Return whether a shape is the one that is wanted; what varies has a name, and fits everything."""
    return len(shape) == len(wanted) and all(
        not isinstance(found, int) or found == size for found, size in zip(shape, wanted, strict=True)
    )


def _tell(places: Any) -> str:
    return ", ".join(f"{one.name} {one.type} {one.shape}" for one in list(places)[:6])[:150]


def _run(network: Any, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return [np.asarray(found) for found in network.run(names, feed)]
    except Exception as error:  # As in `_open`.
        raise BadInput(f"the network of SAM fails on this image: {str(error)[:150]}") from error


def embed(encoder: Any, image: np.ndarray) -> np.ndarray:
    """Return what an encoder makes of an image: its longer side has 1024 pixels, the rest is zero."""
    share = SIDE / max(image.shape[:2])
    shape = tuple(int(side * share + 0.5) or 1 for side in image.shape[:2])
    pixels = (resize_image(image, (shape[0], shape[1])).astype(np.float32) - _MEAN) / _DEVIATION
    padded = np.zeros((1, 3, SIDE, SIDE), np.float32)
    padded[0, :, : shape[0], : shape[1]] = pixels.transpose(2, 0, 1)
    (found,) = _run(encoder, [encoder.get_outputs()[0].name], {encoder.get_inputs()[0].name: padded})
    if found.shape != EMBEDDING or not np.isfinite(found).all():
        raise BadInput("the encoder of SAM gives no embedding; export it again")
    return found.astype(np.float32)


def decode(decoder: Any, embedding: np.ndarray, prompt: Prompt, shape: tuple[int, int]) -> np.ndarray:
    """Return the area that a decoder finds in an image of a shape, (rows, cols) bool."""
    share = SIDE / max(shape)
    scales = [(int(side * share + 0.5) or 1) / side for side in shape]
    spots = [(row, col, float(inside)) for row, col, inside in prompt.points]
    if prompt.box is None:
        spots.append((0.0, 0.0, _NO_POINT))
    else:
        spots += [(*prompt.box[:2], _FIRST_CORNER), (*prompt.box[2:], _LAST_CORNER)]
    rows, cols, labels = np.array(spots, np.float32).T
    feed = {
        "image_embeddings": embedding,
        "point_coords": np.stack([cols * scales[1], rows * scales[0]], axis=1)[None].astype(np.float32),
        "point_labels": labels[None],
        "mask_input": np.zeros(_DECODER_INPUTS["mask_input"], np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array(shape, np.float32),
    }
    masks, scores = _run(decoder, ["masks", "iou_predictions"], feed)
    n_masks = masks.shape[1] if masks.ndim == 4 else 0
    if not n_masks or masks.shape != (1, n_masks, *shape) or scores.size != n_masks:
        raise BadInput(f"the decoder of SAM gives masks of {masks.shape}, not of {(1, 1, *shape)}; export it again")
    # As the published program chooses: the first mask is for three positions and more, the others are for fewer.
    best = 0 if n_masks == 1 or len(spots) > 2 else 1 + int(np.argmax(scores.ravel()[1:]))
    return masks[0, best] > 0
