import numpy as np
import pytest

import hybridseg as hs
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
        ("first: hybridseg convert --to png", "first: hs.convert(to='png')"),
        ("train one with `hybridseg retrain`", "train one with `hs.retrain`"),
        ("make ids: hybridseg convert --threshold 128", "make ids: hs.convert(threshold=128)"),
        ("classes: hybridseg convert --nearest-color and so on", "classes: hs.convert(nearest_color=True) and so on"),
        ("go on: `hybridseg fcn train --resume ...`", "go on: `hs.train_fcn(resume=True, ...)`"),
        ("`hybridseg unet train --name x --checkpoint-interval 1`", "`hs.train_unet(checkpoint_interval=1, ...)`"),
        ("spread it: `hybridseg crf a.jpg 'b c.json'`", "spread it: `hs.spread('a.jpg', 'b c.json')`"),
        ("lower that of `hybridseg retile -a`", "lower that of `hs.retile`"),
        ("label more (hybridseg label)", "label more (hs.label)"),
        ("`hybridseg fcn make-labels DIR`, or hybridseg fcn", "`hybridseg fcn make-labels DIR`, or hs.train_fcn"),
        ("it is not of hybridseg and stays", "it is not of hybridseg and stays"),
        ("for --prediction=all; trust them (--gt-prob)", "for prediction='all'; trust them (gt_prob of crf)"),
    ],
)
def test_errors_speak_python(message, spoken):
    defaults = {
        "photos": None,
        "masks": None,
        "prediction": None,
        "overwrite": False,
        "n_jobs": 1,
        "crf": hs.CrfOptions(),
    }
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hs.retile("photos", tile_size="96"), "tile_size='96': give a whole number of 8 or more"),
        (lambda: hs.train_fcn("photos", epochs="3"), "epochs='3': give a whole number"),
        (lambda: hs.HybridOptions(threshold="0.5"), "threshold='0.5': give a number"),
        (lambda: hs.retile("photos", purity=True), "purity=True: give a number"),
        (lambda: hs.open_model("model.pb", labels=["a"]), r"\['a'\] is given where the path of a file"),
        (lambda: hs.retile([np.zeros(3)]), r"an array of \(3,\) is given where the path"),
        (lambda: hs.retile("photos", labels=3), "3 are no classes; give a class file, a ClassTable or a list of names"),
        (lambda: hs.split("photos", test_list=["a"], proportion=0.3), "leave out proportion= and seed="),
        (lambda: hs.run("photos", method="fcn", tile_size=64), "tile_size= is for the hybrid method"),
        (lambda: hs.retrain("photos", out="m.h5"), "^out='m.h5': name it with the suffix .pb"),
        (lambda: hs.split("photos", group_by=r"(\d{4}"), r"^group_by='\(\\d\{4\}' is not a regular expression"),
        (lambda: hs.run("photos", epochs=3), "epochs= is for the training of fcn"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(call, message, coast, monkeypatch):
    monkeypatch.chdir(coast.parent)
    with pytest.raises(HybridSegError, match=message):
        call()


def test_classes_and_names_in_any_form(coast, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = hs.split("photos", test_list=["scene_01.jpg", "scene_03"])
    assert [path.name for path in sorted(sets.test_dir.glob("*.jpg"))] == ["scene_01.jpg", "scene_03.jpg"]
    hs.write_labelmap("a.mat", hs.LabelMap(np.zeros((4, 4), np.uint8), hs.ClassTable.from_names(["sand"])))
    (tmp_path / "labels.txt").write_text("sand\nwater\n")
    from PIL import Image

    Image.fromarray(np.ones((4, 4), np.uint8)).save("a.png")
    for table in (["sand", "water"], "labels.txt", hs.ClassTable.from_names(["sand", "water"])):
        assert list(hs.read_labelmap("a.png", table=table).table) == ["sand", "water"]
