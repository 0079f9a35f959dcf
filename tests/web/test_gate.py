import pytest

from hybridseg.web.gate import Gate


def test_a_token_works_once_and_a_new_one_is_told():
    told = []
    gate = Gate(announce=told.append)
    token = gate.token
    assert gate.exchange("wrong") is None and gate.exchange("") is None and gate.exchange("é\udcff") is None
    cookie = gate.exchange(token)
    assert cookie and gate.knows(cookie) and not gate.knows(cookie[:-1]) and not gate.knows("")
    assert gate.exchange(token) is None
    assert told == [gate.token] and gate.exchange(told[0]) not in (None, cookie)


def test_every_run_has_its_own_secrets():
    one, two = Gate(), Gate()
    assert len({one.token, two.token, one.key, two.key}) == 4 and one.cookie_name != two.cookie_name
    cookie, other = one.exchange(one.token), two.exchange(two.token)
    assert one.admits(cookie, one.key)
    for pair in (
        (cookie, two.key),
        (cookie, ""),
        (cookie, cookie),
        (cookie, "\udcff"),
        (other, one.key),
        ("", one.key),
    ):
        assert not one.admits(*pair)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "LOCALHOST:9000", "[::1]:8765"])
def test_own_names_at_any_port(host):
    """A tunnel has a port of its own."""
    assert Gate().admits_host(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "192.168.1.5", "[::1", "localhost@evil"]
)
def test_foreign_names(host):
    assert not Gate().admits_host(host)


def test_names_of_a_server_for_others():
    gate = Gate(host="192.168.1.5")
    assert gate.admits_host("192.168.1.5:80") and gate.admits_host("10.0.0.1") and gate.admits_host("localhost")
    assert not gate.admits_host("evil.example")


@pytest.mark.parametrize(
    "origin, is_change, admitted",
    [
        (None, False, True),
        (None, True, False),
        ("http://localhost:5000", True, True),
        ("http://localhost:5001", False, False),
        ("http://evil.example", False, False),
        ("http://localhost:5000.evil.example", True, False),
        ("null", False, False),
        ("file://localhost:5000", True, False),
        ("http://localhost:5000/x", True, False),
        ("http://[", True, False),
    ],
)
def test_origins(origin, is_change, admitted):
    assert Gate().admits_origin(origin, "localhost:5000", is_change=is_change) is admitted
