from hybridseg.evaluation.page import Picture, Section, Table, write_page


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
