"""What the page takes as the name of a class is there again when the session is opened anew, byte for byte."""

import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.classes import class_key
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.web.app import create_label_app

HARD = (
    *("a,b", '"a"', "a, 1, 2, 3", "#a", "a\tb", "a\u2028b", "a\x85b", "a\x1cb", "\u202ea", "\ufeffa", " a", ""),
    *("a" * 200, "a" * 300),
)
texts = st.text(st.one_of(st.sampled_from("a,\"'; \t\n\x0b\x85\u2028\ud800"), st.characters()), max_size=10)
numbers = itertools.count()


@pytest.fixture
def open_page(make_session, gate, make_visitor):
    """Open the page on a folder of results, without work in the background: the session and a visitor."""

    def open_(out_dir):
        session = make_session(names=("a.png",), table=None, out_dir=out_dir)
        return session, make_visitor(create_label_app(session, None, gate), gate)

    return open_


@pytest.mark.parametrize("name", HARD)
def test_hard_names(tmp_path, open_page, draw, name):
    check_name(tmp_path, open_page, draw, [name])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(texts, min_size=1, max_size=3, unique_by=class_key))
def test_any_names(tmp_path, open_page, draw, names):
    check_name(tmp_path, open_page, draw, names)


def check_name(tmp_path, open_page, draw, names):
    out_dir = tmp_path / f"out{next(numbers)}"
    out_dir.mkdir()
    session, visitor = open_page(out_dir)
    classes = [{"name": name, "color": f"#0000{i:02x}"} for i, name in enumerate(names)]
    version = visitor.get("/api/session").json["classes_version"]
    # As the browser sends it: half a character only as an escape.
    answer = visitor.client.put(
        "/api/classes", data=json.dumps({"version": version, "classes": classes}), headers=visitor.headers,
        content_type="application/json",
    )  # fmt: skip
    if answer.status_code != 200:
        assert answer.status_code == 400 and answer.json["kind"] == "bad"
        assert len(answer.json["error"]) < 250 and answer.json["error"].isprintable()
        assert not list(out_dir.iterdir())
        return
    [entry] = session.album.list_images()
    session.add_stroke(entry["id"], session.describe(entry["id"])["version"], draw(len(names) - 1))
    again, visitor = open_page(out_dir)
    assert [one["name"] for one in visitor.get("/api/session").json["classes"]] == names
    assert again.album.table.names == tuple(names) and again.describe(entry["id"])["n_strokes"] == 1
    assert read_strokes(out_dir / "a_doodles.json").table.names == tuple(names)
    assert read_class_files(out_dir / "page_labels.txt").names == tuple(names)
