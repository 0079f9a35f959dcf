"""A folder that is broken on purpose: each fault is told of the right files, and the files that are written hold it."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from hybridseg.data.review import ReviewOptions, place_review, review_data
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.classfiles import read_class_files

RAW = Path("project/data/raw")


def paint(seed):
    """A photo of 96 x 128 pixels with a mask of three classes, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 190, (6, 8)).astype(np.uint8)).resize((128, 96), Image.Resampling.BICUBIC)
    grey = np.asarray(coarse, np.int32)
    labels = (np.digitize(grey, np.quantile(grey, (0.3, 0.7)))).astype(np.uint8)
    image = np.stack([grey, grey + 10, grey - 10], axis=2) + rng.integers(-20, 21, (96, 128, 1))
    return np.clip(image, 5, 240).astype(np.uint8), labels


def save(labels, name):
    Image.fromarray(labels).save(RAW / f"train/masks/{name}.png")


@pytest.fixture(scope="module")
def _project_originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (RAW / "train/masks").mkdir(parents=True)
        for i in range(15):
            image, labels = paint(i)
            write_image(RAW / ("train/images" if i < 12 else "test/images") / f"p{i:02d}.png", image)
            if i < 12:
                save(labels, f"p{i:02d}")
        (RAW / "labels.txt").write_text("water\nsand\ncliff\n")
    return folder


