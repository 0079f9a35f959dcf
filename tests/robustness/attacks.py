"""The list of attacks on the labelling page: for each kind what is sent, and what may come back.

Each kind is a function of a source of random draws and the site, and gives one attack. The list follows the advisories
of Label Studio (path and alias traversal, server-side requests on import, scripts in imports, names and avatars, keys
known in advance) and CVAT (server-side requests, scripts in pictures and assets), and what a server on every user's own
machine has to fear besides: other pages in the same browser, other users, and clients that never end.
"""

from __future__ import annotations

import json
from random import Random
from urllib.parse import quote

from attacks_body import bomb, lie, nonsense, seek
from attacks_http import babble, inject, method, ranges, smuggle, swell, upgrade
from attacks_secrets import guess, replay, steal
from hostile import FORBIDDEN, REFUSED, Attack, Kind, Request, Site

# Places in the file system.

_FILES = ("etc/passwd", "secret.txt", "photos/../secret.txt", "proc/self/environ", "a_doodles.json", "web/app.py")
_UPS = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%252f",
    "%252e%252e%252f",
    "..\\",
    "..%5c",
    "....//",
    "..;/",
    "..%c0%af",
    "%c0%ae%c0%ae/",
    "..%00/",
    "/",
    "//",
    "%2f",
    "C:\\",
    "file:///",
    "\\\\host\\",
    "~/",
    ".%2e/",
    "..%ef%bc%8f",
    "%uff0e%uff0e/",
    "..%09/",
    "./",
    "%00",
)
_ROOTS = (
    "/static/",
    "/static",
    "/",
    "/api/images/",
    "/api/",
    "/api/images/{image}/",
    "/api/images/{image}/picture/0/",
    "/api/images/{image}/import?name=",
    "/static/label.js/",
    "/static/label.js%00",
    "/static;/",
)


def traverse(draw: Random, site: Site) -> Attack:
    root = draw.choice(_ROOTS).format(image=site.image)
    target = root + draw.choice(_UPS) * draw.choice((1, 2, 3, 8, 40)) + draw.choice(_FILES)
    method, body = ("POST", b"{}") if "import" in root else (draw.choice(("GET", "GET", "HEAD")), b"")
    # A server may understand `/` in more ways than one: it is the page itself, then, and nothing else.
    return Attack(site.write(Request(target, method, body=body)), REFUSED | {200, 308}, note=target, is_lawful=True)


_ALIASES = (
    "/static../{}",
    "/static..%2f{}",
    "/static%2e%2e/{}",
    "/static../../{}",
    "/staticx/{}",
    "/static/../{}",
    "/static//{}",
    "/static/.//{}",
    "/api../{}",
    "/api/images../{}",
    "/static..;/{}",
    "/static/%2e%2e/{}",
    "/Static/{}",
    "/static\\..\\{}",
    "/media/../{}",
    "/data/local-files/?d={}",
    "/data/upload/../{}",
    "/static/?f={}",
    "/api/images/{{image}}/picture../{}",
    "/..static/{}",
)


def alias(draw: Random, site: Site) -> Attack:
    target = draw.choice(_ALIASES).format(draw.choice((*_FILES, "core/settings/base.py", ".git/config", "app.py")))
    target = target.replace("{image}", site.image)
    return Attack(site.write(Request(target)), REFUSED | {308}, note=target)


# Names and files that ask the server to fetch something.


