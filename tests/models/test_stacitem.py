"""The item is one by the schemas of STAC, and says of every kind of model what is so."""

import json
import shutil
from pathlib import Path

import pytest
from pystac.errors import STACValidationError
from pystac.stac_object import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from hybridseg.classes import ClassTable
from hybridseg.models.cards import hash_bytes
from hybridseg.models.catalog import read_entry
from hybridseg.models.fcn import Fcn8s
from hybridseg.models.normalization import Normalization
from hybridseg.models.resunet import ResUnet
from hybridseg.models.stacitem import _make_name, make_item
from hybridseg.models.unet import Unet

SCHEMAS = Path(__file__).parent / "schemas"
HOST = "https://stac-extensions.github.io"


@pytest.fixture(scope="module")
def check():
    """Check an item against the schemas of STAC and of its extensions, without a network."""
    validator = JsonSchemaSTACValidator()
    for path in SCHEMAS.glob("*.json"):
        name, version = path.stem.rsplit("-", 1)
        validator.schema_cache[f"{HOST}/{name}/{version}/schema.json"] = json.loads(path.read_text())
    # It is stricter than the version to which the schema of models refers.
    newer = validator.schema_cache[f"{HOST}/classification/v2.0.0/schema.json"]
    older = f"{HOST}/classification/v1.1.0/schema.json"
    validator.schema_cache[older] = {**newer, "$id": older}

    def check_item(item):
        item = json.loads(json.dumps(item, allow_nan=False))
        found = validator.validate(item, STACObjectType.ITEM, item["stac_version"], item["stac_extensions"])
        assert len(found) == 3

    return check_item


@pytest.fixture
def coast(tmp_path, save_network):
    return read_entry(save_network(tmp_path / "coast/model.h5", 0.8))


