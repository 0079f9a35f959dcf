"""Models are found by their cards, wherever they lie, and each says what its scores were measured on."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models.catalog import find_models, read_entry, sort_models


def list_paths(folder, *places):
    entries, problems = find_models(places or (folder,))
    assert problems == []
    return [entry.path.relative_to(folder).as_posix() for entry in entries]


def change_card(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_every_kind_is_found_and_nothing_else(tmp_path, save_network, tiny_model):
    save_network(tmp_path / "runs/coast/model.h5", 0.8)
    # A checkpoint has no scores yet.
    save_network(tmp_path / "runs/coast/epoch_0001.h5", 0)
    shutil.copytree(tiny_model.parent, tmp_path / "photos_run/hybrid")
    (tmp_path / "classic.pb").write_bytes(b"no card")
    (tmp_path / "other.h5").write_bytes(b"no card")
    (tmp_path / "other.json").write_text('{"TARGET_SIZE": [64, 96]}')
    shutil.copytree(tmp_path / "runs/coast", tmp_path / "runs/.hidden")
    shutil.copytree(tmp_path / "runs/coast", tmp_path / "out/saved_model/assets.extra")
    (tmp_path / "out/saved_model/saved_model.pb").touch()
    found = ["photos_run/hybrid/model.pb", "runs/coast/model.h5"]
    assert list_paths(tmp_path) == found
    assert list_paths(tmp_path, tmp_path / "runs", tmp_path / "runs/coast/model.h5") == found[1:], "each once"
    assert list_paths(tmp_path, tmp_path / "runs/coast/epoch_0001.h5") == ["runs/coast/epoch_0001.h5"]


def test_what_an_entry_says_of_a_network(tmp_path, save_network):
    sets = {"test": {"loss": 0.1, "dice": 0.7, "accuracy": 0.75, "mean_iou": None}}
    path = save_network(
        tmp_path / "runs/coast/model.h5", 0.8, sets=sets, training={"test_sha256": "b" * 64}, runtime=True
    )
    os.utime(path, (1_700_000_000, 1_700_000_000))
    entry = read_entry(tmp_path / "runs/coast")
    assert (entry.path, entry.name, entry.kind, entry.data_sha256) == (path, "coast", "tiny", "d" * 64)
    validation, test = entry.measured
    assert (validation.on, validation.sha256, validation.n_photos) == ("validation", "a" * 64, 6)
    assert list(validation.scores) == ["mean_iou", "dice", "accuracy", "precision", "recall"]
    assert validation.scores["accuracy"] == pytest.approx(0.8) and entry.scores == validation.scores
    assert validation.scores["mean_iou"] == pytest.approx(0.8 / 1.2)
    assert (test.on, test.sha256, test.scores) == ("test", "b" * 64, {"dice": 0.7, "accuracy": 0.75})
    assert entry.find("dice", "test") is test and entry.find("recall", "test") is None
    assert entry.verdict.n_photos == 6 and entry.verdict.interval == (0.8, 0.8)
    assert entry.written.isoformat() == "2023-11-14T22:13:20+00:00"
    names = ["model.h5", "model.card.json", "model.tflite"]
    assert [file.name for file in entry.files] == names
    assert entry.n_bytes == sum((path.parent / name).stat().st_size for name in names)


def test_what_an_entry_says_of_a_tile_classifier(tmp_path, tiny_model):
    folder = shutil.copytree(tiny_model.parent, tmp_path / "hybrid")
    (folder / "model_crf.json").write_text("{}")
    entry = read_entry(folder)
    assert (entry.name, entry.kind, entry.path) == ("hybrid", "tile classifier", folder / "model.pb")
    (measured,) = entry.measured
    assert measured.on == "test" and measured.n_photos == 1 and len(measured.sha256) == 64
    assert set(measured.scores) == {"mean_iou", "dice", "accuracy"}
    assert [file.name for file in entry.files] == ["model.pb", "model.json", "model.tflite", "model_crf.json"]


def test_cards_of_earlier_versions(tmp_path, save_network, tiny_model):
    network = save_network(tmp_path / "net.h5", 0.8)
    change_card(tmp_path / "net.card.json", lambda record: record["training"].pop("validation_sha256"))
    (tmp_path / "net.card.json").rename(tmp_path / "net.json")
    entry = read_entry(network)
    assert entry.measured[0].sha256 is None and entry.name == "net" and entry.card_path.name == "net.json"
    folder = shutil.copytree(tiny_model.parent, tmp_path / "hybrid")
    change_card(folder / "model.json", lambda record: [record.pop(name) for name in ("training", "runtime")])
    change_card(folder / "model.json", lambda record: record.update(scores={"accuracy": 0.5, "macro_f1": None}))
    entry = read_entry(folder)
    assert entry.measured[0].scores == {"accuracy": 0.5} and entry.data_sha256 is None and entry.verdict is None
    assert list_paths(tmp_path) == ["hybrid/model.pb", "net.h5"]


def test_what_cannot_be_read_is_told(tmp_path, save_network):
    save_network(tmp_path / "a/model.h5", 0.8)
    save_network(tmp_path / "b/model.h5", 0.8)
    (tmp_path / "a/model.card.json").write_text("{")
    entries, problems = find_models([tmp_path])
    assert [entry.name for entry in entries] == ["b"] and "damaged" in str(problems[0])
    assert problems[0].where == str(tmp_path / "a/model.h5")
    with pytest.raises(MissingInput, match=r"there is no .*nowhere; give a folder"):
        find_models([tmp_path / "nowhere"])
    with pytest.raises(MissingInput, match="holds none"):
        read_entry(tmp_path)
    (tmp_path / "c.pb").write_bytes(b"")
    with pytest.raises(BadInput, match=r"c\.pb has no c\.json beside it"):
        read_entry(tmp_path / "c.pb")
    with pytest.raises(BadInput, match="is not a model"):
        read_entry(tmp_path / "a/model.card.json")


@pytest.mark.parametrize("value", [10**300, -0.1, 1.5, True, "0.9"])
def test_what_is_no_score_is_left_out(tmp_path, save_network, value):
    save_network(tmp_path / "a.h5", 0.8)
    change_card(tmp_path / "a.card.json", lambda record: record["scores"].update(accuracy=value))
    ((entry,), problems) = find_models([tmp_path])
    assert "accuracy" not in entry.scores and "dice" in entry.scores and not problems


def test_the_best_come_first_and_those_without_the_score_last(tmp_path, save_network, tiny_model):
    paths = [save_network(tmp_path / f"{name}.h5", right) for name, right in (("a", 0.6), ("b", 0.9), ("c", 0.7))]
    entries = [read_entry(path) for path in (tiny_model, *paths)]
    assert [entry.name for entry in sort_models(entries, "recall")][:3] == ["b", "c", "a"]
    assert [entry.path for entry in sort_models(entries, "recall")][3] == tiny_model
    assert sort_models(entries, "dice", "test")[0].path == tiny_model


def test_a_time_that_no_date_can_be_stops_nothing(tmp_path, save_network):
    entry = read_entry(save_network(tmp_path / "model.h5", 0.8))
    for seconds, year in ((1e18, 9999), (-1e18, 1970)):
        path = SimpleNamespace(stat=lambda seconds=seconds: SimpleNamespace(st_mtime=seconds))
        assert replace(entry, path=path).written.year == year
