import numpy as np
import pytest
from scipy.io import savemat

from hybridseg.classes import VOID, ClassTable
from hybridseg.dense.programs.makelabels import make_labels
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.atomic import write_bytes
from hybridseg.io.images import read_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import read_labelpng
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.majority import filter_majority

# As in labeldefs.txt: other classes too, in another order than the label maps have.
DEFS = ClassTable(("foam", "Cliff", "sand", "water"), ((255, 255, 255), (139, 0, 139), (255, 255, 0), (0, 0, 255)))
WATER, SAND, CLIFF = range(3)


@pytest.fixture
def speckled():
    """Water left, cliff right, one pixel of sand in the water, a corner without a class."""
    labels = np.full((12, 16), WATER, np.uint8)
    labels[:, 9:] = CLIFF
    labels[4, 4] = SAND
    labels[:2, :2] = VOID
    return labels


@pytest.fixture
def write_map(tmp_path, table):
    """Write a label map into the folder of the test."""

    def write(name: str, labels: np.ndarray, classes: ClassTable = table) -> None:
        write_matfile(tmp_path / name, LabelMap(np.asarray(labels, np.uint8), classes))

    return write


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_colours_by_hand(tmp_path, write_map, speckled):
    write_map("a b_mres.mat", speckled)
    result = make_labels(tmp_path, table=DEFS, radius=2)
    target = tmp_path / "a b_gtFine_color.png"
    assert (result.out_dir, result.written, result.skipped, result.problems) == (tmp_path, (target,), (), ())
    assert list_names(tmp_path) == ["a b_gtFine_color.png", "a b_mres.mat"]
    picture = read_image(target)
    assert picture.shape == (12, 16, 3) and picture.dtype == np.uint8
    assert picture[[0, 4, 8, 8], [0, 4, 8, 9]].tolist() == [[0, 0, 0], [0, 0, 255], [0, 0, 255], [139, 0, 139]]


def test_reading_it_back_gives_the_filtered_labels(tmp_path, write_map, table):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (6, 8)).repeat(10, axis=0).repeat(10, axis=1)
    speckle = rng.random(labels.shape) < 0.2
    labels[speckle] = rng.integers(0, 3, speckle.sum())
    labels[:9, :9] = VOID
    write_map("a_mres_ANN.mat", labels)
    (path,) = make_labels(tmp_path, table=DEFS).written
    assert path.name == "a_gtFine_color.png"
    in_defs = np.array([3, 2, 1] + [VOID] * 253, np.uint8)[labels]
    expected = filter_majority(in_defs, radius=7)
    assert (read_labelpng(path, table=DEFS).labels == expected).all()
    assert (expected != in_defs).any()
    make_labels(tmp_path, table=DEFS, radius=0, overwrite=True)
    assert (read_labelpng(path, table=DEFS).labels == in_defs).all()


def test_which_files_are_label_maps(tmp_path, write_map, speckled):
    for name in ("a_mres.mat", "b.mat", "c_ares_96.mat", "d_atiles_96.mat", ".hidden_mres.mat"):
        write_map(name, speckled)
    out_dir = tmp_path / "new" / "labels"
    assert make_labels(tmp_path, table=DEFS, out_dir=out_dir).problems == ()
    assert list_names(out_dir) == ["a_gtFine_color.png", "b_gtFine_color.png"]
    assert not list(tmp_path.glob("*.png"))


def test_what_is_there_stays_unless_it_shall_not(tmp_path, write_map, speckled):
    write_map("a_mres.mat", speckled)
    write_map("b_mres.mat", speckled)
    target = tmp_path / "a_gtFine_color.png"
    write_bytes(target, b"mine")
    result = make_labels(tmp_path, table=DEFS)
    assert result.skipped == (target,) and [path.name for path in result.written] == ["b_gtFine_color.png"]
    assert target.read_bytes() == b"mine"
    result = make_labels(tmp_path, table=DEFS, overwrite=True)
    assert result.skipped == () and len(result.written) == 2
    assert target.read_bytes() == (tmp_path / "b_gtFine_color.png").read_bytes()


def test_problems_stop_nobody_else(tmp_path, write_map, speckled, table):
    write_map("good_mres.mat", speckled)
    write_map("cut_mres.mat", speckled)
    cut = tmp_path / "cut_mres.mat"
    cut.write_bytes(cut.read_bytes()[:-40])
    write_map("twice_mres.mat", speckled)
    write_map("twice_mres_ANN.mat", speckled)
    write_map("other_mres.mat", speckled, ClassTable.from_names(["water", "sand", "forest"]))
    savemat(tmp_path / "nameless.mat", {"class": speckled})
    savemat(tmp_path / "unrelated.mat", {"tide": np.arange(3.0)})
    result = make_labels(tmp_path, table=DEFS)
    assert [path.name for path in result.written] == ["good_gtFine_color.png"]
    assert [path.name for path in tmp_path.glob("*.png")] == ["good_gtFine_color.png"]
    problems = {problem.where.removeprefix(f"{tmp_path}/"): problem.message for problem in result.problems}
    assert sorted(problems) == ["cut_mres.mat", "nameless.mat", "other_mres.mat", "twice", "unrelated.mat"]
    assert "damaged" in problems["cut_mres.mat"]
    assert "does not name its classes" in problems["nameless.mat"] and "--labels" in problems["nameless.mat"]
    assert "forest are not among foam, Cliff, sand, water" in problems["other_mres.mat"]
    assert "2 label maps (twice_mres.mat, twice_mres_ANN.mat)" in problems["twice"]
    assert "no variable `class`" in problems["unrelated.mat"]


def test_names_may_come_from_a_class_file(tmp_path, speckled, table):
    savemat(tmp_path / "nameless.mat", {"class": speckled})
    (path,) = make_labels(tmp_path, table=DEFS, labels_table=table, radius=0).written
    assert read_image(path)[4, 4].tolist() == [255, 255, 0]


def test_colours_that_cannot_be_told_apart(tmp_path, write_map, speckled):
    write_map("a_mres.mat", speckled)
    twins = ClassTable(("water", "sand", "cliff"), ((0, 0, 255), (9, 9, 9), (9, 9, 9)))
    with pytest.raises(BadInput, match="'sand' and 'cliff' share the colour"):
        make_labels(tmp_path, table=twins)
    assert list_names(tmp_path) == ["a_mres.mat"]


def test_a_black_class_only_where_all_pixels_have_one(tmp_path, write_map, speckled):
    black = ClassTable(("water", "sand", "cliff"), ((0, 0, 0), (255, 255, 0), (139, 0, 139)))
    write_map("void_mres.mat", speckled)
    whole = np.where(speckled == VOID, WATER, speckled)
    write_map("whole_mres.mat", whole)
    result = make_labels(tmp_path, table=black, radius=0)
    assert [problem.where for problem in result.problems] == [str(tmp_path / "void_mres.mat")]
    assert "'water' is black too" in result.problems[0].message
    assert (read_labelpng(result.written[0], table=black).labels == whole).all()


def test_folders_without_label_maps(tmp_path, write_map, speckled):
    with pytest.raises(MissingInput, match="no folder"):
        make_labels(tmp_path / "gone", table=DEFS)
    write_map("a_ares_96.mat", speckled)
    with pytest.raises(MissingInput, match=r"no label map made by hand \(NAME_mres.mat or NAME.mat\)"):
        make_labels(tmp_path, table=DEFS)
    with pytest.raises(BadInput, match="radius=-1"):
        make_labels(tmp_path, table=DEFS, radius=-1)