def fetch(draw: Random, site: Site) -> Attack:
    url = draw.choice(
        (
            "http://{}/x",
            "http://{}/x.png",
            "//{}/x",
            "ftp://{}/x",
            "/vsicurl/http://{}/x",
            "gopher://{}/",
            "http://user@{}/",
            "WMS:http://{}/",
            "http://{}\\@localhost/",
            "jar:http://{}!/",
        )
    )
    url = url.format(site.canary)
    vrt = (
        f'<VRTDataset rasterXSize="90" rasterYSize="60"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{url}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    xxe = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "{url}">]><annotation>&b;</annotation>'
    shape = {"label": "sand", "points": [[0, 0], [4, 0], [4, 2]], "shape_type": "polygon"}
    coco = {
        "images": [{"id": 1, "file_name": url, "coco_url": url, "flickr_url": url}],
        "categories": [],
        "annotations": [],
    }
    bodies = {
        "x.json": json.dumps(draw.choice(({"shapes": [shape], "imagePath": url, "imageData": url}, coco))),
        "x.tif": vrt,
        "x.vrt": vrt,
        "x.xml": xxe,
        "x.svg": f'<svg><image href="{url}"/></svg>',
        "x.png": vrt,
        "x.mat": url,
        url: url,
        f"x.{url[-5:]}": vrt,
    }
    name = draw.choice(list(bodies))
    if draw.random() < 0.2:
        target = draw.choice((url, f"/?url={url}", f"/api/session?next={url}", f"/static/{url}", f"/proxy/{url}"))
        return Attack(site.write(Request(target)), REFUSED | {200, 308}, note=target, is_lawful=True)
    request = Request(f"/api/images/{site.image}/import?name={quote(name)}", "POST", body=bodies[name].encode())
    return Attack(site.write(request), frozenset({200, 400, 409}), note=f"{name}: {url}", is_lawful=True)


# Scripts.

SCRIPTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "</script><script>alert(1)",
    "'-alert(1)-'",
    "{{7*7}}",
    "${7*7}",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "\u2028alert(1)//",
    "<a href=javascript:alert(1)>x",
    "&#60;script&#62;alert(1)",
    "\u202egnp.sand",
    "<math><mtext></p><style><img src onerror=alert(1)>",
)


def script(draw: Random, site: Site) -> Attack:
    """Scripts in all that is told again: what comes back is JSON or plain text, which no browser runs."""
    text, where = draw.choice(SCRIPTS) + str(draw.randrange(1000)), draw.randrange(6)
    base, body, may = f"/api/images/{site.image}", b"", frozenset({200, 400, 409})
    if where == 0:
        told = site.ask("/api/session")
        color = draw.choice(("#102030", "#102030", text, "red;}</style>"))
        classes = [*told["classes"][:3], {"name": text, "color": color}]
        body = json.dumps({"version": told["classes_version"], "classes": classes}).encode()
        return Attack(site.write(Request("/api/classes", "PUT", body=body)), may, note=text, is_lawful=True)
    if where == 1:
        target, may = draw.choice(("/", "/static/", "/api/", f"{base}/")) + quote(text), REFUSED
        return Attack(site.write(Request(target)), may, note=target)
    if where == 2:
        target, body = f"{base}/import?name={quote(text)}{draw.choice(('.svg', '.html', '.png', ''))}", text.encode()
    elif where == 3:
        shape = {"label": text, "points": [[0, 0], [4, 0], draw.choice(([4, 2], ["x", 2]))]}
        target, body = f"{base}/import?name=x.json", json.dumps({"shapes": [shape], "imagePath": text}).encode()
    elif where == 4:
        stroke = {"version": 10**6, "layer": text, "tool": text, "points": [[1, 1]], "class": 0, "key": text}
        target, body = f"{base}/strokes", json.dumps(stroke).encode()
    else:
        target, body = f"{base}/undo", json.dumps({"version": text}).encode()
    return Attack(site.write(Request(target, "POST", body=body)), may, note=text, is_lawful=True)


# Who asks.

_HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example",
    "0x7f.1",
    "127.1:{port}",
    "0.0.0.0:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "2130706433",
    "localhost@evil.example",
    "",
    "evil.example#@127.0.0.1",
    "127.0.0.1 evil.example",
    "127.0.0.1,evil.example",
    "a.localhost:{port}",
    "localhost.:{port}",
    "192.168.1.5",
    "[::1",
    "127.0.0.1\\evil.example",
    "\x7f",
    "evil.example/127.0.0.1",
)


