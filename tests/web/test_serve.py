"""The page from Python: it is served while the program goes on, and ends when it is told to."""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

import hybridseg as hs
from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, BadUsage
from hybridseg.labelling.opening import open_session
from hybridseg.web.serve import open_label_page

# No proxy stands between this machine and itself.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())


@pytest.fixture
def quietly(monkeypatch):
    """Open no browser; tell which addresses would have been opened."""
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    return opened


def test_a_page_beside_the_program(photos, quietly, capsys):
    page = hs.label(photos, labels=["water", "sand"], block=False)
    first = page.address
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=\S+", first) and page.is_running
    assert repr(page) == f"<Page: 0 of 2 images done; {first}>" and f"href='{first}'" in page._repr_html_()
    assert b"<html" in OPENER.open(first, timeout=10).read()
    # An address works once; the page has another one then.
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(first, timeout=10)
    assert page.address != first
    page.stop()
    page.stop()
    assert not page.is_running and repr(page) == "<Page: 0 of 2 images done; stopped>"
    with pytest.raises(urllib.error.URLError, match="refused"):
        OPENER.open(first, timeout=10)
    assert quietly == [first] and capsys.readouterr().out == ""


def test_the_first_image_is_opened_while_the_browser_starts(photos):
    session, _ = open_session([photos], table=ClassTable.from_names(["water"]))
    (first, second) = session.album.entries.values()
    with open_label_page(session):
        for _ in range(200):
            if first.opened:
                break
            time.sleep(0.05)
    assert first.opened and not second.opened
    session.album.entries.clear()
    session.open_ahead()


def test_an_image_that_the_page_asked_for_first_is_left_alone(photos):
    """Another one could bring classes, and the next stroke would be refused."""
    session, _ = open_session([photos], table=ClassTable.from_names(["water"]))
    first, second = session.album.entries.values()
    session.describe(second.id)
    session.open_ahead()
    assert second.opened and not first.opened


def test_a_first_image_that_cannot_be_read_is_told_when_it_is_asked_for(photos):
    session, _ = open_session([photos], table=ClassTable.from_names(["water"]))
    (photos / "a.png").write_bytes(b"")
    session.open_ahead()
    with pytest.raises(BadInput, match=r"a\.png"):
        session.describe(next(iter(session.album.entries)))


def test_it_stops_at_the_end_of_a_block(photos, quietly):
    with hs.label(photos, labels=["water"], no_browser=True, block=False) as page:
        assert page.is_running
    time.sleep(0.05)
    assert not page.is_running and quietly == []


def test_what_makes_no_sense_in_pythons_words(photos, quietly):
    with pytest.raises(BadUsage, match="give masks= alone, without import_= or review=True"):
        hs.label(photos, masks=photos, review=True, block=False)
    with pytest.raises(BadInput, match="no image can be labelled:\n  nowhere: there is no file of this name"):
        hs.label("nowhere", block=False)
    with pytest.raises(hs.HybridSegError, match="has no image with a result beside it"):
        hs.label(photos, review=True, block=False)
    with pytest.raises(BadUsage, match=r"^host= lets others reach the page without encryption; add i_know=True"):
        hs.label(photos, host="0.0.0.0", block=False)
    with hs.label(photos, labels=["water"], block=False) as page:
        port = int(re.search(r":(\d+)/", page.address)[1])
        with pytest.raises(hs.HybridSegError, match="give another port=, or 0 for any"):
            hs.label(photos, labels=["water"], port=port, block=False)


@pytest.mark.slow
def test_a_script_waits_for_ctrl_c(photos, launch):
    script = f"import hybridseg as hs; page = hs.label({str(photos)!r}, labels=['water'], no_browser=True); print(page)"
    process = launch([sys.executable, "-u", "-c", script])
    try:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        assert "Stop with Ctrl-C" in process.stdout.readline()
        assert b"<html" in OPENER.open(address, timeout=10).read()
        process.send_signal(2)
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0 and err == "" and out.endswith("<Page: 0 of 2 images done; stopped>\n")
