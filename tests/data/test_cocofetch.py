"""Images that are fetched: from a server of this machine, which has some, lies about some, and may be gone."""

import functools
import http.server
import json
import threading
from typing import ClassVar

import numpy as np
import pytest

from hybridseg.data.cocoimport import import_coco
from hybridseg.data.cocoplan import CocoImportOptions
from hybridseg.errors import MissingInput
from hybridseg.io import downloads
from hybridseg.io.images import encode_image, read_image

SHAPE = (8, 12)
FETCH = CocoImportOptions(proportion=1, validation=0, download=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.headers["Host"].join(("http://", self.path.removeprefix("/to"))))
            self.end_headers()
        elif self.path == "/away.png":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/a.png")
            self.end_headers()
        elif self.path == "/short.png":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """The address of a folder of pictures, and that folder."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    downloads._make_opener.cache_clear()
    folder = tmp_path / "web"
    folder.mkdir()
    monkeypatch.setattr(Handler, "asked", [])
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture
def fetch(tmp_path):
    """Import images by name, each with the addresses where it can be had."""

    def fetch_all(urls, options=FETCH, **more):
        record = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "house"}]}
        for name, found in urls.items():
            addresses = dict(zip(("coco_url", "flickr_url"), found, strict=False))
            record["images"].append({"id": name, "file_name": name, "height": 8, "width": 12, **addresses})
            area = [[0, 0, 4, 0, 4, 4, 0, 4]]
            record["annotations"].append({"image_id": name, "category_id": 1, "segmentation": area})
        (tmp_path / "set.json").write_text(json.dumps(record))
        path, photos = tmp_path / "set.json", tmp_path / "photos"
        return import_coco(path, images_dir=photos, out_dir=tmp_path / "out", options=options, **more)

    return fetch_all


def picture(value, shape=SHAPE):
    return encode_image(np.full((*shape, 3), value, np.uint8), suffix=".png")


def test_what_is_missing_is_fetched_and_what_is_there_stays(web, fetch, tmp_path):
    url, folder = web
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.png").write_bytes(picture(1))
    for name in ("mine.png", "é b.png", "moved.png"):
        (folder / name).write_bytes(picture(200))
    urls = {name: [f"{url}/{name}"] for name in ("mine.png", "é b.png")}
    urls |= {"deep/moved.png": [f"{url}/none.png", f"{url}/to/moved.png"]}
    result = fetch(urls)
    assert (
        result.n_images["train"] == 3 and result.problems == () and result.notes == ("2 images fetched from the web",)
    )
    assert read_image(tmp_path / "photos" / "mine.png")[0, 0, 0] == 1, "an image that is there is not replaced"
    assert (tmp_path / "photos" / "deep" / "moved.png").read_bytes() == picture(200)
    assert read_image(tmp_path / "out" / "train" / "é b.png")[0, 0, 0] == 200
    n_asked = len(Handler.asked)
    assert fetch(urls, overwrite=True).notes == () and len(Handler.asked) == n_asked == 4


def test_what_cannot_be_had_is_told_and_the_rest_is_written(web, fetch, tmp_path, monkeypatch):
    url, folder = web
    monkeypatch.setattr(downloads, "MAX_BYTES", 2000)
    (folder / "good.png").write_bytes(picture(9))
    (folder / "page.png").write_text("<html>not an image</html>")
    (folder / "size.png").write_bytes(picture(9, (4, 6)))
    (folder / "large.png").write_bytes(bytes(2001))
    (folder / "cut.png").write_bytes(picture(9)[:-20])
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(9))
    names = ("good", "page", "size", "large", "cut", "none", "away", "short")
    urls = {f"{name}.png": [f"{url}/{name}.png"] for name in names}
    urls |= {"local.png": [f"file://{secret}"], "nowhere.png": [], "odd.png": ["http://[1/a.png"]}
    result = fetch(urls)
    told = {problem.where: problem.message for problem in result.problems}
    assert result.n_images["train"] == 1 and told.keys() == urls.keys() - {"good.png"}
    for name, words in {
        "page": "what was sent is not a JPEG, PNG or TIFF",
        "size": "its annotation has 8 x 12 pixels, but what was sent has 4 x 6",
        "large": "is larger than",
        "cut": "what was sent is damaged",
        "none": "the server says 404",
        "away": "cannot be reached (unknown url type: ftp)",
        "short": "ended after 10 of 1000 bytes",
        "local": "is no address of the web (http or https)",
        "nowhere": "the file has no address of it (coco_url, flickr_url)",
        "odd": "is no address of the web",
    }.items():
        assert told[f"{name}.png"].startswith(f"it is not in {tmp_path / 'photos'} (--images): "), name
        assert words in told[f"{name}.png"], told[f"{name}.png"]
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["good.png"], "whole or absent"


def test_the_command_fetches_and_tells(web, fetch, tmp_path, run):
    url, folder = web
    (folder / "a.png").write_bytes(picture(9))
    fetch({"a.png": [f"{url}/a.png"]})
    (tmp_path / "photos" / "a.png").unlink()
    words = ("coco", "import", tmp_path / "set.json", "--images", tmp_path / "photos", "--out", tmp_path / "two")
    result = run(*words, "-p", 1, "--validation", 1, "--download")
    assert result.exit_code == 0 and "1 image fetched from the web" in result.stdout
    assert "warning: train/ is empty: no image went there, by --proportion 1 and --validation 1" in result.stderr
    assert (tmp_path / "two" / "validation" / "a_label.png").exists()


def test_nothing_is_fetched_unless_that_was_asked(web, fetch, tmp_path):
    url, folder = web
    (folder / "a.png").write_bytes(picture(9))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.png").write_bytes(picture(9))
    result = fetch({"a.png": [f"{url}/a.png"], "b.png": []}, CocoImportOptions(proportion=1, validation=0))
    assert Handler.asked == [] and result.problems[0].message.endswith("(--images); --download fetches it")


def test_names_that_cannot_be_used_are_not_fetched(web, fetch, tmp_path):
    url, folder = web
    (folder / "a.png").write_bytes(picture(9))
    names = ("a.png", "same.png", "x/same.png", "a_label.png", "w.webp", "../up.png")
    result = fetch(dict.fromkeys(names, (f"{url}/a.png",)))
    assert sorted(path.name for path in tmp_path.rglob("*.png") if path.parent.name == "photos") == ["a.png", "up.png"]
    assert {problem.where for problem in result.problems} == {"same.png", "x/same.png", "a_label.png", "w.webp"}


def test_without_a_connection_one_sentence(web, fetch, tmp_path):
    url, _ = web
    gone = url.rpartition(":")[0] + ":9"
    with pytest.raises(MissingInput) as caught:
        fetch({f"{i}.png": [f"{gone}/{i}.png"] for i in range(20)})
    text = str(caught.value)
    assert text.startswith("none of the images that") and "127.0.0.1 cannot be reached (Connection refused)" in text
    assert "\n" not in text and not (tmp_path / "out").exists()


def test_an_interruption_ends_it(web, fetch, tmp_path):
    url, folder = web
    urls = {f"{i}.png": [f"{url}/{i}.png"] for i in range(30)}
    for name in urls:
        (folder / name).write_bytes(picture(9))

    def stop(items, *, label):
        for i, item in enumerate(items):
            if i == 3:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        fetch(urls, progress=stop)
    assert not list((tmp_path / "photos").glob(".*")) and not (tmp_path / "out").exists()
    kept = len(list((tmp_path / "photos").iterdir()))
    assert kept >= 3
    result = fetch(urls)
    assert result.n_images["train"] == 30 and result.notes == (f"{30 - kept} images fetched from the web",)