@pytest.fixture
def project(_project_originals, tmp_path, monkeypatch):
    """The current folder, with a project of twelve photos for training and three for testing."""
    shutil.copytree(_project_originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def review(**settings):
    n_jobs = settings.pop("n_jobs", 1)
    options = ReviewOptions(**{"plots": 0, **settings})
    return review_data(place_review(Path("project")), options=options, n_jobs=n_jobs)


def read_rows(name):
    folder = Path("project/data") / ("interim" if name == "data" else "processed")
    with (folder / f"df_{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def list_faults(result):
    """The files of each kind of fault."""
    return {fault.kind: {Path(problem.where).stem for problem in fault.problems} for fault in result.faults}


def test_a_sound_project(project):
    before = {path: path.stat().st_mtime_ns for path in sorted(RAW.rglob("*"))}
    result = review()
    assert result.faults == () and result.notes == () and result.problems == ()
    assert repr(result) == "<ReviewResult: nothing stands in the way of a training>"
    assert {path: path.stat().st_mtime_ns for path in sorted(RAW.rglob("*"))} == before
    assert {name: len(read_rows(name)) for name in ("data", "label", "train", "valid", "test")} == {
        "data": 15, "label": 3, "train": 9, "valid": 3, "test": 3
    }  # fmt: skip
    train, valid = ({row["image"] for row in read_rows(name)} for name in ("train", "valid"))
    assert len(train | valid) == 12 and str(RAW / "train/images/p00.png") in train | valid
    assert read_rows("test")[0] == {"image": str(RAW / "test/images/p12.png"), "mask": ""}
    assert all(path.exists() for path in result.written) and result.report_path == Path("project/reports/review.html")
    assert not [*Path("project/data").rglob("*.backup"), *Path("project/data/processed").glob("labels_complete.txt")]


def test_what_the_tables_hold(project):
    review(split=0.5)
    image, labels = paint(3)
    row = next(row for row in read_rows("data") if row["image"].endswith("p03.png"))
    assert (row["rows"], row["cols"], row["bands"], row["dtype"]) == ("96", "128", "3", "uint8")
    for name, values in (("min", image.min((0, 1))), ("max", image.max((0, 1))), ("mean", image.mean((0, 1)))):
        assert np.allclose([float(text) for text in row[name].split()], values, rtol=1e-4), name
    ids, counts = np.unique(labels, return_counts=True)
    assert row["label_ids"] == " ".join(map(str, ids)) and row["label_pixels"] == " ".join(map(str, counts))
    assert (row["mask_min"], row["mask_max"], row["mask_dtype"], row["faults"]) == ("0", "2", "uint8", "")
    assert len(row["hash"]) == 16 and len(row["image_sha256"]) == len(row["mask_sha256"]) == 64
    everything = np.stack([paint(i)[1] for i in range(12)])
    for i, (name, label) in enumerate(zip(("water", "sand", "cliff"), read_rows("label"), strict=True)):
        assert (label["id"], label["name"], label["images"], label["missing"]) == (str(i), name, "12", "0")
        assert int(label["pixels"]) == np.count_nonzero(everything == i)
    assert len(read_rows("train")) == len(read_rows("valid")) == 6


def break_files():
    """Break one file in each way that stops a training."""
    photo, mask = (RAW / "train" / name for name in ("images", "masks"))
    (photo / "p00.png").write_bytes((photo / "p00.png").read_bytes()[:2000])
    (mask / "p01.png").write_bytes(b"")
    save(paint(2)[1][:90], "p02")
    save(np.full((96, 128), 255, np.uint8), "p03")
    save(np.where(paint(4)[1] == 1, np.uint8(5), paint(4)[1]), "p04")
    Image.fromarray(paint(5)[0][..., 0]).save(photo / "p05.png")
    shutil.copy(mask / "p06.png", mask / "p06_mask.png")
    shutil.copy(mask / "p06.png", mask / "p06_label.png")
    Image.fromarray(paint(7)[1].astype(np.float32) + 0.5).save(mask / "p07.tif")
    (mask / "p07.png").unlink()


BREAKS = {
    "unreadable": {"p00", "p01", "p07"}, "ambiguous": {"p06"}, "size": {"p02"}, "blank": {"p03"}, "names": {"p04"},
    "kinds": {"p05"},
}  # fmt: skip


def test_what_breaks_a_training(project, run):
    break_files()
    result = review()
    assert list_faults(result) == BREAKS and all(fault.breaks for fault in result.faults)
    assert result.describe() == "training would fail: 8 problems to fix"
    done = run("review", "project", "--jobs", 1)
    assert done.exit_code == 1 and "1 name is missing; until it is given: unknown_5" in done.stdout
    lines = done.stderr.splitlines()
    assert "training would fail; fix this first:" in lines and len([li for li in lines if li.startswith("  ")]) == 8
    assert re.search(r"p02\.png: has 90 x 128 pixels, but p02\.png has 96 x 128; give the one", done.stderr)
    assert "p04.png: has the id 5, but the classes are 0 to 2 (water, sand, cliff); give a list" in done.stderr
    [mend] = [fault.mend for fault in result.faults if fault.kind == "names"]
    assert mend.startswith("the list that was given has 3 names, and the masks have ids up to 5; give a list with")
    rows = {Path(row["image"]).stem: row for row in read_rows("data")}
    assert rows["p02"]["faults"] == "size" and rows["p04"]["faults"] == "names" and "p00" not in rows
    assert {stem for stem, row in rows.items() if not row["set"]} == {"p01", "p02", "p03", "p04", "p05", "p07"}
    listed = {Path(row["image"]).stem for name in ("train", "valid") for row in read_rows(name)}
    assert listed == {"p08", "p09", "p10", "p11"} and "photos: train 3, valid 1, test 3" in done.stdout
    assert "p05.png: has 1 band of uint8, but most photos have 3 bands of uint8; convert it, or move" in done.stderr


def test_labels_without_a_name_are_unknown_until_they_are_named(project):
    for i, values in enumerate(((3,), (3, 5), ())):
        labels = paint(i)[1]
        for row, value in enumerate(values):
            labels[row] = value
        save(labels, f"p{i:02d}")
    result = review()
    assert result.known.names.describe_missing() == "2 names are missing; until they are given: unknown_3, unknown_5"
    assert list_faults(result) == {"names": {"p00", "p01"}}
    labels = {row["name"]: (row["id"], row["images"], row["missing"]) for row in read_rows("label")}
    assert labels["unknown_3"] == ("3", "2", "1") and labels["unknown_5"] == ("5", "1", "1") and len(labels) == 5
    complete = Path("project/data/processed/labels_complete.txt")
    assert complete.read_text().split() == ["water", "sand", "cliff", "unknown_3", "unknown_4", "unknown_5"]
    # A training would take this list; the names are still to be given.
    shutil.copy(complete, RAW / "labels.txt")
    again = review()
    assert [(fault.kind, fault.breaks) for fault in again.faults] == [("placeholders", False)]
    Image.fromarray(paint(5)[0][..., 0]).save(RAW / "train/images/p05.png")
    assert [fault.kind for fault in review().faults] == ["kinds", "placeholders"], "the worst comes first"
    write_image(RAW / "train/images/p05.png", paint(5)[0])
    (RAW / "labels.txt").write_text("water\nsand\ncliff\nkelp\nrock\nfoam\n")
    result = review()
    assert result.faults == () and result.notes[0] == "classes that are in the class list and in no mask: rock"


def test_what_makes_a_result_worse(project):
    photo, mask = RAW / "train/images", RAW / "train/masks"
    shutil.copy(photo / "p00.png", photo / "same.png")
    shutil.copy(mask / "p00.png", mask / "same.png")
    shutil.copy(photo / "p01.png", photo / "twice.png")
    save(paint(1)[1][::-1].copy(), "twice")
    write_image(photo / "near.png", np.clip(paint(2)[0].astype(int) + 12, 0, 255).astype(np.uint8))
    save(paint(2)[1], "near")
    shutil.copy(photo / "p03.png", RAW / "test/images/leak.png")
    Image.fromarray(paint(4)[0]).resize((64, 48)).save(RAW / "test/images/leak_small.png")
    (mask / "p05.png").unlink()
    (photo / "p06.png").unlink()
    Image.fromarray(paint(7)[0]).filter(ImageFilter.GaussianBlur(3)).save(photo / "p07.png")
    write_image(photo / "p08.png", paint(8)[0] // 10)
    write_image(photo / "p09.png", np.clip(paint(9)[0].astype(int) * 6, 0, 255).astype(np.uint8))
    write_image(photo / "p10.png", paint(10)[0] * (np.arange(128) >= 80).astype(np.uint8)[:, None])
    result = review()
    assert list_faults(result) == {
        "leak": {"leak", "leak_small"}, "contradiction": {"twice"}, "copies": {"same"}, "same view": {"p02"},
        "orphan": {"p06"}, "unlabelled": {"p05"}, "empty": {"p10"}, "dark": {"p08"}, "over-exposed": {"p09"},
        "blurred": {"p07"},
    }  # fmt: skip
    assert result.faults[0].kind == "leak" and not result.breaks and result.problems == ()
    assert result.count("unlabelled") == 1 and result.describe().endswith("a training; 10 things to look at")
    for seed in range(4):
        assert list_faults(review(seed=seed, split=0.5)) == list_faults(result)
        sets = {Path(row["image"]).stem: row["set"] for row in read_rows("data")}
        for first, second in (("p00", "same"), ("p01", "twice"), ("p02", "near")):
            assert sets[first] == sets[second], "what is alike is never divided"


def test_both_of_a_pair_have_its_fault(project):
    photo, mask = RAW / "train/images", RAW / "train/masks"
    shutil.copy(photo / "p01.png", photo / "twice.png")
    save(paint(1)[1][::-1].copy(), "twice")
    shutil.copy(photo / "p03.png", RAW / "test/images/leak.png")
    write_image(photo / "near.png", np.clip(paint(2)[0].astype(int) + 12, 0, 255).astype(np.uint8))
    shutil.copy(mask / "p02.png", mask / "near.png")
    review()
    faults = {Path(row["image"]).stem: row["faults"] for row in read_rows("data") if row["faults"]}
    kinds = {"contradiction": ("p01", "twice"), "leak": ("p03", "leak"), "same view": ("p02", "near")}
    assert faults == {name: kind for kind, names in kinds.items() for name in names}
    save(paint(3)[1][:90], "p03")
    assert list_faults(review())["leak"] == {"leak"}, "also where the photo for training has another fault"


def test_of_kinds_that_are_equally_common_the_grey_ones_are_odd(project):
    shutil.rmtree(RAW / "test")
    for i in range(6):
        Image.fromarray(paint(i)[0][..., 0]).save(RAW / f"train/images/p{i:02d}.png")
    result = review()
    (fault,) = result.breaks
    title = "6 photos are of another kind than 6 others, which have 3 bands of uint8 (such as p06.png)"
    assert fault.title == title and list_faults(result)["kinds"] == {f"p0{i}" for i in range(6)}
    assert fault.problems[0].message.startswith("has 1 band of uint8, but 6 others have 3 bands of uint8; convert it")


def test_transparency_is_no_other_kind_and_is_told(project):
    Image.fromarray(paint(5)[0]).convert("RGBA").save(RAW / "train/images/p05.png")
    for _ in range(2):  # The second review reads what the first one kept.
        (fault,) = review().faults
        assert (fault.kind, fault.breaks) == ("transparency", False) and "a training leaves out" in fault.title
        assert fault.problems[0].where.endswith("p05.png") and "ALPHA=NO" in fault.mend


@pytest.mark.slow
def test_masks_without_a_list_of_classes_are_told_once(project, run):
    (RAW / "labels.txt").unlink()
    done = run("review", "project", "--plots", 0)
    assert done.exit_code == 1 and done.stderr.count("\n  ") == 1, done.stderr
    assert "12 masks do not name their classes; give a list with the name of every class" in done.stderr
    assert len(read_rows("train")) == 9, "the list lacks, and no mask is at fault"


@pytest.mark.slow
@pytest.mark.parametrize("tested", [True, False])
def test_photos_of_one_day_come_with_advice(project, run, tested):
    for path in [*RAW.rglob("p*.png")]:
        path.rename(path.with_name(f"2018-10-0{1 + int(path.stem[1:]) // 2 % 2}-{path.name}"))
    if not tested:
        shutil.rmtree(RAW / "test")
    done = run("review", "project", "--plots", 0)
    what, mend = (("testing", "choose photos for testing that are of other days") if tested
                  else ("validation", "keep such photos in one set, with --group-by"))  # fmt: skip
    assert f"photos for {what} are from the same day" in done.stderr and mend in done.stderr
    page = Path("project/reports/review.html").read_text()
    assert re.search(rf"than the score says</td><td[^>]*>{mend[:1].upper()}{mend[1:]}", page)


def test_photos_for_testing_by_a_list(project):
    shutil.rmtree(RAW / "test")
    Path("test.txt").write_text("p00\np05.png\n")
    result = review(test=Path("test.txt"))
    assert [Path(row["image"]).stem for row in read_rows("test")] == ["p00", "p05"] and result.count("test") == 2
    with pytest.raises(BadInput, match=r"has names of images that are not there"):
        Path("test.txt").write_text("p99\n")
        review(test=Path("test.txt"))
    import hybridseg as hs

    save(paint(5)[1][:90], "p05")
    assert hs.review("project", test=["p00", "p05.png"], plots=0).count("test") == 1
    assert [Path(row["image"]).stem for row in read_rows("test")] == ["p00"], "the mask of p05 cannot be used"
    with pytest.raises(MissingInput, match=r"there is no file or folder nolist \(--test\)"):
        review_data(place_review(Path("project"), test=Path("nolist")))


def test_frames_that_belong_together_stay_in_one_set(project):
    review(group_by=r"p0[0-5]", split=0.5)
    sets = {Path(row["image"]).stem: row["set"] for row in read_rows("data")}
    assert len({sets[f"p{i:02d}"] for i in range(12)}) == 2
    result = review(group_by="^(p0|p1)", split=0.8)
    sets = {Path(row["image"]).stem: row["set"] for row in read_rows("data")}
    assert len({sets[f"p{i:02d}"] for i in range(10)}) == 1 and result.count("valid") in (0, 2)


def test_masks_of_0_and_255_and_of_a_single_class(project):
    for i in range(12):
        save(np.where(paint(i)[1] == 0, np.uint8(0), np.uint8(255)), f"p{i:02d}")
    result = review()
    assert [fault.kind for fault in result.breaks] == ["one class"]
    assert "--threshold 128" in result.breaks[0].mend and str(result.problems[0]).startswith(str(RAW / "labels.txt"))
    for i in range(12):
        save(np.ones((96, 128), np.uint8), f"p{i:02d}")
    assert review().breaks[0].title == "all masks show a single class, sand"


def test_what_was_read_before_is_not_read_again(project, monkeypatch):
    first = review()
    assert first.known.survey.n_kept == 0
    tables = {path: path.read_bytes() for path in Path("project/data").rglob("df_*.csv")}
    write_image(RAW / "train/images/p03.png", paint(33)[0])
    (left := Path("project/reports/.review/.0123456789abcdef.hybridseg.lock")).touch()
    read = []
    original = review_data.__globals__["survey_files"].__globals__["survey_photo"]
    monkeypatch.setattr("hybridseg.data.survey.survey_photo", lambda path, *a: read.append(path) or original(path, *a))
    again = review()
    assert [path.name for path in read] == ["p03.png"] and again.known.survey.n_kept == 26 and not left.exists()
    for path, old in tables.items():
        changed = path.read_bytes() != old
        assert changed == (path.name == "df_data.csv")
        backup = path.with_name(f"{path.name}.backup")
        assert (backup.read_bytes() == old) if changed else not backup.exists()
    log = Path("project/reports/review.log").read_text().splitlines()
    assert all(re.match(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d-(INFO|WARNING|ERROR) - ", line) for line in log)
    assert sum("26 of them of a content that had been read before" in line for line in log) == 1
    # A record that is damaged is made again.
    for path in Path("project/reports/.review").iterdir():
        path.write_bytes(b"{")
    assert review().faults == () and len(read) == 16


@pytest.mark.slow
def test_processes_find_the_same(project):
    break_files()
    for i in range(20, 34):
        image, labels = paint(i)
        write_image(RAW / f"train/images/p{i}.png", image)
        save(labels, f"p{i}")
    one = review()
    tables = {path: path.read_bytes() for path in Path("project/data").rglob("df_*.csv")}
    shutil.rmtree("project/reports")
    two = review(n_jobs=2)
    assert two.faults == one.faults and two.known.survey.n_kept == 0
    assert {path: path.read_bytes() for path in tables} == tables


def test_figures_are_reduced_as_wished(project):
    Path("project/reports/figures").mkdir(parents=True)
    Path("project/reports/figures/sample.png").write_text("theirs")
    result = review(plots=1, scale=0.25)
    assert Path("project/reports/figures/sample.png.backup").read_text() == "theirs"
    names = ["image_pair_gray.png", "image_pair_jet.png", "sample.png"]
    assert [path.name for path in result.written if path.parent.name == "figures"] == names
    grey, jet, sample = (read_image(f"project/reports/figures/{name}")[..., :3] for name in names)
    counts = [np.count_nonzero((jet == color).all(axis=2)) for color in ((0, 0, 128), (128, 255, 128), (128, 0, 0))]
    wanted = np.bincount(paint(0)[1].ravel()) / paint(0)[1].size
    assert np.allclose(np.array(counts) / sum(counts), wanted, atol=0.03) and sample.shape == jet.shape
    assert np.count_nonzero((grey == 128).all(axis=2)) == pytest.approx(counts[1], rel=0.05)
    # The photo, in the left half, has 32 columns, each many pixels wide.
    row = jet[jet.shape[0] // 2, : jet.shape[1] // 2].astype(int)
    assert 16 < np.count_nonzero(np.abs(np.diff(row, axis=0)).any(axis=1)) < 80
    assert [path for path in review(plots=0).written if path.suffix == ".png"] == []


def test_the_page_shows_the_faults_and_the_photos(project):
    break_files()
    page = review().report_path.read_text()
    assert (
        page.index("Training would fail: 8 problems") < page.index("3 files cannot be read") < page.index("The classes")
    )
    assert page.count("<span class='stack'>") == 8 and page.count("data:image/jpeg;base64,") >= 14
    assert "Has 90 x 128 pixels, but p02.png has 96 x 128" in page and "src='http" not in page
    assert "What would stop a training is in bold" in page and page.count("<tr class='strong'>") == 6
    shares = re.findall(r"<td class='bars'>.*?</span>([\d.]+)&nbsp;%", page)
    assert len(shares) == 4 * 3, "three columns of four classes"


def test_photos_with_their_masks_beside_them(coast, run):
    done = run("review", coast)
    assert done.exit_code == 0, done.stderr
    out = coast.with_name("photos_review")
    assert (out / "review.html").exists() and (out / "df_train.csv").read_text().count("\n") == 4
    assert {path.name for path in coast.iterdir()} >= {"labels.txt"} and not list(coast.glob("df_*"))
    names = read_class_files(coast / "labels.txt").names
    with (out / "df_label.csv").open() as file:
        assert {row["name"] for row in csv.DictReader(file)} - {"(no class)"} <= set(names)


@pytest.mark.slow
def test_what_split_has_divided(project, run):
    places = ("--images", RAW / "train/images", "--masks", RAW / "train/masks", "--out", "divided")
    assert run("split", *places, "-p", 0.5).exit_code == 0
    shutil.copy(min(Path("divided/train").glob("*.png")), "divided/test/again.png")
    done = run("review", "divided/train", "--test", "divided/test", "--labels", RAW / "labels.txt", "--plots", 0)
    assert done.exit_code == 0 and "photos: train 5, valid 1, test 7" in done.stdout, done.stderr
    assert "1 photo is in two sets at once" in done.stderr and "(again.png)" in done.stderr
    with Path("divided/train_review/df_test.csv").open(newline="") as file:
        assert sum(bool(row["mask"]) for row in csv.DictReader(file)) == 6


def test_the_same_in_python(project):
    import hybridseg as hs

    result = hs.review("project", labels=["water", "sand", "cliff"], plots=0)
    assert result.faults == () and "Nothing stands in the way" in result._repr_html_()
    (broken,) = hs.review("project", labels=["water", "sand"], plots=0).breaks
    assert broken.mend.endswith("in the order of the ids: labels='labels.txt'") and "--" not in str(broken.problems)
    with pytest.raises(BadInput, match=r"split=2: give a number from 0 to 1"):
        hs.review("project", split=2)


def test_a_folder_of_nothing(tmp_path, run):
    (tmp_path / "photos").mkdir()
    done = run("review", tmp_path / "photos")
    assert done.exit_code == 1 and "has no JPEG, PNG or TIFF images" in done.stderr
    assert not (tmp_path / "photos_review").exists()
