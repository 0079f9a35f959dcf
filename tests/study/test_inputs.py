"""What would break is told before anything is written, in one sentence for each fault."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.study.inputs import StudyOptions, StudyPaths, check_inputs

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
PATHS = StudyPaths(Path("photos"), Path("masks"), Path("labels.txt"))


def check(paths=PATHS, table=TABLE, **options):
    return check_inputs(paths, StudyOptions(**options), table=table)


@pytest.fixture
def untouched(data):
    """After the test the folder must be as it was before."""
    before = {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}
    yield data
    assert sorted(data.rglob("*")) == sorted(before), "something was written"


def test_what_is_found(untouched):
    found = check(tile_size=32)
    assert found.sets == {"train": 4, "test": 2, "unlabelled": 2} and found.proportion == 0.67
    assert sum(found.shares.values()) == pytest.approx(1) and list(found.shares) == ["water", "sand", "cliff"]
    assert found.alone == ("images without a mask (2 of 8): flight2_6.jpg, flight3_7.jpg",) and found.warnings == ()
    assert found.megapixels == pytest.approx(8 * 128 * 160 / 1e6) and found.n_tiles > 50
    assert len(found.files) == 14


def test_the_largest_tile_that_every_class_fills_is_chosen(data):
    assert check().tile_size == 32, "three of 32 pixels fit into 128 rows, three of 48 do not"
    for path in Path("masks").glob("*.png"):
        labels = np.asarray(Image.open(path)).copy()
        labels[labels == 1] = 0
        labels[:, 20:44] = 1
        Image.fromarray(labels).save(path)
    assert check().tile_size == 16, "no tile of 32 pixels fits into a strip of 24"
    assert check(tile_size=32).warnings[0].endswith("give a smaller --tile-size, or --method fcn: sand")


def test_frames_that_belong_together_stay_together(untouched):
    assert check(group_by=r"^(flight\d)").sets["train"] in (3, 4, 5)
    with pytest.raises(BadInput, match=r"--group-by"):
        check(group_by="^plane")
    with pytest.raises(BadInput, match=r"all 6 labelled photos would be in one set; choose .* --group-by"):
        check(group_by="^flight")


def test_a_list_of_the_photos_for_testing(data):
    Path("test.txt").write_text("flight0_0\nflight1_5.jpg\nflight2_2\n")
    found = check(test_list=Path("test.txt"))
    assert found.sets == {"train": 3, "test": 3, "unlabelled": 2} and "--group-by" not in found.likeness
    with pytest.raises(BadInput, match="leave out --proportion and --group-by"):
        check(test_list=Path("test.txt"), group_by="^flight")


def test_masks_in_black_and_white_are_refused(data):
    for path in Path("masks").glob("*.png"):
        Image.fromarray((np.asarray(Image.open(path)) == 0).astype(np.uint8) * 255).save(path)
    with pytest.raises(BadInput, match=r"masks: the masks hold 0 and 255 alone, .*make 255 a class of its own"):
        check(tile_size=32)


def test_what_would_be_ignored_is_refused(data):
    with pytest.raises(BadInput, match="--epochs is for the training of fcn"):
        check(epochs=3)
    with pytest.raises(BadInput, match="--tile-size is for the hybrid method"):
        check(method="fcn", tile_size=32)
    with pytest.raises(BadInput, match=r"--group-by '\(flight' is not a regular expression"):
        StudyOptions(group_by="(flight")
    assert StudyOptions(method="both", epochs=3, tile_size=32)


def test_a_list_that_does_not_fit(data):
    with pytest.raises(MissingInput, match=r"there is no file nolist\.txt \(--test\); give a text file"):
        check(test_list=Path("nolist.txt"))
    Path("test.txt").write_text("flight0_0\nnowhere.jpg\n")
    with pytest.raises(BadInput, match=r"has names of images that are not there, .* \(1\): nowhere\.jpg$"):
        check(test_list=Path("test.txt"))


def test_all_faults_are_named_at_once(data):
    Image.fromarray(np.zeros((10, 12), np.uint8)).save("masks/flight0_0.png")
    photo = Path("photos/flight1_1.jpg")
    photo.write_bytes(photo.read_bytes()[:-2000])
    with pytest.raises(BadInput) as caught:
        check()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("2 files of 8 photos and their masks cannot be used; fix or move them away")
    assert any("masks/flight0_0.png: has 10 x 12 pixels, but flight0_0.jpg has 128 x 160" in line for line in lines)
    assert any(line.startswith("  photos/flight1_1.jpg") for line in lines) and len(lines) == 3
    assert not Path("photos_run").exists()


def test_a_class_list_that_is_too_short_is_refused(untouched):
    with pytest.raises(BadInput, match=r"masks/flight0_0\.png and 5 more: .*2") as caught:
        check(table=ClassTable.from_names(["water", "sand"]))
    assert len(str(caught.value).splitlines()) == 2, "each has another share of such pixels, and the same fault"


def test_masks_that_name_no_classes_need_a_list(untouched):
    with pytest.raises(BadInput, match=r"flight0_0\.png and 5 more: does not name its classes; give .*--labels"):
        check(table=None)


def test_folders_without_photos_or_masks(untouched):
    with pytest.raises(MissingInput, match="there is no folder masks2"):
        check(StudyPaths(Path("photos"), Path("masks2")))
    with pytest.raises(MissingInput, match="has no label map of the 8 images"):
        check(StudyPaths(Path("photos")))
    with pytest.raises(MissingInput, match="nowhere"):
        check(StudyPaths(Path("nowhere"), Path("masks")))


def test_too_few_photos(data):
    for i in range(3):
        Path(f"masks/flight{i}_{i}.png").unlink()
    with pytest.raises(BadInput, match=r"photos has 3 photos with a mask, too few .*; label 4 or more"):
        check()


def test_classes_that_cannot_be_learnt_or_measured_are_named(data):
    path = Path("masks/flight3_3.png")
    labels = np.asarray(Image.open(path)).copy()
    labels[:3, :3] = 3
    Image.fromarray(labels).save(path)
    warnings = check(table=ClassTable.from_names(["water", "sand", "cliff", "rock", "kelp"]), tile_size=32).warnings
    assert "classes that are in the class list and in no mask: kelp" in warnings
    # The photo is for training or for testing.
    assert any(line.endswith(": rock") and ("no photo for" in line or "no tile of 32" in line) for line in warnings)


@pytest.mark.parametrize("out", ["photos", "photos/out", "masks", "."])
def test_the_folders_of_the_user_are_not_written_to(untouched, out):
    with pytest.raises(BadInput, match="give another folder for the results"):
        check(StudyPaths(Path("photos"), Path("masks"), out_dir=Path(out)))


def test_a_folder_of_other_files_is_refused(data):
    Path("photos_run").mkdir()
    Path("photos_run/mine.txt").write_text("precious")
    with pytest.raises(OutputExists, match=r"photos_run holds files that are not from hybridseg run"):
        check()


def test_the_folder_of_the_results_is_beside_the_photos(data, monkeypatch):
    assert PATHS.out == Path("photos_run")
    monkeypatch.chdir(data / "photos")
    assert StudyPaths(Path()).out == data / "photos_run"


def test_what_a_review_finds_is_told_and_stops_only_what_it_would_break(data):
    dark = Image.open("photos/flight0_4.jpg").point(lambda value: value // 15)
    dark.save("photos/flight0_4.jpg")
    kinds = {fault.kind: [Path(problem.where).name for problem in fault.problems] for fault in check().faults}
    assert kinds["dark"] == ["flight0_4.jpg"] and "unlabelled" not in kinds
    dark.convert("L").save("photos/flight0_4.jpg")
    assert "kinds" in [fault.kind for fault in check().faults], "tiles are made of photos of any kind"
    with pytest.raises(BadInput, match=r"flight0_4\.jpg: has 1 band of uint8"):
        check(method="fcn")
