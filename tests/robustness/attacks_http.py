"""Attacks by HTTP itself: what no browser sends, and a server must not take for something else."""

from __future__ import annotations

from random import Random

from hostile import CLOSED, REFUSED, Attack, Request, Site

HIDDEN = "GET /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_ENCODINGS = (
    "chunked",
    " chunked",
    "\tchunked",
    "\x0bchunked",
    "xchunked",
    "chunked, identity",
    "identity, chunked",
    "chunked, chunked",
    "CHUNKED",
    "chunked\x85",
    '"chunked"',
    "gzip, chunked",
    "chunked;q=1",
    "\r\n chunked",
)
_LENGTHS = (
    "0",
    "5",
    "+5",
    "-5",
    "5, 5",
    "5\r\nContent-Length: 6",
    "0x5",
    "5 ",
    "1e1",
    "\u0665",
    "00005",
    "5\r\nContent-Length: 5",
    "99999999999999999999999",
    "4\x00",
)


def smuggle(draw: Random, site: Site) -> Attack:
    """Two requests in one for a proxy, or one in two: what is hidden in a body is never answered as the person's."""
    start = f"POST /api/images/{site.image}/undo HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
    encoding, length = draw.choice(_ENCODINGS), draw.choice(_LENGTHS)
    lines = draw.choice(
        (
            f"Content-Length: {length}\r\nTransfer-Encoding: {encoding}\r\n",
            f"Transfer-Encoding: {encoding}\r\nContent-Length: {length}\r\n",
            f"Transfer-Encoding : {encoding}\r\n",
            f"Transfer-Encoding: {encoding}\r\nTransfer-Encoding: identity\r\n",
            f"Transfer_Encoding: {encoding}\r\nContent-Length: {length}\r\n",
            f"Content-Length: {length}\r\n",
            f"Content-Length: {length}\nTransfer-Encoding: {encoding}\r\n",
            f"X: y\rTransfer-Encoding: {encoding}\r\n",
            f" Transfer-Encoding: {encoding}\r\n",
            f"X:\x00\r\nTransfer-Encoding: {encoding}\r\n",
            f"Content-Length: 5\r\n\tTransfer-Encoding: {encoding}\r\n",
        )
    )
    body = draw.choice(
        (
            "0\r\n\r\n",
            '5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
            "zz\r\n",
            "-1\r\n",
            "5\nhello\n0\n\n",
            "0\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "",
        )
    )
    data = (start + lines + "\r\n" + body + HIDDEN).encode("utf-8")
    return Attack(data, REFUSED | {CLOSED}, most=2, note=repr(lines))


