import json
from pathlib import Path

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.confusion import count_confusion
from hybridseg.dense.programs import configproposal as module
from hybridseg.dense.programs.config import KEYS, ResunetConfig, config_record, explain_keys, read_config
from hybridseg.dense.programs.configproposal import propose_config
from hybridseg.dense.programs.resunetdata import find_pairs
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.images import write_image
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.io.tables import write_json


def write_grey(path, values):
    """Write bytes as they are: a grey PNG without class names."""
    from PIL import Image

    Image.fromarray(np.asarray(values, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    """A folder of four blank photographs, a.png to d.png, of 64 x 96 pixels."""
    folder = tmp_path / "north beach"
    folder.mkdir()
    for name in "abcd":
        write_image(folder / f"{name}.png", np.zeros((64, 96, 3), np.uint8))
    return folder


@pytest.fixture
def labels(tmp_path):
    """Write one label map for each array into a folder, named a_mask.png, b_mask.png and so on."""

    def write(*maps, word="mask"):
        folder = tmp_path / "truth"
        folder.mkdir()
        for name, values in zip("abcdefgh", maps, strict=False):
            write_grey(folder / f"{name}_{word}.png", values)
        return folder

    return write


def test_photos_alone(photos, tmp_path):
    proposal = propose_config(photos)
    assert proposal.config == ResunetConfig(
        target_size=(64, 96),
        nclasses=1,
        n_data_bands=3,
        batch_size=3,
        validation_split=0.25,
        aug_copies=5,
        max_epochs=100,
        sustain_epochs=50,
        start_lr=5e-5,
        min_lr=5e-6,
        max_lr=5e-4,
        root_string="north_beach",
    )
    assert proposal.problems == ()
    write_json(tmp_path / "config.json", config_record(proposal.config))
    assert read_config(tmp_path / "config.json") == proposal.config


def test_reasons_name_the_numbers_that_were_found(photos, labels):
    proposal = propose_config(photos, labels([[0, 1], [2, 255]], [[3, 3]]))
    reasons = proposal.reasons
    record, defaults = config_record(proposal.config), {key: default for key, _, default, _ in explain_keys()}
    assert {key for key in KEYS if json.dumps(record[key]) != defaults[key]} <= set(reasons) <= set(KEYS)
    assert all(reason.endswith(".") for reason in reasons.values())
    assert "has 64 x 96 pixels (of 4 inspected); 64 x 96 is" in reasons["TARGET_SIZE"]
    assert reasons["N_DATA_BANDS"] == "Each of the 4 images inspected has 3 bands."
    assert "2 label maps read: the values 0, 1, 2, 3, 255; ids go from 0 to 3 (255 is void)" in reasons["NCLASSES"]
    assert "2 of 2 label files say 'mask' in the name, 0 say 'label'" in reasons["USEMASK"]
    assert "'north beach'" in reasons["ROOT_STRING"]


@pytest.mark.parametrize(
    ("maps", "nclasses", "remap"),
    [
        ([[[0, 1]]], 1, {}),
        ([[[0, 0]]], 1, {}),
        ([[[0, 1, 255]]], 1, {}),
        ([[[0, 0]], [[255, 255]]], 1, {255: 1}),
        ([[[255, 255]]], 1, {255: 1}),
        ([[[0, 1]], [[2, 4]]], 4, {}),
        ([[[0, 254, 255]]], 254, {}),
    ],
)
def test_classes_follow_the_values_of_the_label_maps(photos, labels, maps, nclasses, remap):
    config = propose_config(photos, labels(*maps)).config
    assert (config.nclasses, config.remap_classes) == (nclasses, remap)


def test_without_a_network_the_crf_is_left_out_with_a_reason(photos, labels):
    proposal = propose_config(photos, labels([[0, 1]]))
    assert proposal.config.do_crf_refine is False and "init-config --weights" in proposal.reasons["DO_CRF_REFINE"]


@pytest.mark.parametrize("helps", [True, False])
def test_the_better_of_both_is_proposed(photos, labels, monkeypatch, helps):
    table = ClassTable.from_names(["a", "b"])
    scores = [count_confusion(np.array([[0, 1]]), np.array([found], np.uint8), table) for found in ([1, 1], [0, 1])]
    monkeypatch.setattr(module, "load_resunet", lambda path: None)
    monkeypatch.setattr(module, "describe_network", lambda model: {"target_size": (32, 32)})
    monkeypatch.setattr(module, "try_refinement", lambda *_, **__: (7, *(scores if helps else scores[::-1])))
    proposal = propose_config(photos, labels([[0, 1]]), Path("water.h5"))
    assert proposal.config.do_crf_refine is helps and proposal.config.target_size == (32, 32)
    shown = ["accuracy 0.500 and mean IoU 0.250 without", "accuracy 1.000 and mean IoU 1.000 without"]
    reason = proposal.reasons["DO_CRF_REFINE"]
    assert reason.startswith("On 7 images that") and shown[not helps] in reason


def test_ids_that_do_not_occur_are_counted(photos, labels):
    assert "3 of these ids did not occur" in propose_config(photos, labels([[0, 4]])).reasons["NCLASSES"]


def test_named_classes_count_although_they_do_not_occur(photos, tmp_path):
    table = ClassTable.from_names(["water", "sand", "cliff"])
    write_matfile(photos / "a_mres.mat", LabelMap(np.array([[0, 255]], np.uint8), table))
    proposal = propose_config(photos, photos)
    assert proposal.config.nclasses == 2 and proposal.config.remap_classes == {}
    assert "3 named classes" in proposal.reasons["NCLASSES"]


def test_255_beside_a_named_class_is_no_class(photos):
    write_matfile(photos / "a_mres.mat", LabelMap(np.array([[0, 255]], np.uint8), ClassTable.from_names(["water"])))
    config = propose_config(photos, photos).config
    assert (config.nclasses, config.remap_classes) == (1, {})


@pytest.mark.parametrize(
    ("word", "usemask"), [("mask", True), ("Masks", True), ("label", False), ("watermask", False), ("x", False)]
)
def test_the_names_tell_mask_from_label(photos, labels, word, usemask):
    assert propose_config(photos, labels([[0, 1]], word=word)).config.usemask is usemask


def test_masks_are_found_as_they_are_for_training(photos, labels):
    """Of both kinds those that USEMASK says, and beside the images where no folder is given."""
    folder = labels(*[[[0, 2]]] * 4, word="label")
    for path in list(folder.iterdir()):
        write_grey(path.with_name(path.name.replace("label", "mask")), [[0, 1]])
    proposal = propose_config(photos, folder)
    assert proposal.config.nclasses == 2 and not proposal.config.usemask and not proposal.problems
    pairs = find_pairs(proposal.config, photos, folder)
    assert [pair.labels_path.name for pair in pairs] == sorted(path.name for path in folder.glob("*label*"))
    for path in folder.glob("*label*"):
        path.rename(photos / path.name)
    assert propose_config(photos).config == propose_config(photos, photos).config
    assert propose_config(photos).config.nclasses == 2


def test_the_jpeg_masks_of_other_images_tell_of_no_classes(photos, labels):
    folder = labels([[0, 1]])
    (folder / "z_mask.JPG").write_bytes(b"no")
    assert propose_config(photos, folder).problems == ()


def test_the_name_of_the_folder_decides_where_files_say_nothing(photos, labels):
    folder = labels([[0, 1]], word="x").rename(photos.parent / "masks")
    proposal = propose_config(photos, folder)
    assert proposal.config.usemask is True and "the folder says 'mask'" in proposal.reasons["USEMASK"]


def test_images_and_masks_in_one_folder(photos):
    for name in "ab":
        write_grey(photos / f"{name}_mask.png", [[0, 255]])
    proposal = propose_config(photos, photos / ".." / photos.name)
    assert proposal.config.n_data_bands == 3 and proposal.config.remap_classes == {255: 1}
    assert (
        "(of 4 inspected)" in proposal.reasons["TARGET_SIZE"] and "Of 2 images" in proposal.reasons["VALIDATION_SPLIT"]
    )


def test_results_of_a_machine_are_no_label_maps(photos):
    write_grey(photos / "a_label.png", [[0, 1]])
    write_grey(photos / "b_predseg.png", [[0, 9]])
    assert propose_config(photos, photos).config.nclasses == 1


def test_the_median_size_counts(tmp_path):
    for name, shape in {"a": (64, 96, 3), "b": (1100, 1600, 3), "c": (1000, 1500, 3)}.items():
        write_image(tmp_path / f"{name}.png", np.zeros(shape, np.uint8))
    config = propose_config(tmp_path).config
    assert config.target_size == (192, 288) and config.batch_size == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "share", "copies", "batch", "epochs"),
    [(1, 0.5, 5, 1, 100), (3, 0.5, 5, 1, 100), (20, 0.25, 5, 4, 100), (125, 0.15, 3, 4, 25), (600, 0.15, 1, 4, 25)],
)
def test_the_number_of_images_counts(tmp_path, n, share, copies, batch, epochs):
    write_image(tmp_path / "000.png", np.zeros((64, 64, 3), np.uint8))
    for i in range(1, n):
        (tmp_path / f"{i:03}.png").hardlink_to(tmp_path / "000.png")
    config = propose_config(tmp_path).config
    assert (config.validation_split, config.aug_copies, config.batch_size) == (share, copies, batch)
    assert config.max_lr == (1e-3 if batch >= 4 else 5e-4) and config.max_epochs == epochs
    if n == 125:
        # As many as in docs/benchmarks.md: every value is that of its run, and the defaults are too.
        assert config == ResunetConfig(target_size=(64, 64), nclasses=1, n_data_bands=3, root_string=config.root_string)


