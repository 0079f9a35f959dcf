"""How long a person waits on the labelling page, and what its server takes: ``make bench``.

The command runs as a process of its own; a client asks it over HTTP what the page asks, and headless Chromium, where
there is one, opens the page itself. Beside our kernel pydensecrf computes the same window.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench_retile import COLS, ROWS, enlarge
from bench_semseg import make_photo, read_peak_memory

from hybridseg.crf.refine import refine_labels
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.errors import MissingPackage
from hybridseg.io.images import read_image, write_image
from hybridseg.io.rasters import quiet_rasterio
from hybridseg.labelling.spreading import SPREAD_CRF
from hybridseg.resample import shrink_image

WINDOW, SCALE, N_REPEATS = 500, 0.5, 15
CLASSES = ("water", "foam", "wet sand", "dry sand", "cliff", "vegetation")
# 357 megapixels of three bytes: just above 1 GB.
GEOTIFF_SIDE = 18_900


class Client:
    """What the page does, without a page."""

    def __init__(self, address: str) -> None:
        self.base = address.partition("/?")[0]
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        welcome = self._opener.open(address).read().decode()
        self._opener.addheaders = [("X-Page-Key", re.search(r'name="key" content="(.+?)"', welcome)[1])]
        self._headers = {"Origin": self.base}

    def read(self, path: str) -> bytes:
        return self._opener.open(self.base + path).read()

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def post(self, path: str, **body: Any) -> bytes:
        headers = {**self._headers, "Content-Type": "application/json"}
        return self._opener.open(urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)).read()


@contextmanager
def run_server(folder: Path, *words: str) -> Iterator[tuple[int, str]]:
    """Run the command on a folder; give its process id and the address that it prints."""
    command = [sys.executable, "-m", "hybridseg", "label", str(folder), "--no-browser", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        try:
            yield process.pid, address
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()


def scribble(client: Client, image_id: str, row: int, col: int) -> None:
    """Draw two strokes of every class, spread over a window."""
    rng = np.random.default_rng(0)
    for class_id in [*range(len(CLASSES))] * 2:
        place = rng.integers(10, WINDOW - 60, 2) + np.array([row, col])
        points = (place + np.cumsum(rng.integers(-3, 8, (40, 2)), axis=0) % 50).tolist()
        draw(client, image_id, class_id, points)


def draw(client: Client, image_id: str, class_id: int, points: list[list[int]]) -> None:
    version = client.get(f"/api/images/{image_id}")["version"]
    record = {"layer": "scribbles", "tool": "pen", "class": class_id, "width": 5, "points": points}
    client.post(f"/api/images/{image_id}/strokes", version=version, **record)


def bench_window(client: Client, image_id: str, row: int, col: int, name: str, window: tuple[int, int]) -> None:
    """Print how long it is from sending a stroke to having the dense result of a window."""
    seconds = []
    for i in range(N_REPEATS):
        began = time.perf_counter()
        draw(client, image_id, i % len(CLASSES), [[row + 30 * i + 5, col + 10], [row + 30 * i + 5, col + 40]])
        picture = client.post(f"/api/images/{image_id}/preview", window=[row, col, *window])
        seconds.append(time.perf_counter() - began)
        assert picture[:4] == b"\x89PNG"
    print(
        f"  stroke to dense result, {name}: median {statistics.median(seconds):.3f} s, slowest {max(seconds):.3f} s of "
        f"{N_REPEATS}",
        flush=True,
    )


def bench_rival(photo: Path) -> None:
    """Print what pydensecrf takes for such a window alone, without any server."""
    rows = slice(ROWS // 2, ROWS // 2 + WINDOW)
    window = np.ascontiguousarray(read_image(photo)[rows, COLS // 2 : COLS // 2 + WINDOW])
    image = shrink_image(window, round(WINDOW * SCALE), round(WINDOW * SCALE))
    seeds = np.zeros(image.shape[:2], np.uint8)
    for class_id in range(len(CLASSES)):
        seeds[20 + 35 * class_id, 20:60] = class_id + 1
    for engine in ("native", "pydensecrf"):
        options = type(SPREAD_CRF)(**{**SPREAD_CRF.__dict__, "engine": engine, "tolerance": 0.0})
        try:
            began = time.perf_counter()
            refine_labels(image, seeds, n_classes=len(CLASSES), options=options)
        except MissingPackage:
            print("  pydensecrf is not installed")
            return
        print(
            f"  the CRF alone, all 20 rounds, {image.shape[0]} x {image.shape[1]}, {engine}: "
            f"{time.perf_counter() - began:.3f} s",
            flush=True,
        )


def bench_first_paint(address: str, name: str) -> None:
    """Print how long it is in a browser from the page's address to a complete picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("  no browser is installed: the page was not opened")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_function("() => document.body.dataset.image", timeout=120_000)
        print(f"  {name}: first paint {time.perf_counter() - began:.2f} s after the address was opened", flush=True)
        browser.close()


def tell_memory(pid: int, when: str) -> None:
    print(f"  the server's memory at most, {when}: {read_peak_memory(pid):,.0f} MiB", flush=True)


def bench_accept(client: Client, image_id: str) -> None:
    """Print how long it is until all of an image is spread and written."""
    version = client.get(f"/api/images/{image_id}")["version"]
    began = time.perf_counter()
    client.post(f"/api/images/{image_id}/accept", version=version)
    while (state := client.get(f"/api/images/{image_id}"))["job"]:
        time.sleep(0.1)
    assert state["state"] == "done", state["message"]
    print(f"  all of it spread and written in {time.perf_counter() - began:.1f} s", flush=True)