@pytest.mark.slow
@pytest.mark.usefixtures("small_encoders")
@pytest.mark.parametrize(
    "architecture, title",
    [
        pytest.param(Fcn8s(n_bands=3, n_outputs=3), "FCN-8s on MobileNetV2", marks=pytest.mark.slow),
        pytest.param(ResUnet(n_bands=4, n_outputs=3, filters=1), "residual U-Net", marks=pytest.mark.slow),
        (Unet(n_bands=12, n_outputs=3, widths=(6, 5, 4, 3)), "U-Net on MobileNetV2"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_network_is_an_item(tmp_path, save_network, check, architecture, title):
    entry = read_entry(save_network(tmp_path / "net.h5", 0.8, architecture=architecture))
    item = make_item(entry, tmp_path)
    check(item)
    properties = item["properties"]
    assert properties["mlm:architecture"] == title and properties["mlm:tasks"] == ["semantic-segmentation"]
    n_bands = architecture.n_bands
    names = ["red", "green", "blue"] if n_bands == 3 else [f"band_{i + 1}" for i in range(n_bands)]
    assert properties["mlm:input"][0]["bands"] == names == [band["name"] for band in properties["bands"]]
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, -1, -1, n_bands]


def test_a_tile_classifier_is_an_item(tmp_path, tiny_model, check):
    folder = shutil.copytree(tiny_model.parent, tmp_path / "hybrid")
    (folder / "model_crf.json").write_text("{}")
    item = make_item(read_entry(folder), folder)
    check(item)
    properties, assets = item["properties"], item["assets"]
    assert properties["mlm:tasks"] == ["semantic-segmentation", "scene-classification"]
    (output,), (tiles,) = properties["mlm:output"], properties["mlm:input"]
    assert output["tasks"] == ["scene-classification"] and output["result"]["shape"] == [-1, 3]
    assert tiles["input"]["shape"] == [-1, 16, 16, 3] and tiles["value_scaling"] == [{"type": "scale", "value": 255.0}]
    assert sorted(assets) == ["card", "crf", "model", "tflite"]
    assert properties["mlm:hyperparameters"]["options"]["head"]["how_many_training_steps"] == 200


def test_images_that_are_normalized_by_their_data_set(tmp_path, save_network, check):
    rule = Normalization("dataset", means=(1500.0, 2.0, 3.0), deviations=(400.0, 1.0, 2.0))
    item = make_item(read_entry(save_network(tmp_path / "net.h5", 0.8, normalization=rule)), tmp_path)
    check(item)
    found = item["properties"]["mlm:input"][0]
    assert found["value_scaling"][0] == {"type": "z-score", "mean": 1500.0, "stddev": 400.0}
    assert len(found["value_scaling"]) == 3 and found["bands"] == ["band_1", "band_2", "band_3"]


def test_what_the_item_says(coast, check):
    item = make_item(coast, coast.path.parent)
    check(item)
    assert (item["id"], item["geometry"]) == ("coast", None) and "bbox" not in item
    properties, model = item["properties"], item["assets"]["model"]
    assert properties["datetime"].endswith("Z") and properties["mlm:framework_version"] == "2.21.0"
    assert (properties["mlm:pretrained"], properties["mlm:pretrained_source"]) == (False, None)
    water, sand, _ = properties["mlm:output"][0]["classification:classes"]
    assert water == {
        "value": 0, "name": "water", "title": "water", "description": "water", "color_hint": "0000FF",
    }  # fmt: skip
    assert sand["value"] == 1 and sand["color_hint"] == "FFFF00"
    assert properties["mlm:total_parameters"] == 3 * 9 * 4 + 4 + 4 * 4 + 4 * 3 + 3
    content = coast.path.read_bytes()
    assert model["file:checksum"] == "1220" + hash_bytes(content) and model["file:size"] == len(content)
    assert model["href"] == "./model.h5" and "mlm:model" in model["roles"]
    assert properties["hybridseg:measured"][0]["scores"] == coast.scores
    assert make_item(coast, coast.path.parent.parent / "web")["assets"]["model"]["href"] == "../coast/model.h5"


def test_names_that_the_schema_does_not_take(tmp_path, save_network, check):
    table = ClassTable.from_names(["Küste | Düne", "Köste Döne", "水", "海"])
    path = save_network(tmp_path / "2024 ä/model.h5", 0.8, table=table)
    item = make_item(read_entry(path), path.parent)
    check(item)
    classes = item["properties"]["mlm:output"][0]["classification:classes"]
    assert [one["title"] for one in classes] == list(table)
    assert len({one["name"] for one in classes}) == 4
    assert item["properties"]["mlm:name"] == "model 2024" and item["id"] == "2024 ä"
    assert _make_name("v1.2_") == "v1.2" and _make_name("ä") == "model unnamed"


@pytest.mark.parametrize(("training", "known"), [
    ({"pretrained": "none"}, (False, None)),
    ({"pretrained": "imagenet"}, (True, "ImageNet")),
    ({"pretrained": "net.h5"}, (True, "net.h5")),
    ({"load": {"file": "CP_epoch3.h5", "sha256": "a"}}, (True, "CP_epoch3.h5")),
    # What earlier versions wrote is for people.
    ({"started_from": "U-Net with random weights", "pretrained": None}, (None, None)),
    ({"pretrained": 5}, (None, None)),
])  # fmt: skip
def test_what_a_training_started_from(tmp_path, save_network, training, known):
    entry = read_entry(save_network(tmp_path / "net.h5", 0.8, training=training))
    properties = make_item(entry, tmp_path)["properties"]
    assert (properties.get("mlm:pretrained"), properties.get("mlm:pretrained_source")) == known


@pytest.mark.parametrize("key", ["mlm:name", "mlm:input", "datetime"])
def test_the_schemas_notice_what_is_wrong(coast, check, key):
    item = make_item(coast, coast.path.parent)
    del item["properties"][key]
    with pytest.raises(STACValidationError):
        check(item)
    item = make_item(coast, coast.path.parent)
    item["properties"]["mlm:output"][0]["classification:classes"][0]["color_hint"] = "#0000FF"
    with pytest.raises(STACValidationError, match="0000FF"):
        check(item)
