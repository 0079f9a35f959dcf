"""However long what a command is given, its message stays short, and nothing of it works on the terminal."""

import json
import re

import click
import numpy as np
import pytest

from hybridseg.cli.main import find_commands
from hybridseg.io.images import write_image

# A letter that no message of ours has.
LONG = "Ж" * 10_000
VALUES = (LONG, "ЖЖ " * 4000, "Ж'Ж\" " * 2000, "\x1b[31mЖ\x9b\x07\u202e\u2028\r" * 1000)
FREE = (click.types.StringParamType, click.Path, click.File, click.types.UnprocessedParamType)
COMMANDS = find_commands()
TYPED = [
    (name, option.opts[-1])
    for name, command in COMMANDS.items() if not isinstance(command, click.Group)
    for option in command.params if isinstance(option, click.Option) and not option.is_flag
    and not isinstance(option.type, FREE) and "Path" not in type(option.type).__name__
]  # fmt: skip


def check(text: str, *, most: int = 200) -> None:
    """Assert that a text echoes no more than so many of the letter, and moves no cursor."""
    assert text.count("Ж") <= most, text[:2000]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    assert len(text) < 4000


@pytest.mark.slow
def test_every_typed_option_of_every_command(run):
    assert len(TYPED) > 150
    for name, flag in TYPED:
        for value in (LONG, VALUES[3]):
            result = run(*name.split(), flag, value)
            assert result.exit_code == 2, (name, flag, result.output[:500])
            check(result.output)


@pytest.mark.parametrize("value", VALUES)
def test_the_command_line(run, tmp_path, value):
    for words in ((value,), (f"--{value}",), ("split", f"--{value}"), ("split", tmp_path, value), ("crf", value)):
        result = run(*words)
        assert result.exit_code in (1, 2)
        check(result.output)


@pytest.mark.parametrize("value", VALUES)
def test_names_and_lists_on_the_command_line(run, tmp_path, coast, value):
    labels = coast / "labels.txt"
    for words in (
        ("eval-pixels", coast, "--ignore", value, "--out", tmp_path / "e"),
        ("fcn", "train", "--name", value, "--images", coast),
        ("unet", "train", "--name", value, "--images", coast, "--masks", coast),
        ("fcn", "infer", "--name", value, "--images", coast),
        ("unet", "build-lmdb", "--image_folder", coast, "--mask_folder", coast, "--output_folder", tmp_path,
         "--dataset_name", value),
        ("resunet", "init-config", coast, "--labels", labels, "--out", tmp_path / "c.json", "--prefix", value),
        ("split", coast, "--group-by", f"({value}"),
        ("predict", coast, "--model", value),
        ("retrain", value, "--labels", labels),
    ):  # fmt: skip
        result = run(*words)
        assert result.exit_code in (1, 2), result.output
        check(result.output)


def make_files(folder, value):
    """Write files that hold a value where a person or another program writes a name, a number or a key."""
    text = value.replace("\r", "")
    shape = {"label": text, "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}
    category = {"id": 1, "name": text}
    outline = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}
    image = {"id": 1, "file_name": text, "width": 8, "height": 8}
    files = {
        "labels.txt": f"water\n{text}\n",
        "colors.txt": f"r\n{text}\n",
        "defs.txt": f"{text}, 1, 2, 3000\n",
        "config.json": json.dumps({"TARGET_SIZE": [64, 64], text: 1, "NCLASSES": text}),
        "policy.toml": f"[[step]]\ndo = {json.dumps(text)}\n",
        "key.toml": f'[[step]]\ndo = "flip"\n{json.dumps(text)} = 1\n',
        "model.json": json.dumps({"format": 1, "kind": text, "tile_size": text, "sha256": text}),
        "scenes.json": json.dumps({"n": text, "rows": text}),
        "coco.json": json.dumps({"images": [image], "categories": [category], "annotations": [outline]}),
        "a_labelme.json": json.dumps({"version": "5", "shapes": [shape], "imagePath": text, "imageHeight": text}),
        "test.txt": f"{text}\n",
        "split.csv": f"{json.dumps(text)},set\na,b\n",
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize("value", VALUES)
def test_values_in_files(run, tmp_path, coast, table, value):
    make_files(tmp_path, value)
    (tmp_path / "m.pb").write_bytes(b"x")
    (tmp_path / "m.json").write_bytes((tmp_path / "model.json").read_bytes())
    for words in (
        ("eval-pixels", coast, "--labels", tmp_path / "labels.txt", "--out", tmp_path / "e"),
        ("eval-pixels", coast, "--labels", coast / "labels.txt", "--colors", tmp_path / "colors.txt"),
        ("eval-pixels", coast, "--labels", tmp_path / "defs.txt"),
        ("resunet", "train", tmp_path / "config.json", "--images", coast, "--masks", coast),
        ("unet", "show-augmentation", "--policy", tmp_path / "policy.toml", "--images", coast),
        ("unet", "show-augmentation", "--policy", tmp_path / "key.toml", "--images", coast),
        ("semseg", coast, "--model", tmp_path / "m.pb"),
        ("demo-scenes", tmp_path),
        ("coco", "import", tmp_path / "coco.json", "--images", coast, "--out", tmp_path / "coco"),
        ("coco", "import", tmp_path / "coco.json", "--images", coast, "--categories", value),
        ("split", coast, "--test", tmp_path / "test.txt", "--out", tmp_path / "s"),
    ):
        result = run(*words)
        assert result.exit_code in (1, 2), (words, result.output[:800])
        check(result.output)


def test_a_file_with_a_strange_name_is_listed_readably(run, tmp_path):
    write_image(tmp_path / "ok.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "a\x1b[31m\n\x9bb.png").write_bytes(b"no image")
    result = run("review", tmp_path, "--out", tmp_path / "out")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.output)