def bench_photo(folder: Path) -> None:
    """A photo of 36 megapixels: open, draw, preview, accept."""
    photo = folder / "photo.jpg"
    write_image(photo, make_photo(0))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    print(f"a JPEG of {ROWS} x {COLS} pixels ({photo.stat().st_size / 2**20:.0f} MiB)")
    with run_server(folder, "-s", str(SCALE)) as (_, address):
        bench_first_paint(address, "browser and server fresh")
    with run_server(folder, "-s", str(SCALE)) as (pid, address):
        client = Client(address)
        image_id = client.get("/api/session")["images"][0]["id"]
        began = time.perf_counter()
        state = client.get(f"/api/images/{image_id}")
        print(f"  opened by the server in {time.perf_counter() - began:.2f} s")
        top = state["levels"] - 1
        began = time.perf_counter()
        client.read(f"/api/images/{image_id}/picture/{top}/0/0")
        print(f"  its coarsest tile after {time.perf_counter() - began:.3f} s more")
        tell_memory(pid, "photo open")
        row, col = ROWS // 2, COLS // 2
        scribble(client, image_id, row, col)
        bench_window(client, image_id, row, col, f"{WINDOW} x {WINDOW} px, {len(CLASSES)} classes, scale {SCALE}",
                     (WINDOW, WINDOW))  # fmt: skip
        bench_window(client, image_id, row, col, "1000 x 1500 px", (1000, 1500))
        bench_rival(photo)
        tell_memory(pid, "after previews")
        bench_accept(client, image_id)
        tell_memory(pid, "after accepting")
    with run_server(folder) as (_, address):
        client = Client(address)
        client.get(f"/api/images/{image_id}")
        bench_window(client, image_id, row, col, "500 x 500 px at the default scale 0.2", (WINDOW, WINDOW))
        bench_window(client, image_id, 0, 0, "all of the photo in view", (ROWS, COLS))


def bench_small(folder: Path) -> None:
    """A photo of 0.6 megapixels, all of it in view: what a person waits for first, and after each stroke."""
    write_image(folder / "photo.jpg", make_scene(0, rows=614, cols=922).image)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    print("a JPEG of 614 x 922 pixels")
    with run_server(folder) as (pid, address):
        client = Client(address)
        image_id = client.get("/api/session")["images"][0]["id"]
        client.get(f"/api/images/{image_id}")
        draw(client, image_id, 0, [[20, 20], [20, 90]])
        draw(client, image_id, 1, [[500, 700], [560, 760]])
        began = time.perf_counter()
        client.post(f"/api/images/{image_id}/preview", window=[0, 0, 614, 922])
        print(f"  the first result, with its features: {time.perf_counter() - began:.2f} s")
        bench_window(client, image_id, 0, 0, "all of it in view", (614, 922))
        tell_memory(pid, "after previews")


def bench_geotiff(folder: Path) -> None:
    """A GeoTIFF of more than 1 GB, tiled, without overviews: only what is in view is read."""
    import rasterio

    scene = enlarge(make_scene(0).image)[: GEOTIFF_SIDE // 4, : GEOTIFF_SIDE // 4]
    path = folder / "large.tif"
    place = rasterio.transform.from_origin(500_000, 4_000_000, 0.1, 0.1)
    settings = {"driver": "GTiff", "height": GEOTIFF_SIDE, "width": GEOTIFF_SIDE, "count": 3, "dtype": "uint8"}
    settings |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel", "bigtiff": "yes"}
    with quiet_rasterio(), rasterio.open(path, "w", crs="EPSG:32611", transform=place, **settings) as out:
        for row in range(0, GEOTIFF_SIDE, 512):
            some = [i % len(scene) for i in range(row, min(row + 512, GEOTIFF_SIDE))]
            strip = np.concatenate([scene[some]] * 5, axis=1)[:, :GEOTIFF_SIDE]
            window = rasterio.windows.Window(0, row, GEOTIFF_SIDE, len(some))
            out.write(strip.transpose(2, 0, 1), window=window)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    print(f"a GeoTIFF of {GEOTIFF_SIDE} x {GEOTIFF_SIDE} pixels ({path.stat().st_size / 2**30:.2f} GiB), no overviews")
    with run_server(folder) as (pid, address):
        bench_first_paint(address, "browser and server fresh")
        tell_memory(pid, "raster open")
    with run_server(folder) as (pid, address):
        client = Client(address)
        image_id = client.get("/api/session")["images"][0]["id"]
        client.get(f"/api/images/{image_id}")
        for level in (0, 2):
            began = time.perf_counter()
            client.read(f"/api/images/{image_id}/picture/{level}/3/3")
            print(
                f"  a tile of level {level} in {time.perf_counter() - began:.3f} s (the first one reads the overview)"
            )
        for row, col in ((500, 500), (500, 17_000), (17_000, 500), (17_000, 17_000), (9000, 9000)):
            scribble(client, image_id, row, col)
        bench_window(client, image_id, 9000, 9000, "1000 x 1500 px", (1000, 1500))
        tell_memory(pid, "after previews")
        bench_accept(client, image_id)
        tell_memory(pid, "after accepting")


def main() -> None:
    for bench in (bench_small, bench_photo, bench_geotiff):
        with tempfile.TemporaryDirectory() as folder:
            bench(Path(folder))


if __name__ == "__main__":
    main()
