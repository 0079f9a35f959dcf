"""The command as a person runs it: a process of its own, its address, and its end."""

import http.cookiejar
import json
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from hybridseg.batch.manifest import ImageFacts, Manifest
from hybridseg.batch.results import ImageResult
from hybridseg.io.annotations.doodles import read_strokes
from hybridseg.io.images import read_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.sources import as_source


class Client:
    """A browser without a page."""

    def __init__(self, address):
        self.base, _, _ = address.partition("/?")
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        welcome = self.opener.open(address, timeout=10).read().decode()
        self.opener.addheaders = [("X-Page-Key", re.search(r'name="key" content="(.+?)"', welcome)[1])]

    def get(self, path):
        return json.load(self.opener.open(self.base + path, timeout=30))

    def post(self, path, body):
        headers = {"Origin": self.base, "Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        return json.load(self.opener.open(request, timeout=30))


@pytest.mark.slow
def test_a_killed_server_lost_nothing_and_ctrl_c_ends_it_well(start, photos, draw):
    (photos / "labels.txt").write_text("water\nsand\n")
    process, address = start(photos)
    client = Client(address)
    image = client.get("/api/session")["images"][0]["id"]
    for version in (1, 2, 3):
        client.post(f"/api/images/{image}/strokes", {"version": version, **draw(1, (version * 9, 5))})
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert len(read_strokes(photos / "a_doodles.json").strokes) == 3
    process, address = start(photos)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address[:-5] + "wrong", timeout=10)
    client = Client(address)
    assert client.get(f"/api/images/{image}")["n_strokes"] == 3
    told = process.stdout.readline() + process.stdout.readline()
    assert "Stop with Ctrl-C" in told and "For another browser" in told
    client.post(f"/api/images/{image}/accept", {"version": 1})
    while client.get(f"/api/images/{image}")["job"]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and err == ""
    assert "Stopped; 1 of 2 images done." in out and (photos / "a_mres.mat").exists()


@pytest.mark.slow
def test_the_example_and_a_port_that_is_taken(start, run, tmp_path, photos):
    """`hybridseg label photos --labels labels.txt`, and then another program on the same port."""
    (tmp_path / "labels.txt").write_text("water\nsand\n")
    _, address = start("photos", "--labels", "labels.txt", "--port", "0")
    assert address.startswith("http://127.0.0.1:")
    assert [row["name"] for row in Client(address).get("/api/session")["classes"]] == ["water", "sand"]
    port = re.search(r":(\d+)/", address)[1]
    result = run("label", photos, "--no-browser", "--port", port)
    assert result.exit_code == 1 and "give another --port" in result.output


@pytest.mark.slow
def test_work_starts_from_the_masks_of_a_colleague(start, photos, tmp_path):
    (tmp_path / "gt").mkdir()
    (tmp_path / "labels.txt").write_text("water\nsand\n")
    labels = np.ones(read_image(photos / "a.png").shape[:2], np.uint8)
    Image.fromarray(labels).save(tmp_path / "gt" / "a_mask.png")
    # A result by machine is none.
    Image.fromarray(labels).save(tmp_path / "gt" / "b_predseg.png")
    _, address = start("--images", "photos", "--masks", "gt", "--labels", "labels.txt")
    client = Client(address)
    found = {image["name"]: client.get(f"/api/images/{image['id']}") for image in client.get("/api/session")["images"]}
    assert found["a.png"]["has_result"] and not found["b.png"]["has_result"]
    [stroke] = read_strokes(photos / "a_doodles.json").strokes
    assert (stroke.class_id, stroke.layer) == (1, "result")


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "Give images or folders to label"),
        (["a", "b", "--review", "photos"], "--review A B"),
        (
            ["--review", "photos", "--sam-encoder", "photos/a.png", "--sam-decoder", "photos/a.png"],
            "for the smart wand",
        ),
        (["photos", "--masks", "photos", "--import", "photos"], "give --masks alone"),
        (["photos", "--masks", "nowhere"], "there is no folder nowhere"),
        (["photos", "--masks", "text.jpg"], "text.jpg is a file; give the folder that it is in"),
        (["photos", "--import", "nowhere"], "there is no file or folder nowhere to import"),
        (["photos", "--images", "photos"], "the images were given twice, as photos and as --images photos; leave one"),
        (["nothing"], "nothing: there is no file of this name"),
        (["text.jpg"], "no image can be labelled: text.jpg: is not a JPEG, PNG or TIFF image"),
        (["photos", "--host", "0.0.0.0"], "add --i-know"),
        (["photos", "--port", "99999"], "there is no port 99999"),
        (["photos", "-w", "5"], "a window of 5 pixels"),
        (["photos", "-s", "0"], "scale=0.0"),
        (["photos", "--colors", "colors.txt"], "--colors needs --labels"),
        (["photos", "--labels", "none.txt"], "there is no file none.txt"),
        (["photos", "--host", "no-such-host.invalid", "--i-know"], "cannot listen on no-such-host.invalid"),
        (["--review", "photos"], "has no image with a result beside it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_make_no_sense(run, photos, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.jpg").write_text("not an image")
    result = run("label", *words, "--no-browser")
    assert result.exit_code in (1, 2) and message in " ".join(result.output.split())


