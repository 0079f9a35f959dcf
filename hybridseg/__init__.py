"""Land cover for every pixel of coastal and river photographs.

    import hybridseg as hs

    sets = hs.split("photos", masks="masks")    # train/ and test/
    tiles = hs.retile(sets.train_dir)           # tiles of one class each
    hs.retrain(tiles.tiles_dir)                 # model.pb
    hs.segment("photo.jpg", "model.pb")         # a class for every pixel

Each name is imported when it is used first.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hybridseg.api.dense import show_augmentation, train_fcn, train_unet
    from hybridseg.api.lmdb import build_lmdb
    from hybridseg.api.measure import evaluate, evaluate_tiles, tune_crf
    from hybridseg.api.models import list_models, promote_model, write_model_card
    from hybridseg.api.prepare import convert, export_coco, import_coco, retile, review, split
    from hybridseg.api.resunet import init_config, make_tfrecords, train_resunet
    from hybridseg.api.train import retrain, run
    from hybridseg.api.truth import label, spread
    from hybridseg.api.use import open_model, predict, segment
    from hybridseg.apply import Model
    from hybridseg.classes import ClassTable
    from hybridseg.crf.options import CrfOptions
    from hybridseg.crf.refine import refine_labels, refine_probs
    from hybridseg.dense.machines import MachineOptions
    from hybridseg.dense.smoothing import SmoothingOptions
    from hybridseg.dense.windows import DenseOptions
    from hybridseg.errors import HybridSegError
    from hybridseg.figures import FigureOptions
    from hybridseg.hybrid.segmentation import HybridOptions
    from hybridseg.io.images import read_image
    from hybridseg.io.labels.formats import read_labelmap, write_labelmap
    from hybridseg.io.labels.labelmaps import LabelMap
    from hybridseg.oneimage import SegmentedImage

__version__ = "0.1.0"

__all__ = [
    "ClassTable",
    "CrfOptions",
    "DenseOptions",
    "FigureOptions",
    "HybridOptions",
    "HybridSegError",
    "LabelMap",
    "MachineOptions",
    "Model",
    "SegmentedImage",
    "SmoothingOptions",
    "build_lmdb",
    "convert",
    "evaluate",
    "evaluate_tiles",
    "export_coco",
    "import_coco",
    "init_config",
    "label",
    "list_models",
    "make_tfrecords",
    "open_model",
    "predict",
    "promote_model",
    "read_image",
    "read_labelmap",
    "refine_labels",
    "refine_probs",
    "retile",
    "retrain",
    "review",
    "run",
    "segment",
    "show_augmentation",
    "split",
    "spread",
    "train_fcn",
    "train_resunet",
    "train_unet",
    "tune_crf",
    "write_labelmap",
    "write_model_card",
]

_HOMES = {
    "api.dense": ("show_augmentation", "train_fcn", "train_unet"),
    "api.lmdb": ("build_lmdb",),
    "api.measure": ("evaluate", "evaluate_tiles", "tune_crf"),
    "api.models": ("list_models", "promote_model", "write_model_card"),
    "api.prepare": ("convert", "export_coco", "import_coco", "retile", "review", "split"),
    "api.resunet": ("init_config", "make_tfrecords", "train_resunet"),
    "api.train": ("retrain", "run"),
    "api.truth": ("label", "spread"),
    "api.use": ("open_model", "predict", "segment"),
    "apply": ("Model",),
    "oneimage": ("SegmentedImage",),
    "classes": ("ClassTable",),
    "crf.options": ("CrfOptions",),
    "crf.refine": ("refine_labels", "refine_probs"),
    "dense.machines": ("MachineOptions",),
    "dense.smoothing": ("SmoothingOptions",),
    "dense.windows": ("DenseOptions",),
    "errors": ("HybridSegError",),
    "figures": ("FigureOptions",),
    "hybrid.segmentation": ("HybridOptions",),
    "io.images": ("read_image",),
    "io.labels.formats": ("read_labelmap", "write_labelmap"),
    "io.labels.labelmaps": ("LabelMap",),
}


def __getattr__(name: str) -> object:
    """Import what is used for the first time."""
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            # Kept: the next use does not come here.
            globals()[name] = found = getattr(import_module(f"hybridseg.{home}"), name)
            return found
    raise AttributeError(f"module 'hybridseg' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    """Name what there is."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
