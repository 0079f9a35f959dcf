"""Scribbles that train a classifier before the CRF: in memory, by the command, on the page."""

import io
import json
import shutil
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.errors import BadInput
from hybridseg.io.annotations.doodles import Stroke, StrokeLog, write_strokes
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.windows import open_windows
from hybridseg.labelling import spread
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import LEARNED_CRF, SPREAD_CRF, SpreadOptions, spread_seeds
from hybridseg.learning import classify
from hybridseg.learning.features import _KEPT
from hybridseg.progress import ended_by

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
SMALL = CrfOptions(theta=8.0, color_scale=5.0, gt_prob=0.9, n_threads=1)


@pytest.fixture(scope="module")
def strokes():
    seeds = np.zeros((96, 160), np.uint8)
    # By nearness alone the border would lie too far left.
    seeds[20:60, 4:7], seeds[20:60, 90:93] = 3, 1
    return seeds


@pytest.fixture(scope="module")
def expected():
    return np.where(np.arange(160) < 80, 2, 0) * np.ones((96, 1), int)


def test_what_only_the_classifier_can_tell_apart(stripes, strokes, expected):
    found = {
        kind: spread_seeds(stripes, strokes, n_classes=3, options=SMALL, features=kind)
        for kind in ("none", "color", "deep")
    }
    right = {kind: (labels == expected).mean() for kind, labels in found.items()}
    assert right["color"] > 0.9 and right["deep"] > 0.95 and right["none"] < 0.85, right
    assert all((labels[strokes > 0] == strokes[strokes > 0] - 1).all() for labels in found.values())


def test_one_class_alone_needs_no_classifier(stripes, strokes):
    found = spread_seeds(stripes, np.where(strokes == 3, strokes, 0), n_classes=3, options=SMALL, features="deep")
    assert (found == 2).all()


def test_constants_suit_the_features():
    assert SpreadOptions().constants == LEARNED_CRF and SpreadOptions(features="none").constants == SPREAD_CRF
    assert SpreadOptions(crf=SMALL).constants == SMALL
    with pytest.raises(BadInput, match="features"):
        SpreadOptions(features="forest")


