"""Segmentation with a model that takes no TensorFlow: words, names, settings and what is said."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap, read_made_by, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

FAST = ("--decimation", 1, "--scale", 0.5, "--theta", 6, "--color-scale", 20, "--space-compat", 3, "--color-compat", 10)


@pytest.fixture
def fake_model(by_color, quick_panels, tmp_path, monkeypatch):
    """A classifier that takes no TensorFlow in the place of every model; gives what it was asked for."""
    asked = []

    def load(path, **settings):
        asked.append({"path": path, **settings})
        return by_color

    monkeypatch.setattr("hybridseg.hybrid.semseg.load_classifier", load)
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.fixture
def photos(tmp_path, paint_coast):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b", "c"):
        write_image(folder / f"{name}.png", paint_coast(32, 64, border=32))
    return folder


@pytest.fixture
def class_files(tmp_path):
    """The words LABELS and COLORS for the fake model."""
    (tmp_path / "l.txt").write_text("cliff\nveg\nwater\n")
    (tmp_path / "c.txt").write_text("red\ngreen\nblue\n")
    return "l.txt", "c.txt"


def names_in(folder, pattern="*"):
    return sorted(path.name for path in folder.glob(pattern))


def test_the_nine_words_in_their_order(run, fake_model, photos, class_files):
    result = run("semseg", photos / "a.png", "m.pb", "l.txt", "c.txt", 16, 0.7, 0.6, 2, 0.5, "--report")
    assert result.exit_code == 0, result.output
    how = {"input_range": None, "engine": "litert"}
    assert fake_model == [{"path": Path("m.pb"), "labels_path": Path("l.txt"), "tile_size": 16, **how}]
    settings = json.loads((photos / "a_ares_16_report.json").read_text())["settings"]
    assert (settings["threshold"], settings["crf"]["gt_prob"]) == (0.7, 0.6)
    assert (settings["decimation"], settings["scale"]) == (2, 0.5)


@pytest.mark.parametrize("ending", [".mat", "_label.png", "_report.json", ".png"])
def test_what_others_made_under_the_names_of_results_stays(run, fake_model, photos, class_files, ending):
    path = photos / ("figures" if ending == ".png" else "") / f"a_ares_16{ending}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(mine := (photos / "b.png").read_bytes())
    words = ("semseg", photos / "a.png", photos / "b.png", "m.pb", *class_files, 16, "--report")
    result = run(*words)
    assert result.exit_code == 1 and f"{path.name} is there and was not written by hybridseg; move it" in result.stderr
    assert path.read_bytes() == mine and (photos / "b_ares_16.mat").exists()
    path.unlink()
    for _ in range(2):
        assert run(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the images"),
        (["m.pb"], "name the images before the model m.pb"),
        (["photos/a.png", "photos/m.json"], "photos/m.json is the card of the model photos/m.pb; give photos/m.pb"),
        (["a.png", "m.pb", "l", "c", "16", "0.5"], "LABELS COLORS TILE THRESH PROB DECIM SCALE; these are 4"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8"], "these are 6"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8", "0.25", "more"], "these are 8"),
        (["a.png", "--prob", "0.6"], "--prob only applies to hard seeds; add --classic or --seed-from labels"),
        (["a.png", "m.pb", "l", "c", "x", "0.5", "0.5", "8", "0.25"], "TILE is 'x', which is not a whole number"),
        (["a.png", "m.pb", "l", "c", "16", "half", "0.5", "8", "0.25"], "THRESH is 'half', which is not a number"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "?", "8", "0.25"], "PROB is '?'"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8.5", "0.25"], "DECIM is '8.5', which is not a whole number"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8", "1/4"], "SCALE is '1/4'"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8", "0.25", "--scale", "0.5"], "SCALE is given twice"),
        (["a.png", "m.pb", "l", "c", "16", "0.5", "0.5", "8", "0.25", "--prob", "0.5"], "PROB is given twice"),
        (["a.png", "--pattern", "spiral"], "'spiral' is not one of"),
        (["a.png", "--engine", "luck"], "'luck' is not one of"),
        (["a.png", "--decimation", "2.5"], "'2.5' is not a valid integer"),
    ],
)
def test_wrong_usage(run, fake_model, photos, words, message):
    (photos / "m.pb").touch()
    result = run("semseg", *words)
    assert result.exit_code == 2 and message in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "nan"], "threshold=nan"),
        (["--scale", "1e-9"], "smaller than one pixel"),
        (["--scale", "-1"], "scale=-1"),
        (["--decimation", "-1"], "decimation=-1"),
        (["--stride", "17"], "stride=17 must be from 1 to the size of the tiles, 16"),
        (["--theta", "0"], "theta=0"),
        (["--theta", "inf"], "theta=inf"),
        (["--theta", "nan"], "theta=nan"),
        (["--max-memory", "1e-6"], "0.00 GiB of memory are too little, because the program itself takes"),
        (["--classic", "--prob", "0.1"], "gt_prob=0.1"),
        (["--classic", "--threshold", "0.9"], "0.80, and the threshold is 0.9"),
        (["--out", "photos/a.png"], "cannot write in photos/a.png"),
        (["--colors", "none.txt"], "there is no file none.txt"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run, fake_model, photos, words, message):
    result = run("semseg", photos / "a.png", *words)
    assert result.exit_code == 1 and message in result.stderr
    assert names_in(photos) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("decimation", [10**9, 10**30])
@pytest.mark.parametrize("pattern", ["raster", "checker"])
def test_one_tile_in_very_many(run, fake_model, photos, pattern, decimation):
    result = run("semseg", photos / "a.png", "--decimation", decimation, "--pattern", pattern)
    assert result.exit_code == 0 and "cliff 100.0%" in result.stdout


def test_folder_file_and_pattern(run, fake_model, photos, tmp_path, paint_coast):
    write_image(tmp_path / "one.jpg", paint_coast(32, 32, border=16))
    for name in ("x1", "x2", "y1"):
        write_image(tmp_path / f"{name}.png", paint_coast(32, 32, border=16))
    result = run("semseg", "one.jpg", "photos", "x*.png", "--out", "out", *FAST)
    assert result.exit_code == 0 and "6 images done" in result.stdout
    names = [name.removesuffix("_ares_16.mat") for name in names_in(tmp_path / "out", "*.mat")]
    assert names == ["a", "b", "c", "one", "x1", "x2"]


def test_results_are_not_taken_for_photos(run, fake_model, photos):
    more = ("--probabilities", "--report", "--keep-seeds")
    first = run("semseg", photos, *FAST, *more)
    assert first.exit_code == 0
    names = names_in(photos)
    assert len(names) == 3 * 7 + 1 and len(names_in(photos / "figures")) == 3
    second = run("semseg", photos, *FAST, *more)
    assert second.exit_code == 0 and names_in(photos) == names
    assert run("semseg", f"{photos}/*.png", *FAST).exit_code == 0 and names_in(photos) == names


@pytest.mark.parametrize("words", [["empty"], ["nix*.jpg"], ["a**b"], ["["], ["photos/*.mat"]])
def test_nothing_to_segment(run, fake_model, photos, tmp_path, words):
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    result = run("semseg", *words)
    assert result.exit_code == 1 and len(result.stderr.strip().splitlines()) <= 3
    assert not list(tmp_path.rglob("*ares*"))


def test_a_line_break_in_a_name_is_written_out(run, fake_model, photos):
    (photos / "a.png").rename(photos / "a\nb.png")
    result = run("semseg", photos / "a\nb.png", *FAST)
    assert "\na\\nb.png: " in f"\n{result.stdout}" and "  wrote " in result.stdout and "a\nb" not in result.stdout


def test_missing_and_strange_inputs(run, fake_model, photos, tmp_path):
    (tmp_path / "away.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "void.png").touch()
    result = run(
        "semseg", photos / "a.png", "none.png", "away.png", "loop.png", "void.png", "/dev/zero", "--out", "o", *FAST
    )
    assert result.exit_code == 1 and "5 files could not be used" in result.stderr
    assert "none.png: there is no file" in result.stderr and "/dev/zero: is a pipe or device" in result.stderr
    assert "void.png: is empty" in result.stderr and "wrote o/a_ares_16.mat" in result.stdout


@pytest.mark.parametrize(
    "name",
    [
        "a[1].png",
        "ü ö.png",
        "two\nlines.png",
        "a*b.png",
        "q?.png",
        "$x$.png",
        "%s.png",
        "a.b.png",
        "zip:x.png",
        "a#b.png",
    ],
)
def test_names_that_could_mean_something_else(run, fake_model, tmp_path, paint_coast, name):
    folder = tmp_path / "strange"
    folder.mkdir()
    write_image(folder / "plain.png", paint_coast(32, 64, border=32))
    (folder / "plain.png").rename(folder / name)
    assert run("semseg", folder / name, *FAST, "--report").exit_code == 0
    assert (folder / f"{Path(name).stem}_ares_16.mat").exists()
    assert len(names_in(folder)) == 5


def test_a_name_that_begins_with_a_dash(run, fake_model, photos, monkeypatch):
    monkeypatch.chdir(photos)
    Path("a.png").rename("-a.png")
    assert run("semseg", *FAST, "--", "-a.png").exit_code == 0 and Path("-a_ares_16.mat").exists()


def test_a_name_that_is_not_utf8(run, fake_model, photos):
    try:
        (photos / "a.png").rename(os.fsdecode(os.fsencode(photos) + b"/\xff.png"))
    except OSError:
        pytest.skip("this file system takes no such names")
    result = run("semseg", photos, *FAST)
    assert result.exit_code == 1 and "is not UTF-8" in result.stderr and "2 images done" in result.stdout


def test_one_bad_image_among_several(run, fake_model, photos):
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:200])
    result = run("semseg", photos, *FAST)
    assert result.exit_code == 1 and "1 file could not be used, the others are done:" in result.stderr
    assert "b.png" in result.stderr and names_in(photos, "*.mat") == ["a_ares_16.mat", "c_ares_16.mat"]
    alone = run("semseg", photos / "b.png", *FAST)
    assert alone.exit_code == 1 and "1 file could not be used:" in alone.stderr
    resumed = run("semseg", photos / "a.png", photos / "b.png", *FAST, "--resume")
    assert "the others are done" in resumed.stderr


def test_resume_and_quiet(run, fake_model, photos):
    result = run("--quiet", "semseg", photos / "a.png", *FAST)
    assert result.exit_code == 0 and result.stdout == "" and result.stderr == ""
    result = run("semseg", photos, *FAST, "--resume")
    assert "skipped (--resume): 1" in result.stdout and "2 images done" in result.stdout
    result = run("semseg", photos, *FAST, "--scale", 1, "--threads", 1, "--resume")
    assert "replaced (--resume): 3 made with other settings (scale)" in result.stdout
    assert "skipped (--resume): 3" in run("semseg", photos, *FAST, "--scale", 1, "--threads", 2, "--resume").stdout


def test_a_lost_class_is_told_even_in_quiet_with_the_name_of_the_image(run, fake_model, tmp_path, paint_coast):
    image = paint_coast(96, 96, border=96)
    image[32:48, 32:64] = image[32:48, 32:64, ::-1]
    write_image(tmp_path / "a.png", image)
    hard = ("--classic", "--decimation", 1, "--color-scale", 200, "--space-compat", 50)
    result = run("--quiet", "semseg", "a.png", *hard)
    assert result.exit_code == 0 and result.stdout == ""
    assert "warning: a.png: water had 6% of the seeds and keeps 0% of them" in result.stderr
    assert (tmp_path / "a_atiles_16.mat").exists()


def test_what_the_tiles_say_is_not_judged(run, fake_model, photos, by_color):
    assert run("semseg", photos, *FAST, "--keep-seeds").exit_code == 0
    truth = np.zeros((32, 64), np.uint8)
    truth[:, 32:] = 2
    for name in ("a", "b"):
        write_labelmap(photos / f"{name}_mres.mat", LabelMap(truth, by_color.table))
        wrong = LabelMap(np.ones_like(truth), by_color.table)
        write_labelmap(photos / f"{name}_atiles_16.mat", wrong)
    (photos / "c_ares_16.mat").unlink()
    result = run("eval-pixels", photos)
    assert "a_ares_16: accuracy 1.000" in result.stdout and "all 2 pairs: accuracy 1.000" in result.stdout
    assert "atiles" not in result.stdout


def test_seeds_from_probabilities(run, fake_model, photos):
    hard = ("--classic", *FAST, "--threshold", 0.9)
    assert run("semseg", photos / "a.png", *hard).exit_code == 1
    result = run("semseg", photos / "a.png", *hard, "--seed-from", "probabilities")
    assert result.exit_code == 0 and "cliff 50.0%, water 50.0%" in result.stdout


def test_best_keeps_what_the_nine_words_say(run, fake_model, photos, class_files):
    words = [photos / "a.png", "m.pb", "l.txt", "c.txt", 16, 0.7, 0.6, 2, 0.25]
    assert run("semseg", *words, "--best", "--theta", 7, "--report").exit_code == 0
    settings = json.loads((photos / "a_ares_16_report.json").read_text())["settings"]
    assert (settings["threshold"], settings["decimation"], settings["scale"]) == (0.7, 2, 0.25)
    assert (settings["crf"]["gt_prob"], settings["crf"]["theta"]) == (0.6, 7)
    assert settings["seed_from"] == "probabilities", "the rest is as --best says"


def settings_of(run, *words):
    """What a command used for `photos/a.png`, its CRF beside the rest."""
    assert run("semseg", "photos/a.png", *words, "--report").exit_code == 0
    settings = json.loads(Path("photos/a_ares_16_report.json").read_text())["settings"]
    return {**settings.pop("crf"), **settings}


BEST = {"decimation": 1, "stride": 8, "scale": 1.0, "seed_from": "probabilities", "theta": 60, "color_compat": 50}
CLASSIC = {"decimation": 8, "stride": 16, "scale": 0.25, "seed_from": "labels", "theta": 60, "color_compat": 100}


@pytest.mark.parametrize("words", [[], ["--best"], ["m.pb"], ["m.pb", "l.txt"], ["m.pb", "l.txt", "c.txt", "16"]])
def test_the_best_is_the_default(run, fake_model, photos, class_files, words):
    settings = settings_of(run, *words)
    assert {name: settings[name] for name in BEST} == BEST, "a small image is not reduced"
    assert fake_model[0]["path"] == Path("m.pb" if "m.pb" in words else "model.pb")


def test_classic_constants(run, fake_model, photos, class_files):
    assert CLASSIC.items() <= settings_of(run, "--classic").items()
    nine = ["m.pb", *class_files, 16, 0.5, 0.5, 8, 0.25]
    assert CLASSIC.items() <= settings_of(run, *nine).items()
    assert settings_of(run, *nine, "--best")["theta"] == 30, "the scale was given"
    mixed = settings_of(run, "--classic", "--stride", 4, "--theta", 9)
    assert (mixed["stride"], mixed["theta"], mixed["scale"], mixed["seed_from"]) == (4, 9, 0.25, "labels")
    assert settings_of(run, "--scale", 0.3, "--seed-from", "labels", "--prob", 0.6)["gt_prob"] == 0.6


def test_images_that_the_shell_has_listed_before_the_model(run, fake_model, photos):
    result = run("semseg", *sorted(photos.iterdir()), "m.pb", "--out", "out")
    assert result.exit_code == 0 and "3 images done" in result.stdout


@pytest.mark.parametrize("more", [[], ["--pattern", "raster"], ["--pattern", "checker"]])
def test_a_narrow_photo_is_not_judged_by_its_left_edge(run, fake_model, tmp_path, paint_coast, class_files, more):
    """Every 8th tile of a photo that is 8 tiles wide lies in its first column, which is cliff; all else is water."""
    write_image(tmp_path / "narrow.png", paint_coast(160, 128, border=16))
    result = run("semseg", "narrow.png", "m.pb", *class_files, 16, 0.5, 0.5, 8, 0.25, *more, "--report")
    report = json.loads((tmp_path / "narrow_ares_16_report.json").read_text())
    assert report["n_tiles"] == 10, "as many as ever"
    if "raster" in more:
        assert report["class_shares"] == {"cliff": 1.0} and result.stderr == ""
    else:
        assert report["class_shares"]["water"] > 0.8
    assert ("most columns" in result.stderr and "--pattern raster" in result.stderr) == (not more)
    assert report["settings"]["pattern"] == (more[1] if more else "checker")
    record = json.loads(read_made_by(tmp_path / "narrow_ares_16.mat"))["settings"]["options"]
    assert record["pattern"] == report["settings"]["pattern"]


@pytest.mark.parametrize(
    ("content", "words", "expected"),
    [
        ("#010203\n#040506\n#070809\n", (), ((1, 2, 3), (4, 5, 6), (7, 8, 9))),
        ("Water, 7, 8, 9\n", (), ((200, 10, 20), (30, 210, 40), (7, 8, 9))),
        ("#070809\n#000001\n#010203\n#040506\n", ("--labels", "l.txt"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))),
    ],
    ids=["in the order of the model", "by name", "in the order of --labels"],
)
def test_colours_of_the_label_maps(run, fake_model, photos, tmp_path, content, words, expected):
    (tmp_path / "c.txt").write_text(content)
    (tmp_path / "l.txt").write_text("water\nsky\ncliff\nveg\n")
    result = run("semseg", photos / "a.png", *FAST, "--colors", "c.txt", *words)
    assert result.exit_code == 0, result.output
    found = read_labelmap(photos / "a_ares_16_label.png").table
    assert found.names == ("cliff", "veg", "water") and found.colors == expected


def test_colours_that_do_not_fit(run, fake_model, photos, tmp_path):
    (tmp_path / "c.txt").write_text("r\ng\n")
    (tmp_path / "d.txt").write_text("cliff, 1, 2, 3\nwaterr, 4, 5, 6\n")
    few = run("semseg", photos / "a.png", "--colors", "c.txt")
    assert few.exit_code == 1
    assert "model.pb has 3 classes but c.txt has 2 colours; give one colour for each class in this order" in few.stderr
    assert "(cliff, veg, water)" in few.stderr
    wrong = run("semseg", photos / "a.png", "--colors", "d.txt")
    assert wrong.exit_code == 1 and "d.txt: no class is called 'waterr'; the classes are cliff, veg" in wrong.stderr


@pytest.mark.slow
def test_images_with_the_same_warning_share_a_line(run, tiny_model, tmp_path, paint_classes):
    """Too small for a tile, each of another size, but for one that is large enough."""
    names = ["c", "a", "b", "d"]
    for i, name in enumerate(names):
        write_image(tmp_path / "photos" / f"{name}.png", paint_classes("water", "sand", "veg")[: 15 - i])
    write_image(tmp_path / "photos" / "e.png", paint_classes("water", "sand", "veg"))
    photos = [tmp_path / "photos" / f"{name}.png" for name in (*names, "e")]
    words = ["semseg", *photos, "--model", tiny_model, "--out", tmp_path / "out"]
    result = run(*words)
    lines = [line for line in result.stderr.splitlines() if "less than a tile" in line]
    assert len(lines) == 1 and lines[0].startswith("warning: 4 images: the image has 15 x ")
    assert "(the numbers are those of c.png; first: c.png, a.png, b.png and 1 more; --verbose names all)" in lines[0]
    assert run(*words, "--verbose").stderr.count("less than a tile") == 4
    single = run("semseg", photos[1], "--model", tiny_model, "--out", tmp_path / "one").stderr
    assert "warning: a.png: the image has 14 x " in single
