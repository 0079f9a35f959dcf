"""Corners of polygons that are moved, added and removed, by mouse, keyboard and finger, in a real browser."""

import pytest

pytestmark = pytest.mark.browser

SQUARE = ((100, 100), (100, 200), (200, 200), (200, 100))


def draw_polygon(tab, *corners):
    for corner in corners:
        tab.click(*corner)


def shape(stroke):
    return [tuple(round(value) for value in point) for point in stroke.points]


@pytest.fixture
def square(tab, strokes):
    """A tab with a closed polygon."""
    tab.slide("opacity", 100)
    tab.page.click("#live")
    tab.press("g", "3")
    draw_polygon(tab, *SQUARE)
    tab.press("Enter")
    tab.saved()
    assert shape(strokes()[0]) == list(SQUARE)
    return tab


def test_corners_of_the_last_polygon(square, strokes, table, picture):
    tab, cliff = square, table.colors[2]
    tab.draw((200, 200), (260, 280))
    tab.saved()
    assert shape(strokes()[1]) == [(100, 100), (100, 200), (260, 280), (200, 100)] and strokes()[1].replaces == 0
    tab.shows(220, 220, cliff)
    # On a side: a new one, which is dragged at once.
    tab.draw((100, 150), (40, 150))
    tab.saved()
    tab.shows(60, 150, cliff)
    assert len(strokes()[2].points) == 5
    picture(tab, "corners")
    tab.page.keyboard.down("Alt")
    tab.click(260, 280)
    tab.page.keyboard.up("Alt")
    tab.saved()
    assert shape(strokes()[3]) == [(100, 100), (40, 150), (100, 200), (200, 100)]
    # A click takes a corner at hand, Delete removes it.
    tab.click(40, 150)
    tab.press("Delete")
    tab.saved()
    assert shape(strokes()[4]) == [(100, 100), (100, 200), (200, 100)]
    tab.click(100, 100)
    tab.press("Delete")
    tab.says("at least three corners")
    for n in (4, 3, 2, 1):
        tab.press("z")
        tab.saved()
        assert len(strokes()) == n
    tab.shows(190, 190, cliff)
    tab.press("y")
    tab.saved()
    tab.shows(220, 220, cliff)
    # What is on disk is found again, and can be changed on.
    tab.page.reload()
    tab.ready().press("g")
    tab.draw((260, 280), (300, 280))
    tab.saved()
    assert shape(strokes()[-1])[2] == (300, 280)


def test_corners_of_an_open_polygon(tab, strokes):
    tab.press("g")
    draw_polygon(tab, *SQUARE[:3])
    tab.draw(SQUARE[0], (60, 60))
    tab.draw((150, 200), (150, 260))
    tab.page.keyboard.down("Alt")
    tab.click(*SQUARE[1])
    tab.page.keyboard.up("Alt")
    assert tab.page.evaluate("document.body.dataset.version") == "1"
    tab.click(60, 60)
    tab.saved()
    assert [shape(stroke) for stroke in strokes()] == [[(60, 60), (150, 260), (200, 200)]]


def test_a_double_click_takes_an_earlier_polygon(square, strokes):
    tab = square
    tab.press("p")
    tab.scribble((300, 300), (300, 400))
    tab.press("g")
    tab.page.mouse.dblclick(*tab.at(150, 150))
    tab.says("Drag its corners")
    tab.draw((200, 100), (260, 60))
    tab.saved()
    assert strokes()[2].replaces == 0 and strokes()[2].class_id == 2
    tab.draw((260, 60), (102, 98))
    tab.saved()
    assert shape(strokes()[3]) == [(100, 100), (100, 200), (200, 200)]
    # Esc ends it: where the corner was begins another polygon.
    tab.press("Escape")
    tab.click(200, 200)
    draw_polygon(tab, (200, 300), (300, 300))
    tab.press("Enter")
    tab.saved()
    assert shape(strokes()[4]) == [(200, 200), (200, 300), (300, 300)] and strokes()[4].replaces is None
    tab.page.wait_for_timeout(450)
    tab.page.mouse.dblclick(*tab.at(20, 500))
    tab.says("There is no polygon here")


def test_corners_by_finger(label, beach, strokes):
    tab = label([beach / "coast.png"], has_touch=True).tab
    tab.page.click("#tool-polygon")
    for corner in (*SQUARE, SQUARE[0]):
        tab.page.touchscreen.tap(*tab.at(*corner))
    tab.saved()
    session = tab.page.context.new_cdp_session(tab.page)

    def touch(kind, *places):
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = tab.at(200, 200)
    # A finger is thicker than a pointer; a second one moves the image, and leaves the corner where it was.
    touch("touchStart", (x + 12, y))
    touch("touchStart", (x + 12, y), (x + 80, y + 80))
    touch("touchMove", (x + 22, y), (x + 90, y + 80))
    touch("touchEnd")
    tab.saved()
    assert len(strokes()) == 1
    assert tab.at(200, 200)[0] > x + 5
    x, y = tab.at(200, 200)
    touch("touchStart", (x + 12, y))
    touch("touchMove", tab.at(280, 290))
    touch("touchEnd")
    tab.saved()
    assert shape(strokes()[1]) == [(100, 100), (100, 200), (280, 290), (200, 100)]


def test_a_shape_whose_answer_is_lost_is_made_once(square, browse, strokes):
    browse.expected.append("ERR_FAILED")
    tab, sent = square, []

    def lose(route):
        sent.append(route.request.post_data_json)
        if len(sent) != 1:
            return route.fallback()
        route.fetch()
        return route.abort()

    tab.page.route("**/strokes", lose)
    tab.draw((200, 200), (260, 280))
    tab.says("does not answer", where="#banner")
    tab.saved()
    assert len(sent) == 2 and sent[0] == sent[1] and [s.replaces for s in strokes()] == [None, 0]