@pytest.mark.parametrize("kind", ["none", "deep"])
def test_the_command_computes_what_the_function_does(kind, stripes, strokes, run, tmp_path, quick_panels):
    write_image(tmp_path / "a.png", stripes)
    write_matfile(tmp_path / "drawn.mat", LabelMap(np.zeros((96, 160), np.uint8), TABLE, strokes))
    words = [] if kind == "deep" else ["--features", kind]
    done = run("crf", tmp_path / "a.png", tmp_path / "drawn.mat", *words, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    options = SpreadOptions(features=kind).constants
    own = spread_seeds(stripes, strokes, n_classes=3, options=options, features=kind)
    assert (read_labelmap(tmp_path / "out" / "a_mres.mat").labels == own).all()


def save_grey(path, stripes):
    write_image(path, stripes[..., 0])


def save_bands(path, stripes):
    """Four bands of 16 bits."""
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    bands = np.concatenate([stripes, stripes[..., :1]], axis=2).astype(np.uint16) * 40
    with quiet_rasterio(), rasterio.open(path, "w", "GTiff", 160, 96, 4, dtype="uint16") as file:
        file.write(bands.transpose(2, 0, 1))


@pytest.mark.parametrize(("name", "save"), [("grey.png", save_grey), ("bands.tif", save_bands)])
def test_images_without_colours_and_of_other_bands(name, save, stripes, strokes, expected, run, tmp_path, quick_panels):
    save(tmp_path / name, stripes)
    write_matfile(tmp_path / "drawn.mat", LabelMap(np.zeros((96, 160), np.uint8), TABLE, strokes))
    done = run("crf", tmp_path / name, tmp_path / "drawn.mat", "--out", tmp_path, "--theta", "8")
    assert done.exit_code == 0, done.output
    found = read_labelmap(tmp_path / f"{name.partition('.')[0]}_mres.mat").labels
    assert (found == expected).mean() > 0.95


def test_the_live_result_learns_too(stripes, draw, tmp_path):
    write_image(tmp_path / "a.png", stripes)
    session = LabelSession(Album([tmp_path / "a.png"], table=TABLE), options=SpreadOptions(crf=SMALL))
    image_id = session.album.list_images()[0]["id"]
    session.add_stroke(image_id, 1, draw(2, (20, 5), (60, 5)))
    session.add_stroke(image_id, 2, draw(0, (20, 91), (60, 91)))
    opened = session.album.open(image_id)[1]
    found = Previewer().preview(opened, (0, 0, 96, 160), session.options)
    pixels = np.asarray(Image.open(io.BytesIO(found.picture)).convert("RGB")).astype(int)
    # The stripes continue through all rows of each half, whatever their colours.
    halves = [np.unique(part.reshape(-1, 3), axis=0, return_counts=True)[1] for part in np.split(pixels, 2, axis=1)]
    assert all(counts.max() > 0.9 * counts.sum() for counts in halves)


@pytest.mark.slow
def test_the_images_of_a_session_teach_one_another(stripes, draw, wait_for_job, tmp_path, monkeypatch):
    """Only one that was labelled as a whole does, and only where the person wants it."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, stripes)
    seen = []
    fit = classify.fit_softmax
    monkeypatch.setattr(classify, "fit_softmax", lambda x, *ys, **more: seen.append(len(x)) or fit(x, *ys, **more))
    for others, grows in ((SpreadOptions().others, True), (0.0, False)):
        out_dir = tmp_path / f"out {others}"
        out_dir.mkdir()
        album = Album([tmp_path / "a.png", tmp_path / "b.png"], table=TABLE, out_dir=out_dir)
        session = LabelSession(album, options=SpreadOptions(crf=SMALL, others=others))
        jobs, previewer = JobRunner(session), Previewer()
        for entry in album.entries.values():
            session.add_stroke(entry.id, 1, draw(2, (20, 5), (60, 5)))
            session.add_stroke(entry.id, 2, draw(0, (20, 91), (60, 91)))
            teach = partial(session.teach, entry, keeps=False)
            for _ in range(2):
                previewer.preview(album.open(entry.id)[1], (0, 0, 96, 160), session.options, teach=teach)
            jobs.start(entry.id, 3, "run")
            wait_for_job(session, entry.id)
        alone = json.loads(album.open(next(iter(album.entries)))[1].labels_by)
        assert alone["settings"]["others"] == 0 and "taught_by" not in alone, "nobody taught the first"
        record = json.loads(album.open(entry.id)[1].labels_by)
        assert record.get("taught_by") == (["a.png"] if grows else None)
        assert record["settings"]["others"] == (others if grows else 0)
        first, second = seen[:3], seen[3:6]
        assert len(set(first)) == len(set(second)) == 1 and (second[0] > first[0]) == grows
        seen.clear()


@pytest.fixture
def taught(stripes, draw, wait_for_job, tmp_path, quick_panels):
    """A folder of four photos of which two are accepted, and the session that did it; one of these cannot be read."""
    for k, name in enumerate("abcd"):
        write_image(tmp_path / f"{name}.png", np.roll(stripes, 3 * k, axis=0))
    found = Continued(tmp_path, draw, wait_for_job)
    for name in "bad":
        found.scribble(name)
        if name != "d":
            found.work(name, "accept")
    return found


class Continued:
    """A session on some photos, which can be started again."""

    def __init__(self, folder, draw, wait) -> None:
        self.folder, self._draw, self._wait, self.person = folder, draw, wait, Path()
        self.start()

    def start(self, **more) -> None:
        album = Album(sorted(self.folder.glob("*.png")), table=TABLE, person=self.person)
        self.session = LabelSession(album, options=SpreadOptions(crf=SMALL, features="color", **more))
        self.ids = {entry.path.stem: entry.id for entry in album.entries.values()}

    def scribble(self, name) -> None:
        for class_id, col in ((2, 5), (0, 91)):
            version = self.session.describe(self.ids[name])["version"]
            self.session.add_stroke(self.ids[name], version, self._draw(class_id, (20, col), (60, col)))

    def work(self, name, kind) -> tuple[np.ndarray, list[str]]:
        """Return the labels, and who taught them."""
        jobs, image_id = JobRunner(self.session), self.ids[name]
        jobs.start(image_id, self.session.describe(image_id)["version"], kind)
        assert self._wait(self.session, image_id)["message_kind"] != "bad"
        jobs.close()
        opened = self.session.album.open(image_id)[1]
        return opened.labels, json.loads(opened.labels_by).get("taught_by", [])

    def known(self) -> list[tuple[np.ndarray, list[str]]]:
        """Return what was learned, in its order."""
        entry = next(iter(self.session.album.entries.values()))
        return list(self.session.teach(entry, TABLE, keeps=False).experience.recall("none").values())

    def preview(self, name, n_looks):
        entry, opened = self.session.album.open(self.ids[name])
        teach = partial(self.session.teach, entry, keeps=False, n_looks=n_looks)
        return Previewer().preview(opened, (0, 0, 96, 160), self.session.options, teach=teach)


def test_a_session_that_goes_on_has_forgotten_nothing(taught, tmp_path):
    taught.start()
    taught.scribble("c")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    first = taught.preview("c", 0)
    assert first.teachers == () and not first.is_last, "a stroke waits for nobody"
    found = taught.preview("c", 1)
    assert found.teachers == (taught.ids["a"],) and not found.is_last, "the latest comes first"
    found = taught.preview("c", 1)
    assert found.teachers == (taught.ids["b"], taught.ids["a"]) and found.is_last
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    again, known = taught.work("c", "run"), taught.known()
    shutil.rmtree(tmp_path / "figures")
    for path in [*tmp_path.glob("*_*")]:
        path.unlink()
    taught.start()
    for name in "badc":
        taught.scribble(name)
        if name in "ba":
            taught.work(name, "accept")
    labels, teachers = taught.work("c", "run")
    assert teachers == again[1] == ["b.png", "a.png"] and (labels == again[0]).all()
    for (features, keys), (known_features, known_keys) in zip(taught.known(), known, strict=True):
        assert (features == known_features).all() and keys == known_keys


def test_what_is_taken_from_the_strokes_on_disk(stripes, tmp_path):
    """No pixels without a picture, nothing of a single class that no model helps, and no features that others need."""
    clear = np.full((*stripes.shape[:2], 1), 255, np.uint8)
    clear[:, :30] = 0
    Image.fromarray(np.concatenate([stripes, clear], axis=2)).save(tmp_path / "a.png")
    options, strokes_path = SpreadOptions(1.0, features="color"), tmp_path / "a_doodles.json"

    def sample(*strokes, shape=stripes.shape[:2], least=2):
        write_strokes(strokes_path, StrokeLog("a.png", shape, TABLE, strokes))
        return spread.sample_file(tmp_path / "a.png", strokes_path, options, least=least)

    gone, there = (Stroke("pen", k, 1.0, ((20, col), (60, col))) for k, col in ((0, 5), (2, 91)))
    sand = Stroke("pen", 1, 1.0, ((20, 99), (60, 99)))
    kept = list(_KEPT._found)
    assert set(sample(gone, there, sand)[1]) == {"sand", "cliff"}
    assert sample(gone, there) is None and set(sample(gone, there, least=1)[1]) == {"cliff"}
    assert list(_KEPT._found) == kept
    with pytest.raises(BadInput, match="belongs to another image"):
        sample(there, sand, shape=(200, 200))


def test_a_stroke_waits_for_no_image_that_is_looked_at(taught, monkeypatch):
    """It ends that before the strokes are drawn; the image is looked at once there is time again."""
    taught.start()
    taught.scribble("c")
    entry, _ = taught.session.album.open(taught.ids["c"])
    experience = taught.session.teach(entry, TABLE, keeps=False).experience
    ends = []

    def end():
        if ends:
            raise TimeoutError

    def open_image(path):
        ends.append(path)
        return open_windows(path)

    with monkeypatch.context() as changed, ended_by(end), pytest.raises(TimeoutError):
        changed.setattr(spread, "open_windows", open_image)
        changed.delattr(spread, "read_seeds")
        experience.look_back(entry.id)
    assert experience.look_back(entry.id) and list(experience.recall(entry.id)) == [taught.ids[k] for k in "ba"]


def test_who_teaches_when_a_session_goes_on(taught, tmp_path, monkeypatch):
    def teachers(**more):
        taught.start(**more)
        taught.scribble("c")
        return taught.work("c", "run")[1]

    (tmp_path / "a.png").write_bytes(b"no image")
    assert teachers() == ["b.png"], "one that cannot be read is left out"
    (tmp_path / "c_doodles.json").unlink()
    with monkeypatch.context() as changed:
        changed.setattr(spread, "sample_whole", Mock(side_effect=MemoryError))
        assert teachers() == [], "nor one that is too large now"
    (tmp_path / "c_doodles.json").unlink()
    assert teachers(others=0.0) == []
    (tmp_path / "c_doodles.json").unlink()
    taught.person = Path("annotators") / "Ann"
    assert teachers() == [], "nor do the strokes of another person"


def save_near_infrared(path, image):
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    how = {"dtype": "uint8", "photometric": "minisblack"}
    with quiet_rasterio(), rasterio.open(path, "w", "GTiff", 160, 96, 4, **how) as file:
        file.write(image.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["color", "deep"])
def test_a_fourth_band_tells_classes_apart(kind, strokes, expected, run, tmp_path, quick_panels):
    """Colours say nothing here; what lies beyond them does, in the command and in memory alike."""
    rng = np.random.default_rng(0)
    image = rng.normal(100, 30, (96, 160, 4)).clip(0, 255).astype(np.uint8)
    image[..., 3] = np.where(np.arange(160) < 80, 150, 110) + rng.integers(-40, 41, (96, 160))
    right = {
        n: (spread_seeds(image[..., :n], strokes, n_classes=3, options=SMALL, features=kind) == expected).mean()
        for n in (3, 4)
    }
    assert right[4] > 0.95 and right[3] < 0.7, right
    save_near_infrared(tmp_path / "a.tif", image)
    write_matfile(tmp_path / "drawn.mat", LabelMap(np.zeros((96, 160), np.uint8), TABLE, strokes))
    done = run("crf", tmp_path / "a.tif", tmp_path / "drawn.mat", "--out", tmp_path, "--theta", "8", "--features", kind)
    assert done.exit_code == 0, done.output
    assert (read_labelmap(tmp_path / "a_mres.mat").labels == expected).mean() > 0.95
