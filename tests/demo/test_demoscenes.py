import numpy as np
import pytest

from hybridseg.demo.demoscenes import SceneOptions, demo_table, write_demo_scenes
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.images import read_image
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.formats import read_labelmap

SMALL = SceneOptions(n=2, rows=48, cols=64)


def test_scenes_come_with_exact_label_maps_scribbles_and_class_files(tmp_path):
    paths = write_demo_scenes(tmp_path, options=SMALL)
    assert [path.name for path in paths] == ["scene_00.jpg", "scene_01.jpg"]
    labelmap = read_labelmap(tmp_path / "scene_01_mres.mat")
    assert read_image(paths[1]).shape == (48, 64, 3) and labelmap.labels.shape == (48, 64)
    assert (labelmap.labels != read_labelmap(tmp_path / "scene_00_mres.mat").labels).any(), "each scene is its own"
    drawn = labelmap.seeds > 0
    assert drawn.any() and np.array_equal(labelmap.seeds[drawn] - 1, labelmap.labels[drawn])
    assert read_class_files(tmp_path / "labels.txt", tmp_path / "colors.txt") == demo_table() == labelmap.table


def test_scenes_that_are_there_are_kept_and_missing_ones_drawn(tmp_path):
    paths = write_demo_scenes(tmp_path, options=SMALL)
    whole = paths[0].read_bytes()
    paths[0].unlink()
    kept = paths[1].stat().st_mtime_ns
    write_demo_scenes(tmp_path, options=SMALL)
    assert paths[0].read_bytes() == whole and paths[1].stat().st_mtime_ns == kept


def test_other_options_never_mix(tmp_path):
    write_demo_scenes(tmp_path, options=SMALL)
    other = SceneOptions(n=1, rows=48, cols=64, seed=7)
    with pytest.raises(OutputExists, match=r"made with other options .* give --overwrite"):
        write_demo_scenes(tmp_path, options=other)
    (tmp_path / "scene_notes.txt").touch()
    write_demo_scenes(tmp_path, options=other, overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("scene_*")) == [
        "scene_00.jpg",
        "scene_00_mres.mat",
        "scene_notes.txt",
    ]


def test_files_of_somebody_else_are_never_replaced(tmp_path):
    (tmp_path / "scene_00.jpg").write_bytes(b"my holiday")
    with pytest.raises(OutputExists, match=r"holds scene_00.jpg, which is not from this command"):
        write_demo_scenes(tmp_path, options=SMALL)
    assert (tmp_path / "scene_00.jpg").read_bytes() == b"my holiday"


@pytest.mark.parametrize("values", [{"n": 0}, {"rows": 10}, {"cols": 20_000}, {"seed": -1}])
def test_options_that_cannot_work(values):
    with pytest.raises(BadInput, match="give"):
        SceneOptions(**values)


def test_the_committed_class_files_are_those_of_the_scenes():
    from pathlib import Path

    labels = Path(__file__).parents[2] / "labels"
    assert read_class_files(labels / "demo_labels.txt", labels / "demo_colors.txt") == demo_table()
