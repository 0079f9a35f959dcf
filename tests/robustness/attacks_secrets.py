"""Attacks on what lets a browser in: the token of the address, the cookie, the key of the page."""

from __future__ import annotations

from random import Random
from urllib.parse import quote

from hostile import FORBIDDEN, Attack, Request, Site

_PARTS = ("picture/0/0/0", "result/0/0/0", "strokes", "undo", "run", "accept", "import?name=x.json", "preview")


def steal(draw: Random, site: Site) -> Attack:
    """The right cookie, which the browser also sends to servers of other users on other ports; never with the key."""
    cookie = site.cookie.split("=", 1)[1]
    key = draw.choice((None, "", cookie, site.token, site.key[:-1], f"{site.key}x", site.key.swapcase(), "null", "*"))
    headers = {"X-Page-Key": key, "Sec-Fetch-Site": draw.choice((None, "same-origin", "none"))}
    headers |= draw.choice(({}, {"X-CSRF-Token": site.token}, {"Authorization": f"Bearer {cookie}"}))
    image = f"/api/images/{site.image}"
    target = draw.choice(("/api/session", "/api/classes", image, *(f"{image}/{part}" for part in _PARTS)))
    target += draw.choice(("", "", f"?key={cookie}", "?X-Page-Key=null"))
    method = draw.choice(("GET", "POST", "PUT", "HEAD"))
    body = b'{"version": 1, "classes": [], "points": [[1, 1]], "tool": "pen", "layer": "result"}' * (method[0] == "P")
    return Attack(site.write(Request(target, method, headers, body)), FORBIDDEN, note=str(headers))


def replay(draw: Random, site: Site) -> Attack:
    """What a browser sends to each port of this machine: cookies of another page of this program, and its secret."""
    name, value = site.cookie.split("=", 1)
    other_name, other_value = site.other.split("=", 1)
    cookie = draw.choice(
        (
            site.other,
            f"{name}={other_value}",
            f"{other_name}={value}",
            f"{name}={value[:-1]}",
            f"{name}=",
            f"{name}={value}x",
            f"{name.upper()}={value}",
            f"{name}={value.swapcase()}",
            f"session={value}",
            f"{name}=%00{value}",
            f"{name}={site.key}",
            f"{name}={site.token}",
            f"{name}=x; {name}={value[1:]}",
            "; ".join(f"a{i}=x" for i in range(200)),
        )
    )
    headers = {"Cookie": cookie}
    if draw.random() < 0.5:
        request = Request(f"/api/images/{site.image}/undo", "POST", headers, b'{"version": 1}')
    else:
        request = Request(draw.choice(("/api/session", "/", "/static/label.js")), headers=headers)
    return Attack(site.write(request), FORBIDDEN, note=cookie[:80])


def guess(draw: Random, site: Site) -> Attack:
    """Tokens that are missing, wrong, used, or nearly right."""
    token = site.token
    given = draw.choice(
        (
            "",
            "x" * 43,
            site.old_token,
            token[:-1],
            token + "x",
            token.swapcase(),
            token[1:],
            "%00" + token,
            token + "%00",
            quote("\u00e9" * 20),
            "%ff%fe",
            "x" * 20_000,
            f"x&token={token}",
            "..",
            "*",
            token[::-1],
            f"{token},{token}",
            f"%20{token}",
            "true",
            "0",
            "null",
        )
    )
    field = draw.choice(("/?token=", "/?Token=", "/api/session?token=", "/static/label.js?token=", "/?token[]="))
    if "&token=" in given and not field.endswith("?token="):
        # After a field of another name it would be the first token, and the right one.
        given = token
    target = field + given
    method = draw.choice(("GET", "GET", "POST", "HEAD"))
    headers = draw.choice(({}, {"Authorization": f"Bearer {token}"}, {"X-Token": token}, {"Cookie": f"token={token}"}))
    return Attack(site.write(Request(target, method, headers), admitted=False), FORBIDDEN, note=target[:80])
