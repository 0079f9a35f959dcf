"""The group models: what is printed, what is reported, and how it ends."""

import json
import shutil

import pytest


@pytest.fixture
def project(tmp_path, tiny_model, monkeypatch):
    """A folder with one tile classifier, and the same twice with other scores on the same tiles."""
    for name, dice in (("first", 0.5), ("best", 0.9)):
        home = shutil.copytree(tiny_model.parent, tmp_path / "runs" / name)
        content = (home / "model.pb").read_bytes() + b""
        card = json.loads((home / "model.json").read_text())
        card["scores"]["macro_f1"] = dice
        if name == "first":
            # A field that no reader knows makes it another graph of the same behaviour.
            content += b"\xc2>\x01x"
            (home / "model.pb").write_bytes(content)
            from hybridseg.models.cards import hash_bytes

            card["sha256"] = hash_bytes(content)
        (home / "model.json").write_text(json.dumps(card))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_is_a_table_with_the_best_first(project, run):
    result = run("models", "list", "--by", "dice")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split()[:4] == ["model", "kind", "classes", "dice"]
    assert [row.split()[0] for row in rows] == ["runs/best/model.pb", "runs/first/model.pb"]
    assert rows[0].split()[1:5] == ["tile", "classifier", "3", "0.900"] and "1 test photo" in rows[0]
    report = json.loads(run("models", "list", "--by", "dice", "--json").stdout)
    first, second = report["result"]["models"]
    assert (first["path"], first["kind"]) == ("runs/best/model.pb", "tile classifier")
    assert first["measured"][0]["scores"]["dice"] == 0.9
    assert first["measured"][0]["sha256"] == second["measured"][0]["sha256"]
    assert "no model with a card was found" in run("models", "list", "runs/best/bottlenecks").stdout


def test_a_damaged_card_is_told_and_the_others_are_listed(project, run):
    card = project / "runs/first/model.json"
    card.write_text(card.read_text().replace('"tile_size": 16', '"tile_size": "16"'))
    result = run("models", "list")
    assert result.exit_code == 1 and "runs/best/model.pb" in result.stdout
    assert "runs/first/model.pb" in result.stderr and "damaged" in result.stderr
    assert "warning: left out: runs/first/model.pb" in run("models", "promote", "--by", "dice").stderr


def test_one_is_shown(project, run):
    result = run("models", "show", "runs/best")
    assert result.stdout.startswith("# best\n") and "| 0  | sand" in result.stdout
    assert "- options.head.how_many_training_steps: 200" in result.stdout
    report = json.loads(run("models", "show", "runs/best", "--json").stdout)
    assert report["result"]["training"]["n_tiles"]["testing"] > 0
    wrong = run("models", "show", "runs")
    assert wrong.exit_code == 1 and "should hold one model with its card and holds none" in wrong.stderr


def test_the_best_is_promoted(project, run):
    result = run("models", "promote", "runs", "--by", "dice", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (project / "models/best/model.pb").read_bytes() == (project / "runs/best/model.pb").read_bytes()
    assert report["result"]["against"] == {"runs/first/model.pb": 0.5} and report["result"]["score"] == 0.9
    assert "models/best/promoted.json" in report["written"] and report["verdict"] and report["next"]
    again = run("models", "promote", "runs", "--by", "dice")
    assert "is the best: dice 0.900 against 0.500 (runs/first/model.pb), all on the same 1 test photo." in again.stdout
    assert "models/best/model.pb is this model already: nothing was copied" in again.stdout
    assert "there is no model with a score recall" in run("models", "promote", "--by", "recall").stderr


def test_its_card_is_written(project, run):
    result = run("models", "card", "runs/best", "--out", "web")
    assert result.stdout == "wrote web/MODEL_CARD.md\nwrote web/model.mlm.json\n"
    assert json.loads((project / "web/model.mlm.json").read_text())["id"] == "best"
    assert (project / "web/MODEL_CARD.md").read_text().startswith("# best\n")
