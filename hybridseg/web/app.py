"""The routes of the pages: each parses a request, calls the session, and answers. Nothing is decided here."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from flask import Flask, Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, HybridSegError, MissingInput, located
from hybridseg.io.jsonfiles import parse_json_object, parse_whole
from hybridseg.labelling.accepted import clear, withdraw
from hybridseg.labelling.exports import export_result
from hybridseg.labelling.jobs import KINDS, JobRunner
from hybridseg.labelling.newest import Newest
from hybridseg.labelling.preview import Previewer
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.wand import View, find_superpixels_in, segment_in
from hybridseg.web.gate import KEY_HEADER, Gate

STATIC_DIR = Path(__file__).parent / "static"
MAX_IMPORT_BYTES = 200_000_000
MAX_BODY_BYTES = 2_000_000
# Images of earlier sessions that may be looked at for a better live result, each about a second.
_N_LOOKS = 3
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A page, not a redirect: a redirect counts as coming from where the address was clicked, so that the SameSite=Strict
# cookie would not be sent. Its script keeps the key and goes on.
_WELCOME = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="key" content="{key}"><title>hybridseg</title>'
    '<link rel="icon" href="data:,"><script type="module" src="/static/welcome.js"></script>'
    "<p>This page needs JavaScript, and a browser that may keep data for it.</p></html>"
)
_LOCKED = (
    "This page is only for the person who started the program. Open the address that it printed last in the terminal: "
    "an address works once, and each start has its own."
)


def create_app(gate: Gate, *, page: str) -> Flask:
    """Return an application that serves a page (a static file) to the person who started it, and to no one else."""
    app = Flask("hybridseg", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, MAX_FORM_MEMORY_SIZE=1000)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # Two slashes are no other spelling of one: the redirect would be a page with the address in it.
    app.url_map.merge_slashes = False

    # Read once: a request can only name one of these, and never reaches the disk.
    files = {path.name: partial(_send_file, path.name, path.read_bytes()) for path in STATIC_DIR.iterdir()}

    @app.before_request
    def guard() -> Response | None:
        return _guard(gate)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(Exception)
    def explain(error: Exception) -> Response:
        return _explain(app, error)

    @app.get("/")
    def show_page() -> Response:
        if "token" in request.args:
            return _welcome(gate, request.args["token"])
        return files[page]()

    @app.get("/static/<name>")
    def send_static(name: str) -> Response:
        if name not in files:
            raise MissingInput("the page has no such file")
        return files[name]()

    return app


def create_label_app(session: LabelSession, jobs: JobRunner, gate: Gate, *, page: str = "index.html") -> Flask:
    """Return the application of the labelling page, with that page or another one at its address."""
    app = create_app(gate, page=page)
    _add_views(app, session)
    _add_wishes(app, session)
    _add_jobs(app, session, jobs)
    _add_changes(app, session)
    return app


def _add_views(app: Flask, session: LabelSession) -> None:
    """Add the routes that show what is there."""
    album = session.album

    @app.get("/api/session")
    def get_session() -> dict[str, Any]:
        return {
            "mode": "label",
            # Read before the classes: a page whose classes are newer than this number asks again, with older ones it
            # would not.
            "classes_version": album.classes_version,
            "classes": list_classes(album.table),
            "window": session.window,
            "smoothness": session.options.smoothness,
            "specks": session.options.specks,
            "segments": session.sam is not None,
            "images": album.list_images(),
        }

    @app.get("/api/images/<image_id>")
    def get_image(image_id: str) -> dict[str, Any]:
        return session.describe(image_id)

    @app.get("/api/images/<image_id>/<any(picture, scribbles, result):layer>/<int:level>/<int:row>/<int:col>")
    def send_tile(image_id: str, layer: str, level: int, row: int, col: int) -> Response:
        data = session.draw_tile(image_id, layer, (level, row, col), bands=_read_bands())
        return send_picture(data, lasting=layer == "picture")

    @app.get("/api/images/<image_id>/export")
    def export(image_id: str) -> Response:
        name, data = export_result(album.open(image_id)[1], request.args.get("to", ""))
        response = Response(data, mimetype="application/octet-stream")
        response.headers["X-File-Name"] = quote(name)
        return response

    @app.get("/api/images/<image_id>/thumbnail")
    def send_thumbnail(image_id: str) -> Response:
        try:
            return send_picture(album.draw_thumbnail(image_id), lasting=True)
        except (BadInput, MissingInput) as error:
            if image_id not in album.entries:
                raise
            # The list tells why an image has no picture; an error would be one of the page.
            fault = str(error).replace(str(album.entries[image_id].path.parent) + "/", "")
            return Response(status=204, headers={"X-Fault": quote(fault[:1000])})

    @app.get("/api/images/<image_id>/polygon")
    def find_polygon(image_id: str) -> dict[str, Any]:
        row, col = (request.args.get(name, default=-1.0, type=float) for name in ("row", "col"))
        return {"polygon": session.find_polygon(image_id, request.args.get("layer", ""), row, col)}

    @app.get("/api/images/<image_id>/shares")
    def get_shares(image_id: str) -> dict[str, Any]:
        return {"pixels": session.measure_shares(image_id)}


def _add_wishes(app: Flask, session: LabelSession) -> None:
    """Add the routes that compute something for the part in view, of which the newest request alone counts."""
    album, previewer, wishes = session.album, Previewer(), Newest()

    @app.post("/api/images/<image_id>/preview")
    def preview(image_id: str) -> Response:
        body = _read_body("window")
        if not isinstance(body["window"], list) or len(body["window"]) != 4:
            raise BadInput("a window is four whole numbers: first row and column, rows, columns")
        row, col, rows, cols = map(parse_whole, body["window"])
        entry, opened = album.open(image_id)
        # The first result after a stroke waits for nobody; the page asks again while there is more to learn.
        teach = partial(session.teach, entry, keeps=False, n_looks=_N_LOOKS if body.get("again") is True else 0)
        suggester = session.suggester_for(opened)
        found = previewer.preview(opened, (row, col, rows, cols), session.options, teach=teach, suggester=suggester)
        if found is None:
            return Response(status=204)
        response = send_picture(found.picture)
        response.headers["X-Class-Pixels"] = ",".join(map(str, found.counts))
        response.headers["X-Is-Last"] = str(int(found.is_last))
        response.headers["X-Teachers"] = ",".join(found.teachers)
        return response

    @app.post("/api/images/<image_id>/superpixels")
    def send_superpixels(image_id: str) -> Response:
        body = _read_body("window", "shape", "scale")
        windows, scale = album.open(image_id)[1].show(_read_bands()), _read_int(body, "scale")
        view = View.parse(body, windows.shape)
        return _send_map(wishes.ask(lambda: find_superpixels_in(windows, view, scale)))

    @app.post("/api/images/<image_id>/segment")
    def send_segment(image_id: str) -> Response:
        body, sam, bands = _read_body("window", "shape", "points", "box"), session.sam, _read_bands()
        if sam is None:
            raise BadInput("there is no network; start the program with --sam-encoder and --sam-decoder")
        windows = album.open(image_id)[1].show(bands)
        view = View.parse(body, windows.shape)
        prompt, key = view.parse_prompt(body), (image_id, bands, str(view))
        return _send_map(wishes.ask(lambda: segment_in(windows, view, sam, prompt, key=key)))


def _add_jobs(app: Flask, session: LabelSession, jobs: JobRunner) -> None:
    """Add the routes that start a job on an image, and end it."""

    @app.post(f"/api/images/<image_id>/<any({', '.join(KINDS)}):kind>")
    def start_job(image_id: str, kind: str) -> dict[str, Any]:
        jobs.start(image_id, _read_int(_read_body("version"), "version"), kind)
        return session.describe(image_id)

    @app.post("/api/images/<image_id>/cancel")
    def cancel(image_id: str) -> dict[str, Any]:
        jobs.cancel(image_id)
        return session.describe(image_id)


def _add_changes(app: Flask, session: LabelSession) -> None:
    """Add the routes that draw, undo, import, and change the classes."""

    def answer_change(image_id: str, bounds: tuple[slice, slice] | None, **more: Any) -> dict[str, Any]:
        found = None
        if bounds is not None:
            rows, cols = bounds
            found = [rows.start, cols.start, rows.stop, cols.stop]
        return {**session.describe(image_id), "bounds": found, **more}

    @app.post("/api/images/<image_id>/strokes")
    def add_stroke(image_id: str) -> dict[str, Any]:
        body = _read_body("version", "layer", "tool", "points")
        bounds = session.add_stroke(image_id, _read_int(body, "version"), body)
        is_hidden = bounds is not None and body["layer"] == "scribbles" and session.hides_scribbles(image_id, bounds)
        return answer_change(image_id, bounds, hidden=is_hidden)

    @app.post("/api/images/<image_id>/<any(undo, redo):act>")
    def step_back(image_id: str, act: str) -> dict[str, Any]:
        step = session.undo if act == "undo" else session.redo
        body = _read_body("version")
        return answer_change(image_id, step(image_id, _read_int(body, "version"), key=body.get("key")))

    @app.post("/api/images/<image_id>/<any(withdraw, clear):act>")
    def take_back(image_id: str, act: str) -> dict[str, Any]:
        take = withdraw if act == "withdraw" else clear
        take(session.album, image_id, _read_int(_read_body("version"), "version"))
        session.forget(image_id)
        return session.describe(image_id)

    @app.post("/api/images/<image_id>/import")
    def import_labels(image_id: str) -> dict[str, Any]:
        request.max_content_length = MAX_IMPORT_BYTES
        version = session.album.open(image_id)[0].version
        # Only the suffix of the name is used, which decides how some files are read; the rest is for messages.
        name = Path(request.args.get("name", "")).name[-60:] or "the file"
        suffix = Path(name).suffix.lower()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"import{suffix if suffix[1:].isalnum() and len(suffix) < 10 else ''}"
            with path.open("wb") as file:
                shutil.copyfileobj(request.stream, file)
            try:
                warnings = session.import_labels(image_id, version, path)
            except HybridSegError as error:
                # The person knows the file by its own name; the path of our copy stays private.
                text = str(error).replace(str(path), name).replace(f"{name}: {name}: ", f"{name}: ")
                raise type(error)(text) from error
        rows, cols = session.album.open(image_id)[1].windows.shape
        return answer_change(image_id, (slice(0, rows), slice(0, cols)), warnings=list(warnings))

    @app.put("/api/smoothing")
    def set_smoothing() -> dict[str, Any]:
        body = _read_body("smoothness", "specks")
        session.set_smoothing(_read_int(body, "smoothness"), _read_int(body, "specks"))
        return {"smoothness": session.options.smoothness, "specks": session.options.specks}

    @app.put("/api/classes")
    def set_classes() -> dict[str, Any]:
        body = _read_body("version", "classes")
        album = session.album
        album.set_classes(_read_int(body, "version"), ClassTable.from_records(body["classes"]))
        return {"classes_version": album.classes_version, "classes": list_classes(album.table)}


def list_classes(table: ClassTable | None) -> list[dict[str, Any]]:
    """Return the name and the colour of every class."""
    return [] if table is None else table.to_records(as_hex=True)


def _guard(gate: Gate) -> Response | None:
    """Return the refusal of a request that is not admitted, otherwise None."""
    is_change = request.method not in ("GET", "HEAD", "OPTIONS")
    if not gate.admits_host(request.host) or not gate.admits_origin(
        request.headers.get("Origin"), request.host, is_change=is_change
    ):
        return _refuse(403, "forbidden", "This server answers only its own page, opened by the address it printed.")
    # All servers of this machine count as the same site, whoever runs them.
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and request.path != "/":
        return _refuse(403, "forbidden", "Another site may not use this page.")
    if request.path == "/" and "token" in request.args and request.method == "GET":
        return None
    cookie = request.cookies.get(gate.cookie_name, "")
    # A browser sends no key for the page and its scripts, which are the same for everybody.
    is_public = request.method in ("GET", "HEAD") and (request.path == "/" or request.path.startswith("/static/"))
    if not (gate.knows(cookie) if is_public else gate.admits(cookie, request.headers.get(KEY_HEADER, ""))):
        return _refuse(403, "forbidden", _LOCKED)
    return None


def _welcome(gate: Gate, token: str) -> Response:
    cookie = gate.exchange(token)
    if cookie is None:
        return _refuse(403, "forbidden", _LOCKED)
    response = make_response(_WELCOME.format(key=gate.key))
    response.set_cookie(gate.cookie_name, cookie, httponly=True, samesite="Strict", path="/")
    return response


def _explain(app: Flask, error: Exception) -> Response:
    """Return an error as a status and one sentence."""
    kinds: tuple[tuple[type[Exception], int, str], ...] = (
        (Conflict, 409, "conflict"),
        (MissingInput, 404, "missing"),
        (BadInput, 400, "bad"),
        (HybridSegError, 500, "failed"),
    )
    for kind, status, name in kinds:
        if isinstance(error, kind):
            return _refuse(status, name, str(error))
    if isinstance(error, HTTPException):
        status = error.code or 500
        names = {403: "forbidden", 404: "missing", 413: "too_large"}
        text = {404: "There is nothing at this address.", 413: "That is too large."}.get(
            status, error.description or "The request is invalid."
        )
        return _refuse(status, names.get(status, "bad"), text)
    if isinstance(error, MemoryError):
        return _refuse(500, "failed", "There is not enough memory for this image; close other programs and try again.")
    if isinstance(error, OSError):
        app.logger.error("a request failed: %s", error)
        return _refuse(500, "failed", f"The operating system reports an error ({error.strerror or error}); try again.")
    app.logger.exception("a request failed")
    return _refuse(500, "failed", "The program failed; the terminal says why.")


def _refuse(status: int, kind: str, text: str) -> Response:
    if request.path.startswith("/api/"):
        return make_response(jsonify(error=text, kind=kind), status)
    response = make_response(f"{text}\n", status)
    response.mimetype = "text/plain"
    return response


def _send_file(name: str, data: bytes) -> Response:
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    return Response(data, mimetype=kinds.get(Path(name).suffix, "application/octet-stream"))


def send_picture(data: bytes, *, lasting: bool = False) -> Response:
    """Return an answer with a picture; one that is `lasting` need not be asked for again."""
    response = Response(data, mimetype="image/jpeg" if data[:2] == b"\xff\xd8" else "image/png")
    if lasting:
        response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def _send_map(found: np.ndarray | None) -> Response:
    """Send a map of whole numbers, (rows, cols) uint16, compressed and with its shape; nothing for None."""
    if found is None:
        return Response(status=204)
    response = Response(zlib.compress(found.astype("<u2").tobytes(), 1), mimetype="application/octet-stream")
    response.headers["Content-Encoding"] = "deflate"
    response.headers["X-Map-Shape"] = ",".join(map(str, found.shape))
    return response


def _read_body(*names: str) -> dict[str, Any]:
    if not request.is_json:
        raise BadInput("a change must be sent as JSON")
    with located("the request"):
        body = parse_json_object(request.get_data(), remedy="reload the page")
    missing = [name for name in names if name not in body]
    if missing:
        raise BadInput(f"the request lacks {', '.join(missing)}")
    return body


def _read_bands() -> tuple[int, int, int] | None:
    """Return the bands that a tile is asked for in."""
    if "bands" not in request.args:
        return None
    words = request.args["bands"].split(",")
    if len(words) != 3 or not all(word.isdecimal() and len(word) < 6 for word in words):
        raise BadInput("bands are three numbers, for example 4,3,2")
    red, green, blue = map(int, words)
    return red, green, blue


def _read_int(body: dict[str, Any], name: str) -> int:
    with located(name):
        return parse_whole(body[name])
