"""The registry of commands that write: how each is run here, what must come out alike, and what may differ and why.

A new command is added to `WRITERS`, or to `WRITES_NOTHING` with the reason; a test fails when it is in neither.
"""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from hybridseg.classes import ClassTable
from hybridseg.demo.demoscenes import SceneOptions, write_demo_scenes
from hybridseg.io.images import write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import read_matfile, write_matfile
from hybridseg.io.tables import write_json
from tests.robustness.people import decide_on_results, draw_strokes

AREAS = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))

WRITES_NOTHING = {
    "models list": "prints what it finds",
    "models show": "prints a card",
    "resunet explain-config": "prints what each key means",
    "status": "prints how far a run of segment is",
    "estimate": "prints what a survey takes; what it tries goes to a temporary folder",
    "doctor": "prints what works; the probes of its parts are other processes",
}


@dataclass(frozen=True)
class Writer:
    """A command in the words of a user, run in a folder of its own that holds copies of what it needs.

    Parameters
    ----------
    needs : str
        Names of the inputs: those in `MADE`, or what another entry makes. None may change, but for what `words` tell
        the command to replace.
    makes : str
        Name of the result that other entries need.
    again : str
        Words that are added when it is run again, as the documents tell.
    trains : bool
        Whether it takes TensorFlow.
    replaces : str
        Pattern of what it removes before it has made anything new, as a user wants who starts over: records, databases
        and checkpoints may be too large to lie there twice. What is replaced by other commands is of before or new.
    use : callable
        What a person does meanwhile, given the file of what the command prints.
    """

    words: str
    needs: str = ""
    makes: str = ""
    again: str = ""
    trains: bool = False
    replaces: str = ""
    use: Callable[[Path], None] | None = None

    def is_named(self, name: str) -> bool:
        """Return whether this is an entry of a command, by its name."""
        return f"{self.words} ".startswith(f"{name} ")


_FCN = "fcn train --name coast --images photos --size 64x96 --epochs 3 --batch-size 2 --checkpoint-interval 1"
_LMDB = "--train_database data/train-cells.lmdb --test_database data/test-cells.lmdb"
_UNET = "--encoder none --widths 4,3 --epochs 2"
_HEAD = "--tfhub_module module --input-size 32 --how_many_training_steps 60 --learning_rate 0.3"

