"""What many tabs, a bad disk and odd images do to a session: nothing that was acknowledged is lost, nothing hangs."""

from __future__ import annotations

import itertools
import random
import shutil
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from waitress.server import create_server

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, WriteFailed
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.io.images import write_image
from hybridseg.labelling.album import Album
from hybridseg.labelling.entries import Job, JobCancelled
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.session import LabelSession
from hybridseg.web.app import MAX_IMPORT_BYTES, create_label_app

N_TABS, N_IMAGES, N_STEPS = 12, 4, 20

pytestmark = pytest.mark.usefixtures("quick_panels")


class Tab:
    """A tab that does whatever comes to its mind, and keeps what the server has taken: (image, version, act)."""

    def __init__(self, app, gate, number):
        self.client, self.draws, self.number = app.test_client(), random.Random(number), number
        self.client.set_cookie(gate.cookie_name, gate.exchange(gate.token))
        self.client.environ_base["HTTP_X_PAGE_KEY"] = gate.key
        self.headers = {"Origin": "http://localhost"}
        self.taken, self.statuses, self.serials = [], Counter(), itertools.count()

    def change(self, path, body, method="post"):
        answer = getattr(self.client, method)(path, json=body, headers=self.headers)
        self.note(path, answer)
        return answer

    def note(self, path, answer):
        self.statuses[path.rsplit("/", 1)[-1], answer.status_code] += 1
        if answer.status_code >= 500:
            self.statuses["failed"] += 1

    def step(self):
        told = self.client.get("/api/session").json
        image = self.draws.choice(told["images"])["id"]
        state = self.client.get(f"/api/images/{image}").json
        act = self.draws.choices(
            ["strokes", "undo", "redo", "preview", "tile", "run", "accept", "cancel", "classes"],
            [40, 6, 5, 6, 8, 3, 2, 2, 2],
        )[0]
        path, version = f"/api/images/{image}/{act}", {"version": state["version"]}
        if act == "strokes" and told["classes_version"] == state["classes_version"]:
            class_id = self.draws.randrange(3)
            # A place that no other stroke has.
            place = [(self.number * 8 + 3) / 64, next(self.serials) / 64]
            layer = self.draws.choice(["scribbles", "scribbles", "result"])
            stroke = {"layer": layer, "tool": "pen", "class": class_id, "width": 3, "points": [place, [30, 40]]}
            if self.change(path, {**version, **stroke}).status_code == 200:
                self.taken.append((image, state["version"], (told["classes"][class_id]["name"], tuple(place))))
        elif act in ("undo", "redo"):
            answer = self.change(path, version)
            if answer.status_code == 200 and answer.json["bounds"]:
                self.taken.append((image, state["version"], act))
        elif act == "preview":
            self.change(path, {"window": [0, 0, 60, 90]})
        elif act in ("run", "accept", "cancel"):
            self.change(path, version)
        elif act == "tile":
            layer = self.draws.choice(["picture", "scribbles", "result"])
            path = f"/api/images/{image}/{layer}/0/0/0"
            self.note(path, self.client.get(path))
        elif act == "classes":
            classes = told["classes"][1:3] + told["classes"][:1]
            self.change("/api/classes", {"version": told["classes_version"], "classes": classes}, "put")


def replay(taken):
    """What must be there: each change was made of the version that the one before had left."""
    strokes, undone = [], []
    for _, act in sorted(taken):
        if act == "undo":
            undone.append(strokes.pop())
        elif act == "redo":
            strokes.append(undone.pop())
        else:
            strokes.append(act)
            undone.clear()
    return strokes, undone


