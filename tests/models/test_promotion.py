"""The best by a score is promoted, whole; nothing is compared that cannot be, and nothing of a user is lost."""

import json
import os
import shutil

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists, WriteFailed
from hybridseg.io.locks import lock_output
from hybridseg.models.bundles import load_dense
from hybridseg.models.catalog import find_models, read_entry
from hybridseg.models.promotion import choose_best, promote_model
from hybridseg.models.store import load_classifier


def choose(*places, by="mean_iou", on=None):
    return choose_best(find_models(places)[0], by=by, on=on)


@pytest.fixture(scope="module")
def _run_originals(tmp_path_factory, save_network):
    folder = tmp_path_factory.mktemp("runs")
    for i, (name, right) in enumerate((("old", 0.9), ("middle", 0.7), ("new", 0.8))):
        path = save_network(folder / f"{name}/model.h5", right, runtime=name == "old")
        os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
    return folder


@pytest.fixture
def runs(_run_originals, tmp_path):
    """Three runs: the best one is the oldest."""
    return shutil.copytree(_run_originals, tmp_path / "runs")


def test_the_best_wins_and_not_the_newest(runs):
    contest = choose(runs)
    assert contest.winner.name == "old" and [entry.name for entry in contest.beaten] == ["new", "middle"]
    assert contest.score_of(contest.winner) == pytest.approx(0.9 / 1.1)
    others = f"0.667 ({runs}/new/model.h5), 0.538 ({runs}/middle/model.h5)"
    best = f"{runs}/old/model.h5 is the best: mean_iou 0.818"
    assert contest.text == f"{best} against {others}, all on the same 6 validation photos."


def test_a_small_lead_and_a_tie_are_told(tmp_path, save_network):
    first, second = (save_network(tmp_path / f"{name}.h5", 0.8) for name in "ba")
    assert choose(tmp_path).winner.path == second
    assert "It has the same score as" in choose(tmp_path).text
    record = json.loads((tmp_path / "b.card.json").read_text())
    record["scores"]["macro"]["iou"] += 0.01
    (tmp_path / "b.card.json").write_text(json.dumps(record))
    text = choose(tmp_path).text
    assert choose(tmp_path).winner.path == first and "The lead is small: the accuracy of" in text
    assert "lies within what 6 photos leave open for the winner (0.800 to 0.800)" in text


def test_only_scores_on_the_same_data_are_compared(runs, save_network):
    save_network(runs / "else/model.h5", 0.95, data="b" * 64)
    with pytest.raises(BadInput, match="different images or classes") as error:
        choose(runs)
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and "(6 validation photos, 3 classes, SHA-256 bbbbbbbb)" in lines[1]
    assert lines[2].count("model.h5") == 3
    assert choose(runs / "old", runs / "new").winner.name == "old"
    shutil.rmtree(runs / "else")
    save_network(runs / "else/model.h5", 0.95, table=ClassTable.from_names(["water", "sand"]))
    with pytest.raises(BadInput, match="2 classes"):
        choose(runs)
    shutil.rmtree(runs / "else")
    # Of two that earlier versions trained it is not known either.
    for name in ("else", "again"):
        save_network(runs / name / "model.h5", 0.95, training={"validation_sha256": None})
    with pytest.raises(BadInput, match="did not note of what"):
        choose(runs / "else", runs / "again")
    assert choose(runs / "else").text.endswith("there was no contest.")


def test_models_without_the_score_are_left_out_by_name(runs, tiny_model):
    contest = choose(runs, tiny_model, by="recall")
    assert contest.winner.name == "old"
    assert [(entry.path, why) for entry, why in contest.left_out] == [(tiny_model, "has no recall")]
    with pytest.raises(
        MissingInput, match=r"no model with a score recall to promote.*\n.*has no recall on test images"
    ):
        choose(tiny_model, by="recall", on="test")


def test_a_network_is_copied_whole(runs, tmp_path):
    result = promote_model(choose(runs), tmp_path / "models")
    folder = tmp_path / "models/old"
    names = ["MODEL_CARD.md", "model.card.json", "model.h5", "model.mlm.json", "model.tflite", "promoted.json"]
    assert [path.relative_to(folder).as_posix() for path in result.written] == names
    assert sorted(path.name for path in folder.parent.iterdir()) == ["old"], "nothing else is left behind"
    for name in ("model.h5", "model.card.json", "model.tflite"):
        assert (folder / name).read_bytes() == (runs / "old" / name).read_bytes()
    assert result.entry.written == read_entry(runs / "old").written
    pixels = np.random.default_rng(0).random((1, 64, 96, 3), np.float32)
    same = [load_dense(place).predict(pixels) for place in (folder, runs / "old")]
    assert np.array_equal(*same)
    record = json.loads((folder / "promoted.json").read_text())
    assert (record["from"], record["by"], record["on"]) == (str(runs / "old/model.h5"), "mean_iou", "validation")
    assert [one["model"] for one in record["against"]] == [str(runs / f"{name}/model.h5") for name in ("new", "middle")]
    assert record["verdict"] == choose(runs).text and (folder / "MODEL_CARD.md").read_text().startswith("# old\n")