# In the order of use: what an entry needs is made by one before it.
WRITERS = (
    Writer("demo-scenes scenes --n 4 --size 64x96", makes="scenes"),
    Writer("demo-scenes scenes --n 4 --size 64x96 --seed 1 --overwrite", "scenes"),
    Writer("review photos --jobs 2 --out out", "photos"),
    Writer("split photos", "photos"),
    Writer("split photos --move", "photos"),
    Writer("split photos --link --out sets", "photos"),
    Writer("label photos --no-browser --labels photos/labels.txt -s 0.5 --out labelled", "photos", use=draw_strokes),
    Writer("label --review judged --no-browser", "judged", use=decide_on_results),
    Writer("crf photos/photo_0.jpg seeds.png --labels photos/labels.txt --out dense", "photos seeds.png",
           makes="dense"),
    Writer("crf photos/photo_0.jpg seeds.png --labels photos/labels.txt --theta 9 --out dense --overwrite",
           "photos seeds.png dense"),
    Writer("convert photos --to tif --out out", "photos"),
    Writer("convert photos --to png --out masks --overwrite", "photos", makes="masks"),
    Writer("coco export photos --out coco.json", "photos", makes="coco.json"),
    Writer("coco import coco.json --images photos --out labelled", "photos coco.json", makes="labelled"),
    Writer("coco import coco.json --images photos --out labelled --seed 1 --overwrite", "photos coco.json labelled"),
    Writer("coco import web.json --images fetched --download --out labelled", "web.json"),
    Writer("retile photos -t 16 -a 0.8 --jobs 2 --out tiles", "photos", makes="tiles"),
    Writer("retile photos -t 16 -a 0.6 --jobs 1 --out tiles --overwrite", "photos tiles"),
    Writer(f"retrain --image_dir tiles {_HEAD} --output_graph model/model.pb", "tiles module", makes="model",
           trains=True),
    Writer(f"retrain --image_dir tiles {_HEAD} --fine-tune --fine-tune-epochs 2 --saved_model_dir saved "
           "--summaries_dir events --intermediate_output_graphs_dir between --intermediate_store_frequency 20",
           "tiles module", trains=True),
    Writer("eval-tiles tiles --model model/model.pb --out scores", "tiles model"),
    Writer("tune-crf photos --model model/model.pb --trials 2", "photos model"),
    Writer("semseg photos --model model/model.pb --out results --keep-seeds --probabilities --report", "photos model",
           makes="results", again="--resume"),
    Writer("semseg photos/photo_0.jpg model/model.pb", "photos model"),
    Writer("eval-pixels results --images photos --masks photos", "photos results"),
    Writer("agreement people", "people"),
    Writer("fcn make-labels photos --labeldefs labeldefs.txt --out out", "photos labeldefs.txt"),
    Writer(_FCN, "photos", makes="runs", again="--resume", trains=True),
    Writer(f"{_FCN} --overwrite --seed 1", "photos runs", trains=True, replaces="runs/"),
    Writer("fcn infer --name coast --samples-dir photos --output-dir out --crf", "photos runs", again="--resume"),
    Writer("resunet init-config photos --out proposed.json", "photos"),
    Writer("resunet make-tfrecords --config config.json --images photos --out records", "photos config.json",
           makes="records", trains=True),
    Writer("resunet make-tfrecords --config config.json --images photos --out records --seed 1 --overwrite",
           "photos config.json records", trains=True, replaces="records/"),
    Writer("resunet train --config config.json --data records --weights-out nets/water.h5 --filters 1",
           "config.json records", makes="nets", again="--resume", trains=True),
    Writer("resunet evaluate --config config.json --weights nets/water.h5 --images photos --out scores",
           "photos config.json nets"),
    Writer("resunet segment --config config.json --weights nets/water.h5 --images photos --out out",
           "photos config.json nets", again="--resume"),
    Writer("unet build-lmdb --image_folder photos --mask_folder masks --output_folder data --dataset_name cells "
           "--use_tiling 1 --tile_size 32", "photos masks", makes="data"),
    Writer("unet build-lmdb --image_folder photos --mask_folder masks --output_folder data --dataset_name cells "
           "--overwrite", "photos masks data", replaces="data/"),
    Writer(f"unet train {_LMDB} --output_dir nist {_UNET} --test_every_n_steps 4 --reader_count 2", "data",
           makes="nist", again="--resume", trains=True),
    Writer(f"unet train --images photos {_UNET} --size 64x96 --tensorboard-dir events", "photos", again="--resume",
           trains=True),
    Writer("unet infer --name coast --images photos --out out --flips", "photos runs", again="--resume"),
    Writer("unet infer --model nist --images photos --out out", "photos nist"),
    Writer("unet show-augmentation --images photos --photos 1 --versions 2", "photos"),
    Writer("predict -m model/model.pb -i photos -v", "photos model"),
    Writer("segment photos --model model/model.pb --jobs 2 --out maps", "photos model", makes="maps",
           again="--retry-failed"),
    Writer("rank maps --out ranking.csv", "photos maps"),
    Writer("segment photos --model runs/coast --engine serial --out maps", "photos runs", again="--retry-failed"),
    Writer("segment photos/photo_0.jpg --model runs/coast --native --window 64 --overlap 16 --jobs 2 --out maps",
           "photos runs", again="--retry-failed"),
    Writer("segment photos --model model/model.pb --engine dask --jobs 2 --out maps", "photos model",
           again="--retry-failed"),
    Writer("models card model/model.pb --out website", "model"),
    Writer("models promote model", "model", makes="models"),
    Writer("models promote model --overwrite", "model models"),
    Writer("run photos --method both -t 16 --epochs 2 --out out", "photos module", trains=True),
    Writer("demo out", "out_scenes module", trains=True),
    Writer("demo-dense out", "out_scenes", trains=True),
    Writer("export-module module --input-size 32", trains=True),
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """What of some files (a pattern of their paths) may differ between two runs that nothing disturbed, and why.

    `paths` is a regular expression of them; `strip` leaves it out. None: all of the file, and its name.
    """

    paths: str
    strip: Callable[[bytes], bytes] | None
    reason: str


def _without(pattern: bytes) -> Callable[[bytes], bytes]:
    return partial(re.sub, pattern, b"")


def _read_arrays(data: bytes) -> bytes:
    """Return the arrays of a checkpoint, and its record without the speed of each epoch and the times of photos."""
    with np.load(io.BytesIO(data)) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    speed = re.compile(r'"(images_per_second|starved)": [\d.e-]+|"(validation )?images and masks": "[^"]*"')
    return b"".join(
        name.encode() + (speed.sub("", str(value)).encode() if value.dtype.kind == "U" else value.tobytes())
        for name, value in values.items()
    )


def _read_saved_model(data: bytes) -> bytes:
    """Return the lines of a SavedModel in order, without numbers."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    lines = str(SavedModel.FromString(data)).splitlines()
    return "\n".join(sorted(re.sub(r'[-_]\d+\b|"\d+"', "", line) for line in lines)).encode()


def _read_accepted(data: bytes) -> bytes:
    """Return the labels of ground truth, and where they came from without the time."""
    with tempfile.NamedTemporaryFile(suffix=".mat") as file:
        Path(file.name).write_bytes(data)
        labelmap = read_matfile(Path(file.name))
    told = re.sub(r'"when": "[^"]*"', "", str(labelmap.made_by))
    return labelmap.labels.tobytes() + f"{labelmap.table} {told}".encode()


def _read_pixels(data: bytes) -> bytes:
    """Return the pixels of a picture without the texts in it."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return picture.tobytes()


def _read_manifest(data: bytes) -> bytes:
    """Return the last word on each image of a manifest, without times and costs."""
    entries = {}
    for line in filter(None, map(json.loads, data.splitlines())):
        if "image" in line:
            told = {name: line[name] for name in ("result", "job", "written", "reason", "bytes_written")}
            entries[line["image"]] = {**told, "sha256": line["facts"]["sha256"]}
    return json.dumps(entries, sort_keys=True).encode()


DIFFERENCES = (
    Difference(r"events\.out\.tfevents\.[^/]*$", None, "TensorBoard's files are named after time and process"),
    Difference(r"bottlenecks/.*/tiles\.csv$", _without(rb"(?m),\d+$"), "it says when each tile was written"),
    Difference(r"^cache/.*\.hybridseg\.lock$", None, "the next command that writes into the cache removes it"),
    Difference(r"^cache/.*\.tried$", None, "a mark of a model that was made: a killed training has made one more"),
    Difference(r"fingerprint\.pb$", None, "TensorFlow gives each SavedModel a random number"),
    Difference(r"saved_model\.pb$", _read_saved_model, "and numbers its functions by all that it traced before"),
    Difference(r"\.log$", _without(rb"(?s).*"), "it tells what each run did, and when, also of a killed one"),
    Difference(r"\.mlm\.json$", _without(rb'"datetime": "[^"]*"|"hybridseg:digest": "[^"]*"'),
               "a STAC Item says when the model was written, and has a digest of all it says"),
    Difference(r"_report\.json$", _without(rb'"seconds": {[^}]*}'), "the report of an image says what took how long"),
    Difference(r"(^|/)log\.csv$", _without(rb"(?m)(?<=,)[\d.e-]+,[\d.e-]+(?=,[^,]*$)"),
               "the log of a training has its speed, and the share of its steps that waited for data"),
    Difference(r"(^|/)checkpoint\.npz$", _read_arrays, "and so has its checkpoint, with a hash of the times of photos"),
    Difference(r"^out/records/(index|plan)\.json$", _without(rb'"[0-9a-f]{12,}"'),
               "records know the times of their photos, which demo-dense copies"),
    Difference(r"^out/weights/(MODEL_CARD\.md|resunet\.(card|mlm)\.json)$", _without(rb"[0-9a-f]{64,}"),
               "and the card of what is trained on them has hashes of that"),
    Difference(r"(^|/)manifest\.jsonl$", _read_manifest,
               "a manifest has a line for every run and every try, with its time, seconds and memory"),
    Difference(r"_doodles\.json$", _without(rb'"(time|seconds)": [\d.]+|"group": "[0-9a-f]+"'),
               "a stroke has the time when it was drawn, and what was imported together a random name"),
    Difference(r"^judged/.*_mres\.mat$", _read_accepted, "a result that was accepted says when"),
    Difference(r"^judged/.*_mres_label\.png$", _read_pixels, "and so does its picture"),
    Difference(r"(^|/)review_decisions\.csv$", _without(rb"\d{4}-\d\d-\d\dT[^,\r\n]*"),
               "and so does the list of decisions"),
    Difference(r"_mres_report\.txt$", _without(rb"minutes: [\d.]+"), "and the report says how long that took"),
)  # fmt: skip


def write_config(path: Path) -> None:
    """Write the config of a small residual U-Net."""
    config = {"TARGET_SIZE": [32, 64], "NCLASSES": 3, "N_DATA_BANDS": 3, "MAX_EPOCHS": 3, "AUG_COPIES": 2,
              "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0, "VALIDATION_SPLIT": 0.25, "BATCH_SIZE": 4,
              "IMS_PER_SHARD": 4}  # fmt: skip
    write_json(path, config)


def write_labeldefs(path: Path) -> None:
    """Write the classes of the photos as lines of name and colour."""
    write_class_files(AREAS, labeldefs_path=path)


def make_areas(i: int) -> np.ndarray:
    """Make a label map of 64 x 96 pixels: three areas with wavy borders."""
    rows, cols = np.mgrid[:64, :96]
    right, below = cols > 48 + 6 * np.sin(rows / 8 + i), rows > 34 + 3 * np.sin(cols / 9 + i)
    return np.where(below, 2, right).astype(np.uint8)


def paint_photos(folder: Path) -> None:
    """Paint six photos of three areas that differ in colour, with their label maps."""
    for i in range(6):
        labels = make_areas(i)
        noise = np.random.default_rng(i).normal(0, 15, (*labels.shape, 3))
        image = np.clip(np.array(AREAS.colors)[labels] * 0.5 + 60 + noise, 0, 255).astype(np.uint8)
        write_image(folder / f"photo_{i}.jpg", image)
        write_matfile(folder / f"photo_{i}_mres.mat", LabelMap(labels, AREAS))
    write_class_files(AREAS, labels_path=folder / "labels.txt")


def make_results(folder: Path) -> None:
    """Write photos with automatic results and without ground truth."""
    paint_photos(folder)
    for path in folder.glob("*_mres.mat"):
        path.rename(path.with_name(path.name.replace("_mres", "_ares_96")))


def label_twice(folder: Path) -> None:
    """Write the label maps of six images by two people."""
    for shift, name in enumerate(("Ann", "Bob")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            write_matfile(folder / name / f"photo_{i}_mres.mat", LabelMap(np.roll(make_areas(i), 3 * shift, 1), AREAS))


def save_module(folder: Path) -> None:
    """Write a backbone of one convolution."""
    from tests.conftest import save_tiny_module

    save_tiny_module(folder)


def draw_scenes(folder: Path) -> None:
    """Draw scenes that a demonstration takes for its own."""
    write_demo_scenes(folder, options=SceneOptions(n=6, rows=96, cols=144))


def draw_seeds(path: Path) -> None:
    """Paint the seeds of the first photo: every tenth column of its label map."""
    labels = make_areas(0)
    labels[:, np.arange(96) % 10 > 0] = 255
    write_image(path, labels)


class _Web(http.server.SimpleHTTPRequestHandler):
    """Sends files as slowly as a server far away."""

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
        while chunk := source.read(500):
            time.sleep(0.005)
            outputfile.write(chunk)

    def log_message(self, *_: object) -> None:
        pass


def put_on_the_web(path: Path) -> None:
    """Write a COCO file of photos that a server of this machine has, and start that: it ends when the file is gone."""
    folder = path.with_name("web")
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Web, directory=folder))
    images, areas = [], []
    for i in range(6):
        noise = np.random.default_rng(i).integers(0, 256, (64, 96, 3)).astype(np.uint8)
        write_image(folder / f"{i}.png", noise)
        url = f"http://127.0.0.1:{server.server_port}/{i}.png"
        images.append({"id": i, "file_name": f"{i}.png", "height": 64, "width": 96, "coco_url": url})
        corners = [8, 8, 60 + i, 8, 60, 50, 8, 40]
        areas.append({"id": i, "image_id": i, "category_id": 1 + i % 2, "segmentation": [corners], "iscrowd": 0})
    categories = [{"id": 1, "name": "sand"}, {"id": 2, "name": "cliff"}]
    write_json(path, {"images": images, "annotations": areas, "categories": categories})
    harness = os.getppid()
    if not os.fork():
        server.timeout = 0.2
        while path.exists() and Path(f"/proc/{harness}").exists():
            server.handle_request()
        os._exit(0)


MADE: dict[str, Callable[[Path], None]] = {
    "photos": paint_photos,
    "judged": make_results,
    "people": label_twice,
    "seeds.png": draw_seeds,
    "labeldefs.txt": write_labeldefs,
    "config.json": write_config,
    "web.json": put_on_the_web,
    "module": save_module,
    "out_scenes": draw_scenes,
}
