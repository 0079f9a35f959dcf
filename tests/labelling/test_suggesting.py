"""A model that suggests labels, which scribbles correct: in cells, in the live result, in jobs, and in the record."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.opening import open_session
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.suggesting import Suggester
from hybridseg.resample import reduce_shape

MODEL = ClassTable.from_names(["Sand", "cliff"])


class Halves:
    """A model that holds the top half of any image for its first class, and remembers what it was asked."""

    def __init__(self, n_rows):
        self.n_rows, self.asked = n_rows, []

    def __call__(self, path, rows, cols, shape):
        self.asked.append((rows, cols, shape))
        places = rows.start + (np.arange(shape[0]) + 0.5) * (rows.stop - rows.start) / shape[0]
        first = np.where(places < self.n_rows / 2, 0.9, 0.1)[:, None] * np.ones(shape)
        return np.stack([first, 1 - first], axis=2).astype(np.float32)


def make_suggester(n_rows=60, table=MODEL):
    return Suggester(table, Halves(n_rows), lambda shape: {"models": ["abc"], "settings": {"rows": shape[0]}})


@pytest.fixture
def helped(photos, table, near):
    album = Album([photos / "a.png", photos / "b.png"], table=table)
    return LabelSession(album, options=near, suggester=make_suggester())


@pytest.fixture
def helped_jobs(helped):
    runner = JobRunner(helped)
    yield runner
    runner.close()


def see(helped, image_id, previewer, window=(0, 0, 60, 90)):
    """The colours of a preview."""
    opened = helped.album.open(image_id)[1]
    found = previewer.preview(opened, window, helped.options, suggester=helped.suggester_for(opened))
    return np.asarray(Image.open(io.BytesIO(found.picture)).convert("RGB")), found.counts


def test_classes_meet_by_name(table, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    probs = make_suggester().look(tmp_path / "a.png", (60, 90), (30, 45), table)[slice(0, 30), slice(0, 45)]
    assert probs.shape == (30, 45, len(table)) and np.allclose(probs.sum(axis=2), 1, atol=1e-5)
    assert (probs[0].argmax(axis=1) == table.index("sand")).all()
    assert (probs[-1].argmax(axis=1) == table.index("cliff")).all()
    with pytest.raises(BadInput, match=r"the list in use has .*; the model has rock, road"):
        make_suggester(table=ClassTable.from_names(["rock", "road"])).look(tmp_path, (60, 90), (30, 45), table)


def test_a_large_image_is_asked_about_in_cells_that_are_kept(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"")
    shape = (5000, 7000)
    suggester, size = make_suggester(5000), reduce_shape(shape, 0.2)
    whole = suggester.look(tmp_path / "a.tif", shape, size, MODEL)
    view = whole.cut(slice(2000, 3000), slice(100, 1400), (200, 260))
    seen = view[slice(0, 200), slice(0, 260)]
    asked = suggester.predict.asked
    assert len(asked) == 4 and all(r.stop - r.start < 800 and c.stop - c.start < 800 for r, c, _ in asked)
    assert (seen.argmax(axis=2)[:, 0] == (np.arange(200) >= 100)).all()
    assert (whole[slice(400, 600), slice(20, 280)] == seen).all() and len(asked) == 4
    whole.prepare()
    n_cells = len(asked)
    assert n_cells == 7 * 10
    # Another image under the same name.
    (tmp_path / "a.tif").write_bytes(b"other")
    whole[slice(0, 1), slice(0, 1)]
    assert len(asked) == n_cells + 1


def test_the_suggestion_is_seen_before_the_first_stroke(helped, first, table):
    seen, counts = see(helped, first, Previewer())
    assert helped.describe(first)["suggested"]
    assert counts[table.index("sand")] and counts[table.index("cliff")] and sum(counts) == seen.shape[0] * seen.shape[1]
    assert (seen[0, 0] == table.colors[table.index("sand")]).all()


def test_strokes_are_certain_and_correct_it(helped, first, draw, table):
    previewer, water = Previewer(), table.index("water")
    helped.add_stroke(first, 1, draw(water, (10, 5), (10, 30)))
    _, counts = see(helped, first, previewer)
    assert counts[water] > 0
    helped.options = type(helped.options)(crf=helped.options.crf, features="color")
    helped.add_stroke(first, 2, draw(table.index("sand"), (10, 60), (10, 80)))
    seen, more = see(helped, first, previewer)
    # Now it is known by its colour: also where the model says something else.
    assert more[water] > counts[water] and (seen[50, 20] == table.colors[water]).all()


def test_accepting_it_alone_is_recorded(helped, helped_jobs, first, wait_for_job, photos, table, quick_panels):
    helped_jobs.start(first, 1, "accept")
    state = wait_for_job(helped, first)
    assert state["state"] == "done" and state["suggested"]
    found = read_labelmap(photos / "a_mres.mat")
    record = json.loads(found.made_by)
    assert record["suggested_by"] == {"models": ["abc"], "settings": {"rows": 60}}
    # It is ground truth, and no result of a model that another may replace.
    assert "models" not in record and record["settings"]["smoothness"] == 0
    assert (found.labels[:20] == table.index("sand")).all() and (found.labels[-20:] == table.index("cliff")).all()
    # Reopened without the model, and accepted again: it still says so.
    again = LabelSession(Album([photos / "a.png"], table=table), options=helped.options)
    assert again.describe(first)["state"] == "done" and again.describe(first)["suggested"]
    runner = JobRunner(again)
    runner.start(first, again.describe(first)["version"], "accept")
    assert wait_for_job(again, first)["message_kind"] == "good"
    runner.close()
    assert json.loads(read_labelmap(photos / "a_mres.mat").made_by) == record


def test_imported_labels_stay_as_they_are(helped, helped_jobs, first, wait_for_job, photos, table, quick_panels):
    mask = np.full((60, 90), 255, np.uint8)
    mask[:30, :40] = table.index("sand")
    Image.fromarray(mask).save(photos / "mask.png")
    helped.import_labels(first, 1, photos / "mask.png")
    assert not helped.describe(first)["suggested"]
    helped_jobs.start(first, 2, "accept")
    assert wait_for_job(helped, first)["state"] == "done"
    assert (read_labelmap(photos / "a_mres.mat").labels[40:] == 255).all()


def test_a_session_without_classes_takes_those_of_the_model(photos, table):
    session, told = open_session([photos], suggester=make_suggester())
    assert session.album.table.names == MODEL.names and not told
    assert (photos / "page_labels.txt").exists()
    for path in photos.glob("page_*"):
        path.unlink()
    _, told = open_session([photos], table=table, suggester=make_suggester())
    assert told and "does not know" in told[0] and "water" in told[0]
    with pytest.raises(BadInput, match="no class has the same name"):
        open_session([photos], table=ClassTable.from_names(["rock"]), suggester=make_suggester())