@pytest.mark.slow
def test_many_tabs_at_once(tmp_path, table, near, gate):
    """More images than may be open: they are closed and opened while others draw on them."""
    for i in range(N_IMAGES):
        write_image(tmp_path / f"{i}.png", np.random.default_rng(i).integers(0, 255, (60, 90, 3)).astype(np.uint8))
    session = LabelSession(Album(sorted(tmp_path.glob("*.png")), table=table), options=near)
    jobs = JobRunner(session)
    app = create_label_app(session, jobs, gate)
    tabs = [Tab(app, gate, i) for i in range(N_TABS)]

    def work(tab):
        for _ in range(N_STEPS):
            tab.step()

    threads = [threading.Thread(target=work, args=(tab,), daemon=True) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "the threads wait for each other"
    jobs.close()
    statuses = sum((tab.statuses for tab in tabs), Counter())
    assert not statuses["failed"], statuses
    assert statuses["strokes", 200] > 20 and statuses["undo", 200] and statuses["classes", 200]
    for entry in session.album.entries.values():
        taken = [(version, act) for tab in tabs for image, version, act in tab.taken if image == entry.id]
        assert len({version for version, _ in taken}) == len(taken), "two changes were made of one version"
        log = read_strokes(session.album.shelf.strokes_path(entry.path))
        names = log.table.names
        found = [[(names[s.class_id], s.points[0]) for s in some] for some in (log.strokes, log.undone)]
        assert found == list(replay(taken))
        _, opened = session.album.open(entry.id)
        for layer, values in opened.drawing.seeds.items():
            kept = (s for s in opened.drawing.log.strokes if s.layer == layer)
            assert (values == draw_strokes((60, 90), kept)).all()


def test_an_image_that_is_closed_while_a_stroke_waits(session, make_session, photos, first, draw, table, near):
    write_image(photos / "c.png", np.zeros((60, 90, 3), np.uint8))
    session = make_session(("a.png", "b.png", "c.png"))
    _, opened = session.album.open(first)
    drawing = threading.Thread(target=session.add_stroke, args=(first, 1, draw()))
    with opened.lock:
        drawing.start()
        time.sleep(0.1)
        for image in session.album.list_images()[1:]:
            session.album.open(image["id"])
        assert session.album.entries[first].opened is None
    drawing.join(10)
    state = session.describe(first)
    assert (state["version"], state["n_strokes"], state["state"]) == (2, 1, "working")
    assert session.album.open(first)[1].drawing.seeds["scribbles"].any()
    session.add_stroke(first, 2, draw(1))
    assert len(read_strokes(photos / "a_doodles.json").strokes) == 2


def test_a_stroke_while_its_class_is_taken_away(session, first, draw, monkeypatch):
    """The stroke comes first, and the class stays; or the class goes first, and the stroke is refused."""
    session.album.open(first)
    refused, real = [], session.album._find_used_keys

    def add_stroke():
        try:
            session.add_stroke(first, 1, draw(2))
        except Conflict as error:
            refused.append(str(error))

    drawing = threading.Thread(target=add_stroke)

    def look(entry):
        found = real(entry)
        if not drawing.is_alive() and not refused:
            drawing.start()
            drawing.join(0.2)
        return found

    monkeypatch.setattr(session.album, "_find_used_keys", look)
    monkeypatch.setattr(session.album, "entries", {first: session.album.entries[first]})
    session.album.set_classes(1, ClassTable.from_names(["water", "sand"]))
    drawing.join(10)
    assert len(refused) == 1 and session.describe(first)["n_strokes"] == 0
    assert session.album.open(first)[1].drawing.log.table == session.album.table


def test_an_import_that_does_not_fit_leaves_nothing_behind(session, first, draw, photos, monkeypatch):
    session.add_stroke(first, 1, draw())
    (photos / "two.json").write_bytes((photos / "a_doodles.json").read_bytes())
    session.undo(first, 2)
    session.add_stroke(first, 3, draw(1, (30, 5), (30, 9)))
    session.import_labels(first, 4, photos / "two.json")
    (photos / "two.json").write_bytes((photos / "a_doodles.json").read_bytes())
    monkeypatch.setattr("hybridseg.io.annotations.doodles.MAX_STROKES", 3)
    with pytest.raises(BadInput, match="more than 3 strokes"):
        session.import_labels(first, 5, photos / "two.json")
    assert session.describe(first)["n_strokes"] == 2
    assert len(read_strokes(photos / "a_doodles.json").strokes) == 2


def test_an_accept_that_cannot_be_noted_is_not_done(session, jobs, first, draw, wait_for_job, monkeypatch):
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))

    def fail(*_):
        raise WriteFailed("could not write: No space left on device")

    monkeypatch.setattr("hybridseg.labelling.shelf.write_strokes", fail)
    jobs.start(first, 2, "accept")
    state = wait_for_job(session, first)
    assert (state["state"], state["message_kind"]) == ("working", "bad") and "No space" in state["message"]
    assert not session.album.open(first)[1].drawing.log.done


def test_what_the_crf_made_is_of_the_strokes_on_disk(session, make_session, jobs, first, draw, photos, wait_for_job):
    """Another program wrote other strokes, and the image has another size, while it was closed."""
    session.add_stroke(first, 1, draw(0, (10, 5), (50, 30)))
    jobs.start(first, 2, "run")
    wait_for_job(session, first)
    entry, opened = session.album.open(first)
    with opened.lock:
        entry.park()
    assert session.describe(first)["stale"] is False
    with opened.lock:
        entry.park()
    other = make_session()
    other.add_stroke(first, 1, draw(2, (10, 60), (50, 80)))
    state = session.describe(first)
    assert state["has_result"] is False and state["n_strokes"] == 2
    (photos / "a_doodles.json").unlink()
    write_image(photos / "a.png", np.zeros((20, 30, 3), np.uint8))
    session.album.open(first)[0].park()
    assert session.describe(first)["rows"] == 20


# A bad disk.


