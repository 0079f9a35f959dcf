"""What the documents promise, the program keeps: every command has help, a Result, an example that runs, a page."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from hybridseg.cli.main import find_commands
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.tables import write_json

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted([REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("labels/*.md")])


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


# What must be there before the example of a command: folders of labelled scenes, and commands.
FOLDERS = {
    "split": ["photos"],
    "retile": ["train"],
    "retrain": ["train"],
    "eval-tiles": ["train", "test"],
    "semseg": ["train", "photos"],
    "tune-crf": ["train", "labelled"],
    "fcn": ["data/samples/RGB/train/data", "data/labels/gtFine/train/data"],
    "resunet": ["images"],
}
TRAIN = "retrain --image_dir train/tile_96 --how_many_training_steps 20 --input-size 64"
BEFORE = {
    "retrain": ["retile -b 1 train"],
    "eval-tiles": ["retile -b 1 train", "retile -b 1 test", TRAIN],
    "semseg": ["retile -b 1 train", TRAIN],
    "tune-crf": ["retile -b 1 train", TRAIN],
}
# What makes an example quick.
EXTRA = {"tune-crf": "--trials 2", "fcn train": "--epochs 1 --size 32x64", "resunet train": "--filters 2"}
SMALL_CONFIG = {
    **{"TARGET_SIZE": [32, 64], "NCLASSES": 10, "N_DATA_BANDS": 3, "MAX_EPOCHS": 1, "AUG_COPIES": 1, "BATCH_SIZE": 2},
    **{"USEMASK": True, "DO_CRF_REFINE": False, "MEDIAN_FILTER_VALUE": 0},
}


# These have a test of their own.
APART = ("demo", "demo-dense", "doctor", "label")
# The examples of a group are run one after the other: each needs what the one before has made.
EXAMPLES = [name for name in (*COMMANDS, *GROUPS) if " " not in name and name not in APART]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_every_command_runs(name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare(name)
    for words in BEFORE.get(name, []):
        assert run(*shlex.split(words)).exit_code == 0
    names = [f"{name} {child}" for child in GROUPS[name].commands] if name in GROUPS else [name]
    for command in names:
        examples = re.findall(r"^ +hybridseg (.*)", COMMANDS[command].help.partition("\n\n")[2], re.MULTILINE)
        assert examples
        for words in examples:
            if "colors.txt" in words:
                n_classes = len(Path("labels.txt").read_text().split("\n")) - 1
                Path("colors.txt").write_text("".join(f"#{i:02x}8040\n" for i in range(n_classes)))
            result = run(*shlex.split(f"{words} {EXTRA.get(command, '')}"))
            assert result.exit_code == 0, result.output
            if command == "resunet init-config":
                write_json("config.json", SMALL_CONFIG)


def prepare(name):
    """Lay out what the examples of a command work on."""
    for folder in FOLDERS.get(name, []):
        Path(folder).mkdir(parents=True)
        for path in (REPOSITORY / "demo_data").glob("scene_0[0-3]*" if name in GROUPS else "scene_0[0-5]*"):
            shutil.copy(path, folder)
    if name == "eval-pixels":
        Path("results").mkdir()
        for kind in ("mres", "ares_96"):
            shutil.copy(REPOSITORY / "demo_data" / "scene_00_mres.mat", f"results/scene_00_{kind}.mat")
    if name == "crf":
        shutil.copy(REPOSITORY / "demo_data" / "scene_00_mres.mat", "photo_mres.mat")
    if name in ("semseg", "crf"):
        shutil.copy(REPOSITORY / "demo_data" / "scene_00.jpg", "photo.jpg")
    if name == "fcn":
        table = read_class_files(REPOSITORY / "demo_data" / "labels.txt", REPOSITORY / "demo_data" / "colors.txt")
        write_class_files(table, labeldefs_path=Path("data/labeldefs.txt"))
    if name == "resunet":
        Path("masks").mkdir()
        for path in sorted(Path("images").glob("*_mres.mat")):
            write_labelmap(Path("masks") / f"{path.stem.removesuffix('_mres')}_mask.png", read_labelmap(path))
            path.unlink()


def test_the_command_page_is_fresh():
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == load_tool("write_cli_docs").describe_commands(), "run `make docs`"


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
