"""Two small images, a session on them, a browser's side of its server without a browser, and a real browser."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from flask import request
from waitress.server import create_server

from hybridseg.demo.scenes.scene import make_scene
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.images import write_image
from hybridseg.labelling.album import Album
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.session import LabelSession
from hybridseg.labelling.spreading import SPREAD_CRF, SpreadOptions
from hybridseg.web.app import create_label_app
from hybridseg.web.gate import Gate


class Visitor:
    """A browser that was let in: its cookie, the key that its page sends, and what it sends with a change."""

    def __init__(self, app, gate: Gate) -> None:
        self.client, self.gate = app.test_client(), gate
        assert self.client.get(f"/?token={gate.token}").status_code == 200
        self.client.environ_base["HTTP_X_PAGE_KEY"] = gate.key
        self.headers = {"Origin": "http://localhost"}

    def get(self, path, **more):
        return self.client.get(path, **more)

    def change(self, path, body, method="post", **more):
        return getattr(self.client, method)(path, json=body, **{"headers": self.headers, **more})


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def app(session, jobs, gate):
    return create_label_app(session, jobs, gate)


@pytest.fixture
def make_visitor():
    return Visitor


@pytest.fixture
def visitor(app, gate):
    return Visitor(app, gate)


# A real browser on a real server.


class Served:
    """An application on a port of this machine, which can fall silent and come back on the same port."""

    def __init__(self, make_app) -> None:
        self.gate = Gate()
        self.app, self.port = make_app(self.gate), 0
        self.app.after_request(_tell_refusal)
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.gate.token}"

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = create_server(self.app, sockets=[listener], threads=6, map={})
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._ended.is_set():
            self._server.asyncore.loop(timeout=0.02, map=self._server._map, count=1)
        self._server.task_dispatcher.shutdown()
        self._server.asyncore.close_all(self._server._map)


def _tell_refusal(answer):
    """Log what the server refused: pytest shows it with a test that fails."""
    if answer.status_code >= 400 and not answer.direct_passthrough:
        logging.warning("%s %s: %s %s", request.method, request.full_path, answer.status, answer.get_data(as_text=True))
    return answer


class Tab:
    """A page in the browser, and what a person does with it; places are rows and columns of the image."""

    def __init__(self, page) -> None:
        self.page = page

    def wait(self, expression: str, *args) -> None:
        """Wait until it holds; the page's policy forbids Playwright's own way, which evaluates in the page."""
        self.poll(lambda: self.page.evaluate(expression, list(args)), f"{expression} {args}")

    def poll(self, is_so, words: str) -> None:
        """Wait until a function returns something true; ask less often with time."""
        deadline, pause = time.monotonic() + 30, 10
        while not is_so():
            assert time.monotonic() < deadline, f"{words}: {self.page.inner_text('footer')}"
            self.page.wait_for_timeout(pause)
            pause = min(1.5 * pause, 100)

    def ready(self) -> Tab:
        """Wait until the image is there as far as it is in view."""
        self.wait("document.body.dataset.image !== ''")
        return self

    def at(self, row: float, col: float) -> tuple[float, float]:
        return tuple(self.page.evaluate("([row, col]) => view.hybridseg.toScreen(row, col)", [row, col]))

    def scale(self) -> float:
        """Pixels of the screen for one of the image."""
        return self.at(0, 1)[0] - self.at(0, 0)[0]

    def point(self, x: float, y: float) -> list[float]:
        return self.page.evaluate("([x, y]) => view.hybridseg.toImage(x, y)", [x, y])

    def draw(self, *places, lift: bool = True, steps: int = 4) -> None:
        """Draw with the mouse, which moves from place to place in so many steps."""
        mouse = self.page.mouse
        mouse.move(*self.at(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.at(*place), steps=steps)
        if lift:
            mouse.up()

    def scribble(self, *places) -> None:
        self.draw(*places)
        self.saved()

    def click(self, row: float, col: float) -> None:
        self.page.mouse.click(*self.at(row, col))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self) -> None:
        self.wait("document.body.dataset.unsent === '0'")

    def says(self, *texts: str, where: str = "#status") -> None:
        """Wait until the page says so."""
        for text in texts:
            self.wait("([where, text]) => document.querySelector(where).innerText.includes(text)", where, text)

    def slide(self, id_: str, value: int) -> None:
        self.page.locator(f"#{id_}").fill(str(value))

    def see(self, row: int, col: int) -> tuple[int, int, int]:
        """Read the canvas."""
        code = """([x, y]) => {
            const box = view.getBoundingClientRect(), ratio = devicePixelRatio;
            const spot = [Math.floor((x - box.left) * ratio), Math.floor((y - box.top) * ratio)];
            return [...view.getContext("2d").getImageData(...spot, 1, 1).data].slice(0, 3);
        }"""
        return tuple(self.page.evaluate(code, list(self.at(row, col))))

    def shows(self, row: int, col: int, color: tuple[int, int, int], *, within: int = 2) -> None:
        """Wait until a pixel of the image is seen in a colour."""

        def is_so() -> bool:
            return np.abs(np.subtract(self.see(row, col), color)).max() <= within

        self.poll(is_so, f"row {row}, column {col} is not {color}")

    def chosen(self) -> str:
        """The name of the class that is drawn with."""
        return self.page.locator("#classes [aria-pressed=true]").inner_text().split("\n")[0]

    def agree(self) -> None:
        """Say yes to the question of a dialog."""
        self.wait("document.querySelector('#question').open")
        self.press("Enter")

    def accept(self, *, key: str = "s", among: int = 0) -> None:
        """Accept; `among` questions are expected, about what may be an oversight."""
        self.press(key)
        for _ in range(among):
            self.agree()
        self.says("Written:")


@pytest.fixture(scope="session")
def chromium():
    """The browser of all tests."""
    # The first is the same without a window of its own, and opens a page with a third of the work.
    names = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"there is no Chromium on this machine ({', '.join(names)})")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--process-per-site"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


WINDOW = {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="session")
def kept_window(chromium):
    """A window for each test in turn; an empty page stays in it, and with it the process of all, slow to start."""
    window = chromium.new_context(**WINDOW)
    page = window.new_page()
    page.route("**", lambda route: route.fulfill(body=""))
    page.goto("http://127.0.0.1/")
    return window


def _clear(window, addresses) -> None:
    """Close all pages but the empty one, and forget what the pages of these addresses kept."""
    empty, *pages = window.pages
    for page in pages:
        page.close()
    window.clear_cookies()
    tools = window.new_cdp_session(empty)
    for address in addresses:
        origin = address.rpartition("/")[0]
        tools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage"})
    tools.detach()


@pytest.fixture
def browse(chromium, kept_window, tmp_path):
    """Open an address in a tab: `browse(address)`, or in the same window `browse(address, beside=tab)`.

    The pages are closed before `tmp_path`, whose files they may still ask for, is removed.
    At the end no page may have reported an error; what a test means to provoke it names: `browse.expected.append(...)`.
    `browse.held` are the pages that asked whether they should really be left.
    """
    windows, addresses, troubles, expected, held = [], [], [], [], []

    def open_tab(address: str, *, beside: Tab | None = None, **settings) -> Tab:
        if beside is None:
            is_first = not windows and not settings
            windows.append(kept_window if is_first else chromium.new_context(**{**WINDOW, **settings}))
        addresses.append(address)
        page = (beside.page.context if beside else windows[-1]).new_page()
        page.on("console", lambda said: said.type == "error" and troubles.append(f"{said.text} {said.location['url']}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))

        def heed(dialog) -> None:
            is_leaving = dialog.type == "beforeunload"
            (held if is_leaving else troubles).append(f"a dialog: {dialog.message}")
            dialog.accept()

        page.on("dialog", heed)
        page.goto(address)
        page.wait_for_url(lambda url: "token" not in url)
        return Tab(page)

    open_tab.expected, open_tab.held = expected, held
    yield open_tab
    for window in windows:
        _clear(window, addresses) if window is kept_window else window.close()
    assert [text for text in troubles if not any(part in text for part in expected)] == []


def _serve():
    """Serve an application: `serve(make_app)`, which is called with a gate."""
    running = []

    def start(make_app) -> Served:
        running.append(served := Served(make_app))
        return served

    yield start
    for served in running:
        served.stop()


serve = pytest.fixture(_serve)
serve_module = pytest.fixture(_serve, scope="module")


@pytest.fixture(scope="session")
def scene():
    """A coast of 400 x 600 pixels: sand lies to the left of the surf, and water to its right."""
    return make_scene(0, rows=400, cols=600)


@pytest.fixture(scope="session")
def coast_photo(scene, tmp_path_factory):
    """A file with that photo."""
    path = tmp_path_factory.mktemp("beach") / "coast.png"
    write_image(path, scene.image)
    return path


@pytest.fixture
def beach(coast_photo, tmp_path):
    """A folder with that photo, `coast.png`."""
    folder = tmp_path / "beach"
    folder.mkdir()
    shutil.copy(coast_photo, folder)
    return folder


@dataclass
class Desk:
    """A tab on the labelling page, with the server and the session behind it."""

    session: LabelSession
    served: Served
    tab: Tab


# A quarter of the size, and the kernel a quarter as wide; for so few pixels one thread is the fastest.
QUICK = SpreadOptions(0.25, replace(SPREAD_CRF, theta=15.0, n_threads=1), features="none")
if "HYBRIDSEG_SCREENSHOTS" in os.environ:
    QUICK = SpreadOptions()


@pytest.fixture
def on_sand():
    """The ends of a stroke on the sand of that photo."""
    return (230, 40), (250, 150)


@pytest.fixture
def on_water():
    return (250, 520), (300, 580)


@pytest.fixture
def label(serve, browse, table):
    """Open the labelling page: `label(paths)`."""
    runners = []

    def open_page(paths, *, table=table, window=500, sam=None, suggester=None, options=QUICK, **settings) -> Desk:
        album = Album(list(paths), table=table)
        session = LabelSession(album, options=options, window=window, sam=sam, suggester=suggester)
        runners.append(jobs := JobRunner(session))
        served = serve(lambda gate: create_label_app(session, jobs, gate))
        return Desk(session, served, browse(served.address, **settings).ready())

    yield open_page
    for jobs in runners:
        jobs.close()


@pytest.fixture
def desk(label, beach):
    return label([beach / "coast.png"])


@pytest.fixture
def tab(desk):
    """The labelling page on the photo of the coast."""
    return desk.tab


@pytest.fixture
def strokes(beach):
    """Read the strokes that are on disk."""
    return lambda stem="coast": read_strokes(beach / f"{stem}_doodles.json").strokes


@pytest.fixture
def picture():
    """Keep a picture of a page, or of a part of it, where HYBRIDSEG_SCREENSHOTS names a folder for it."""
    folder = os.environ.get("HYBRIDSEG_SCREENSHOTS")

    def keep(tab: Tab, name: str, part: str | None = None) -> None:
        if folder is None:
            return
        tab.page.evaluate("document.activeElement.blur()")
        # The preview is asked for a moment after the last stroke.
        tab.page.wait_for_timeout(400)
        tab.wait("document.body.dataset.preview !== 'running'")
        path, seen = Path(folder) / f"{name}.png", tab.page.locator(part) if part else tab.page
        seen.screenshot(path=path)
        if path.stat().st_size > 150_000:
            seen.screenshot(path=path.with_suffix(".jpg"), type="jpeg", quality=85)
            path.unlink()

    return keep


@pytest.fixture
def start(launch, tmp_path):
    """Run the command as a process; give it and the address that it prints."""
    started = []

    def start_label(*words):
        command = [sys.executable, "-m", "hybridseg", "label", *map(str, words), "--no-browser"]
        started.append(process := launch(command, cwd=tmp_path))
        lines = []
        while not lines or "http://" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        return process, re.search(r"http://\S+", lines[-1])[0]

    yield start_label
    for process in started:
        process.kill()
        process.communicate()