@pytest.mark.slow
def test_what_a_session_wrote_is_reported_when_it_ends(launch, photos, draw):
    (photos / "labels.txt").write_text("water\nsand\n")
    (photos / "b_doodles.json").write_text("")  # Of before.
    words = ["label", photos / "a.png", "--no-browser", "--json", "--quiet"]
    process = launch([sys.executable, "-m", "hybridseg", *map(str, words)])
    client = Client(re.search(r"http://\S+", process.stderr.readline())[0])
    image = client.get("/api/session")["images"][0]["id"]
    client.post(f"/api/images/{image}/strokes", {"version": 1, **draw(1, (9, 5))})
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    report = json.loads(out)
    assert process.returncode == 0 and report["status"] == "done" and report["result"] == {"images": 1, "done": 0}
    assert report["written"] == [str(photos / "a_doodles.json")]


@pytest.mark.slow
def test_nobody_reads_what_it_prints(start, photos):
    """As in `hybridseg label photos | head -3`: the address was read, and works."""
    process, address = start(photos)
    process.stdout.readline()
    process.stdout.close()
    assert len(Client(address).get("/api/session")["images"]) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 1, 130) and "Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_server_that_never_answers_does_not_keep_it(start, table, tmp_path, monkeypatch, number):
    """Stopped while `--fetch` copies an image for the page."""
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    (results := tmp_path / "results").mkdir()
    write_labelpng(results / "far_predseg.png", LabelMap(np.zeros((60, 90), np.uint8), table))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = as_source(f"http://127.0.0.1:{silent.getsockname()[1]}/far.png")
        result = ImageResult(image, (results / "far_predseg.png",), {}, (), {})
        Manifest.read(results).add(image, result, ImageFacts(), job="")
        process, address = start("--review", results, "--fetch")
        client = Client(address)
        [item] = client.get("/api/review")["items"]

        def ask():
            with suppress(OSError):
                client.get(f"/api/review/{item['id']}/picture/0/0/0")

        asking = threading.Thread(target=ask)
        asking.start()
        silent.settimeout(30)
        with silent.accept()[0]:
            process.send_signal(number)
            # Until nobody is left who could write there: the process that copies ends, too.
            _, err = process.communicate(timeout=15)
            asking.join(10)
    assert process.returncode == (0 if number == signal.SIGINT else -signal.SIGTERM)
    if number == signal.SIGINT:
        assert err == "" and not list(temporary.iterdir())
        assert sorted(path.name for path in results.iterdir()) == ["far_predseg.png", "manifest.jsonl"]


SLOW = """
import logging, sys, time
from hybridseg.labelling import session
from hybridseg.cli.main import main
describe = session.LabelSession.describe
def slowly(self, image_id):
    if sys._getframe(1).f_code.co_name != "open_ahead":
        print("asked", flush=True)
        time.sleep(float(sys.argv.pop(1)))
    return describe(self, image_id)
session.LabelSession.describe = slowly
main(["label", sys.argv[2], "--no-browser"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "n_presses"), [(3, 1), (15, 2)])
def test_what_the_page_asked_for_is_answered_unless_ctrl_c_is_pressed_again(photos, launch, seconds, n_presses):
    (photos / "labels.txt").write_text("water\nsand\n")
    process = launch([sys.executable, "-u", "-c", SLOW, str(seconds), str(photos)])
    while "http://" not in (line := process.stdout.readline()):
        assert line
    client = Client(re.search(r"http://\S+", line)[0])
    image_id, answers = client.get("/api/session")["images"][0]["id"], []

    def ask():
        with suppress(OSError):
            answers.append(client.get(f"/api/images/{image_id}"))

    (thread := threading.Thread(target=ask)).start()
    while process.stdout.readline() != "asked\n":
        pass
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "finishing what the page asked for; press Ctrl-C again to stop at once ...\n"
    if n_presses == 2:
        process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    thread.join()
    assert "Traceback" not in err and time.monotonic() - began < 8 and len(answers) == 2 - n_presses


def test_nothing_to_import(run, photos):
    result = run("label", photos, "--import", photos / "nothing", "--no-browser")
    assert result.exit_code == 1 and "there is no file or folder" in result.output
