"""What the documents promise, the program keeps: every command has help, a Result, an example that runs, a page."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import hybridseg
from hybridseg.classes import ClassTable
from hybridseg.cli.main import find_commands
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.tables import write_json

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted(path for place in ("*.md", "docs/**/*.md", "labels/*.md") for path in REPOSITORY.glob(place))


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COMMANDS = {name: c for name, c in find_commands().items() if not isinstance(c, click.Group)}
GROUPS = {name: c for name, c in find_commands().items() if isinstance(c, click.Group)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_result_and_every_option_its_meaning(name):
    command = COMMANDS[name]
    first, _, rest = command.help.partition("\n\n")
    assert first.endswith(".") and len(first) < 75 and "\n" not in first, "the first line is the short help"
    assert "Result:" in rest and re.search(r"Examples?:\n", rest)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert re.search(r"[.]( +\[default: .*\])?$", parameter.help or ""), parameter.name


def test_short_flags_have_a_long_twin_with_the_name_of_the_parameter():
    for name in COMMANDS:
        for parameter in COMMANDS[name].params:
            shorts = [o for o in parameter.opts if re.fullmatch(r"-\w", o)]
            if shorts:
                assert f"--{parameter.name.replace('_', '-')}" in parameter.opts


# Examples that are run one after the other in one folder, since each needs what the one before has made.
JOURNEYS = (
    ["demo-scenes"],
    ["review"],
    ["split"],
    ["crf"],
    ["convert"],
    ["coco export", "coco import"],
    ["eval-pixels"],
    ["agreement"],
    ["export-module"],
    ["retile", "retrain", "eval-tiles", "tune-crf", "semseg", "predict", "segment", "status", "rank", "estimate"],
    ["fcn make-labels", "fcn train", "fcn infer"],
    [f"resunet {name}" for name in GROUPS["resunet"].commands],
    [
        *(f"unet {name}" for name in ("show-augmentation", "train", "infer")),
        *(f"models {name}" for name in GROUPS["models"].commands),
    ],
    ["unet build-lmdb"],
)
# These have a test of their own.
APART = ["run", "demo", "demo-dense", "doctor", "label"]
# What makes an example quick.
EXTRA = {
    "retile": "--jobs 1",
    "retrain": "--input-size 32 --tfhub_module {tiny_module} --how_many_training_steps 100 --learning_rate 0.3",
    "tune-crf": "--trials 2",
    "segment": "--engine serial",
    "estimate": "--jobs 1",
    "fcn train": "--epochs 1",
    "resunet train": "--filters 2",
    "unet show-augmentation": "--photos 1 --versions 1",
    "unet train": "--epochs 1 --size 32x64 --encoder mobilenet_v2 --widths 6,5,4,3",
}
# These tell how good their result is.
SCORED = ("retrain", "eval-tiles", "tune-crf", "eval-pixels", "fcn train", "resunet train", "resunet evaluate",
          "unet train", "models promote")  # fmt: skip
# These write nothing.
READERS = ("resunet explain-config", "models list", "models show", "status", "estimate")
SMALL_CONFIG = {
    **{"TARGET_SIZE": [32, 64], "NCLASSES": 3, "N_DATA_BANDS": 3, "MAX_EPOCHS": 1, "AUG_COPIES": 1, "BATCH_SIZE": 2},
    **{"USEMASK": True, "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four photos of three classes side by side, each as wide as a tile, with their label maps."""
    folder = tmp_path_factory.mktemp("scenes")
    table = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (255, 255, 0), (139, 0, 139)))
    labels = np.repeat(np.arange(3, dtype=np.uint8), 96)[None].repeat(192, axis=0)
    seeds = np.where(np.arange(192)[:, None] % 32 == 0, labels + 1, 0).astype(np.uint8)
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 40, (*labels.shape, 3))
        write_image(folder / f"scene_{i}.jpg", (np.array(table.colors)[labels] * 0.8 + noise).astype(np.uint8))
        write_matfile(folder / f"scene_{i}_mres.mat", LabelMap(labels, table, seeds))
    return folder


