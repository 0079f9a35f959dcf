import pytest

from hybridseg.api.calls import run_command, show_progress, speak_python
from hybridseg.cli.console import Console
from hybridseg.errors import HybridSegError, MissingInput


@pytest.mark.parametrize(
    ("message", "spoken"),
    [
        ("give --overwrite to replace it", "give overwrite=True to replace it"),
        ("run with one process (--jobs 1)", "run with one process (n_jobs=1)"),
        ("say which: --prediction '*_ares_96.mat'", "say which: prediction='*_ares_96.mat'"),
        ("a folder of its own: --images DIR --masks DIR", "a folder of its own: photos=DIR masks=DIR"),
        ("lower the purity (-a) or the tile size (-t)", "lower the purity or the tile size"),
        ("first: hybridseg convert --to png", "first: hybridseg convert --to png"),
    ],
)
def test_errors_speak_python(message, spoken):
    defaults = {"photos": None, "masks": None, "prediction": None, "overwrite": False, "n_jobs": 1}
    assert speak_python(message, defaults) == spoken


def test_a_command_that_fails_is_an_error(coast, tmp_path, monkeypatch):
    console = Console(quiet=True)
    with pytest.raises(HybridSegError, match="there is no file or folder nowhere"):
        run_command(console, ["retile", "nowhere"])
    (coast / "damaged.jpg").write_bytes(b"")
    with pytest.raises(HybridSegError, match=r"hybridseg split .* could not use all files; see what it printed"):
        run_command(console, ["split", str(coast)])

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridseg.cli.prepare.split_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        run_command(console, ["split", str(coast)])


def test_the_kind_of_an_error_is_kept():
    import hybridseg

    with pytest.raises(HybridSegError, match=r"\(test_list=\) leaves nothing to group_by= and stratify=True"):
        hybridseg.split("photos", test_list="test.txt", stratify=True)
    with pytest.raises(MissingInput, match="there is no folder") as caught:
        hybridseg.split("nowhere")
    assert isinstance(caught.value, FileNotFoundError)


def test_progress_is_for_those_who_watch(monkeypatch, capfd):
    assert list(show_progress()([1, 2], label="work")) == [1, 2] and capfd.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(show_progress()([1, 2], label="work")) == [1, 2] and "work: " in capfd.readouterr().err
