"""``hybridseg demo-dense``: the three dense networks from end to end, as the commands that a user would type."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from hybridseg.demo.demoscenes import place_scenes
from hybridseg.demo.overview import draw_result_overview, draw_scene_overview
from hybridseg.dense.programs.config import config_record, read_config
from hybridseg.errors import OutputExists
from hybridseg.io.atomic import write_bytes, write_text
from hybridseg.io.labels.classfiles import write_class_files
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import holds_files, lock_output
from hybridseg.io.pairing import PREDSEG, PREDSEG_CRF, list_images
from hybridseg.io.tables import write_json
from hybridseg.study.story import Story, compare_scores, read_scores

_SIZE = (192, 288)
_FCN_EPOCHS, _RESUNET_EPOCHS = 60, 40
# Changes to the proposed config, so that two cores need a few minutes.
_CHANGES = {
    **{"TARGET_SIZE": list(_SIZE), "MAX_EPOCHS": _RESUNET_EPOCHS, "AUG_COPIES": 4, "VALIDATION_SPLIT": 0.15},
    **{"RAMPUP_EPOCHS": 3, "SUSTAIN_EPOCHS": 25.0, "EXP_DECAY": 0.8, "START_LR": 1e-4, "MAX_LR": 2e-3, "MIN_LR": 1e-5},
    **{"PATIENCE": _RESUNET_EPOCHS},
}


def _prepare(story: Story) -> None:
    out_dir = story.out_dir
    # The two layouts in which the networks take their training data.
    samples, labels = out_dir / "data/samples/RGB/train/demo", out_dir / "data/labels/gtFine/train/demo"
    for folder in (samples, labels, out_dir / "images", out_dir / "labels"):
        folder.mkdir(parents=True)
    images = list_images(out_dir / "train")
    for path in images:
        truth = path.with_name(f"{path.stem}_mres.mat")
        for source, folders in ((path, (samples, out_dir / "images")), (truth, (labels, out_dir / "labels"))):
            for folder in folders:
                write_bytes(folder / source.name, source.read_bytes())
    first = images[0].with_name(f"{images[0].stem}_mres.mat")
    table = read_labelmap(first, with_seeds=False).require_table(first)
    write_class_files(table, labeldefs_path=out_dir / "data/labeldefs.txt")
    story.tell(
        "1. Scenes for training and evaluation",
        "Two thirds of the scenes are for training. They are laid out in two ways: in data/, with its "
        "labeldefs.txt, as the classic FCN-8s has them; in images/ and labels/ for the two U-Nets.",
        scenes="Six of the scenes, and the exact class of each pixel.",
    )


def _train_fcn(story: Story) -> None:
    out_dir = story.out_dir
    data_dir, runs = out_dir / "data", ("--runs-dir", out_dir / "runs")
    story.run(
        "fcn", "make-labels", data_dir / "labels/gtFine/train/demo", "--labeldefs", data_dir / "labeldefs.txt"
    )  # fmt: skip
    story.run(
        "fcn", "train", "--name", "demo", "--data-source", "demo", "--data-dir", data_dir,
        *("--epochs", _FCN_EPOCHS, "--learning-rate", "0.001", "--batch-size", "2"),
        "--size", f"{_SIZE[0]}x{_SIZE[1]}", *runs,
    )  # fmt: skip
    infer = ("fcn", "infer", "--name", "demo", *runs, "--samples-dir", out_dir / "test")
    story.run(*infer, "--output-dir", out_dir / "fcn")
    story.run(*infer, "--output-dir", out_dir / "fcn_crf", "--crf")
    for name in ("training", "examples"):
        write_bytes(out_dir / f"fcn_{name}.png", (out_dir / "runs/demo" / f"model_{name}.png").read_bytes())
    story.tell(
        "2. FCN-8s",
        "A MobileNetV2 pretrained on everyday pictures sees the whole scene; its features at three depths are "
        "combined to a class for every pixel.",
        fcn_training="The course of the training.",
        fcn_examples="Validation scenes, seen at the end of each epoch.",
    )


def _train_resunet(story: Story) -> None:
    out_dir = story.out_dir
    images, config, weights = out_dir / "images", out_dir / "config.json", out_dir / "weights/resunet.h5"
    story.run(
        "resunet", "init-config", out_dir / "images", "--labels", out_dir / "labels", "--out", config, "--overwrite"
    )
    write_json(config, {**config_record(read_config(config)), **_CHANGES})
    given = ("--config", config)
    labels = ("--labels", out_dir / "labels", "--labeldefs", out_dir / "data/labeldefs.txt")
    story.run("resunet", "make-tfrecords", *given, "--images", images, *labels, "--out", out_dir / "records")
    story.run("resunet", "train", *given, "--data", out_dir / "records", "--weights-out", weights, "--loss", "combo")
    story.run(
        "resunet", "segment", *given, "--weights", weights, "--images", out_dir / "test", "--out", out_dir / "resunet"
    )
    for name in ("train_sample_batch", "learning_rate", "training", "examples"):
        write_bytes(out_dir / f"resunet_{name}.png", weights.with_name(f"resunet_{name}.png").read_bytes())
    changes = ", ".join(f"{name} {value}" for name, value in _CHANGES.items())
    story.tell(
        "3. The residual U-Net",
        f"It starts from random weights and is trained on rotated, zoomed and mirrored copies of the scenes. Of the "
        f"proposed config these values were changed: {changes}.",
        resunet_train_sample_batch="A batch of training samples.",
        resunet_learning_rate="The learning rate of each epoch.",
        resunet_training="The course of the training.",
        resunet_examples="Validation scenes, seen at the end of each epoch.",
    )


def _train_unet(story: Story) -> None:
    out_dir = story.out_dir
    run = ("--name", "unet", "--runs-dir", out_dir / "runs")
    story.run("unet", "train", *run, "--images", out_dir / "images", "--masks", out_dir / "labels")
    story.run("unet", "infer", *run, "--images", out_dir / "test", "--out", out_dir / "unet")
    for name in ("network", "training", "examples"):
        write_bytes(out_dir / f"unet_{name}.png", (out_dir / "runs/unet" / f"model_{name}.png").read_bytes())
    story.tell(
        "4. The U-Net on a pretrained encoder",
        "It has the encoder of the FCN-8s and a finer decoder, and sees windows of the scenes at their own resolution. "
        "All settings are the defaults.",
        unet_network="The network, and the rows, columns and channels at each step.",
        unet_training="The course of the training.",
        unet_examples="Validation scenes, seen at the end of each epoch.",
    )


def _compare(story: Story) -> None:
    out_dir = story.out_dir
    ways = {"FCN-8s": "fcn", "FCN-8s, CRF": "fcn_crf", "residual U-Net": "resunet", "U-Net": "unet"}
    names = {folder: PREDSEG_CRF if folder == "fcn_crf" else PREDSEG for folder in ways.values()}
    for folder, name in names.items():
        story.run(
            "eval-pixels", out_dir, "--truth", "test/*_mres.mat", "--prediction", f"{folder}/*_{name}.png", "--out",
            out_dir / folder,
        )  # fmt: skip
    images = list_images(out_dir / "test")
    maps = {way: [out_dir / f / f"{p.stem}_{names[f]}.png" for p in images] for way, f in ways.items()}
    maps["truth"] = [p.with_name(f"{p.stem}_mres.mat") for p in images]
    draw_result_overview(out_dir / "results.png", images, maps)
    story.tell(
        f"The result: a class for every pixel of {len(images)} new scenes",
        "FCN-8s and U-Net build on pretraining with everyday pictures; the residual U-Net has only the few scenes.",
        points={way: read_scores(out_dir / folder)["verdict"]["text"] for way, folder in ways.items()},
        tables=compare_scores(out_dir, ways),
        results="Each scene, the results of the networks, and the truth.",
    )


_MARK = "DEMO.txt"
_FOLDERS = ("train", "test", "data", "images", "labels", "records", "runs", "weights", "fcn", "fcn_crf",
            "resunet", "unet")  # fmt: skip
_LEAD = """Everything below was made just now by the commands that are shown, from synthetic coast scenes whose class is
exactly known for each pixel. The networks have not seen the scenes on which they are evaluated. They are trained on few
and small pictures here, so that it takes minutes; with your own photos the commands are the same."""


def run_dense_demo(
    out_dir: Path,
    scenes_dir: Path | None,
    *,
    run_command: Callable[[list[str]], object],
    say: Callable[[str], None],
) -> Path:
    """Train all networks on demo scenes; return the page that shows it.

    Parameters
    ----------
    scenes_dir : pathlib.Path or None
        Demo scenes to use; None: beside `out_dir`.
    run_command, say : callable
        See `Story`.
    """
    with lock_output(out_dir / _MARK):
        claim_demo(out_dir)
        story = Story(out_dir, run_command, say)
        scenes_dir = place_scenes(out_dir, scenes_dir)
        story.run("demo-scenes", scenes_dir)
        story.run("split", scenes_dir, "-p", "0.67", "--out", out_dir)
        draw_scene_overview(out_dir / "scenes.png", scenes_dir)
        for tell_chapter in (_prepare, _train_fcn, _train_resunet, _train_unet, _compare):
            tell_chapter(story)
        title = "Every pixel at once: FCN-8s, a residual U-Net, and a U-Net on a pretrained encoder"
        return story.write_page(title, _LEAD)


def claim_demo(out_dir: Path) -> None:
    """Make the folder, or clear it of an earlier demo; raise OutputExists when it holds other files."""
    mark = out_dir / _MARK
    if holds_files(out_dir) and not mark.exists():
        raise OutputExists(f"{out_dir} holds files that are not from a demo; give an empty folder")
    write_text(mark, "The demo clears this folder when it runs again.\n")
    for name in _FOLDERS:
        shutil.rmtree(out_dir / name, ignore_errors=True)