def test_strokes_that_were_taken_away_are_written_again(session, make_session, first, draw, photos, tmp_path):
    """A disk that was taken off, or a folder that was moved: all that was drawn is still here."""
    session = make_session(out_dir=tmp_path / "out")
    session.add_stroke(first, 1, draw(0))
    shutil.rmtree(tmp_path / "out")
    session.add_stroke(first, 2, draw(1))
    assert [s.class_id for s in read_strokes(tmp_path / "out" / "a_doodles.json").strokes] == [0, 1]


def test_a_name_that_is_too_long_for_its_strokes(photos, make_session, draw):
    """The other images can be worked on."""
    name = "x" * 246 + ".png"
    (photos / name).write_bytes((photos / "a.png").read_bytes())
    session = make_session(("a.png", name))
    with pytest.raises(WriteFailed, match=r"cannot read .* too long"):
        session.describe(session.album.list_images()[1]["id"])
    session.add_stroke(session.album.list_images()[0]["id"], 1, draw())


def test_an_image_that_was_replaced_while_open(session, jobs, first, draw, photos, wait_for_job):
    session.add_stroke(first, 1, draw())
    write_image(photos / "a.png", np.zeros((20, 30, 3), np.uint8))
    jobs.start(first, 2, "accept")
    state = wait_for_job(session, first)
    assert "different size than when it was opened" in state["message"] and state["state"] == "working"
    assert not (photos / "a_mres.mat").exists()


def test_an_upload_for_which_there_is_no_room(visitor, first, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hybridseg.web.app.shutil.copyfileobj", fail)
    failed = visitor.client.post(f"/api/images/{first}/import?name=x.png", data=b"x", headers=visitor.headers)
    assert failed.status_code == 500 and failed.json["kind"] == "failed" and "No space left" in failed.json["error"]
    assert visitor.get(f"/api/images/{first}").status_code == 200


def test_an_upload_with_an_endless_ending(visitor, first):
    refused = visitor.client.post(
        f"/api/images/{first}/import?name=x.{'a' * 5000}", data=b"{}", headers=visitor.headers
    )
    assert refused.status_code == 400


def test_work_is_cancelled_between_the_parts_of_a_step():
    job = Job("run")
    parts = iter(job.watch([1, 2, 3], label="x"))
    assert next(parts) == 1
    job.cancelled = True
    with pytest.raises(JobCancelled):
        next(parts)


# Who asks.


def test_another_server_of_this_machine_is_another_site(visitor, first):
    """Browsers count all ports of a machine as one site."""
    headers = {"Sec-Fetch-Site": "same-site"}
    for path in ("/api/session", f"/api/images/{first}/picture/0/0/0", "/static/label.js"):
        assert visitor.get(path, headers=headers).status_code == 403
    assert visitor.get("/", headers=headers).status_code == 200


RAW = {
    "two hosts": "GET /api/session HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n{cookie}\r\n",
    "no host": "GET /api/session HTTP/1.1\r\n{cookie}\r\n",
    "another host": "GET http://localhost/api/session HTTP/1.1\r\nHost: evil.example\r\n{cookie}\r\n",
    "no method": "\0\1\2\r\n\r\n",
    "options": "OPTIONS /api/session HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "trace": "TRACE /api/session HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n",
    "long": "GET /{long} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n",
    "odd cookie": "GET /api/session HTTP/1.0\r\nHost: localhost\r\nCookie: {name}=\xff\xfe;=;\r\n\r\n",
    "bad chunk": "POST /api/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "bad length": "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "far too long": "POST /api/session HTTP/1.1\r\nHost: localhost\r\n{cookie}Content-Length: 300000000\r\n\r\n",
}


@pytest.fixture
def ask(app, gate):
    """Send bytes to the server as it runs, and give its answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, sockets=[listener], threads=2, max_request_body_size=MAX_IMPORT_BYTES)
    threading.Thread(target=server.run, daemon=True).start()
    cookie = f"Cookie: {gate.cookie_name}={gate.exchange(gate.token)}\r\nX-Page-Key: {gate.key}\r\n"

    def send(text: str) -> str:
        filled = text.format(cookie=cookie + "Connection: close\r\n", long="a" * 300_000, name=gate.cookie_name)
        with socket.create_connection(listener.getsockname(), timeout=10) as client, suppress(ConnectionError):
            client.sendall(filled.encode("latin-1"))
            return b"".join(iter(lambda: client.recv(100_000), b"")).decode("latin-1")
        return "HTTP/1.1 400 closed"

    yield send
    server.close()


@pytest.mark.parametrize("name", RAW)
def test_requests_that_no_browser_makes(ask, name):
    answer = ask(RAW[name])
    assert answer.split(" ")[1][0] == "4" and "a.png" not in answer and "Traceback" not in answer
    assert "a.png" in ask("GET /api/session HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n")
