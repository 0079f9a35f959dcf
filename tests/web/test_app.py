"""The page's routes, and attacks on them: none gets in, each gets a 4xx, and the server lives."""

import io
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.io.annotations.strokes import draw_strokes
from hybridseg.io.images import write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.session import LabelSession
from hybridseg.web.app import create_label_app


def read_picture(response):
    from PIL import Image

    assert response.status_code == 200, response.get_data(as_text=True)
    return Image.open(io.BytesIO(response.data))


@pytest.fixture
def alive(app, gate, first):
    """Tell whether the server still does what it should, for the person whom it let in."""

    def check(visitor) -> None:
        state = visitor.get(f"/api/images/{first}").json
        assert state["rows"] == 60

    return check


# What the page asks for.


def test_the_page_and_all_it_loads_come_with_a_policy(visitor):
    page = visitor.get("/")
    assert page.status_code == 200 and page.mimetype == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff" and page.headers["Referrer-Policy"] == "no-referrer"
    text = page.get_data(as_text=True)
    assert " style=" not in text and "javascript:" not in text and "http://" not in text and "https://" not in text
    assert visitor.get("/static/label.js").mimetype in ("text/javascript", "application/javascript")
    assert visitor.get("/static/label.css").mimetype == "text/css"


def test_a_session_told(visitor, gate, first):
    told = visitor.get("/api/session").json
    assert gate.key not in str(told) and told["mode"] == "label" and told["window"] == 500
    assert told["classes"][0] == {"name": "water", "color": "#0000ff"}
    assert told["images"][0] == {"id": first, "name": "a.png", "state": "untouched"}


def test_strokes_tiles_and_undo(visitor, first, draw):
    base = f"/api/images/{first}"
    state = visitor.change(f"{base}/strokes", {"version": 1, **draw(1)}).json
    assert state["version"] == 2 and state["bounds"][0] <= 9
    tile = read_picture(visitor.get(f"{base}/scribbles/0/0/0"))
    assert tile.size == (90, 60)
    pixels = np.asarray(tile.convert("RGBA"))
    assert pixels[10, 10].tolist() == [255, 255, 0, 255] and pixels[40, 40, 3] == 0
    assert not np.asarray(read_picture(visitor.get(f"{base}/result/0/0/0")).convert("RGBA"))[..., 3].any()
    picture = read_picture(visitor.get(f"{base}/picture/0/0/0"))
    assert picture.format == "JPEG" and picture.size == (90, 60)
    assert visitor.change(f"{base}/undo", {"version": 2}).json["n_strokes"] == 0
    assert visitor.change(f"{base}/redo", {"version": 3}).json["n_strokes"] == 1
    late = visitor.change(f"{base}/undo", {"version": 3})
    assert late.status_code == 409 and late.json["kind"] == "conflict" and "another tab" in late.json["error"]


def test_a_preview_of_a_window(visitor, first, draw):
    base = f"/api/images/{first}"
    assert visitor.change(f"{base}/preview", {"window": [0, 0, 60, 90]}).status_code == 204
    visitor.change(f"{base}/strokes", {"version": 1, **draw(0, (10, 5), (50, 30))})
    visitor.change(f"{base}/strokes", {"version": 2, **draw(2, (10, 60), (50, 80))})
    visitor.change(f"{base}/strokes", {"version": 3, **draw(1, (55, 5), layer="result", width=7)})
    seen = read_picture(visitor.change(f"{base}/preview", {"window": [0, 0, 60, 90]}))
    pixels = np.asarray(seen.convert("RGBA"))
    assert seen.size == (45, 30)
    assert pixels[1, 1].tolist() == [0, 0, 255, 255] and pixels[28, 43].tolist() == [139, 0, 139, 255]
    assert pixels[27, 2].tolist() == [255, 255, 0, 255]
    part = read_picture(visitor.change(f"{base}/preview", {"window": [20, 40, 400, 20]}))
    assert part.size == (10, 20)
    assert np.asarray(part.convert("RGBA"))[:, [0, 9]].tolist() == [[[0, 0, 255, 255], [139, 0, 139, 255]]] * 20


