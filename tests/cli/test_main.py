"""What a user meets before any command runs: a misspelt name, Tab, and options that cannot be."""

import sys

import click
import pytest
from click.shell_completion import ShellComplete

from hybridseg.__main__ import start
from hybridseg.cli.main import main
from hybridseg.cli.report import INTERRUPTED


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("retil", "'retile'"),
        ("eval_pixels", "'eval-pixels'"),
        ("infer", "'fcn infer'"),
        ("resunet trian", "'train'"),
        ("split --proprotion 0.5", "'--proportion'"),
    ],
)
def test_what_was_meant_by_a_misspelt_word(run, typed, meant):
    result = run(*typed.split())
    assert result.exit_code == 2 and "Did you mean" in result.stderr and meant in result.stderr


def test_a_word_like_no_other(run):
    result = run("frobnicate")
    assert result.exit_code == 2 and result.stderr.endswith("Error: No such command 'frobnicate'.\n")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ret", ["retile", "retrain"]),
        ("fcn inf", ["infer"]),
        ("semseg photos --patt", ["--pattern"]),
        ("semseg photos --pattern ch", ["checker"]),
    ],
)
def test_tab_completes(typed, found):
    assert [item.value for item in complete(typed)] == found


@pytest.mark.parametrize("typed", ["semseg ph", "semseg photos --model mo", "retile tr", "crf photo.jpg --labels l"])
def test_tab_completes_the_names_of_files(typed):
    assert [item.type for item in complete(typed)] == ["file"]


def test_every_command_that_draws_has_both_options_of_figures():
    found = {name: {"dpi", "figure_format"} & {p.name for p in command.params} for name, command in list_commands()}
    drawing = {name for name, options in found.items() if options}
    assert drawing == {
        *("semseg", "segment", "estimate", "eval-pixels", "eval-tiles", "retrain", "label", "crf"),
        *("fcn train", "fcn infer", "resunet train", "resunet evaluate", "resunet segment"),
        *("unet train", "unet infer", "unet show-augmentation", "coco import"),
    }
    assert all(len(found[name]) == 2 for name in drawing)


def list_commands(group=main, prefix=""):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from list_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def complete(typed):
    *words, incomplete = typed.split()
    return ShellComplete(main, {}, "hybridseg", "_HYBRIDSEG_COMPLETE").get_completions(words, incomplete)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("split coast -p 1.5", "--proportion=1.5: give a number from 0 to 1"),
        ("split coast --group-by (", "--group-by '(' is not a regular expression"),
        ("retile coast -a 90", "--purity=90.0: give a number from 0 to below 1"),
        ("retrain --image_dir coast --how_many_training_steps 0", "--how_many_training_steps=0: give a whole number"),
        ("retrain --image_dir coast --fine-tune-rate 5", "--fine-tune-rate=5.0: give a number above 0 and below 1"),
        ("tune-crf coast --trials 0", "--trials=0: give a whole number of 1 or more"),
        ("crf coast/scene_00.jpg coast/scene_00_mres.mat -s 3", "--scale=3.0: give a number above 0 and up to 1"),
    ],
)
def test_a_wrong_value_is_named_as_it_was_typed(run, coast, monkeypatch, typed, message):
    monkeypatch.chdir(coast.parent)
    coast.rename("coast")
    result = run(*typed.split())
    assert result.exit_code == 1 and message in result.stderr


def test_a_missing_option_is_named(run):
    result = run("retrain")
    assert result.exit_code == 2 and "Missing option '--image_dir'" in result.stderr


def test_an_empty_path_is_not_the_current_folder(run, coast, monkeypatch):
    """As an unset variable of the shell leaves it."""
    monkeypatch.chdir(coast)
    for words in (["split", ""], ["semseg", ""], ["retile", "--out", ""]):
        result = run(*words)
        assert result.exit_code == 2 and "it is empty" in result.stderr
    assert not (coast.parent / "train").exists()


def test_a_pattern_that_the_shell_expanded_is_told_to_be_quoted(run):
    words = ("resunet", "segment", "--config", "c.json", "--weights", "w.h5", "--images")
    result = run(*words, "grey/a.jpg", "grey/b.jpg", "grey/c.jpg")
    assert result.exit_code == 2
    assert (
        "(grey/b.jpg grey/c.jpg); the shell expands a pattern: put it in quotes, or give the folder." in result.stderr
    )
    assert "quotes" not in run(*words, "grey", "water").stderr


@pytest.mark.slow
def test_tuning_on_nothing_says_why(run, coast, tiny_model):
    result = run("tune-crf", coast / "scene_00_mres.mat", "--images", coast.parent)
    assert result.exit_code == 1 and "(--images) has no JPEG" in result.stderr
    (coast / "scene_00.jpg").unlink()
    result = run("tune-crf", coast / "scene_00_mres.mat", "--model", tiny_model)
    assert result.exit_code == 1 and "no labelled image to tune on:" in result.stderr
    assert "scene_00_mres.mat: has no image beside it" in result.stderr


def test_ctrl_c_while_the_program_loads(monkeypatch):
    class Interrupting:
        def find_spec(self, name, *_):
            if name == "hybridseg.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "hybridseg.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        start()
    assert stop.value.code == INTERRUPTED
