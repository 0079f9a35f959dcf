"""What is written about a model: MODEL_CARD.md and NAME.mlm.json, and what of the user they leave alone."""

import json
import threading

import pytest

from hybridseg.classes import ClassTable
from hybridseg.io.locks import lock_output
from hybridseg.models.bundles import load_dense
from hybridseg.models.catalog import read_entry
from hybridseg.models.documents import write_documents
from hybridseg.models.modelcard import describe_model
from hybridseg.models.normalization import Normalization


@pytest.fixture
def coast(tmp_path, save_network):
    return read_entry(save_network(tmp_path / "coast/model.h5", 0.8))


def names(paths):
    return [path.name for path in paths]


def test_both_are_written_again_and_disturb_no_loader(coast):
    for _ in range(2):
        assert names(write_documents(coast)) == ["MODEL_CARD.md", "model.mlm.json"]
    folder = coast.path.parent
    assert load_dense(folder).path == coast.path and read_entry(folder).path == coast.path
    text = (folder / "MODEL_CARD.md").read_text()
    assert text.startswith(describe_model(coast)) and text.count("<!--") == 1
    assert json.loads((folder / "model.mlm.json").read_text())["id"] == "coast"


def test_what_a_user_wrote_or_changed_stays_as_it_is(coast):
    folder = coast.path.parent
    (folder / "MODEL_CARD.md").write_text("mine")
    (folder / "model.mlm.json").write_text('{"type": "Feature"}')
    changed = ["model_MODEL_CARD.md", "model_2.mlm.json"]
    assert names(write_documents(coast)) == names(write_documents(coast)) == changed
    assert (folder / "MODEL_CARD.md").read_text() == "mine"
    assert (folder / "model.mlm.json").read_text() == '{"type": "Feature"}'
    card, item = (folder / name for name in changed)
    card.write_text(card.read_text().replace("# coast", "# my coast"))
    record = json.loads(item.read_text())
    item.write_text(json.dumps({**record, "geometry": {"type": "Point", "coordinates": [0, 0]}}))
    assert names(write_documents(coast)) == ["model_2_MODEL_CARD.md", "model_3.mlm.json"]
    assert "# my coast" in card.read_text() and '"Point"' in item.read_text()


def test_two_models_in_a_folder_each_have_theirs(tmp_path, save_network):
    one, two = (read_entry(save_network(tmp_path / f"{name}.h5", 0.8)) for name in ("one", "two"))
    assert names(write_documents(one)) == ["MODEL_CARD.md", "one.mlm.json"]
    for _ in range(2):
        assert names(write_documents(two)) == ["two_MODEL_CARD.md", "two.mlm.json"]
    assert names(write_documents(one)) == ["MODEL_CARD.md", "one.mlm.json"]
    elsewhere = write_documents(two, tmp_path / "web")
    assert json.loads(elsewhere[1].read_text())["assets"]["model"]["href"] == "../two.h5"


def test_two_models_at_once_do_not_choose_one_name(tmp_path, save_network):
    two = read_entry(save_network(tmp_path / "two.h5", 0.8))
    with lock_output(tmp_path, inside="MODEL_CARD.md"):
        thread = threading.Thread(target=write_documents, args=(two,))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        (tmp_path / "MODEL_CARD.md").write_text("of one.h5")
    thread.join(10)
    assert "two" in (tmp_path / "two_MODEL_CARD.md").read_text()
    assert (tmp_path / "MODEL_CARD.md").read_text() == "of one.h5"


def test_the_page_says_everything(coast, tmp_path, save_network):
    text = describe_model(coast)
    assert coast.verdict.text in text and coast.sha256 in text and "d" * 64 in text and "a" * 64 in text
    assert "| 1  | sand  | #ffff00 | 0.800     | 0.800  | 0.800 | 0.667 | 600    |" in text
    assert "| 6 validation photos | 0.667    | 0.800 | 0.800    | 0.800     | 0.800  |" in text
    assert "- values: divided by 255\n- size in training: 64 x 96 pixels\n" in text
    assert "- network.width: 4\n" in text and "- started_from: random weights\n" in text
    table = ClassTable.from_names(["sand | <b>", "water"])
    path = save_network(tmp_path / "a.h5", 0.8, table=table, training={"held_out": [f"p{i}" for i in range(22)]})
    text = describe_model(read_entry(path))
    assert "| sand \\| &lt;b> |" in text and "p18, p19 and 2 more" in text and "p20" not in text
    rule = Normalization("dataset", means=(1500.25, 2, 3), deviations=(400.5, 1, 2))
    text = describe_model(read_entry(save_network(tmp_path / "cells.h5", 0.8, normalization=rule)))
    assert "mean of each band (1500, 2, 3), divided by its deviation (400.5, 1, 2), in every image" in text


def test_a_card_from_elsewhere_brings_no_html(tmp_path, save_network):
    bad = "<script>x</script>"
    text = describe_model(read_entry(save_network(tmp_path / "a.h5", 0.8, data=bad, training={"started_from": bad})))
    assert "&lt;script>" in text and "<" not in text


def test_a_model_that_was_not_measured(tmp_path, save_network):
    text = describe_model(read_entry(save_network(tmp_path / "a.h5", 0)))
    assert "It has no scores: no photo was held out, or it is the checkpoint" in text
    assert "| id | class | colour  |" in text
