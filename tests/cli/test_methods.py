"""`segment` has the options of both methods, and refuses those that a model has no use for."""

import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.dense import predict as dense_predict
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.models.bundles import DenseCard
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet

NAMES = ("cliff", "veg", "water")


class ByBand:
    """A network whose probability of a class is the share of its band."""

    def __init__(self, path):
        card = DenseCard(
            ResUnet(n_bands=3, n_outputs=3), ClassTable.from_names(NAMES), (32, 64), Normalization("unit", 255.0)
        )
        self.path, self.card, self.table, self.engine = path, card, card.table, None

    def predict(self, pixels):
        bands = pixels + 1e-6
        return (bands / bands.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def network(monkeypatch, tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(b"net")
    monkeypatch.setattr(dense_predict, "load_dense", lambda path, **_: ByBand(path))
    return path


@pytest.fixture
def photo(paint_coast, tmp_path):
    write_image(tmp_path / "photo.png", paint_coast(48, 64, border=30))
    return tmp_path / "photo.png"


@pytest.fixture
def segment(run, photo, tmp_path):
    def segment_photo(model, *words):
        more = ("--out", tmp_path / "out", "--engine", "serial", "--no-figures")
        return run("segment", photo, "--model", model, *more, *words)

    return segment_photo


def settings_of(path):
    return json.loads(read_labelmap(path).made_by)["settings"]


@pytest.mark.parametrize("words", [("--dpi", 50), ("--format", "pdf")])
def test_figures_that_are_left_out_have_no_options(segment, tiny_model, words):
    result = segment(tiny_model, *words)
    assert result.exit_code == 2 and f"{words[0]} is for the figures, which --no-figures leaves out" in result.output


def test_options_of_a_tile_classifier(segment, tiny_model, tmp_path):
    words = ("--crf-scale", 0.5, "--stride", 12, "--theta", 7, "--iterations", 3, "--report", "--keep-seeds")
    result = segment(tiny_model, *words)
    assert result.exit_code == 0, result.output
    found = settings_of(tmp_path / "out" / "photo_ares_16.mat")["options"]
    assert (found["scale"], found["stride"], found["crf"]["theta"], found["crf"]["n_iterations"]) == (0.5, 12, 7, 3)
    assert found["crf"]["color_compat"] == 50, "what was not given is that of the method"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"photo_ares_16_report.json", "photo_atiles_16.mat"} <= names


def test_options_of_a_dense_network(segment, network, tmp_path):
    assert segment(network, "--native", "--scale", 0.5, "--overlap", 64).exit_code == 0
    found = settings_of(tmp_path / "out" / "photo_predseg.png")
    assert (found["options"]["scale"], found["options"]["overlap"]) == (0.5, 64)
    assert found["smoothing"]["crf_from"] == "none"
    result = segment(network, "--crf-from", "probabilities", "--theta", 9, "--space-theta", 2)
    assert result.exit_code == 0
    crf = settings_of(tmp_path / "out" / "photo_predseg_crf.png")["smoothing"]["crf"]
    assert (crf["theta"], crf["space_theta"], crf["color_compat"]) == (9, 2, 20)


@pytest.mark.parametrize(
    ("kind", "words", "reason"),
    [
        ("tiles", ("--native",), "--native is for dense networks, and"),
        ("tiles", ("--scale", 0.5), "--scale is for dense networks, and"),
        ("tiles", ("--prob", 0.6), "--prob only applies to hard seeds"),
        ("network", ("--stride", 5), "--stride is for tile classifiers, and"),
        ("network", ("--labels", "labels.txt"), "--labels is for tile classifiers, and"),
        ("network", ("--report",), "--report is for tile classifiers, and"),
        ("network", ("--theta", 5), "--theta is of the CRF, which a dense network has with --crf-from"),
        ("network", ("--crf-from", "probabilities", "--thinning", 0.2), "--thinning has an effect"),
        ("network", ("--crf-from", "probabilities", "--prob", 0.6), "--prob has an effect"),
    ],
)
def test_an_option_without_effect_is_refused(segment, tiny_model, network, tmp_path, kind, words, reason):
    result = segment(tiny_model if kind == "tiles" else network, *words)
    assert result.exit_code == 2 and reason in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_value_out_of_range_is_named_as_typed(segment, tiny_model, network):
    assert "--crf-scale=3.0: give a number above 0" in segment(tiny_model, "--crf-scale", 3).output
    result = segment(network, "--overlap", 2000)
    assert result.exit_code == 1 and "overlap=2000 must be smaller than the window" in result.output


def test_the_help_has_a_heading_for_each_method(run):
    text = run("segment", "--help").output
    marks = (
        "\nOptions:", "--engine", "\nFor tile classifiers:", "--crf-scale", "\nFor dense networks:", "--native",
        "\nFor the dense CRF of both:", "--theta",
    )  # fmt: skip
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places) and "SOURCES..." not in text[places[0] :]
