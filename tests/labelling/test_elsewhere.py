"""The live result of a window learns from the scribbles on the whole image."""

from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.crf.options import CrfOptions
from hybridseg.io.images import write_image
from hybridseg.labelling import elsewhere, preview
from hybridseg.labelling.album import Album
from hybridseg.labelling.elsewhere import Elsewhere
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SpreadOptions
from hybridseg.learning.classify import learn_probs, sample_seeds

TABLE = ClassTable.from_names(["water", "sand", "cliff"])
OPTIONS = SpreadOptions(crf=CrfOptions(theta=8.0, color_scale=5.0, gt_prob=0.9, n_threads=1))
# Rows, columns and class of strokes on stripes that are fine on the left and coarse on the right.
FINE, COARSE = (((20, 5), (60, 5)), 2), (((20, 91), (60, 91)), 0)
# With what the CRF sees around it, this has none of the strokes on coarse stripes.
FAR_LEFT, FAR_RIGHT = (0, 0, 96, 30), (0, 130, 96, 30)


@pytest.fixture
def striped(stripes, draw, tmp_path, monkeypatch):
    """An open image on which strokes can be drawn, its session, and a function that returns what a window shows."""
    monkeypatch.setattr(elsewhere, "_SIDE", 32)
    monkeypatch.setattr(elsewhere, "_HALO", 16)
    write_image(tmp_path / "a.png", stripes)
    session = LabelSession(Album([tmp_path / "a.png"], table=TABLE), options=OPTIONS)
    image_id = session.album.list_images()[0]["id"]
    opened, shown = session.album.open(image_id)[1], []
    monkeypatch.setattr(preview, "encode_overlay", lambda seeds, table: shown.append(seeds) or b"")

    class Striped:
        def __init__(self):
            self.opened, self.session, self.previewer, self.n = opened, session, Previewer(), 0

        def draw(self, points, class_id):
            self.n += 1
            session.add_stroke(image_id, self.n, draw(class_id, *points))

        def undo(self):
            self.n += 1
            session.undo(image_id, self.n)

        def see(self, window, options=OPTIONS):
            found = self.previewer.preview(opened, window, options)
            return None if found is None else (shown[-1].astype(int) - 1, found.is_last)

    return Striped()


@pytest.fixture
def looks(monkeypatch):
    """The parts of the image that were looked at."""
    seen, look_at = [], elsewhere._look_at

    def look(opened, part, kind, scale):
        seen.append((part[0].start, part[1].start))
        return look_at(opened, part, kind, scale)

    monkeypatch.setattr(elsewhere, "_look_at", look)
    return seen


def test_a_class_that_is_drawn_elsewhere_is_found(striped):
    striped.draw(*FINE)
    assert (striped.see((0, 0, 96, 160))[0] == 2).all(), "there is no other class yet"
    striped.draw((((70, 60)), ((70, 70))), 2)
    striped.draw(*COARSE)
    assert (striped.see(FAR_LEFT)[0] == 2).mean() > 0.9
    # Here is no stroke at all.
    labels, is_last = striped.see(FAR_RIGHT)
    assert (labels == 0).mean() > 0.9 and is_last
    assert striped.see(FAR_RIGHT, replace(OPTIONS, features="none")) is None


def test_nothing_is_shown_before_there_are_two_classes(striped):
    striped.draw(*FINE)
    assert striped.see(FAR_RIGHT) is None
    striped.draw(*COARSE)
    assert striped.see(FAR_RIGHT) is not None
    striped.undo()
    assert striped.see(FAR_RIGHT) is None


def test_what_was_looked_at_is_known(striped, looks):
    for row in (5, 40, 70):
        striped.draw(((row, 5), (row, 10)), 2)
    striped.draw(((40, 91), (40, 94)), 0)
    striped.draw(((70, 91), (70, 94)), 0)
    _, is_last = striped.see(FAR_RIGHT)
    # The nearest first, but for the class that it does not have.
    assert looks == [(32, 64), (64, 0), (64, 64)] or looks == [(32, 64), (32, 0), (64, 64)]
    assert not is_last
    assert striped.see(FAR_RIGHT)[1] and len(set(looks)) == len(looks) == 5
    striped.draw(((45, 91), (45, 94)), 0)
    assert striped.see(FAR_RIGHT)[1] and looks[5:] == [(32, 64)]


def test_no_more_cells_than_are_kept_are_asked_for(striped, looks, monkeypatch):
    monkeypatch.setattr(elsewhere, "_MOST_KEPT", 4)
    for row in (5, 40, 70):
        striped.draw(((row, 5), (row, 94)), 2)
    striped.draw(*COARSE)
    while not striped.see(FAR_RIGHT)[1]:
        pass
    assert len(looks) == 4


def test_strokes_within_the_window_count_once(striped):
    striped.draw(((40, 5), (40, 60)), 2)
    strokes = striped.opened.drawing.seeds["scribbles"]
    window = slice(0, 96), slice(0, 40)
    samples, is_last = Elsewhere().sample(striped.opened, window, kind="deep", scale=1.0, usual_scale=1.0)
    n_outside = np.count_nonzero(strokes[:, 40:])
    assert is_last and 0.9 * n_outside <= sum(one.n_seeded for one in samples) <= 1.1 * n_outside
    places = np.concatenate([np.stack([one.rows, one.cols], axis=1) for one in samples]).round().astype(int)
    assert (places[:, 1] >= 40).all() and (strokes[tuple(places.T)] == 3).all()


def test_a_part_learns_what_the_whole_image_would(stripes):
    seeds = np.zeros((96, 160), np.uint8)
    seeds[20:60, 20:23], seeds[20:60, 130:133] = 3, 1
    whole = learn_probs(stripes, seeds, kind="deep", gt_prob=0.9)
    left, right = np.s_[:, :64], np.s_[:, 64:]
    samples = sample_seeds(np.ascontiguousarray(stripes[right]), np.ascontiguousarray(seeds[right]), "deep")
    part = learn_probs(stripes[left], seeds[left], kind="deep", gt_prob=0.9, elsewhere=[samples])
    assert part.class_ids.tolist() == whole.class_ids.tolist() == [0, 2]
    everywhere = slice(0, 96), slice(0, 64)
    assert np.abs(part.guess(everywhere) - whole.guess(everywhere)).mean() < 0.03
