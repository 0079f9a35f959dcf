"""Label maps of several people compared: shares, Cohen's kappa, classes, and a map of where they differ."""

import csv

import numpy as np
import pytest

from hybridseg.classes import VOID, ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.evaluation.agreement import measure_agreement
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile

OTHER_ORDER = ClassTable.from_names(["sand", "cliff", "water", "kelp"])


@pytest.fixture
def people(tmp_path, table):
    """Three people label image a, two of them image b; Bob has the classes in another order."""
    rng = np.random.default_rng(0)
    maps = {}
    for name, stems in (("Ann", "ab"), ("Bob", "ab"), ("Cem", "a")):
        for stem in stems:
            labels = np.zeros((20, 30), np.uint8)
            labels[:, 12 + 3 * len(maps) :] = 1
            labels[rng.random(labels.shape) < 0.1] = 2
            maps[name, stem] = labels
    maps["Bob", "a"][:4] = VOID
    for (name, stem), labels in maps.items():
        path = tmp_path / "photos" / "annotators" / name / f"{stem}_mres.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.array([2, 0, 1] + [VOID] * 253, np.uint8)
        found = LabelMap(order[labels], OTHER_ORDER) if name == "Bob" else LabelMap(labels, table)
        write_matfile(path, found)
    return tmp_path / "photos", maps


def test_kappa_and_shares_are_those_of_scikit_learn(people, run):
    from sklearn.metrics import cohen_kappa_score

    folder, maps = people
    done = run("agreement", folder)
    assert done.exit_code == 0, done.output
    with (folder / "agreement" / "agreement.csv").open(newline="") as file:
        rows = {(row["image"], row["first"], row["second"]): row for row in csv.DictReader(file)}
    assert set(rows) == {("a", "Ann", "Bob"), ("a", "Ann", "Cem"), ("a", "Bob", "Cem"), ("b", "Ann", "Bob"),
                         ("", "Ann", "Bob"), ("", "Ann", "Cem"), ("", "Bob", "Cem")}  # fmt: skip
    for (image, first, second), row in rows.items():
        stems = image or [stem for stem in "ab" if (first, stem) in maps and (second, stem) in maps]
        one, other = (np.concatenate([maps[name, stem].ravel() for stem in stems]) for name in (first, second))
        both = (one != VOID) & (other != VOID)
        assert int(row["pixels"]) == both.sum()
        assert float(row["agreement"]) == pytest.approx((one == other)[both].mean())
        assert float(row["kappa"]) == pytest.approx(cohen_kappa_score(one[both], other[both]))
    heads = [line.split() for line in done.output.splitlines() if line.startswith(("people", "class"))]
    assert heads == [["people", "agreement", "kappa"], ["class", "Dice"]]
    assert "cliff" in done.output and "kelp" in done.output


def test_the_map_shows_where_any_two_differ(people):
    folder, maps = people
    result = measure_agreement(folder)
    assert {path.name for path in result.written} == {"agreement.csv", "a_agreement.png", "b_agreement.png"}
    found = read_labelmap(folder / "agreement" / "a_agreement.png")
    assert found.table.names == ("agree", "differ")
    ann, bob, cem = (maps[name, "a"] for name in ("Ann", "Bob", "Cem"))
    expected = (ann != cem) | ((bob != VOID) & ((bob != ann) | (bob != cem)))
    assert (found.labels == expected).all()
    # Twice is the same; a file of a person's own is not replaced.
    measure_agreement(folder)
    (folder / "agreement" / "a_agreement.png").write_bytes(b"mine")
    with pytest.raises(OutputExists):
        measure_agreement(folder)


def test_one_that_cannot_be_read_is_named_and_the_others_are_compared(people):
    folder, _ = people
    (folder / "annotators" / "Bob" / "a_mres.mat").write_bytes(b"no map")
    result = measure_agreement(folder)
    assert [one.where for one in result.problems] == [str(folder / "annotators" / "Bob" / "a_mres.mat")]
    assert [one.image for one in result.images] == ["b"]


def test_images_of_one_person_are_named(people, run):
    folder, _ = people
    home = folder / "annotators"
    (home / "Ann" / "b_mres.mat").rename(home / "Ann" / "c_mres.mat")
    assert measure_agreement(folder).alone == {"Ann": ["c"], "Bob": ["b"]}
    told = run("agreement", folder).stdout
    assert "left out, as only Ann labelled them (1): c" in told and "only Bob labelled them (1): b" in told


def test_nobody_to_compare(people, tmp_path):
    with pytest.raises(MissingInput):
        measure_agreement(tmp_path / "none")
    with pytest.raises(BadInput, match="two people"):
        measure_agreement(people[0] / "annotators" / "Ann")


def test_where_nothing_could_be_compared_there_is_no_empty_table(people, run):
    folder, _ = people
    for stem in "ab":
        (folder / "annotators" / "Bob" / f"{stem}_mres.mat").write_bytes(b"no map")
    done = run("agreement", folder)
    assert done.exit_code == 1 and "Bob" in done.stderr and done.stdout == ""
    assert not (folder / "agreement" / "agreement.csv").exists()