def test_the_whole_image_and_accepting_it(visitor, session, first, draw, wait_for_job, photos, quick_panels):
    base = f"/api/images/{first}"
    session.options = replace(session.options, features="color")
    visitor.change(f"{base}/strokes", {"version": 1, **draw(0, (10, 5), (50, 30))})
    visitor.change(f"{base}/strokes", {"version": 2, **draw(2, (10, 60), (50, 80))})
    assert visitor.change(f"{base}/run", {"version": 3}).status_code == 200
    assert wait_for_job(session, first)["has_result"]
    assert visitor.change(f"{base}/accept", {"version": 3}).status_code == 200
    assert wait_for_job(session, first)["state"] == "done"
    assert (photos / "a_mres.mat").exists()
    assert visitor.change(f"{base}/cancel", {}).json["job"] is None
    experience = session.teach(session.album.entries[first], session.album.table, keeps=False).experience
    assert list(experience.recall("new")) == [first]
    version = visitor.get(base).json["version"]
    assert visitor.change(f"{base}/withdraw", {"version": version}).json["state"] == "working"
    assert not experience.recall("new"), "it teaches no more"


def test_classes_from_the_page(visitor):
    classes = [{"name": "sea", "color": "#0000ff", "was": None}, {"name": "Sand", "color": "#102030"}]
    changed = visitor.change("/api/classes", {"version": 1, "classes": classes}, method="put")
    assert changed.json == {"classes": [{"name": "sea", "color": "#0000ff"}, {"name": "Sand", "color": "#102030"}],
                            "classes_version": 2}  # fmt: skip


def test_an_upload(visitor, first, table, tmp_path):
    labels = np.full((60, 90), 255, np.uint8)
    labels[:5] = 1
    write_labelpng(tmp_path / "x.png", LabelMap(labels, table))
    sent = visitor.client.post(
        f"/api/images/{first}/import?name=../../x.png", data=(tmp_path / "x.png").read_bytes(), headers=visitor.headers
    )
    assert sent.status_code == 200 and sent.json["n_strokes"] == 1 and sent.json["bounds"] == [0, 0, 60, 90]