def test_at_most_200_images_are_inspected(tmp_path):
    write_image(tmp_path / "000.png", np.zeros((64, 64, 3), np.uint8))
    for i in range(1, 205):
        (tmp_path / f"{i:03}.png").hardlink_to(tmp_path / "000.png")
    reasons = propose_config(tmp_path).reasons
    assert "(of 200 inspected)" in reasons["TARGET_SIZE"] and "Of 205 images" in reasons["VALIDATION_SPLIT"]


def test_a_palette_is_three_bands(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).quantize(4).save(tmp_path / "a.png")
    assert propose_config(tmp_path).config.n_data_bands == 3


def test_grey_is_one_band(tmp_path):
    write_grey(tmp_path / "a.png", np.zeros((64, 64)))
    proposal = propose_config(tmp_path)
    assert proposal.config.n_data_bands == 1 and proposal.reasons["N_DATA_BANDS"].endswith("has 1 band.")


def test_images_of_different_bands_are_refused_naming_two(photos):
    write_grey(photos / "c.png", np.zeros((64, 96)))
    with pytest.raises(BadInput, match=r"a\.png has 3, .*c\.png has 1"):
        propose_config(photos)


def test_what_cannot_be_read_is_told_and_the_rest_is_used(photos, labels):
    folder = labels([[0, 1]])
    (photos / "b.png").write_bytes(b"no picture")
    (folder / "b_mask.png").write_bytes(b"")
    proposal = propose_config(photos, folder)
    assert [problem.where for problem in proposal.problems] == [str(photos / "b.png"), str(folder / "b_mask.png")]
    assert "(of 3 inspected)" in proposal.reasons["TARGET_SIZE"] and proposal.config.nclasses == 1


