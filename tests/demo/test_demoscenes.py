import functools
import os
import shutil

import numpy as np
import pytest

from hybridseg.demo.demoscenes import SceneOptions, demo_table, write_demo_scenes
from hybridseg.demo.scenes import scene
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.images import read_image
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.locks import lock_output

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


class Killed(BaseException):
    pass


def read_scenes(folder):
    """Return the bytes of each scene, image and label map."""
    return {path.stem: (path.read_bytes(), (folder / f"{path.stem}_mres.mat").read_bytes())
            for path in folder.glob("scene_*.jpg")}  # fmt: skip


@pytest.mark.slow
def test_whenever_it_is_stopped_each_scene_is_of_one_set_and_the_next_run_finishes(tmp_path, monkeypatch):
    """Before each file takes its place: how often that is, the last round tells."""
    monkeypatch.setattr(scene, "make_scene", functools.cache(scene.make_scene))
    other = SceneOptions(n=2, rows=48, cols=64, seed=7)
    for name, options in (("old", SceneOptions(n=3, rows=48, cols=64)), ("new", other)):
        write_demo_scenes(tmp_path / name, options=options)
    old, new = read_scenes(tmp_path / "old"), read_scenes(tmp_path / "new")
    replace, n_before, calls = os.replace, 0, []

    def stop(source, target):
        calls.append(target)
        if len(calls) > n_before:
            raise Killed
        replace(source, target)

    while True:
        folder = tmp_path / str(n_before)
        shutil.copytree(tmp_path / "old", folder)
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop)
            try:
                write_demo_scenes(folder, options=other, overwrite=True)
                break
            except Killed:
                pass
        found = read_scenes(folder)
        assert len(found) >= 2 and all(scene in (old[name], new.get(name)) for name, scene in found.items())
        # What is replaced was agreed to; other scenes would be replaced only if that is said again.
        resumed = n_before > 3
        write_demo_scenes(folder, options=other, overwrite=not resumed)
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            path.name for path in (tmp_path / "new").iterdir()
        )
        assert all(path.read_bytes() == (tmp_path / "new" / path.name).read_bytes() for path in folder.iterdir())
        n_before += 1
    assert n_before > 8


def test_two_at_once_never_write_one_folder(tmp_path):
    with lock_output(tmp_path / "scenes.json"), pytest.raises(OutputExists, match="another run is writing"):
        write_demo_scenes(tmp_path, options=SMALL)


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
