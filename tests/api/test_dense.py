"""Dense networks from Python: the settings reach the network as those of the commands do, and errors name them."""

import json

import numpy as np
import pytest

import hybridseg as hs
from hybridseg.dense.programs.config import config_record, parse_config
from hybridseg.dense.programs.resunet import choose_smoothing
from hybridseg.errors import BadInput, BadUsage, OutputExists
from hybridseg.models import resunet

CONFIG = {
    "TARGET_SIZE": [32, 64], "NCLASSES": 10, "N_DATA_BANDS": 3, "MAX_EPOCHS": 1, "AUG_COPIES": 1, "BATCH_SIZE": 2,
    "MEDIAN_FILTER_VALUE": 2, "DOPLOT": False,
}  # fmt: skip
SMALL = {"encoder": "none", "widths": [4, 3, 2, 2], "size": [32, 64], "epochs": 1}


def read_card(result):
    return json.loads(result.model_path.with_suffix(".card.json").read_text())


@pytest.mark.slow
def test_a_unet_as_the_command_trains_it(coast, tmp_path, run):
    out = tmp_path / "runs" / "ours"
    result = hs.train_unet(coast, out=out, loss="combo", dice_share=0.7, augmentation="none", **SMALL)
    assert result.model_path == out / "model.h5" and set(result.sets) == {"training", "validation"}
    words = ("--encoder", "none", "--widths", "4,3,2,2", "--size", "32x64", "--epochs", 1, "--loss", "combo")
    more = ("--dice-share", 0.7, "--augmentation", "none", "--images", coast, "--runs-dir", tmp_path / "runs")
    assert run("unet", "train", "--name", "theirs", *words, *more).exit_code == 0
    ours, theirs = (
        json.loads((tmp_path / "runs" / name / "model.card.json").read_text()) for name in ("ours", "theirs")
    )
    for part in ("architecture", "normalization", "scores"):
        assert ours[part] == theirs[part]
    assert ours["training"]["options"] == theirs["training"]["options"]
    found = hs.segment(next(coast.glob("*.jpg")), out)
    assert found.labels.shape == (64, 96)
    with pytest.raises(OutputExists, match=r"resume=True.*overwrite=True"):
        hs.train_unet(coast, out=out, **SMALL)


@pytest.mark.slow
def test_a_preset_gives_way_to_what_is_given(coast, tmp_path, small_encoder):
    sets = {"validation_images": coast, "test_images": coast}
    given = {"encoder": "mobilenet_v2", "epochs": 1, "size": (32, 32), "widths": (4, 3, 2, 2), "batch_size": 2}
    with pytest.raises(BadInput, match="are in the training set and in the validation set"):
        hs.train_unet(coast, preset="efficientnet-blog", out=tmp_path / "a", **sets, **given)
    result = hs.train_unet(coast, preset="efficientnet-blog", out=tmp_path / "b", **given)
    card = read_card(result)
    fit = card["training"]["options"]
    assert fit["epochs"] == 1 and fit["loss"]["dice_share"] == 0.95 and fit["seed"] == 108241
    assert card["architecture"]["encoder"] == "mobilenet_v2" and card["size"] == [32, 32]


