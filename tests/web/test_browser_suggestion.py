"""A model that suggests labels, in a real browser: seen before the first stroke, corrected, accepted."""

import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.labelling.suggesting import Suggester

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("quick_panels")]


def predict(path, rows, cols, shape):
    """Hold the right half of an image of 600 columns for water, and the left one for sand."""
    places = cols.start + (np.arange(shape[1]) + 0.5) * (cols.stop - cols.start) / shape[1]
    water = np.where(places > 300, 0.8, 0.2) * np.ones(shape)
    return np.stack([water, 1 - water], axis=2).astype(np.float32)


@pytest.fixture
def suggester():
    table = ClassTable.from_names(["Water", "sand"])
    return Suggester(table, predict, lambda _: {"models": ["abc"], "settings": {}})


def test_it_is_seen_corrected_and_accepted(label, beach, suggester, picture):
    desk = label([beach / "coast.png"], suggester=suggester)
    tab = desk.tab
    tab.wait("document.body.dataset.preview === 'shown'")
    assert tab.page.is_visible("#source") and "The model suggests this" in tab.page.inner_text("#source")
    shares = tab.page.locator("#classes .class").all_inner_texts()
    assert "%" in shares[0] and "%" in shares[1] and "%" not in shares[2]
    picture(tab, "suggested")
    # A stroke is certain, whatever the model says.
    tab.press("3")
    tab.scribble((200, 500), (200, 560))
    tab.poll(lambda: "%" in tab.page.locator("#classes .class").all_inner_texts()[2], "the stroke has a share")
    tab.press("z")
    tab.saved()
    tab.press("s")
    tab.wait("document.querySelector('#question').open")
    assert "all of it is what the model suggests" in tab.page.inner_text("#question")
    tab.agree()
    tab.wait("document.body.dataset.job === 'none'")
    tab.poll(lambda: (beach / "coast_mres.mat").exists(), "the files")
    found = read_labelmap(beach / "coast_mres.mat")
    assert (found.labels[:, 590] == 0).mean() > 0.9 and (found.labels[:, 10] == 1).mean() > 0.9
    assert json.loads(found.made_by)["suggested_by"]["models"] == ["abc"]
    assert tab.page.is_visible("#source")
    # Without a model nothing is suggested.
    other = label([beach / "coast.png"])
    assert other.tab.page.is_visible("#source"), "an accepted suggestion stays one"
