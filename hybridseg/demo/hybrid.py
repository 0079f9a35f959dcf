"""``hybridseg demo``: the hybrid method from end to end, as the commands that a user would type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hybridseg.demo.overview import draw_result_overview, draw_scene_overview, draw_tile_overview
from hybridseg.demo.story import Story, claim_demo, show_share
from hybridseg.evaluation.page import Table
from hybridseg.io.pairing import MANIFEST_NAME, list_images

_FOLDERS = ("train", "test", "tiles_alone", "best")


def demonstrate_hybrid(
    out_dir: Path,
    scenes_dir: Path | None,
    *,
    run_command: Callable[[list[str]], object],
    say: Callable[[str], None],
) -> Path:
    """Run the hybrid method on demo scenes; return the page that shows it.

    Parameters
    ----------
    scenes_dir : pathlib.Path or None
        Demo scenes to use; None draws them into `out_dir`.
    run_command, say : callable
        See `Story`.
    """
    claim_demo(out_dir, _FOLDERS)
    story = Story(out_dir, run_command, say)
    _prepare(story, scenes_dir or out_dir / "scenes")
    _train(story)
    _segment(story)
    lead = (
        "Everything below was made just now by the commands that are shown, from synthetic coast scenes whose class is "
        "exactly known for each pixel. The classifier has not seen the scenes on which it is evaluated. "
        "With photos of your own, the commands are the same."
    )
    return story.write_page("From photos to land cover: the hybrid method", lead)


def _prepare(story: Story, scenes_dir: Path) -> None:
    out_dir = story.out_dir
    story.run("demo-scenes", scenes_dir)
    story.run("split", scenes_dir, "-p", "0.67", "--out", out_dir)
    draw_scene_overview(out_dir / "scenes.png", scenes_dir)
    story.tell(
        "1. Scenes for training and evaluation",
        "Twelve scenes of a coast with their label maps are divided: two thirds for training, the rest for evaluation.",
        scenes="Scenes above their label maps.",
    )
    for name in ("train", "test"):
        # All tiles are kept (-b 1): a dozen small scenes have none to spare.
        story.run("retile", "-t", "96", "-a", "0.9", "-b", "1", out_dir / name)
    draw_tile_overview(out_dir / "tiles.png", out_dir / "train" / "tile_96" / MANIFEST_NAME)
    story.tell(
        "2. Tiles of one class each",
        "Windows of 96 pixels of which one class covers more than 90 % become tiles to train the classifier.",
        tiles="Training tiles, drawn at random from each class.",
    )


def _train(story: Story) -> None:
    out_dir, model = story.out_dir, story.out_dir / "model.pb"
    words = ["--image_dir", out_dir / "train" / "tile_96", "--output_graph", model]
    story.run("retrain", *words, "--bottleneck_dir", out_dir / "bottlenecks", "--testing_percentage", "0")
    story.tell(
        "3. A classifier",
        "A MobileNetV2 pretrained on everyday pictures becomes a classifier of tiles: only its last layer is trained.",
        model_training="The course of the training.",
    )
    story.run("eval-tiles", "-n", "100", out_dir / "test" / "tile_96", "--model", model, "--out", out_dir)
    classes = story.read("eval_tiles.json")["classes"]
    rows = [(row["class"], *(show_share(row[name]) for name in ("precision", "recall", "f1"))) for row in classes]
    story.tell(
        "4. Its accuracy on tiles",
        "Evaluated on tiles of the scenes that it has not seen.",
        tables=[Table(("class", "precision", "recall", "F1"), rows)],
        eval_tiles_confusion="Which classes it confuses.",
        eval_tiles_calibration="How often it is right at each level of confidence.",
    )


def _segment(story: Story) -> None:
    out_dir, test, model = story.out_dir, story.out_dir / "test", story.out_dir / "model.pb"
    story.run("semseg", test, "--model", model, "--decimation", "1", "--scale", "0.5", "--keep-seeds")
    story.run("eval-pixels", test)
    truth = ("--truth", "test/*_mres.mat")
    tiles_dir, best_dir = out_dir / "tiles_alone", out_dir / "best"
    story.run("eval-pixels", out_dir, *truth, "--prediction", "test/*_atiles_96.mat", "--out", tiles_dir)
    story.run("semseg", test, "--model", model, "--best", "--out", best_dir)
    story.run("eval-pixels", out_dir, *truth, "--prediction", "best/*_ares_96.mat", "--out", best_dir)
    images = list_images(test)
    maps = {
        "tiles alone": [test / f"{path.stem}_atiles_96.mat" for path in images],
        "semseg": [test / f"{path.stem}_ares_96.mat" for path in images],
        "semseg --best": [best_dir / f"{path.stem}_ares_96.mat" for path in images],
        "truth": [test / f"{path.stem}_mres.mat" for path in images],
    }
    draw_result_overview(out_dir / "results.png", images, maps)
    pooled = {
        name: story.read(f"{folder}/eval_pixels.json")["pooled"]
        for name, folder in zip(maps, ("tiles_alone", "test", "best"), strict=False)
    }
    summary = [
        (n, show_share(r["accuracy"]), show_share(r["macro"]["iou"]), show_share(r["macro"]["f1"]))
        for n, r in pooled.items()
    ]
    by_class = [
        (rows[0]["class"], *(show_share(row["iou"]) for row in rows))
        for rows in zip(*(record["classes"] for record in pooled.values()), strict=True)
    ]
    story.tell(
        f"The result: a class for every pixel of {len(images)} new scenes",
        "The tiles alone give blocks. A dense CRF spreads the confident ones to every pixel by colour and distance: "
        "that is the classic method. With --best the tiles overlap and seed it with their probabilities.",
        tables=[
            Table(("against the exact truth", "pixel accuracy", "mean IoU", "mean F1"), summary, (len(summary) - 1,)),
            Table(("IoU of each class", *pooled), by_class),
        ],
        results="Each scene, the result of the tiles alone, that after the CRF, and the truth.",
    )