def test_nothing_to_go_by_is_refused(photos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingInput, match="there is no folder"):
        propose_config(tmp_path / "none")
    with pytest.raises(MissingInput, match="empty has no image"):
        propose_config(empty)
    with pytest.raises(MissingInput, match="empty has no label map"):
        propose_config(photos, empty)
    with pytest.raises(MissingInput, match="there is no folder"):
        propose_config(photos, tmp_path / "none")
    (empty / "a.jpg").write_bytes(b"")
    with pytest.raises(BadInput, match=r"no image can be read; the first: .*a\.jpg: is empty"):
        propose_config(empty)
    with pytest.raises(BadInput, match=r"a\.jpg: is a JPEG, which changes class ids; turn it into a PNG first"):
        propose_config(photos, empty)
    write_image(empty / "a_mask.png", np.full((4, 4, 3), 9, np.uint8))
    with pytest.raises(BadInput, match=r"no label map can be read; the first: .*a_mask\.png"):
        propose_config(photos, empty)


def test_images_that_are_too_small_are_refused(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((31, 96, 3), np.uint8))
    with pytest.raises(BadInput, match="31 x 96 pixels, but the smallest TARGET_SIZE is 32 x 32"):
        propose_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "root"), [("a b/ü", "ü"), ("..x", "x"), ("!", "images"), ("x" * 80, "x" * 50), ("a:b", "a_b")]
)
def test_the_name_of_the_folder_becomes_a_file_name(tmp_path, name, root):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    write_image(folder / "a.png", np.zeros((32, 32, 3), np.uint8))
    assert propose_config(folder).config.root_string == root
