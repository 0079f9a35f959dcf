import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from hybridseg import __version__
from hybridseg.batch.madeby import explain_difference, make_record
from hybridseg.crf.options import CrfOptions
from hybridseg.io.labels.formats import read_made_by, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.models.cards import hash_file

CRF = CrfOptions(theta=7.0)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.pb").write_bytes(b"graph")
    return tmp_path / "model.pb"


def test_what_is_recorded(model, table):
    text = make_record("semseg", [model], table, crf=CRF)
    record = json.loads(text)
    assert "\n" not in text and text.isascii()
    assert record["command"] == "semseg" and record["version"] == __version__
    assert record["models"] == [hashlib.sha256(b"graph").hexdigest()]
    assert record["classes"] == {"water": "#0000ff", "sand": "#ffff00", "cliff": "#8b008b"}
    assert record["settings"]["crf"]["theta"] == 7


def test_threads_and_memory_make_no_difference(model, table):
    other = replace(CRF, n_threads=3, max_memory=0.5)
    assert make_record("semseg", [model], table, crf=other) == make_record("semseg", [model], table, crf=CRF)


@pytest.mark.parametrize("suffix", [".mat", ".png", ".tif"])
def test_the_record_is_kept_in_every_format(tmp_path, model, table, suffix):
    record = make_record("semseg", [model], replace(table, names=("wäter", "sand", "cliff")), crf=CRF)
    path = tmp_path / f"map{suffix}"
    labels = np.array([[0, 1, 255]], np.uint8)
    write_labelmap(path, LabelMap(labels, table, made_by=record))
    assert read_made_by(path) == record
    assert explain_difference(path, record) == ""
    assert "(color_scale, theta)" in explain_difference(
        path, record.replace('7.0, "color_scale": 1', '8.0, "color_scale": 2')
    )
    assert "another version" in explain_difference(path, record.replace(__version__, "0.0.1"))
    write_labelmap(path, LabelMap(labels, table))
    assert read_made_by(path) is None and "without a record" in explain_difference(path, record)
    write_labelmap(path, LabelMap(labels, table, made_by="by hand"))
    assert "without a record" in explain_difference(path, record)
    path.write_bytes(path.read_bytes()[:-30])
    assert explain_difference(path, record) in ("damaged", "without a record of how it was made")


def test_the_hash_follows_the_file(model):
    first = hash_file(model)
    assert hash_file(model) == first
    model.write_bytes(b"another graph")
    assert hash_file(model) == hashlib.sha256(b"another graph").hexdigest() != first
    model.unlink()
    assert hash_file(model) is None


@pytest.mark.parametrize("value", [np.zeros((2, 2)), np.array(["a", "b"]), {"x": 1}, ""])
def test_a_variable_of_that_name_by_another_program(tmp_path, value):
    savemat(tmp_path / "a_mres.mat", {"made_by": value, "class": np.zeros((2, 2), np.uint8), "labels": "sand"})
    assert not read_made_by(tmp_path / "a_mres.mat")