@pytest.mark.parametrize("damage", [
    lambda data: data[: len(data) // 2], lambda data: data[:-16] + b"\0\0\0\0" + data[-12:], lambda data: b"",
], ids=["cut", "checksum", "empty"])  # fmt: skip
def test_an_upload_that_is_damaged_leaves_what_is_there(visitor, first, table, tmp_path, damage):
    labels = np.full((60, 90), 255, np.uint8)
    labels[:5] = 1
    write_labelpng(tmp_path / "x.png", LabelMap(labels, table))
    data, path = (tmp_path / "x.png").read_bytes(), f"/api/images/{first}/import?name=x.png"
    assert visitor.client.post(path, data=data, headers=visitor.headers).status_code == 200
    refused = visitor.client.post(path, data=damage(data), headers=visitor.headers)
    assert refused.status_code == 400 and "x.png" in refused.json["error"], refused.json
    assert visitor.get(f"/api/images/{first}").json["n_strokes"] == 1
    assert visitor.client.post(path, data=data, headers=visitor.headers).json["n_strokes"] == 2


# Who is not let in.


def test_without_a_cookie_nothing_is_told(app, gate, first, session, draw):
    client = app.test_client()
    headers = {"X-Page-Key": gate.key, "Origin": "http://localhost"}
    paths = ["/", "/static/label.js", "/api/session", f"/api/images/{first}", f"/api/images/{first}/picture/0/0/0"]
    for path in [*paths, "/nothing", "/?token=", "/?token=wrong", "/api/session?token=" + gate.token]:
        response = client.get(path, headers={"X-Page-Key": gate.key})
        assert response.status_code == 403, path
        assert "open the address" in response.get_data(as_text=True).lower()
    for path in ("strokes", "undo", "run", "accept", "cancel", "import", "preview"):
        assert client.post(f"/api/images/{first}/{path}", json=draw(), headers=headers).status_code == 403
    assert client.put("/api/classes", json={}, headers=headers).status_code == 403
    client.set_cookie(gate.cookie_name, "x" * 43)
    assert client.get("/api/session", headers=headers).status_code == 403
    assert session.describe(first)["version"] == 1


@pytest.mark.parametrize("key", [None, "", "wrong", "cookie", "token"])
def test_the_cookie_alone_gets_in_nowhere(app, gate, first, session, draw, key):
    """A browser sends it to servers of other users on other ports of this machine."""
    cookie, client = gate.exchange(gate.token), app.test_client()
    client.set_cookie(gate.cookie_name, cookie)
    headers = {"Origin": "http://localhost", "X-Page-Key": {"cookie": cookie, "token": gate.token}.get(key, key)}
    headers = {name: value for name, value in headers.items() if value is not None}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<image_id>", first)
        path = re.sub(r"<any\((\w+).*?>|<int:\w+>", lambda found: found[1] or "0", path)
        for method in rule.methods - {"HEAD"}:
            answer = client.open(path, method=method, json=draw(), headers=headers)
            if method == "GET" and not path.startswith("/api/"):
                assert gate.key not in answer.text and "a.png" not in answer.text
            else:
                assert answer.status_code == 403 and "Open the address" in answer.text, (method, path)
    assert session.describe(first)["version"] == 1


def test_the_token_works_once_and_the_cookie_is_strict(app, gate):
    token = gate.token
    welcome = app.test_client().get(f"/?token={token}")
    cookie = welcome.headers["Set-Cookie"]
    assert welcome.status_code == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert token not in welcome.text and gate.key in welcome.text and gate.key not in cookie
    assert welcome.headers["Cache-Control"] == "no-store"
    assert app.test_client().get(f"/?token={token}").status_code == 403
    assert app.test_client().post(f"/?token={gate.token}").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Page-Key": ""},
        {"X-Page-Key": "wrong"},
        {"Origin": None},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8765", "Origin": "http://evil.example:8765"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_change_from_elsewhere(visitor, session, first, draw, alive, headers):
    sent = {name: value for name, value in {**visitor.headers, **headers}.items() if value is not None}
    for path, method in ((f"/api/images/{first}/strokes", "post"), ("/api/classes", "put")):
        refused = visitor.change(path, {"version": 1, **draw()}, method=method, headers=sent)
        assert refused.status_code in (403, 421), refused.get_data(as_text=True)
    assert session.describe(first)["version"] == 1
    alive(visitor)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"},
                                     {"Sec-Fetch-Site": "cross-site"}], ids=str)  # fmt: skip
def test_reading_from_elsewhere(visitor, first, headers, alive):
    for path in ("/api/session", f"/api/images/{first}/picture/0/0/0"):
        assert visitor.get(path, headers=headers).status_code == 403
    alive(visitor)


# What is not taken.

TRAVERSALS = [
    "..",
    "../a.png",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "/etc/passwd",
    "a.png",
    "....//",
    "%00",
    "C:\\x",
    "~",
]


@pytest.mark.parametrize("bad", TRAVERSALS)
def test_paths_in_every_parameter(visitor, first, draw, alive, bad):
    paths = [f"/static/{bad}", f"/api/images/{bad}", f"/api/images/{bad}/picture/0/0/0", f"/{bad}",
             f"/api/images/{first}/{bad}/0/0/0", f"/api/images/{first}/picture/{bad}/0/0",
             f"/api/images/{first}/picture/0/{bad}/0", f"/api/images/{first}/picture/0/0/{bad}"]  # fmt: skip
    for path in paths:
        response = visitor.get(path)
        # `..` in a path may be resolved to the page itself; a file of the machine it never is.
        assert response.status_code in (308, 400, 403, 404) or response.mimetype in ("text/html", "application/json")
        assert b"root:" not in response.data
    for path in (f"/api/images/{bad}/strokes", f"/api/images/{bad}/import?name={bad}", f"/api/images/{bad}/accept"):
        status = visitor.change(path, {"version": 1, **draw()}).status_code
        assert status == 308 or 400 <= status < 500
    name = visitor.client.post(f"/api/images/{first}/import?name={bad}", data=b"{}", headers=visitor.headers)
    assert 400 <= name.status_code < 500
    alive(visitor)


