"""Attack the labelling page: start it as a user does, send it what the lists of attacks have, and judge every answer.

    python tests/robustness/attack.py --requests 2000 --seed 0

All traffic stays on 127.0.0.1. An attack has got in when an answer is of a status that it may not have, tells a secret,
is a page with something of the attacker's in it, lacks the headers that protect it, or changes anything. A status of
500 and above, a traceback, an answer that takes more than 10 seconds of work or never comes, and a server of more than
1 GB are failures too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import crowds
import numpy as np
from attacks import KINDS
from hostile import CLOSED, Attack, Request
from PIL import Image

REPOSITORY = Path(__file__).parent.parent.parent
MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30
# After so long without a byte the server hangs, however much else the machine has to do.
MOST_SILENCE = 60.0
# What a browser must be told with each answer of the application.
PROTECTION = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
_STATIC = REPOSITORY / "hybridseg" / "web" / "static"
# The only HTML that anyone gets; HEAD leaves it out.
OUR_PAGES = {path.read_bytes() for path in _STATIC.glob("*.html")} | {b""}
# Where the server may wait for more, nobody waits longer for an answer.
_PATIENCE = 0.25
# The server itself answers these, before the application is asked, and in plain text.
_BY_SERVER = {400, 411, 413, 414, 431, 501, 505}


@dataclass(frozen=True)
class Answer:
    """One answer: its status, its headers in small letters, its body."""

    status: int
    headers: dict[str, str]
    body: bytes


NOTHING = Answer(CLOSED, {}, b"nothing")


def parse_answers(data: bytes) -> list[Answer]:
    """Return the answers that came back on one connection."""
    answers = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", first)
        if match is None:
            raise ValueError(f"no answer of HTTP: {data[:80]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        is_bodiless = match[1] in ("100", "204", "304")
        length = 0 if is_bodiless else int(headers.get("content-length", len(rest)))
        # The answer to HEAD has the length of what it leaves out.
        answers.append(Answer(int(match[1]), headers, rest[:length]))
        data = rest[length:]
    return answers


def talk(port: int, data: bytes, *, seconds: float = MOST_SILENCE, most: int = 1) -> bytes:
    """Send bytes on a connection of their own; return what comes back until it is closed, or nothing comes so long."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        # What the server does not want to read any more it need not.
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while not (most == 1 and _is_whole(received)) and (part := connection.recv(1 << 20)):
                received += part
    return received


def _is_whole(data: bytes) -> bool:
    """Return whether an answer is there as long as it says."""
    head, ending, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(ending and length) and len(body) >= int(length[1])


