"""``hybridseg demo``: the hybrid method from end to end, as the commands that a user would type."""

from __future__ import annotations

from hybridseg.demo.demonstration import Demonstration
from hybridseg.demo.overview import draw_result_overview, draw_tile_overview
from hybridseg.evaluation.page import Table
from hybridseg.io.pairing import MANIFEST_NAME, list_images
from hybridseg.study.story import Story, show_share


def _prepare(story: Story) -> None:
    out_dir = story.out_dir
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
        f"Evaluated on tiles of the scenes that it has not seen. {story.read_verdict('eval_tiles.json')}",
        tables=[Table(("class", "precision", "recall", "F1"), rows)],
        eval_tiles_confusion="Which classes it confuses.",
        eval_tiles_calibration="How often it is right at each level of confidence.",
    )


def _segment(story: Story) -> None:
    out_dir, test, model = story.out_dir, story.out_dir / "test", story.out_dir / "model.pb"
    story.run("semseg", test, "--model", model)
    story.run("eval-pixels", test)
    truth = ("--truth", "test/*_mres.mat")
    tiles_dir, classic_dir = out_dir / "tiles_alone", out_dir / "classic"
    # Every eighth tile at a quarter of the size is for photos of many megapixels.
    fine = ("--decimation", "1", "--scale", "0.5", "--keep-seeds")
    story.run("semseg", test, "--model", model, "--classic", *fine, "--out", classic_dir)
    story.run("eval-pixels", out_dir, *truth, "--prediction", "classic/*_ares_96.mat", "--out", classic_dir)
    story.run("eval-pixels", out_dir, *truth, "--prediction", "classic/*_atiles_96.mat", "--out", tiles_dir)
    images = list_images(test)
    maps = {
        "tiles alone": [classic_dir / f"{path.stem}_atiles_96.mat" for path in images],
        "semseg --classic": [classic_dir / f"{path.stem}_ares_96.mat" for path in images],
        "semseg": [test / f"{path.stem}_ares_96.mat" for path in images],
        "truth": [test / f"{path.stem}_mres.mat" for path in images],
    }
    draw_result_overview(out_dir / "results.png", images, maps)
    story.tell(
        f"The result: a class for every pixel of {len(images)} new scenes",
        "The tiles alone give blocks. A dense CRF spreads the confident ones to every pixel by colour and distance: "
        "that is the classic method. By default the tiles overlap, and seed it with their probabilities. "
        f"{story.read_verdict('test/eval_pixels.json')}",
        tables=story.compare(dict(zip(maps, ("tiles_alone", "classic", "test"), strict=False)), strong=(2,)),
        results="Each scene, the result of the tiles alone, that after the CRF, and the truth.",
    )


HYBRID = Demonstration(
    title="From photos to land cover: the hybrid method",
    lead=(
        "Everything below was made just now by the commands that are shown, from synthetic coast scenes whose class "
        "is exactly known for each pixel. The classifier has not seen the scenes on which it is evaluated. With "
        "photos of your own, the commands are the same."
    ),
    folders=("train", "test", "tiles_alone", "classic"),
    chapters=(_prepare, _train, _segment),
)