def test_every_example_is_run():
    assert sorted(sum(JOURNEYS, APART)) == sorted(COMMANDS)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_panels", "small_encoder")
@pytest.mark.parametrize("names", JOURNEYS, ids=lambda names: names[0].split()[0])
def test_the_examples_of_the_help_run(names, scenes, run, tiny_module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if names == ["export-module"]:
        # The whole network is exported by the tests of the backbones.
        monkeypatch.setattr("hybridseg.models.mobilenet.build_mobilenet", build_small_network)
    for name in names:
        prepare(name, scenes)
        examples = re.findall(r"^ +hybridseg (.*)", COMMANDS[name].help.partition("\n\n")[2], re.MULTILINE)
        assert examples
        for words in examples:
            more = EXTRA.get(name, "").format(tiny_module=tiny_module)
            result = run(*shlex.split(f"{words} {more} --quiet --json"))
            check_report(name, result)


def check_report(name, result):
    """Nothing but warnings and the report is printed, and what the report names is there."""
    assert result.exit_code == 0, result.output
    assert all(line.startswith("warning: ") for line in result.stderr.splitlines()), result.stderr
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert report["status"] == "done" and all(Path(path).exists() for path in report["written"])
    if name not in ("segment", "rank"):  # Only one of their two examples writes.
        assert bool(report["written"]) == (name not in READERS)
    assert bool(report["scores"]) == (name in SCORED) and bool(report["verdict"]) == (name in SCORED)


def build_small_network(*, input_size, trainable):
    from tf_keras import Sequential, layers

    return Sequential([layers.Conv2D(2, 3, input_shape=(input_size, input_size, 3)), layers.GlobalAveragePooling2D()])


def prepare(name, scenes):
    """Lay out what the examples of a command work on, where no command before has made it."""
    photo, labels = scenes / "scene_0.jpg", scenes / "scene_0_mres.mat"
    if name == "split":
        shutil.copytree(scenes, "photos")
    elif name == "crf":
        shutil.copy(photo, "photo.jpg")
        shutil.copy(labels, "photo_mres.mat")
    elif name == "coco export":
        shutil.copytree(scenes, "photos")
    elif name == "models promote":
        # Its preset has another seed, so other photos were held out: the two cannot be compared.
        shutil.rmtree("runs/houses")
    elif name == "convert":
        shutil.copytree(scenes, "photos", ignore=shutil.ignore_patterns("*.mat"))
        table = read_labelmap(labels).table
        write_labelmap(Path("masks/scene_0.png"), read_labelmap(labels))
        write_class_files(table, labels_path=Path("labels.txt"))
    elif name == "eval-pixels":
        Path("results").mkdir()
        for kind in ("mres", "ares_96"):
            shutil.copy(labels, f"results/scene_0_{kind}.mat")
    elif name == "agreement":
        for person in ("Ann", "Bob"):
            shutil.copytree(scenes, f"photos/annotators/{person}", ignore=shutil.ignore_patterns("*.jpg"))
    elif name == "retile":
        shutil.copytree(scenes, "train")
    elif name == "eval-tiles":
        shutil.copytree("train/tile_96", "test/tile_96")
    elif name == "tune-crf":
        shutil.copytree(scenes, "labelled", ignore=shutil.ignore_patterns("scene_[2-9]*"))
        shutil.copytree("labelled", "images", ignore=shutil.ignore_patterns("*.mat"))
        write_labelmap(Path("masks/scene_0.png"), read_labelmap(labels))
    elif name == "semseg":
        shutil.copytree(scenes, "photos", ignore=shutil.ignore_patterns("*_mres.mat", "scene_[2-9]*"))
        shutil.copy(photo, "photo.jpg")
        n_classes = len(Path("labels.txt").read_text().splitlines())
        Path("colors.txt").write_text("".join(f"#{i:02x}8040\n" for i in range(n_classes)))
    elif name == "fcn make-labels":
        for folder in ("data/samples/RGB/train/data", "data/labels/gtFine/train/data"):
            shutil.copytree(scenes, folder)
        write_class_files(read_labelmap(labels).table, labeldefs_path=Path("data/labeldefs.txt"))
    elif name == "unet infer":
        shutil.copytree("photos", "new_photos", ignore=shutil.ignore_patterns("scene_[1-9]*"))
    elif name in ("review", "fcn train", "unet show-augmentation"):
        shutil.copytree(scenes, "photos", ignore=shutil.ignore_patterns("*.mat"))
        shutil.copytree(scenes, "masks", ignore=shutil.ignore_patterns("*.jpg"))
        write_class_files(read_labelmap(labels).table, labels_path=Path("labels.txt"))
    elif name in ("resunet init-config", "unet build-lmdb"):
        shutil.copytree(scenes, "images")
        Path("masks").mkdir()
        for path in sorted(Path("images").glob("*_mres.mat")):
            write_labelmap(Path("masks") / f"{path.stem.removesuffix('_mres')}_mask.png", read_labelmap(path))
            path.unlink()
    elif name == "resunet make-tfrecords":
        write_json("config.json", SMALL_CONFIG)


def test_every_deliberate_break_can_be_made():
    """Or `make mutate` would end before it begins: a place that was rewritten needs its row in mutations.py anew."""
    command = [sys.executable, REPOSITORY / "tools/mutate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_command_page_is_fresh():
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == load_tool("write_cli_docs").describe_commands(), "run `make docs`"


def test_the_api_page_is_fresh_and_complete():
    tool = load_tool("write_api_docs")
    page = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == tool.describe_api(), "run `make docs`"
    offered, returned = page.split("## What the functions return")
    assert sorted(re.findall(r"^### (\w+)$", offered, re.MULTILINE)) == sorted(hybridseg.__all__)
    functions = [getattr(hybridseg, name) for name in tool.STEPS]
    kinds = {kind for step in functions for kind in re.findall(r"\w+Result\b", step.__annotations__["return"])}
    assert kinds <= set(re.findall(r"^### (\w+)$", returned, re.MULTILINE))


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, scenes, tiny_module, quick_panels):
    """With a backbone that takes no time, on photos with masks of ids."""
    monkeypatch.chdir(tmp_path)
    Path("masks").mkdir()
    for path in sorted(scenes.glob("*.jpg")):
        labels = read_labelmap(path.with_name(f"{path.stem}_mres.mat")).labels
        write_image(Path("photos") / path.name, read_image(path))
        Image.fromarray(labels).save(f"masks/{path.stem}.png")
    shutil.copy(scenes / "scene_0.jpg", "new_photo.jpg")
    [code] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    settings = f"tfhub_module={str(tiny_module)!r}, input_size=32, how_many_training_steps=100, learning_rate=0.3"
    assert code.count("hs.retrain(tiles.tiles_dir)") == 1
    names: dict[str, Any] = {}
    exec(code.replace("hs.retrain(tiles.tiles_dir)", f"hs.retrain(tiles.tiles_dir, {settings})"), names)
    assert names["scores"].pooled.accuracy > 0.8 and len(names["found"].shares) == 3
    assert Path("new_photo_map.tif").exists() and len(list(Path("results").glob("*_ares_96.mat"))) == 1


# What makes an example of a page quick.
QUICKLY = {
    'out="runs/coast"': 'out="runs/coast", epochs=1, encoder="none", size=(32, 64), widths=(4, 3, 2, 2)',
    'hs.init_config("photos", masks="masks", labels="labels.txt").config': "small",
    "n_jobs=2": "n_jobs=1",
}


@pytest.mark.slow
@pytest.mark.usefixtures("quick_panels")
@pytest.mark.parametrize("name", ["quickstart", "segmentation", "dense", "labelling"])
def test_the_python_of_a_page_runs(name, scenes, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hybridseg.models.resunet._N_LEVELS", 2)
    monkeypatch.setattr("hybridseg.api.truth._is_interactive", lambda: True)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    shutil.copytree(scenes, "train")
    shutil.copytree(scenes, "photos", ignore=shutil.ignore_patterns("*.mat"))
    shutil.copytree(scenes, "masks", ignore=shutil.ignore_patterns("*.jpg"))
    shutil.copy(scenes / "scene_0.jpg", "photo.jpg")
    for path in tiny_model.parent.glob("*.*"):
        shutil.copy(path, path.name)
    found = read_labelmap(scenes / "scene_0_mres.mat")
    write_class_files(found.table, labels_path=Path("labels.txt"))
    if name == "labelling":
        write_image(Path("photos/a.png"), np.repeat(found.labels[:, :192, None], 3, axis=2) * 90)
        lines = [Stroke("pen", i, 3.0, ((50.0, 30.0 + 96 * i), (90.0, 30.0 + 96 * i))) for i in range(2)]
        write_strokes(Path("photos/a_doodles.json"), StrokeLog("a.png", (192, 192), found.table, tuple(lines), 1.0))
    code = "\n".join(re.findall(r"```python\n(.*?)```", (REPOSITORY / f"docs/{name}.md").read_text("utf-8"), re.DOTALL))
    for text, quick in QUICKLY.items():
        code = code.replace(text, quick)
    small = {**SMALL_CONFIG, "USEMASK": False}
    exec(code, names := {"__name__": "__main__", "small": small})
    shown = {"quickstart": "tiles", "segmentation": "result"}.get(name, "found")
    assert repr(names[shown]).startswith("<")
    assert bool(list(Path().glob("labelled/a_mres.mat"))) == (name == "labelling")


@pytest.mark.slow
@pytest.mark.usefixtures("quick_panels")
def test_the_commands_of_quick_prediction_run(run, coast, tmp_path, monkeypatch):
    """One after the other, in folders as that program has them, with few weights on small photos."""
    monkeypatch.chdir(tmp_path)
    for path in sorted(coast.glob("*.jpg")):
        found = read_labelmap(coast / f"{path.stem}_mres.mat")
        write_image(Path("data/raw/train/images") / path.name, read_image(path))
        write_image(Path("data/raw/train/masks") / f"{path.stem}.png", found.labels)
    write_image(Path("data/raw/test/images/002.jpg"), read_image(path))
    write_class_files(found.table, labels_path=Path("data/raw/labels.txt"))
    page = (REPOSITORY / "docs/quickprediction.md").read_text(encoding="utf-8")
    lines = re.findall(r"^hybridseg (.*)$", "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)), re.MULTILINE)
    for line in lines:
        quick = line.replace("-e 200", "-e 1").replace("-s 0.1", "-s 0.6")
        done = run(*shlex.split(quick), *(("--widths", "6,4") if quick.startswith("unet train") else ()))
        assert done.exit_code == 0, f"{quick}\n{done.output}"
    assert len(lines) == 10 and read_image(Path("output_test.png")).shape[:2] == (64, 96)
    written = ("runs/unet/checkpoints/CP_epoch2.h5", "runs/more/model_by_image.csv", "runs/more/model_worst.png",
               "models/best/promoted.json", "reports/review.html", "reports/review.log", "reports/predict/sample.png",
               "results/002_predseg.png", "checked/eval_pixels_by_image.csv", "data/processed/df_test.csv")  # fmt: skip
    assert [name for name in written if not Path(name).exists()] == [] and list(Path("logs/watched").rglob("events*"))


def test_the_table_of_config_keys_is_fresh():
    page = (REPOSITORY / "docs" / "dense.md").read_text(encoding="utf-8")
    assert page == load_tool("write_cli_docs").insert_keys(page), "run `make docs`"
    assert page.count("\n| `") >= 27


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors, f"{page.name}: {target}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "cli.md"], ids=lambda p: p.relative_to(REPOSITORY).as_posix()
)
def test_commands_that_the_pages_show_exist(page):
    """Every line that starts a command in a code block is parsed against the real options."""
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            match = re.match(r"(?:\$ )?hybridseg +(.*?)(?:\s+#.*)?$", line)
            if not match:
                continue
            words = [word for word in shlex.split(match[1]) if word not in ("--quiet", "--verbose")]
            if words[0].startswith("-"):
                continue
            n_names = 2 if words[0] in GROUPS else 1
            command = COMMANDS.get(" ".join(words[:n_names]))
            assert command is not None, f"{page.name}: {line}"
            command.make_context(words[0], words[n_names:], resilient_parsing=False)