def swell(draw: Random, site: Site) -> Attack:
    """Headers without end."""
    n = draw.choice((1_000, 9_000, 70_000, 270_000))
    long = "a" * n
    many = {f"X-{i}": "y" for i in range(n // 50)}
    request = draw.choice(
        (
            Request(f"/{long}"),
            Request(f"/api/session?{long}"),
            Request(headers={"X-Long": long}),
            Request(headers=many),
            Request(headers={"Cookie": f"{long}={long}"}),
            Request(headers={"Cookie": ";" * n}),
            Request(method="A" * n),
            Request(headers={"Host": long}),
            Request(headers={"Referer": "http://" + long}),
            Request(headers={long: "x"}),
            Request(headers={"Accept": ",".join(["*/*;q=0.1"] * (n // 10))}),
            Request(version=long),
        )
    )
    return Attack(site.write(request), REFUSED | {200, CLOSED}, note=f"{n} bytes", is_lawful=True)


_METHODS = (
    "TRACE",
    "TRACK",
    "CONNECT",
    "DELETE",
    "PATCH",
    "PROPFIND",
    "MOVE",
    "COPY",
    "LOCK",
    "PURGE",
    "DEBUG",
    "FOO",
    "get",
    "Post",
    "G\x00T",
    "GET\t",
    "",
    "*",
    "PRI",
    "PUT",
    "POST",
    "\u00c7ET",
)


def method(draw: Random, site: Site) -> Attack:
    """Methods that there are not, also by the headers that other servers take for one."""
    target = draw.choice(("/", "/api/session", f"/api/images/{site.image}", "/static/label.js", "*", "127.0.0.1:80"))
    headers = draw.choice(({}, {"X-HTTP-Method-Override": "PUT"}, {"X-HTTP-Method": "DELETE"}))
    body = draw.choice((b"", b"{}"))
    return Attack(site.write(Request(target, draw.choice(_METHODS), headers, body)), REFUSED | {CLOSED}, note=target)


_LINES = (
    "GET /\r\n\r\n",
    "GET /api/session\r\n\r\n",
    "GET / HTTP/0.9\r\n\r\n",
    "GET / HTTP/2.0\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "\r\n\r\n\r\n",
    "\0" * 50 + "\r\n\r\n",
    "GET  / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1 x\r\n\r\n",
    " GET / HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "EHLO x\r\n\r\n",
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/1.\u0661\r\n\r\n",
    "GET /\x00 HTTP/1.1\r\n\r\n",
    "GET /\u2028 HTTP/1.1\r\n\r\n",
    "\x05\x01\x00\r\n\r\n",
    "GET http://[::1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET //evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.0\r\n:x\r\n\r\n",
)


def babble(draw: Random, site: Site) -> Attack:
    """Other versions, other protocols, and no protocol at all."""
    line = draw.choice(_LINES)
    if draw.random() < 0.3:
        line = "".join(chr(draw.randrange(256)) for _ in range(draw.randrange(1, 400))) + "\r\n\r\n"
    return Attack(line.encode("utf-8", "replace"), REFUSED | {CLOSED}, most=3, note=repr(line[:40]))


def ranges(draw: Random, site: Site) -> Attack:
    """Many parts of one file: the answer must not be larger than the file."""
    given = draw.choice(
        (
            "bytes=" + ",".join(["0-"] * draw.choice((5, 1300))),
            "bytes=0-99999999999999",
            "bytes=-1,-2,-3",
            "bytes=5-1",
            "bytes=" + ",".join(f"{i}-{i}" for i in range(999)),
            "lines=0-1",
            "bytes=a-b",
        )
    )
    target = draw.choice(("/static/label.js", f"/api/images/{site.image}/picture/0/0/0", "/"))
    headers = {"Range": given, "If-Range": draw.choice((None, "x")), "If-None-Match": draw.choice((None, "*", 'W/"x"'))}
    return Attack(
        site.write(Request(target, headers=headers)), REFUSED | {200, 206, 304, 416}, note=given[:40], is_lawful=True
    )


def upgrade(draw: Random, site: Site) -> Attack:
    protocol = draw.choice(("websocket", "h2c", "TLS/1.0", "foo"))
    headers = {
        "Upgrade": protocol,
        "Connection": draw.choice(("Upgrade, close", "Upgrade, HTTP2-Settings, close")),
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "HTTP2-Settings": "AAMAAABk",
        "Origin": draw.choice((None, "http://evil.example")),
    }
    target = draw.choice(("/", "/api/session", "/ws", "/socket.io/?transport=websocket"))
    return Attack(site.write(Request(target, headers=headers)), REFUSED | {200}, note=protocol, is_lawful=True)


def inject(draw: Random, site: Site) -> Attack:
    """Line breaks for the headers of the answer, and addresses for its redirects."""
    bad = draw.choice(
        (
            "%0d%0aSet-Cookie:x=y",
            "\r\n X: y",
            "%E5%98%8A%E5%98%8DX:y",
            "/%2f%2fevil.example",
            "//evil.example",
            "/\\evil.example",
            "/%5cevil.example",
            "///evil.example/..",
            "/http://evil.example",
            "/.evil.example",
        )
    )
    target = draw.choice(("", "/static", "/api", f"/api/images/{site.image}", "/?token=", "/api/session?x=")) + bad
    return Attack(site.write(Request(target)), REFUSED | {200, 308, CLOSED}, note=target, is_lawful=True)