def rebind(draw: Random, site: Site) -> Attack:
    """Another site that has made its own name an address of this machine: the browser sends that name."""
    host = draw.choice(_HOSTS).format(port=site.port)
    target = draw.choice(
        ("/", "/api/session", f"/?token={site.token}", f"/api/images/{site.image}", "/static/label.js")
    )
    more: dict[str, str | None] = {"Host": host, "Origin": draw.choice((None, f"http://{host}"))}
    if draw.random() < 0.3:
        name = draw.choice(("X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-Forwarded-Server"))
        more[name] = draw.choice(("127.0.0.1", "host=127.0.0.1", "localhost"))
    return Attack(site.write(Request(target, headers=more)), FORBIDDEN, note=host)


_ORIGINS = (
    "http://evil.example",
    "null",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:{next}",
    "http://127.0.0.1",
    "http://localhost:{port}",
    "http://127.0.0.1:{port}.evil.example",
    "http://evil.example:{port}",
    "file://",
    "http://127.0.0.1:{port}/",
    "chrome-extension://abc",
    "http://127.0.0.1:{port}@evil.example",
    None,
    "",
)
_KINDS = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    None,
    "text/plain; charset=application/json",
    "application/json",
)


def forge(draw: Random, site: Site) -> Attack:
    """A form or script of another site, in the browser of the person: it sends her cookie, and cannot read the page."""
    origin = draw.choice(_ORIGINS)
    origin = origin and origin.format(port=site.port, next=site.port + 1)
    headers: dict[str, str | None] = {
        "Origin": origin,
        "Content-Type": draw.choice(_KINDS),
        "Sec-Fetch-Site": draw.choice((None, "cross-site", "same-site", "none", "same-origin")),
        "X-Page-Key": draw.choice((None, "", "x", site.key[:-1], site.key.swapcase(), site.key)),
    }
    target, method = draw.choice(
        (
            ("strokes", "POST"),
            ("undo", "POST"),
            ("accept", "POST"),
            ("run", "POST"),
            ("import?name=x.json", "POST"),
            ("preview", "POST"),
            ("classes", "PUT"),
        )
    )
    target = "/api/classes" if method == "PUT" else f"/api/images/{site.image}/{target}"
    body = draw.choice((b'{"version": 1}', b"version=1", b'{"version": 1, "classes": []}', b""))
    return Attack(site.write(Request(target, method, headers, body)), FORBIDDEN, note=str(headers))


def frame(draw: Random, site: Site) -> Attack:
    """A page that shows ours in a frame: the browser must be told not to."""
    target = draw.choice(("/", "/static/index.html", "/static/review.html", "/static/label.js", f"/?token={'x' * 43}"))
    headers = {
        "Sec-Fetch-Dest": draw.choice(("iframe", "embed", "object", "frame")),
        "Sec-Fetch-Site": draw.choice(("cross-site", "same-site", "same-origin", None)),
        "Sec-Fetch-Mode": "navigate",
    }
    request = site.write(Request(target, headers=headers), admitted=draw.random() < 0.7)
    return Attack(request, FORBIDDEN | {200}, note=target, is_lawful=True)


KINDS: dict[str, Kind] = {
    "path traversal": traverse,
    "alias traversal": alias,
    "requests by the server": fetch,
    "scripts": script,
    "rebinding": rebind,
    "forged changes": forge,
    "frames": frame,
    "stolen cookies": steal,
    "replayed cookies": replay,
    "guessed tokens": guess,
    "smuggling": smuggle,
    "endless headers": swell,
    "methods": method,
    "other protocols": babble,
    "ranges": ranges,
    "upgrades": upgrade,
    "injected headers": inject,
    "nonsense": nonsense,
    "what is not there": seek,
    "bombs": bomb,
    "lying lengths": lie,
}
