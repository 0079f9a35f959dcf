from hybridseg.page import Bars, Picture, Section, Strip, Table, embed_picture, write_page


def test_everything_that_was_told_is_there_and_nothing_is_markup(tmp_path):
    page = tmp_path / "index.html"
    table = Table(("class", "IoU"), [("<sand>", "0.5"), ("water", "0.9")], strong=(1,))
    section = Section("1. A & B", "Text.", ("hybridseg x 'a<b'",), (table,), (Picture('a"b.png', "A <picture>"),))
    write_page(page, "Title", "Lead.", [section])
    text = page.read_text()
    for wanted in (
        "<h1>Title</h1>",
        "<h2>1. A &amp; B</h2>",
        "<code>hybridseg x &#x27;a&lt;b&#x27;</code>",
        "<tr><td>&lt;sand&gt;</td><td>0.5</td></tr>",
        "<tr class='strong'><td>water</td>",
        "src='a&quot;b.png'",
        "alt='A &lt;picture&gt;'",
    ):
        assert wanted in text
    assert "<sand>" not in text


def test_strips_paragraphs_and_pictures_in_the_page_itself(tmp_path):
    page = tmp_path / "index.html"
    strip = Strip("best: <a>.jpg", "90 %", [Picture(embed_picture(b"abc", ".jpg"), "photo")])
    write_page(
        page, "T", "Verdict.\n\nNext.", [Section("S", "One.\n\nTwo.", strips=[strip], legend=(("a&b", (0, 0, 255)),))]
    )
    text = page.read_text()
    assert "<p class='lead'>Verdict.</p><p class='lead'>Next.</p>" in text
    assert "<p>One.</p><p>Two.</p>" in text
    assert "<h3>best: &lt;a&gt;.jpg <small>90 %</small></h3>" in text and "<a href" not in text
    assert "<figure><img src='data:image/jpeg;base64,YWJj' alt='photo'>" in text
    assert "background:#0000ff'></span>a&amp;b</span>" in text


def test_a_histogram_has_a_bar_and_a_number_for_each_share(tmp_path):
    page = tmp_path / "index.html"
    bars = Bars(("class", "all"), [("a<b", (0, 0, 255), [0.5]), ("c", (255, 0, 0), [0.25])])
    write_page(page, "T", "L", [Section("S", "Text.", bars=bars)])
    text = page.read_text()
    assert "<td>a&lt;b</td><td class='bars'><span class='bar' style='width:8.00em;background:#0000ff'></span>" in text
    assert "width:4.00em;background:#ff0000'></span>25.0&nbsp;%</td>" in text


def test_an_overlay_lies_on_its_picture_and_sentences_are_set_to_the_left(tmp_path):
    page = tmp_path / "index.html"
    strip = Strip("", "", [Picture("data:a", "photo", "data:b")])
    table = Table(("file", "fault"), [("a.jpg", "is empty")], of_sentences=True)
    write_page(page, "T", "L", [Section("S", "Text.", tables=[table], strips=[strip])])
    text = page.read_text()
    assert "<span class='stack'><img src='data:a' alt='photo'><img src='data:b' alt=''></span>" in text
    assert "<h3>" not in text and "<div class='scroll text'><table>" in text
