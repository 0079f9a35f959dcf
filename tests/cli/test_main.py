"""What a user meets before any command runs: a misspelt name, and Tab."""

import pytest
from click.shell_completion import ShellComplete

from hybridseg.cli.main import main


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


def complete(typed):
    *words, incomplete = typed.split()
    return ShellComplete(main, {}, "hybridseg", "_HYBRIDSEG_COMPLETE").get_completions(words, incomplete)
