"""What a connection may take before its browser was let in, and after."""

import contextlib
import json
import re
import socket
import time
from http.client import HTTPResponse

import pytest

import hybridseg as hs
from hybridseg.web import connections


class Door:
    """A page as it is served, and one connection of the browser that was let in."""

    def __init__(self, photos):
        self.page = hs.label(photos, labels=["water", "sand"], no_browser=True, block=False)
        self.port = int(re.search(r":(\d+)/", self.page.address)[1])
        self.key, self.cookie, self.mine = self.page._gate.key, "", self.open()
        _, headers, _ = self.ask(self.mine, "GET", "/?token=" + self.page.address.split("token=")[1], mine=False)
        self.cookie = headers["Set-Cookie"].split(";")[0]
        told = json.loads(self.ask(self.mine, "GET", "/api/session")[2])
        self.image = told["images"][0]["id"]

    def open(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, connection, method, path, *, body=b"", headers=(), mine=True):
        """Send a request; give the status, the headers and the body of its answer.

        `mine` may be "stolen": the cookie alone.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers]
        if mine:
            lines += [f"Cookie: {self.cookie}", f"Origin: http://127.0.0.1:{self.port}"]
            lines += [] if mine == "stolen" else [f"X-Page-Key: {self.key}"]
        with contextlib.suppress(ConnectionError):
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        with HTTPResponse(connection, method=method) as answer:
            answer.begin()
            return answer.status, answer.headers, answer.read()

    def is_mine(self, connection):
        return self.ask(connection, "GET", "/api/session")[0] == 200


@pytest.fixture
def door(photos):
    door = Door(photos)
    with door.page, door.mine:
        yield door


def is_closed(connection, *, within):
    """Let a drop fall again and again until the connection is closed, or so many seconds have passed."""
    end = time.monotonic() + within
    connection.settimeout(0.1)
    while time.monotonic() < end:
        try:
            connection.sendall(b"x")
            if not connection.recv(10):
                return True
        except TimeoutError:
            pass
        except ConnectionError:
            return True
    return False


@pytest.mark.parametrize(
    "beginning", [b"", b"GET / HTTP/1.1\r\nX:", b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"]
)
def test_who_says_nothing_is_not_waited_for(door, monkeypatch, beginning):
    monkeypatch.setattr(connections, "MOST_SECONDS", 0.2)
    with door.open() as other:
        other.sendall(beginning)
        assert is_closed(other, within=10)
    assert door.is_mine(door.mine)


def test_many_connections_do_not_keep_the_browser_out(door, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 6)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(door.open()).sendall(b"GET / HTTP/1.1\r\nX:")
        with door.open() as new:
            assert door.is_mine(new)
        assert door.is_mine(door.mine)
        assert len(door.page._server.active_channels) <= 7


@pytest.mark.slow
def test_a_thousand_half_open_connections(door, monkeypatch):
    """Each begins a request that it never ends; the page answers all the while, and quickly."""
    resource = pytest.importorskip("resource")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < 4096:
        pytest.skip("this system lets a process have fewer open connections")
    monkeypatch.setattr(connections, "MOST_SECONDS", 2.0)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4096), limits[1]))
    slowest = 0.0
    try:
        with contextlib.ExitStack() as stack:
            for number in range(1000):
                held = stack.enter_context(door.open())
                with contextlib.suppress(ConnectionError):
                    held.sendall((b"GET / HTTP/1.1\r\nX:", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")[number % 2])
                if number % 50 == 49:
                    begin = time.monotonic()
                    with door.open() as new:
                        assert door.is_mine(new) and door.is_mine(door.mine)
                    slowest = max(slowest, time.monotonic() - begin)
            end = time.monotonic() + 20
            while len(door.page._server.active_channels) > connections.MOST_CONNECTIONS and time.monotonic() < end:
                time.sleep(0.1)
            assert len(door.page._server.active_channels) <= connections.MOST_CONNECTIONS
            assert door.is_mine(door.mine)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert slowest < 5


CHUNKS = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"


@pytest.mark.parametrize("act, mine, status", [("import?name=x.png", False, 413), ("strokes", False, 413),
                                               ("import?name=x.png", "stolen", 413),
                                               ("strokes", True, 413), ("import?name=x.png", True, 400)])  # fmt: skip
def test_long_bodies_are_only_for_imports_of_the_browser_that_is_in(door, act, mine, status):
    """The length is enough to refuse it: a body that is not let in is never kept."""
    path, size = f"/api/images/{door.image}/{act}", 3_000_000
    with door.open() as connection:
        body = b"x" * size if status == 400 else b""
        headers = [f"Content-Length: {size}"]
        assert door.ask(connection, "POST", path, headers=headers, body=body, mine=mine)[0] == status
    with door.open() as connection:
        headers, body = ["Transfer-Encoding: chunked"], CHUNKS * 40 + b"0\r\n\r\n"
        # A server that has closed while we still send is not always heard.
        with contextlib.suppress(ConnectionError):
            assert door.ask(connection, "POST", path, headers=headers, body=body, mine=mine)[0] == status