@pytest.mark.parametrize("path", ["/static//label.js", "/static/%2f%2fevil.example", "/api//session"])
def test_no_address_leads_to_another(visitor, path, alive):
    """A redirect is a page that has the address in it."""
    response = visitor.get(path)
    assert response.status_code == 404 and response.mimetype != "text/html" and "Location" not in response.headers
    alive(visitor)


@pytest.mark.parametrize("tile", ["0/0/1", "0/1/0", "1/0/0", "99/0/0", "0/99999999999999999999/0", "-1/0/0", "0/0/1e3"])
def test_tiles_that_there_are_not(visitor, first, tile, alive):
    for layer in ("picture", "scribbles", "result"):
        assert visitor.get(f"/api/images/{first}/{layer}/{tile}").status_code == 404
    alive(visitor)


BODIES = [
    b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"version": 1}',
    b'{"version": "1", "layer": "scribbles", "tool": "pen", "points": [[1, 1]]}',
    b'{"version": true, "layer": "scribbles", "tool": "pen", "points": [[1, 1]]}',
    b'{"version": 1e999, "layer": "scribbles", "tool": "pen", "points": [[1, 1]]}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[NaN, 1]]}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1e400, 1]]}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": {"a": 1}}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]], "class": 1e30}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]], "class": -1}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]], "width": 1e300}',
    b'{"version": 1, "layer": [], "tool": {}, "points": [[1, 1]]}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]], "class": 0, "class": 1}',
    b'{"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]], "class": 0, "key": "\\ud800"}',
    b'{"version": 1, "layer": "result", "tool": "fill", "points": [[1e6, 1e6]]}',
    b'{"version": 1, "layer": "scribbles", "tool": "region", "points": [[1, 1]]}',
    json.dumps({"version": 1, "layer": "scribbles", "tool": "pen", "points": [[1, 1]] * 20_001}).encode(),
    json.dumps({"version": 10**400, "layer": "scribbles", "tool": "pen", "points": [[1, 1]]}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda b: b[:90].decode("latin-1"))
def test_bodies_that_are_no_stroke(visitor, session, first, alive, body):
    for act in ("strokes", "undo", "preview", "accept"):
        refused = visitor.client.post(
            f"/api/images/{first}/{act}", data=body, headers=visitor.headers, content_type="application/json"
        )
        is_valid_undo = act != "strokes" and refused.status_code in (200, 204)
        assert 400 <= refused.status_code < 500 or is_valid_undo, (act, refused.get_data(as_text=True))
        if not is_valid_undo:
            assert refused.json["error"] and "Traceback" not in refused.json["error"]
    assert session.describe(first)["n_strokes"] == 0
    alive(visitor)


def test_bands_that_there_are_not(visitor, first, alive):
    for bands in ("1", "1,2", "0,1,2", "1,2,9", "a,b,c", "-1,2,3", "1,2,3,4", "1,2,99999999999"):
        answer = visitor.get(f"/api/images/{first}/picture/0/0/0?bands={bands}")
        assert answer.status_code == 400 and "bands" in answer.json["error"], bands
    alive(visitor)


@pytest.mark.parametrize("window", [[0, 0, 0, 0], [0, 0, 10], [-50, -50, 10, 10], [900, 0, 5, 5], [0, 0, 1e3, 5], "all",
                                    [0, 0, 10**30, 10], [None] * 4, [0, 0, -5, -5]], ids=str)  # fmt: skip