@pytest.mark.slow
def test_a_residual_unet_on_photos_and_on_records(coast, tmp_path, monkeypatch):
    monkeypatch.setattr(resunet, "_N_LEVELS", 2)
    proposal = hs.init_config(coast)
    assert proposal.config.nclasses == 10 and repr(proposal).startswith("<Proposal: TARGET_SIZE 64 x 96, NCLASSES 10")
    assert "<td>NCLASSES</td><td>10</td>" in proposal._repr_html_() and parse_config(proposal.record) == proposal.config
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    records = hs.make_tfrecords(tmp_path / "config.json", photos=coast, out=tmp_path / "records")
    assert repr(records) == f"<RecordsResult: 4 images in 1 shard of {tmp_path / 'records'}>"
    on_records = hs.train_resunet(CONFIG, data=tmp_path / "records", out=tmp_path / "one", filters=1)
    on_photos = hs.train_resunet(tmp_path / "config.json", photos=coast, out=tmp_path / "two", filters=1)
    assert "view" not in read_card(on_records) and read_card(on_photos)["view"]["windows"]
    assert read_card(on_photos)["training"]["crops"]["crop"] == [32, 64]
    photo = next(coast.glob("*.jpg"))
    plain = hs.segment(photo, on_photos.model_path)
    smooth = hs.segment(photo, on_photos.model_path, smoothing=CONFIG)
    same = hs.segment(photo, on_photos.model_path, smoothing=choose_smoothing(parse_config(CONFIG)))
    assert np.array_equal(smooth.labels, same.labels) and smooth.made_by != plain.made_by


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: hs.train_unet("photos", schedule="ramp", t_mul=2.0),
            "^t_mul= is for schedule='cosine', and this is sche",
        ),
        (
            lambda: hs.train_unet("photos", encoder="none", frozen_epochs=1),
            "frozen_epochs= is for an encoder, and this is",
        ),
        (lambda: hs.train_unet("photos", schedule="ramp", first_epochs=2), "^first_epochs= is for schedule='cosine'"),
        (lambda: hs.train_unet("photos", size=(32, 32), n_crops=2), "size= resizes whole photos; crop=, crop_scale="),
        (lambda: hs.train_unet("photos", widths=(8, 4)), r"^widths=\(8, 4\): give 4 whole numbers"),
        (lambda: hs.train_unet("photos", size=[32, "a"]), r"^size=\(32, 'a'\): give \[rows, cols\]"),
        (lambda: hs.train_unet("photos", preset="blog"), "^preset='blog': give one of efficientnet-blog"),
        (lambda: hs.train_unet("photos", test_masks="photos"), "test_masks= is given without test_images="),
        (lambda: hs.train_unet("photos", histogram_interval=3), "give tensorboard_dir= too"),
        (lambda: hs.train_fcn("photos", size=(32, 32), balance=True), "size= resizes whole photos"),
        (lambda: hs.train_fcn("photos", rotation=-1), "^rotation=-1: give a number"),
        (lambda: hs.train_resunet(CONFIG), "^give either data=, or photos= with masks="),
        (
            lambda: hs.train_resunet({**CONFIG, "NCLASES": 2}, photos="photos"),
            "no key 'NCLASES'; did you mean NCLASSES",
        ),
        (lambda: hs.train_resunet({"BATCH_SIZE": 0}, photos="photos"), "BATCH_SIZE=0: give a whole number from 1"),
        (
            lambda: hs.train_resunet(CONFIG, data="photos", balance=True),
            "balance=True are for windows of photos: give photos=",
        ),
        (lambda: hs.show_augmentation("photos", augmentation="none"), "there is nothing to show"),
        (lambda: hs.show_augmentation("photos", n_photos=0), "^n_photos=0: give a whole number from 1 to 20"),
        (lambda: hs.run("photos", test_list=[]), r"photos for testing \(test_list=\) is empty"),
    ],
)
def test_wrong_settings_in_pythons_words(call, message, coast, monkeypatch):
    monkeypatch.chdir(coast.parent)
    with pytest.raises((BadInput, BadUsage), match=message):
        call()
    assert [path.name for path in coast.parent.iterdir()] == ["photos"]


@pytest.mark.slow
def test_the_sheet_of_the_augmentation(coast, tmp_path):
    sheet = hs.show_augmentation(coast, masks=coast, out=tmp_path / "sheet.png", n_photos=1, n_versions=1)
    assert repr(sheet) == f"<DrawnFigure: {tmp_path / 'sheet.png'}>" and sheet._repr_png_()[1:4] == b"PNG"
    with pytest.raises(
        OutputExists, match=r"sheet.png is there already; overwrite=True replaces it, out= gives another"
    ):
        hs.show_augmentation(coast, out=tmp_path / "sheet.png")


def test_a_config_as_a_dict_is_that_of_the_file(tmp_path):
    config = parse_config(CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(config_record(config)))
    from hybridseg.api.arguments import find_config

    assert find_config(tmp_path / "config.json") == find_config(CONFIG) == find_config(config)