class Target:
    """A labelling page as a user starts it, with what only its person knows; see `hostile.Site`."""

    def __init__(self, folder: Path, canary: str) -> None:
        self.folder, self.canary, self.other = folder, canary, "hybridseg_0=x"
        photos = folder / "photos"
        photos.mkdir(parents=True)
        draws = np.random.default_rng(0)
        for name in ("a.png", "<img src=x onerror=alert(1)>.png"):
            Image.fromarray(draws.integers(0, 255, (60, 90, 3), np.uint8)).save(photos / name)
        # What no answer may tell.
        self.canary_text = f"secret-{secrets.token_hex(8)}"
        (folder / "secret.txt").write_text(self.canary_text)
        (folder / "labels.txt").write_text("water\nsand\ncliff\n")
        self._log = (folder / "log.txt").open("w")
        command = [sys.executable, "-u", "-m", "hybridseg", "label", "photos", "--labels", "labels.txt", "--no-browser"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        self.old_token = self._read_token()
        welcome = parse_answers(talk(self.port, self.write(Request(f"/?token={self.old_token}"), admitted=False)))[0]
        self.cookie = welcome.headers["set-cookie"].split(";")[0]
        self.key = re.search(r'name="key" content="(.+?)"', welcome.body.decode())[1]
        self.token = self._read_token()
        self.image = self.ask("/api/session")["images"][0]["id"]
        self.before = self._snapshot()

    def _read_token(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                self.port = int(match[1])
                return match[2]
        raise RuntimeError(f"the page did not start: {(self.folder / 'log.txt').read_text()}")

    def write(self, request: Request, *, admitted: bool = True) -> bytes:
        """Return a request as bytes: with the cookie and the key of the person, or without."""
        headers: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        if admitted:
            headers |= {"Cookie": self.cookie, "X-Page-Key": self.key}
        if admitted and request.method not in ("GET", "HEAD"):
            headers |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        if request.body:
            headers["Content-Length"] = str(len(request.body))
        headers |= request.headers
        lines = [f"{request.method} {request.target} {request.version}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + request.body

    def ask(self, target: str) -> dict:
        """Return what the page of the person is told, which must be so within ten seconds at any time."""
        [answer] = parse_answers(talk(self.port, self.write(Request(target)), seconds=MOST_SECONDS)) or [NOTHING]
        assert answer.status == 200, f"the person's own page is answered {answer.status}: {answer.body[:200]!r}"
        return json.loads(answer.body)

    def read_clock(self) -> float:
        """Return how long the server has worked, in seconds, whatever else the machine does."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _snapshot(self) -> dict[str, bytes]:
        """Return what must stay as it is: files outside of the photos, and the photos themselves."""
        paths = [*self.folder.glob("*.txt"), *self.folder.glob("photos/*.png")]
        return {path.name: path.read_bytes() for path in paths if path.name != "log.txt"}

    def find_damage(self) -> Iterator[str]:
        """Say what is wrong with the server and its folder after an attack."""
        if self.process.poll() is not None:
            yield "the server has ended"
            return
        try:
            told = self.ask(f"/api/images/{self.image}")
            if told["state"] == "done" or told["job"]:
                yield "an attack has started or accepted something"
        except (OSError, AssertionError, ValueError) as error:
            yield f"the person's own page is not answered ({error})"
        if self._snapshot() != self.before or {path.name for path in self.folder.iterdir()} != {
            *("photos", "labels.txt", "log.txt", "secret.txt")
        }:
            yield "files have changed"
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        if int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 > MOST_BYTES:
            yield f"the server has taken more than {MOST_BYTES >> 20} MB"
        text = (self.folder / "log.txt").read_text()
        if "Traceback" in text:
            yield f"a traceback: {text[-1500:]}"

    def close(self) -> None:
        self.process.terminate()
        with self.process:
            self._log.close()


class Canary:
    """A server to which nobody should ever come."""

    def __init__(self) -> None:
        self.n_visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._listener.accept()[0].close()
                self.n_visits += 1

    def close(self) -> None:
        self._listener.close()


def judge(attack: Attack, data: bytes, seconds: float, site: Target) -> Iterator[str]:
    """Say what is wrong with what came back."""
    if seconds > MOST_SECONDS:
        yield f"it took {seconds:.1f} s of work"
    try:
        answers = parse_answers(data)
    except ValueError as error:
        yield str(error)
        return
    if len(answers) > attack.most:
        yield f"{len(answers)} answers"
    for status in {answer.status for answer in answers} or {CLOSED}:
        if status not in attack.may:
            yield f"the status {status}"
    secret = [site.canary_text, site.cookie.split("=")[1], site.token, site.key, str(site.folder)]
    secret += ["root:x:0", "Traceback"]
    # Only the person may be told what she has.
    secret += [] if attack.is_lawful else ["a.png"]
    for text in secret:
        if text.encode() in data:
            yield f"it tells {text!r}"
    for answer in answers:
        yield from _judge_headers(answer, site)


def _judge_headers(answer: Answer, site: Target) -> Iterator[str]:
    headers = answer.headers
    kind = headers.get("content-type", "").split(";")[0]
    by_server = answer.status in _BY_SERVER and kind == "text/plain" and "content-security-policy" not in headers
    if not by_server and answer.status != 100:
        for name, value in PROTECTION.items():
            if value not in headers.get(name, ""):
                yield f"no {name}"
    if kind == "text/html" and answer.body not in OUR_PAGES:
        yield "another page than ours"
    if answer.status >= 400 and kind not in ("text/plain", "application/json"):
        yield f"an error as {kind}"
    if not re.match(
        rf"http://(127\.0\.0\.1:{site.port}|localhost)?/(?![/\\])|/(?![/\\])|$", headers.get("location", "")
    ):
        yield f"it leads to {headers['location']}"
    if "access-control-allow-origin" in headers or "set-cookie" in headers:
        yield "a header that lets others in"


@dataclass
class Count:
    """What became of the attacks of a kind."""

    n: int = 0
    statuses: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def send(kind: str, attack: Attack, site: Target, counts: dict[str, Count]) -> None:
    """Send one attack and count what came back."""
    start, faults = site.read_clock(), []
    try:
        seconds = _PATIENCE if CLOSED in attack.may else MOST_SILENCE
        data = talk(site.port, attack.data, seconds=seconds, most=attack.most)
    except OSError as error:
        data, faults = b"", [f"no answer: {error}"]
    faults += judge(attack, data, site.read_clock() - start, site)
    count = counts[kind]
    count.n += 1
    count.statuses.update({answer.status // 100 for answer in parse_answers(data)} if not faults else ["fault"])
    count.faults += [f"{fault}\n    of {attack.note!r}: {attack.data[:300]!r}" for fault in faults]


def attack_page(n_requests: int, seed: int, *, quick: bool = False) -> tuple[dict[str, Count], float]:
    """Send so many requests, as many of each kind, then all kinds at once, and crowds. Return the counts and the time.

    `quick` leaves out what has to wait.
    """
    crowd_kinds = {kind: run for kind, run in crowds.KINDS.items() if not (quick and run is crowds.outlast)}
    start, counts = time.monotonic(), {kind: Count() for kind in (*KINDS, "all at once", *crowd_kinds)}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        canary = stack.enter_context(contextlib.closing(Canary()))
        site = stack.enter_context(contextlib.closing(Target(Path(name) / "one", canary.address)))
        other = stack.enter_context(contextlib.closing(Target(Path(name) / "two", canary.address)))
        site.other = other.cookie
        each = max(1, n_requests // (len(KINDS) + 1))

        def check(kind: str) -> None:
            faults = list(site.find_damage())
            if canary.n_visits:
                faults.append(f"the server has fetched something, {canary.n_visits} times")
                canary.n_visits = 0
            counts[kind].faults += faults

        for kind, make in KINDS.items():
            draw = Random(f"{seed} {kind}")
            for _ in range(each):
                send(kind, make(draw, site), site, counts)
            check(kind)
        draw = Random(f"{seed} all")
        crowd = [draw.choice(list(KINDS.values()))(draw, site) for _ in range(each)]
        crowds.send_at_once(crowd, lambda attack: send("all at once", attack, site, counts))
        check("all at once")
        for kind, run in crowd_kinds.items():
            counts[kind].n, faults = run(site, each)
            counts[kind].faults += faults
            check(kind)
    return counts, time.monotonic() - start


def main() -> int:
    """Print the counts of each kind; 1 when anything got in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="leave out what has to wait")
    given = parser.parse_args()
    counts, seconds = attack_page(given.requests, given.seed, quick=given.quick)
    for kind, count in counts.items():
        statuses = " ".join(
            f"{n} x {f'{status}xx' if status else 'closed'}" for status, n in sorted(count.statuses.items(), key=str)
        )
        print(f"{kind:24}{count.n:6}   {statuses}")
        for fault in count.faults[:5]:
            print(f"  ! {fault}")
    n_faults = sum(len(count.faults) for count in counts.values())
    print(
        f"{sum(count.n for count in counts.values())} requests in {seconds:.0f} s, seed {given.seed}: {n_faults} faults"
    )
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