def test_windows_that_are_none(visitor, first, window, draw, alive):
    visitor.change(f"/api/images/{first}/strokes", {"version": 1, **draw()})
    assert visitor.change(f"/api/images/{first}/preview", {"window": window}).status_code == 400
    alive(visitor)


def test_a_window_as_wide_as_it_likes_is_cut(visitor, first, draw):
    visitor.change(f"/api/images/{first}/strokes", {"version": 1, **draw()})
    wide = visitor.change(f"/api/images/{first}/preview", {"window": [-1000, -1000, 10**9, 10**9]})
    assert read_picture(wide).size == (45, 30)


def test_what_is_too_large(visitor, first, alive):
    big = visitor.client.post(
        f"/api/images/{first}/strokes", data=b"[" + b"1," * 1_100_000 + b"1]", headers=visitor.headers,
        content_type="application/json",
    )  # fmt: skip
    assert big.status_code == 413 and big.json["kind"] == "too_large"
    alive(visitor)


def test_a_change_must_be_json(visitor, first, draw, alive):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused = visitor.client.post(
            f"/api/images/{first}/strokes", data=json.dumps(draw()), headers=visitor.headers, content_type=kind
        )
        assert refused.status_code == 400
    alive(visitor)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04broken", b"\x89PNG\r\n\x1a\n", b'{"shapes": 5}', b"\x80\x04pickle",
                                  b"MATLAB 5.0", b"[" * 100_000], ids=lambda d: repr(d[:20]))  # fmt: skip
@pytest.mark.parametrize("name", ["x.json", "x.npz", "x.png", "x.mat", ""])
def test_uploads_that_are_no_labels(visitor, first, data, name, alive):
    refused = visitor.client.post(f"/api/images/{first}/import?name={name}", data=data, headers=visitor.headers)
    assert 400 <= refused.status_code < 500 and refused.json["error"]
    alive(visitor)


@pytest.mark.parametrize("classes", [[], "x", [5], [{"name": "a"}], [{"name": "", "color": "#000000"}],
                                     [{"name": "a", "color": "red;}"}], [{"name": "a", "color": "#fff"}] * 2,
                                     [{"name": f"c{i}", "color": "#fff"} for i in range(256)]],
                         ids=lambda c: str(c)[:40])  # fmt: skip
def test_classes_that_are_none(visitor, session, classes, alive):
    refused = visitor.change("/api/classes", {"version": 1, "classes": classes}, method="put")
    assert refused.status_code == 400 and session.album.classes_version == 1
    alive(visitor)


def test_scripts_in_names_stay_text(tmp_path, table, near, gate, draw):
    """They are only ever sent as JSON, which no browser takes for a page. What the page makes of it a browser tests."""
    from hybridseg.classes import ClassTable

    name = "<img src=x onerror=alert(1)>"
    write_image(tmp_path / f"{name}.png", np.zeros((20, 30, 3), np.uint8))
    session = LabelSession(Album([tmp_path / f"{name}.png"], table=ClassTable((name,), ((1, 2, 3),))), options=near)
    client = create_label_app(session, JobRunner(session), gate).test_client()
    client.get(f"/?token={gate.token}")
    client.environ_base["HTTP_X_PAGE_KEY"] = gate.key
    told = client.get("/api/session")
    assert told.mimetype == "application/json" and told.headers["X-Content-Type-Options"] == "nosniff"
    assert told.json["classes"][0]["name"] == name and told.json["images"][0]["name"] == f"{name}.png"
    missing = client.get(f"/{name}")
    assert missing.status_code == 404 and missing.mimetype == "text/plain"


def test_a_bug_of_ours_ends_in_one_sentence(visitor, session, first, monkeypatch, alive):
    monkeypatch.setattr(type(session), "undo", lambda *_: 1 / 0)
    failed = visitor.change(f"/api/images/{first}/undo", {"version": 1})
    assert failed.status_code == 500 and failed.json["kind"] == "failed" and "division" not in failed.json["error"]
    alive(visitor)


