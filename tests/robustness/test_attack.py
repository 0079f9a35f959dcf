"""A short run of the attacks, and that what would get in is seen."""

import subprocess
import sys
from pathlib import Path

import pytest

ATTACK = Path(__file__).parent / "attack.py"


@pytest.fixture
def attack(monkeypatch):
    """The module, which is a program and so lies in no package."""
    monkeypatch.syspath_prepend(str(ATTACK.parent))
    import attack

    return attack


@pytest.mark.slow
def test_nobody_gets_into_the_page():
    command = [sys.executable, str(ATTACK), "--requests", "220", "--seed", "7", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "370 requests" in done.stdout and "0 faults" in done.stdout


class Site:
    canary_text, cookie, token, folder, port, key = "secret-1", "hybridseg_1=cookie", "token", "/tmp/x", 8765, "key!"


HEADERS = (
    b"Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    b"X-Frame-Options: DENY\r\nCross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\n"
)
GOOD = b"HTTP/1.1 403 FORBIDDEN\r\nContent-Type: application/json\r\n" + HEADERS + b"Content-Length: 2\r\n\r\n{}"
FAULTS = {
    "the status 200": GOOD.replace(b"403", b"200"),
    "the status 500": GOOD.replace(b"403", b"500"),
    "the status 0": b"",
    "2 answers": GOOD * 2,
    "it tells 'secret-1'": GOOD.replace(b"{}", b"secret-1").replace(b": 2", b": 8"),
    "it tells 'key!'": GOOD.replace(b"{}", b"key!").replace(b": 2", b": 4"),
    "it tells 'root:x:0'": GOOD.replace(b"{}", b"root:x:0").replace(b": 2", b": 8"),
    "no x-frame-options": GOOD.replace(b"DENY", b"x"),
    "no content-security-policy": GOOD.replace(b"frame-ancestors 'none'", b""),
    "an error as text/html": GOOD.replace(b"application/json", b"text/html"),
    "another page than ours": GOOD.replace(b"application/json", b"text/html"),
    "it leads to //evil.example": GOOD.replace(b"Referrer", b"Location: //evil.example\r\nReferrer"),
    "a header that lets others in": GOOD.replace(b"Referrer", b"Access-Control-Allow-Origin: *\r\nReferrer"),
    "no answer of HTTP": b"SSH-2.0\r\n\r\n",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_got_in_is_seen(attack, fault):
    refused = attack.Attack(b"", frozenset({403}))
    assert not list(attack.judge(refused, GOOD, 0.1, Site()))
    assert any(found.startswith(fault) for found in attack.judge(refused, FAULTS[fault], 0.1, Site()))
    assert list(attack.judge(refused, GOOD, 11, Site())) == ["it took 11.0 s of work"]


@pytest.mark.slow
def test_attacks_are_the_same_for_a_seed_and_stay_on_this_machine(attack):
    import random

    class Anywhere(attack.Target):
        def __init__(self):
            self.port, self.image, self.canary, self.old_token, self.other = 1, "0" * 16, "127.0.0.1:2", "o" * 43, "a=b"
            self.token, self.key, self.cookie = "t" * 43, "c" * 43, "hybridseg_1=" + "k" * 43

        def ask(self, target):
            return {"classes": [], "classes_version": 1}

    made = [[make(random.Random(i), Anywhere()).data for make in attack.KINDS.values() for i in range(3)]] * 2
    assert made[0] == made[1] and len(set(made[0])) > 50


def test_a_guess_is_never_the_right_token(attack):
    """Two fields in one address: the server takes the first of the right name."""
    from random import Random
    from urllib.parse import parse_qs, urlsplit

    from attacks_secrets import guess

    class Guessed(Site):
        old_token = "used"

        def write(self, request, admitted):
            address = urlsplit(request.target)
            self.opens = address.path == "/" and parse_qs(address.query).get("token", [""])[0] == self.token
            return b""

    site = Guessed()
    for seed in range(3000):
        guess(Random(seed), site)
        assert not site.opens, seed
