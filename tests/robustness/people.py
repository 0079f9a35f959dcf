"""What a person does on a page while a command serves it: the tests of attacks and of kills."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from hybridseg.io.tables import write_json


class Browser:
    """A browser without a page."""

    def __init__(self, address: str) -> None:
        self._base = address.partition("/?")[0]
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
        welcome = self._opener.open(address, timeout=30).read().decode()
        self._opener.addheaders = [("X-Page-Key", re.search(r'name="key" content="(.+?)"', welcome)[1])]
        self.session = self.get("/api/session")

    def get(self, path: str) -> dict:
        return json.load(self._opener.open(self._base + path, timeout=30))

    def post(self, path: str, body: dict) -> dict | None:
        """Send a change, and return the answer, or None where another program was there first.

        Where the page says why nothing can be saved, a person stops the program.
        """
        headers = {"Origin": self._base, "Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(), headers)
        try:
            return json.load(self._opener.open(request, timeout=30))
        except urllib.error.HTTPError as error:
            if error.code == 409:
                return None
            if error.code != 500:
                raise
            sys.stderr.write(f"Error: {json.load(error)['error']}\n")
            sys.stderr.flush()
            os._exit(1)

    def change(self, state: dict, what: str, body: dict) -> bool:
        """Change an image as it is known; return whether it was still like that."""
        return self.post(f"/api/images/{state['id']}/{what}", {"version": state["version"], **body}) is not None


def open_page(log: Path) -> tuple[Browser, Path, dict]:
    """Return a browser on the page that a command serves, and a file with what was acknowledged, and its content."""
    while not (address := re.search(r"http://\S+", log.read_text())):
        time.sleep(0.01)
    promised = log.with_name("promised.json")
    return Browser(address[0]), promised, json.loads(promised.read_text()) if promised.exists() else {}


def draw_strokes(log: Path) -> None:
    """Draw on two photos and accept them, as a person does; what an earlier run acknowledged must be there still."""
    browser, promised, told = open_page(log)
    for image in [image["id"] for image in browser.session["images"]][:2]:
        state = browser.get(f"/api/images/{image}")
        if state["n_strokes"] < told.get(image, 0):
            log.write_text(f"LOST: {told[image]} strokes were acknowledged, {state['n_strokes']} are there")
            os._exit(3)
        while (n := state["n_strokes"]) < 4:
            points = [[10 + 40 * (n % 2), 8 * n + 5], [12 + 40 * (n % 2), 8 * n + 20]]
            stroke = {"layer": "scribbles", "tool": "pen", "class": n % 2, "width": 3.0, "points": points}
            if browser.change(state, "strokes", stroke):
                told[image] = n + 1
                write_json(promised, told)
            state = browser.get(f"/api/images/{image}")
        while not browser.change(state, "accept", {}):
            state = browser.get(f"/api/images/{image}")
        while browser.get(f"/api/images/{image}")["job"]:
            time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def decide_on_results(log: Path) -> None:
    """Accept a result, reject another and begin to mend a third; what was acknowledged must be there still."""
    browser, promised, told = open_page(log)
    for name, act in (("photo_0.jpg", "accept"), ("photo_1.jpg", "reject"), ("photo_2.jpg", "mend")):
        while True:
            item = next(item for item in browser.get("/api/review")["items"] if item["name"] == name)
            if item["decision"] != told.get(name, item["decision"]):
                log.write_text(f"LOST: {name} was {told[name]}, and is {item['decision']}")
                os._exit(3)
            if item["decision"] is not None:
                break
            if found := browser.post(f"/api/review/{item['id']}/{act}", {}):
                told[name] = next(one["decision"] for one in found["items"] if one["name"] == name)
                write_json(promised, told)
    os.kill(os.getpid(), signal.SIGINT)
