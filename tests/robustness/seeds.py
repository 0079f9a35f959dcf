"""The whole files that are damaged: small ones of every kind that the package reads, each in a folder with its own.

TensorFlow is used here and nowhere else before a worker is forked, so `make_seeds` runs in a process of its own.
"""

from __future__ import annotations

import base64
import json
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mosaicseeds import write_imagine_envi, write_mosaics

from hybridseg.batch.manifest import MANIFEST_NAME, Entry, ImageFacts, Start
from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion, pool_confusions
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.annotations.runlengths import pack_counts
from hybridseg.io.images import encode_image, write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.rasters import GeoReference, quiet_rasterio
from hybridseg.io.tables import write_csv, write_json
from hybridseg.models.architectures import ARCHITECTURES
from hybridseg.verdict import judge

SHAPE = (32, 40)
TABLE = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))
PLACE = GeoReference("EPSG:32611", (0.5, 0.0, 4e5, 0.0, -0.5, 4e6))
TILE = 8


def make_seeds(folder: Path) -> None:
    """Write all of them."""
    for make in (
        write_pictures, write_mosaics, write_imagine_envi, write_labels, write_texts, write_annotations, write_records,
        write_database, write_classifier, write_networks, write_sam, write_module, write_manifest, write_results,
    ):  # fmt: skip
        home = folder / make.__name__.removeprefix("write_")
        home.mkdir(parents=True)
        make(home)


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of 8 bits in three colours, and its labels."""
    labels = np.repeat(np.arange(3, dtype=np.uint8), (12, 14, 14))[None].repeat(SHAPE[0], axis=0)
    noise = np.random.default_rng(0).integers(-20, 20, (*SHAPE, 3))
    picture = np.array([(40, 60, 150), (220, 200, 130), (120, 60, 90)])[labels] + noise
    return picture.astype(np.uint8), labels


def write_tiff(path: Path, bands: np.ndarray, **profile: object) -> None:
    """Write (bands, rows, cols)."""
    import rasterio

    n, rows, cols = bands.shape
    shape = {"count": n, "height": rows, "width": cols, "dtype": bands.dtype}
    with quiet_rasterio(), rasterio.open(path, "w", driver="GTiff", **shape, **profile) as dataset:
        dataset.write(bands)


def write_pictures(folder: Path) -> None:
    from PIL import Image

    picture, labels = draw()
    for name in ("rgb.png", "rgb.jpg"):
        write_image(folder / name, picture)
    write_image(folder / "grey16.png", picture[..., 0].astype(np.uint16) * 200)
    write_image(folder / "alpha.png", np.dstack([picture, labels * 100]))
    Image.fromarray(picture).quantize(8).save(folder / "palette.png", transparency=1)
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, "2018:10:06 13:56:01"
    Image.fromarray(picture).save(folder / "exif.jpg", exif=exif)
    write_tiff(
        folder / "rgb.tif", picture.transpose(2, 0, 1), compress="deflate", tiled=True, blockxsize=16, blockysize=16
    )
    floats = picture.transpose(2, 0, 1).astype(np.float32)
    floats[:, :4] = -9999
    write_tiff(folder / "float.tif", floats, nodata=-9999, crs="EPSG:32611", compress="lzw", predictor=3)
    write_tiff(folder / "bands.tif", np.repeat(floats, 2, axis=0).astype(np.int16), interleave="pixel")


def write_labels(folder: Path) -> None:
    _, labels = draw()
    seeds = np.where(np.indices(SHAPE).sum(axis=0) % 7 == 0, labels + 1, 0).astype(np.uint8)
    record = json.dumps({"command": "semseg", "version": "1", "models": [None], "classes": {}, "settings": {"a": 1}})
    labelmap = LabelMap(labels, TABLE, seeds, PLACE, record)
    for name in ("map.mat", "map.png", "map.tif"):
        write_labelmap(folder / name, replace(labelmap, seeds=seeds if name == "map.mat" else None))
    write_tiff(folder / "ids16.tif", labels[None].astype(np.uint16), nodata=65535)
    write_tiff(folder / "ids32.tif", labels[None].astype(np.int32))
    write_tiff(folder / "floats.tif", labels[None].astype(np.float64), compress="deflate")
    write_image(folder / "colors.png", np.array(TABLE.colors, np.uint8)[labels])
    write_image(folder / "grey.png", labels)
    from scipy.io import savemat

    savemat(folder / "plain.mat", {"class": labels.astype(np.float64), "labels": np.array(TABLE.names, object)})
    write_class_files(TABLE, labels_path=folder / "labels.txt", labeldefs_path=folder / "labeldefs.txt")


def write_texts(folder: Path) -> None:
    from hybridseg.dense import policy
    from hybridseg.dense.programs.config import config_record, parse_config

    write_class_files(
        TABLE, labels_path=folder / "labels.txt", colors_path=folder / "colors.txt",
        labeldefs_path=folder / "labeldefs.txt",
    )  # fmt: skip
    write_json(folder / "any.json", {"a": [1, 2.5, "x", None], "b": {"c": [[1, 2], [3, 4]]}})
    required = {"TARGET_SIZE": [64, 96], "NCLASSES": 3, "N_DATA_BANDS": 3, "REMAP_CLASSES": {"0": 0, "1": 1, "255": 2}}
    write_json(folder / "config.json", config_record(parse_config(required)))
    for path in sorted((Path(policy.__file__).parent / "policies").glob("*.toml"))[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    row = {"image": "a.jpg", "set": "train", "group": "a", "action": "copy", "source": "/photos", "companions": "[]"}
    columns = [*row, "masks_dir", "masks"]
    write_csv(folder / "split.csv", columns, [row | {"masks_dir": "masks", "masks": '["a.png"]'}] * 3)
    there = str(folder / "labels.txt")
    write_csv(folder / "pairs.csv", ("image", "mask"), [{"image": there, "mask": there}] * 3)
    (folder / "names.txt").write_text("a.jpg\nb.jpg\n")
    np.save(folder / "array.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    (folder / "color.txt").write_text("#8B008B")
    (folder / "names.list").write_text('["water", "sand"]')
    values = {
        "classes": TABLE.to_records(), "size": [4, 6], "rle": {"size": [4, 6], "counts": [3, 9, 12]}, "number": 3,
        "polygons": [[1, 1, 9, 1, 9, 9.5], [2, 2, 4, 2, 4, 7]],
    }  # fmt: skip
    for name, value in values.items():
        write_json(folder / "values" / f"{name}.json", {"value": value})


def write_annotations(folder: Path) -> None:
    picture, labels = draw()
    points = tuple((3.0 + i, 2.0 + 2 * i) for i in range(9))
    strokes = (
        Stroke("pen", 0, 3.0, points), Stroke("polygon", 1, 1.0, ((2, 2), (2, 20), (20, 20)), layer="result"),
        Stroke("erase", 0, 5.0, points[:3]), Stroke("region", 2, 1.0, ((4.0, 4.0), (4.0, 9.0), (5.0, 4.0), (5.0, 8.0))),
    )  # fmt: skip
    write_image(folder / "a.png", picture)
    write_strokes(folder / "a_doodles.json", StrokeLog("a.png", SHAPE, TABLE, strokes, undone=strokes[:1], done=True))
    mask = base64.b64encode(encode_image((labels[:5, :7] == 0).astype(np.uint8) * 255, suffix=".png")).decode()
    polygon = [[1, 1], [20.5, 2], [14, 13], [1, 13]]
    shapes = [
        {"label": name, "shape_type": kind, "points": corners, "group_id": None, "flags": {}, **more}
        for name, kind, corners, more in (
            ("sand", "polygon", polygon, {}), ("water", "mask", [[2, 2], [8, 6]], {"mask": mask}),
            ("water", "linestrip", polygon, {}), ("cliff", "circle", polygon[:2], {}),
            ("cliff", "rectangle", polygon[:2], {}), ("sand", "point", polygon[:1], {}),
        )
    ]  # fmt: skip
    head = {"version": "5.5.0", "flags": {}, "imageData": None, "imagePath": "a.png"}
    write_json(folder / "labelme.json", {**head, "shapes": shapes, "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]})
    flat = [coordinate for point in polygon for coordinate in point]
    runs = [9, 50, SHAPE[0] * SHAPE[1] - 59]
    packed = pack_counts(np.array(runs))
    areas = [
        {"segmentation": [flat], "iscrowd": 0}, {"segmentation": {"size": list(SHAPE), "counts": runs}},
        {"segmentation": {"size": list(SHAPE), "counts": packed}, "iscrowd": 1}, {"keypoints": [1, 2, 2, 5, 6, 1]},
    ]  # fmt: skip
    coco = {
        "info": {"year": 2020}, "licenses": [],
        "images": [{"id": 1, "file_name": "a.png", "height": SHAPE[0], "width": SHAPE[1]}],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(TABLE.names)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i % 3, "bbox": [1, 1, 5, 5], "area": 25.0, **area}
            for i, area in enumerate(areas)
        ],
    }  # fmt: skip
    write_json(folder / "coco.json", coco)
    arrays = {
        "image": picture, "label": (labels[..., None] == np.arange(3)).astype(np.uint8), "doodles": labels,
        "color_doodles": picture, "settings": np.array([3, 1.0]), "classes": np.array(TABLE.names),
    }  # fmt: skip
    np.savez_compressed(folder / "packed.npz", **arrays)
    np.savez(folder / "plain.npz", **{name: arrays[name] for name in ("label", "doodles", "classes")})


def write_records(folder: Path) -> None:
    from hybridseg.dense.datasets import make_label_reader
    from hybridseg.dense.pairs import FolderPairs
    from hybridseg.dense.recordpairs import INDEX_NAME, open_records
    from hybridseg.dense.records import RecordOptions, make_records
    from hybridseg.io.pairing import Pair
    from hybridseg.io.tfrecords import encode_record, read_record, scan_shard

    home = folder.parent
    names = {"rgb.png": "map.png", "bands.tif": "map.tif"}
    for number, (image, labels) in enumerate(names.items()):
        pair = Pair(image_path=home / "pictures" / image, labels_path=home / "labels" / labels)
        pairs = FolderPairs([pair], make_label_reader(TABLE), size=SHAPE, table=TABLE)
        place = folder / f"of{number}"
        shard = make_records(pairs, place, options=RecordOptions(copies=2, per_shard=2)).shard_paths[0]
        (folder / f"record{number}.bin").write_bytes(encode_record(read_record(shard, scan_shard(shard)[0][0])))
        assert open_records(place).read(0) and (place / INDEX_NAME).exists()


def write_database(folder: Path) -> None:
    from hybridseg.data.buildlmdb import build_lmdb
    from hybridseg.data.lmdbplan import LmdbOptions
    from hybridseg.io.lmdbstore import Database
    from hybridseg.io.samples import encode_sample

    home = folder.parent / "database_sources"
    picture, labels = draw()
    for kind in ("images", "masks"):
        (home / kind).mkdir(parents=True)
        for i in range(3):
            bands = picture.transpose(2, 0, 1) if kind == "images" else labels[None]
            write_tiff(home / kind / f"cell_{i}.tif", bands)
    build_lmdb(home / "images", home / "masks", folder, options=LmdbOptions("cells", test_list=("cell_2",)))
    database = sorted(folder.glob("*.lmdb"))[0]
    (folder / "sample.bin").write_bytes(encode_sample(Database(database).read(0)))


def write_classifier(folder: Path) -> None:
    import tensorflow as tf

    from hybridseg.models.cards import hash_bytes
    from hybridseg.models.engines import TensorFlowEngine
    from hybridseg.models.graphs import freeze_model, parse_graph
    from hybridseg.models.runtimes import make_runtime
    from hybridseg.models.store import ModelCard, save_classifier, tuning_path

    weights = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    content = freeze_model(lambda x: tf.nn.softmax(tf.reduce_mean(x, (1, 2)) @ weights), tile_size=TILE)
    graph = parse_graph(folder / "model.pb", content)
    probe = np.random.default_rng(0).random((3, TILE, TILE, 3), dtype=np.float32)
    runtime = make_runtime(replace(graph, shape=(graph.batch_size, TILE, TILE, 3)), TensorFlowEngine(graph), [probe])
    assert runtime is not None
    card = ModelCard(
        TABLE.names, TABLE.colors, TILE, TILE, "builtin:test", "none", False, {"numpy": "2"},
        {"accuracy": 0.9, "macro": {"iou": 0.5}}, hash_bytes(content),
    )  # fmt: skip
    save_classifier(folder / "model.pb", content, card, folder / "labels.txt", runtime=runtime)
    from hybridseg.hybrid.segmentation import HybridOptions

    record = {
        "format": 1, "models": ["model.pb"], "sha256": [hash_bytes(content)], "best": {"crf": {}}, "settings": {},
    }  # fmt: skip
    options = asdict(HybridOptions(class_weights=(1.0, 1.0, 1.0)))
    record["best"]["crf"] = options.pop("crf")
    write_json(tuning_path(folder / "model.pb"), record | {"settings": options})
    classic = folder.parent / "classic"
    classic.mkdir()
    (classic / "old.pb").write_bytes(content)
    write_class_files(TABLE, labels_path=classic / "labels.txt")


@dataclass(frozen=True)
class Tiny:
    """A network of two convolutions."""

    name: ClassVar[str] = "tiny"
    stride: ClassVar[int] = 1
    n_bands: int
    n_outputs: int
    width: int = 2

    def build(self) -> Any:
        import tf_keras
        from tf_keras import layers

        pixels = tf_keras.Input((None, None, self.n_bands), name="pixels")
        near = layers.Conv2D(self.width, 3, padding="same", activation="relu", name="near")(pixels)
        return tf_keras.Model(pixels, layers.Conv2D(self.n_outputs, 1, name="scores")(near), name="tiny")

    def start(self, network: Any, weights: Any = None) -> str:
        return "random weights"

    def choose_weights(self, weights: Any = None) -> str:
        return "none"

    def find_encoder(self, network: Any) -> list[Any]:
        return []


def know_tiny() -> None:
    """Let this process know the architecture, as whoever reads what `write_networks` writes must."""
    ARCHITECTURES["tiny"] = Tiny


def write_networks(folder: Path) -> None:
    from hybridseg.models.bundles import DenseCard, save_dense
    from hybridseg.models.checkpoints import save_state
    from hybridseg.models.normalization import Normalization
    from hybridseg.models.views import View

    architecture = Tiny(n_bands=3, n_outputs=3)
    card = DenseCard(
        architecture, TABLE, SHAPE, Normalization("unit", 255.0), {"epochs": 3, "load": {"file": "a.h5"}},
        {"macro": {"iou": 0.5, "f1": None}, "sets": {}}, {"numpy": "2"}, View(True, (1.0, 1.0), SHAPE, 0.5),
    )  # fmt: skip
    (folder / "run").mkdir()
    save_dense(folder / "run" / "model.h5", architecture.build(), card, probes=[np.zeros((1, *SHAPE, 3), np.float32)])
    save_dense(folder / "coast.h5", architecture.build(), card, probes=[np.zeros((1, *SHAPE, 3), np.float32)])
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(4, np.float32)]
    save_state(folder / "state.npz", arrays, {"epoch": 3, "settings": {"a": [1, 2]}})


def write_sam(folder: Path) -> None:
    from samnetworks import save_decoder, save_encoder

    save_encoder(folder / "encoder.onnx")
    save_decoder(folder / "decoder.onnx")


def use_card(path: Path) -> None:
    """Do with a card what is done with an image before the network gets it: its numbers may be anything."""
    from types import SimpleNamespace

    from hybridseg.dense.windows import DenseOptions, find_size
    from hybridseg.io.images import ImageInfo
    from hybridseg.models.bundles import read_dense_card

    card, _ = read_dense_card(path.with_name("coast.h5"))
    model: Any = SimpleNamespace(card=card, path=path)
    image = np.full((*SHAPE, 3), 200, np.uint8)
    shape = find_size(image.shape, model, DenseOptions())
    assert max(shape) <= 8192, "no more than a training may have"
    if card.view is not None:
        info = ImageInfo(path, "PNG", *SHAPE, 3, "uint8", 1, None)
        card.view.judge(info, DenseOptions().choose_scale(model), size=card.size)
    assert np.isfinite(card.normalization.apply(image)).all()


def write_module(folder: Path) -> None:
    """Write a module of one convolution as a folder, and packed."""
    import tensorflow as tf

    class Module(tf.train.Checkpoint):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.ones((3, 3, 3, 4), np.float32))
            self.variables = self.trainable_variables = [self.kernel]
            self.regularization_losses = []

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
        def __call__(self, pixels):
            return tf.reduce_mean(tf.nn.conv2d(pixels, self.kernel, 2, "SAME"), [1, 2])

    tf.saved_model.save(Module(), str(folder / "tiny"))
    with tarfile.open(folder / "tiny.tar.gz", "w:gz") as archive:
        archive.add(folder / "tiny", ".")


def write_manifest(folder: Path) -> None:
    """Write how far a run over three images is: done, failed, and not begun."""
    facts = {"size": 9, "mtime_ns": 10**18, "sha256": "0" * 64, "megapixels": 1.5, "peak_mb": 100.0}
    start = Start(
        ("a.png", "b.png", "c.png"), "job", {"crf": {"theta": 1.0}}, "processes", time="2026-01-02T03:04:05+00:00"
    )
    done = Entry("a.png", "done", "job", ImageFacts(**facts), ("a.tif",), seconds={"read": 0.5}, time=start.time)
    failed = Entry("b.png", "failed", "job", ImageFacts(), reason="it is damaged", warnings=("x",), time=start.time)
    lines = (json.dumps(asdict(record)) + "\n" for record in (start, done, failed))
    (folder / MANIFEST_NAME).write_text("".join(lines))


def write_results(folder: Path) -> None:
    """Write what commands read of earlier commands: tiles, scores, scenes, surveys, a study."""
    from hybridseg.batch.results import write_confidence
    from hybridseg.data.survey import survey_mask, survey_photo
    from hybridseg.hybrid.tilefolder import ClassList, write_class_list

    picture, labels = draw()
    tiles = folder / "tiles"
    for name in TABLE.names:
        for i in range(2):
            (tiles / name).mkdir(parents=True, exist_ok=True)
            (tiles / name / f"a_r{i}_c0.png").write_bytes(encode_image(picture[:8, :8], suffix=".png"))
    write_class_list(tiles, ClassList(TABLE, {name: i for i, name in enumerate(TABLE.names)}), made_from="photos")
    rows = [{"tile": f"{name}/a_r0_c0.png", "source": "a.png", "kept": "1", "sha256": "0" * 64} for name in TABLE.names]
    write_csv(tiles / "tiles.csv", list(rows[0]), rows)
    photos = [count_confusion(labels, np.roll(labels, shift, axis=1), TABLE) for shift in (0, 3)]
    names = {"names": list(TABLE.names)}
    pairs = {name: {**names, **one.to_record()} for name, one in zip("ab", photos, strict=True)}
    verdict = judge(photos).to_record()
    scores = {"pairs": pairs, "pooled": pool_confusions(photos).to_record(), "verdict": verdict, "figures": ["a.png"]}
    write_json(folder / "eval_pixels.json", scores)
    write_json(folder / "scenes.json", {"rows": 48, "cols": 64, "seed": 0, "n": 1})
    study = folder.parent / "study"
    (study / "test").mkdir(parents=True)
    (study / "hybrid" / "scores").mkdir(parents=True)
    write_json(study / "steps.json", {"version": "1", "draw": ["a", 1], "steps": {"a": {"state": "done"}}})
    write_json(study / "hybrid" / "scores" / "eval_pixels.json", scores)
    write_image(study / "test" / "a.png", picture)
    write_confidence(folder / "confidence.tif", np.full(SHAPE, 0.5, np.float32), None)
    for name in ("images/a.png", "images/a_mres.mat", "images/a_ares_8.mat", "masks/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        source = "pictures/rgb.png" if name == "images/a.png" else f"labels/map{Path(name).suffix}"
        (folder / name).write_bytes((folder.parent / source).read_bytes())
    photo = survey_photo(folder.parent / "pictures/rgb.png", "0" * 64)
    mask = survey_mask(folder.parent / "labels/map.png", "0" * 64, TABLE)
    write_json(folder / "photo.json", photo.to_record())
    write_json(folder / "mask.json", mask.to_record())
    (folder / "page.html").write_text("<!doctype html>\n<meta name='generator' content='hybridseg'>\n")
    (folder / "plain.png").write_bytes(encode_image(picture, suffix=".png"))