def test_a_tile_classifier_is_copied_whole(tiny_model, tmp_path):
    home = shutil.copytree(tiny_model.parent, tmp_path / "hybrid")
    (home / "model_crf.json").write_text("{}")
    # The list of another model, which lies in its place.
    (home / "labels.txt").write_text("one\ntwo\n")
    result = promote_model(choose(home, by="dice"), tmp_path / "models", name="coast")
    folder = tmp_path / "models/coast"
    assert {"model.pb", "model.json", "model.tflite", "model_crf.json", "labels.txt"} < {p.name for p in result.written}
    assert (folder / "labels.txt").read_text() == "sand\nveg\nwater\n"
    assert load_classifier(folder / "model.pb").table == load_classifier(home / "model.pb").table
    (home / "model_crf.json").write_text('{"tuned": "again"}')
    with pytest.raises(OutputExists, match="this one as it was earlier; --overwrite"):
        promote_model(choose(home, by="dice"), tmp_path / "models", name="coast")
    promote_model(choose(home, by="dice"), tmp_path / "models", name="coast", overwrite=True)
    assert (folder / "model_crf.json").read_text() == '{"tuned": "again"}'


def test_what_is_there_already(runs, tmp_path, save_network):
    to = tmp_path / "models"
    promote_model(choose(runs), to)
    assert promote_model(choose(runs), to).written == (), "the same model"
    assert promote_model(choose(tmp_path), to).written == ()
    assert [entry.name for entry in choose(tmp_path).beaten] == ["new", "middle"], "the copy counts once"
    better = save_network(tmp_path / "later/old/model.h5", 0.95)
    with pytest.raises(OutputExists, match="holds another model, or this one as it was earlier; --overwrite"):
        promote_model(choose(tmp_path), to)
    (to / "old/notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match=r"notes\.txt was not written by this command and would be lost"):
        promote_model(choose(tmp_path), to, overwrite=True)
    (to / "old/notes.txt").unlink()
    card = to / "old/MODEL_CARD.md"
    text = card.read_text()
    card.write_text(text + "my words\n")
    with pytest.raises(OutputExists, match=r"MODEL_CARD\.md was not written"):
        promote_model(choose(tmp_path), to, overwrite=True)
    card.write_text(text)
    assert promote_model(choose(tmp_path), to, overwrite=True).written
    assert (to / "old/model.h5").read_bytes() == better.read_bytes()
    assert sorted(path.name for path in to.iterdir()) == ["old"]


def test_a_folder_of_the_user_is_left_alone(runs, tmp_path):
    (tmp_path / "models/old").mkdir(parents=True)
    for overwrite in (False, True):
        with pytest.raises(OutputExists, match="was not written by this command; give --name"):
            promote_model(choose(runs), tmp_path / "models", overwrite=overwrite)
    for name in ("..", "a/b"):
        with pytest.raises(BadInput, match="--name"):
            promote_model(choose(runs), tmp_path / "models", name=name)


def test_another_run_that_promotes_the_same_name_is_left_to_it(runs, tmp_path):
    with lock_output(tmp_path / "models/old"), pytest.raises(OutputExists, match="another run is writing"):
        promote_model(choose(runs), tmp_path / "models")
    assert not (tmp_path / "models").exists()
    (tmp_path / "models/.0123456789abcdef.partial").mkdir(parents=True)
    promote_model(choose(runs), tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["old"], "what a killed run left is gone"


def test_a_copy_that_fails_leaves_nothing(runs, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr("hybridseg.models.promotion.shutil.copy2", fail)
    with pytest.raises(WriteFailed, match="the disk is full"):
        promote_model(choose(runs), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
    (runs / "old/model.h5").write_bytes(b"other weights")
    with pytest.raises(BadInput, match=r"is not the file that model\.card\.json describes"):
        promote_model(choose(runs), tmp_path / "models")


def test_links_that_lead_to_themselves(runs, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/old").symlink_to(tmp_path / "models/old")
    for to in (tmp_path / "loop", tmp_path / "loop" / "deeper", tmp_path / "models"):
        with pytest.raises((WriteFailed, OutputExists), match=r"loop|old"):
            promote_model(choose(runs), to)
    assert (tmp_path / "loop").is_symlink() and (tmp_path / "models/old").is_symlink()
