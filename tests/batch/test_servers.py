"""What servers of images are asked: side by side, once, and never without an end."""

import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hybridseg.cli.report import INTERRUPTED
from hybridseg.errors import MissingInput
from hybridseg.io import remote
from hybridseg.io.images import write_image
from hybridseg.io.remote import ask_shapes, ask_tags, find_tag, local_copy, measure_copy, read_shape
from hybridseg.io.sources import as_source


def test_servers_are_asked_side_by_side(monkeypatch):
    """A resumed run asks for each image that it has done: of 10,000, one by one, that took a quarter of an hour."""
    together = threading.Barrier(4, timeout=20)
    monkeypatch.setattr("hybridseg.io.remote.ask_headers", lambda url: (together.wait() and {}) or {"ETag": url})
    find_tag.cache_clear()
    paths = [as_source(f"https://example.org/{i}.png") for i in range(8)]
    ask_tags([*paths, Path("here.png")])
    assert [find_tag(path) for path in paths] == [f"https://example.org/{i}.png" for i in range(8)]


def test_sizes_are_asked_for_once(monkeypatch):
    """Also where there is no answer: each image would cost its waiting time again, one after the other."""
    together, asked = threading.Barrier(4, timeout=20), []

    def measure(path):
        asked.append(path)
        together.wait()
        if path.stem in "246":
            raise MissingInput("gone")
        return (6, 8), 48, ""

    monkeypatch.setattr(remote, "_measure_source", measure)
    remote._try_size.cache_clear()
    paths = [as_source(f"https://example.org/{i}.png") for i in range(8)]
    ask_shapes([*paths, Path("here.png")])
    assert read_shape(paths[1]) == (6, 8)
    for _ in range(2):
        with pytest.raises(MissingInput, match="gone"):
            read_shape(paths[2])
    assert sorted(asked) == sorted(paths)
    remote._try_size.cache_clear()


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_server_that_sends_files_only_as_a_whole(launch, tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    write_image(tmp_path / f"large{suffix}", noise)
    # In a process of its own: GDAL lets no thread of this one run while it waits for an answer.
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    server = launch(words, cwd=tmp_path)
    port = re.search(r"port (\d+)", server.stdout.readline())[1]
    path = as_source(f"http://127.0.0.1:{port}/large{suffix}")
    assert read_shape(path) == (400, 400)
    assert measure_copy(path) == ((tmp_path / f"large{suffix}").stat().st_size, True)
    with local_copy(path) as copy:
        assert copy.read_bytes() == (tmp_path / copy.name).read_bytes()


@pytest.mark.slow
def test_a_server_that_never_answers_is_asked_once(monkeypatch):
    monkeypatch.setitem(remote._SETTINGS, "GDAL_HTTP_LOW_SPEED_TIME", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(MissingInput, match=r"cannot be fetched \(CURL error: Operation too slow"):
            read_shape(as_source(f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"))
        # Once by each format, and by both ways, it would be 9.
        assert time.monotonic() - began < 5


@pytest.mark.slow
def test_ctrl_c_waits_for_no_server(launch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "asking.py").write_text(
            "import click\nfrom hybridseg.io.remote import ask_shapes\nfrom hybridseg.io.sources import as_source\n"
            "from hybridseg.cli.main import COMMANDS, main\n"
            "COMMANDS['ask'] = 'asking:ask'\n"
            f"@click.command()\ndef ask():\n    ask_shapes([as_source('http://127.0.0.1:{silent.getsockname()[1]}/a.png')])\n"
            "if __name__ == '__main__':\n    main(prog_name='hybridseg')\n"
        )
        process = launch([sys.executable, "asking.py", "ask"], cwd=tmp_path)
        silent.settimeout(30)
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=15)
    assert process.returncode == INTERRUPTED and err.startswith("\nStopped. ")