def test_an_image_that_cannot_be_read(visitor, session, photos):
    (photos / "b.png").write_bytes(b"broken")
    second = session.album.list_images()[1]["id"]
    assert visitor.get(f"/api/images/{second}").status_code == 400
    (photos / "b.png").unlink()
    assert visitor.get(f"/api/images/{second}").status_code == 404


def test_superpixels_and_what_the_wand_selects(visitor, first, session):
    base = f"/api/images/{first}"
    view = {"window": [10, 20, 40, 60], "shape": [20, 30]}
    answer = visitor.change(f"{base}/superpixels", {**view, "scale": 8})
    assert answer.headers["X-Map-Shape"] == "20,30" and answer.headers["Content-Encoding"] == "deflate"
    assert len(zlib.decompress(answer.data)) == 2 * 20 * 30
    area = {"layer": "scribbles", "tool": "wand", "class": 1, "points": [[2, 3], [2, 5], [3, 3], [3, 3]]}
    assert visitor.change(f"{base}/strokes", {"version": 1, **view, **area}).json["n_strokes"] == 1
    (stroke,) = session.album.open(first)[1].drawing.log.strokes
    seeds = draw_strokes((60, 90), [stroke])
    assert stroke.tool == "polygon" and np.array_equal(np.argwhere(seeds[16]).ravel(), np.arange(26, 28))
    assert np.array_equal(np.argwhere(seeds[14]).ravel(), np.arange(26, 32)) and (seeds > 0).sum() == 16


@pytest.mark.parametrize(
    ("route", "more"),
    [
        ("superpixels", {"scale": 5}), ("superpixels", {"scale": "8"}), ("superpixels", {"scale": 8, "shape": [9]}),
        ("superpixels", {"scale": 8, "window": [0, 0, 10**9, 10**9]}), ("superpixels", {}),
        ("strokes", {"points": [[2, 3]]}), ("strokes", {"points": [[-5, 3], [-5, 4]]}), ("strokes", {"shape": None}),
        ("strokes", {"window": [0, 0, 61, 90]}), ("strokes", {"points": [[0, 0], [0, 1]] * 20_000}),
    ],
)  # fmt: skip
def test_what_the_wand_cannot_do(visitor, first, alive, route, more):
    body = {"version": 1, "layer": "scribbles", "tool": "wand", "class": 1, "points": [[2, 3], [2, 5]]}
    body |= {"window": [10, 20, 40, 60], "shape": [20, 30]}
    answer = visitor.change(f"/api/images/{first}/{route}", {**body, **more})
    assert answer.status_code == 400 and answer.json["kind"] == "bad"
    alive(visitor)


def test_a_network_that_is_not_there(visitor, first):
    body = {"window": [10, 20, 40, 60], "shape": [20, 30], "points": [[12, 22, 1]], "box": None}
    answer = visitor.change(f"/api/images/{first}/segment", body)
    assert answer.status_code == 400 and "--sam-encoder" in answer.json["error"]
    assert visitor.get("/api/session").json["segments"] is False


@pytest.mark.parametrize(
    "more",
    [
        {"points": 3}, {"points": []}, {"points": [[12, 22]]}, {"points": [["12", 22, 1]]}, {"points": [[12, None, 1]]},
        {"points": [[9, 22, 1]]}, {"points": [[12, 1e300, 1]]}, {"points": [[12, 22, True]]}, {"box": [12, 22, 30]},
        {"box": [12, 22, 30, 200]}, {"points": [[12, 22, 1]] * 201}, {"window": [0, 0, 0, 0]},
    ],
)  # fmt: skip
def test_what_a_network_cannot_be_asked(visitor, session, first, alive, more):
    session.sam = object()
    body = {"window": [10, 20, 40, 60], "shape": [20, 30], "points": [[12, 22, 1]], "box": None}
    answer = visitor.change(f"/api/images/{first}/segment", {**body, **more})
    assert answer.status_code == 400 and answer.json["kind"] == "bad"
    alive(visitor)
