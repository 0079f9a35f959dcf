import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.classes import ClassTable
from hybridseg.dense.programs.config import ResunetConfig
from hybridseg.dense.programs.resunet import ResunetExtras, choose_smoothing, make_plan, make_tfrecords
from hybridseg.dense.programs.resunetdata import choose_table, open_training_records
from hybridseg.dense.recordpairs import open_records
from hybridseg.dense.smoothing import PROBS_SMOOTHING, SmoothingOptions
from hybridseg.errors import BadInput, OutputExists
from hybridseg.io.images import write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

SIZE = (32, 64)
STILL = {"aug_rot": 0, "aug_zoom": 0, "aug_widthshift": 0, "aug_heightshift": 0, "aug_hflip": False}
STEMS = ("a", "b", "c")
# Photographs of bytes are kept as JPEG of a high quality.
LOSS = 6


def make_config(**changes):
    settings = {"target_size": SIZE, "nclasses": 1, "n_data_bands": 3, "usemask": True, "aug_copies": 4, **STILL}
    return ResunetConfig(**{**settings, **changes})


def write_mask(path: Path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    """Three photographs whose red grows downwards and whose green grows to the right; the right half is the class."""
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    for number, stem in enumerate(STEMS):
        image = np.stack([20 + 7 * rows, 20 + 3 * cols, np.full(SIZE, 50 * number)], axis=-1).astype(np.uint8)
        write_image(tmp_path / f"images/{stem}.png", image)
        write_mask(tmp_path / f"masks/{stem}_mask.png", cols >= SIZE[1] // 2)
    return tmp_path


def make(photos, config, out="records", **settings):
    make_tfrecords(config, photos / "images", photos / "masks", photos / out, **settings)
    return open_records(photos / out)


def read_all(pairs):
    """Every copy, sorted, so that the order in the files does not matter."""
    found = [(pairs.sources[i], *pairs.read(i)) for i in range(len(pairs.sources))]
    return sorted(found, key=lambda row: (row[0], row[1].tobytes(), row[2].tobytes()))


def original(photos, stem):
    return np.asarray(Image.open(photos / f"images/{stem}.png")).astype(int)


def test_copies_without_changes_are_the_photographs(photos):
    pairs = make(photos, make_config())
    assert (pairs.size, pairs.n_bands, pairs.table.names) == (SIZE, 3, ("null", "foreground"))
    found = read_all(pairs)
    assert [source for source, _, _ in found] == [stem for stem in STEMS for _ in range(4)]
    for source, image, labels in found:
        assert np.abs(image - original(photos, source)).max() <= LOSS
        assert labels[:, :32].max() == 0 and labels[:, 32:].min() == 1


@pytest.mark.slow
@pytest.mark.parametrize(("key", "value", "moves"), [
    ("aug_rot", 20, (True, True)), ("aug_zoom", 0.3, (True, True)), ("aug_widthshift", 0.3, (False, True)),
    ("aug_heightshift", 0.3, (True, False)), ("aug_hflip", True, (False, True)), ("aug_vflip", True, (True, False)),
])  # fmt: skip
def test_every_key_of_the_copies_has_its_effect(photos, key, value, moves):
    found = read_all(make(photos, make_config(**{key: value})))
    apart = np.array([np.abs(image - original(photos, s)).max(axis=(0, 1)) for s, image, _ in found])
    assert tuple(apart.max(axis=0)[:2] > 10) == moves and apart[:, 2].max() <= LOSS
    if key in ("aug_hflip", "aug_vflip"):
        turned = [
            (original(photos, s)[:, ::-1] if key == "aug_hflip" else original(photos, s)[::-1]) for s, _, _ in found
        ]
        mirrored = [np.abs(image - other).max() <= LOSS for (_, image, _), other in zip(found, turned, strict=True)]
        same = apart.max(axis=1) <= LOSS
        assert 0 < sum(same) < len(found) and all(np.logical_xor(mirrored, same))
    for _, image, labels in found:
        # The labels move with the image: what is green enough is of the class.
        assert (labels == (image[..., 1] >= 20 + 3 * 32 - 1)).mean() > 0.93
        assert set(np.unique(labels)) <= {0, 1}


def test_keys_of_the_files(photos):
    make(photos, make_config(ims_per_shard=5, root_string="water of mine", aug_copies=3))
    names = [f"water of mine-{i:04}-of-0002.tfrec" for i in (1, 2)]
    assert sorted(p.name for p in (photos / "records").iterdir()) == ["index.json", "plan.json", *names]
    make(photos, make_config(ims_per_shard=2, aug_copies=1), "more")
    assert len(list((photos / "more").glob("images-*-of-0002.tfrec"))) == 2


def test_loops_part_the_photographs_and_change_nothing_else(photos):
    config = {"aug_rot": 10, "aug_copies": 3}
    whole, parts = (make(photos, make_config(aug_loops=n, **config), f"loops{n}") for n in (1, 3))
    starts = [i for i in range(1, 9) if parts.sources[i] != parts.sources[i - 1]]
    assert starts == [3, 6], "only the copies of one photograph are in memory together"
    assert len([i for i in range(1, 9) if whole.sources[i] != whole.sources[i - 1]]) > 2
    for one, other in zip(read_all(whole), read_all(parts), strict=True):
        assert one[0] == other[0] and np.array_equal(one[1], other[1]) and np.array_equal(one[2], other[2])


def test_the_size_and_the_seed(photos):
    small = make(photos, make_config(target_size=(64, 32), aug_rot=9), "small")
    assert small.read(0)[0].shape == (64, 32, 3) and small.read(0)[1].shape == (64, 32)
    seeds = [read_all(make(photos, make_config(aug_rot=9), f"seed{i}", seed=i)) for i in (1, 2)]
    assert not np.array_equal(seeds[0][0][1], seeds[1][0][1])


def test_values_are_recoded(photos):
    for stem in STEMS:
        write_mask(photos / f"masks/{stem}_mask.png", np.repeat([[0, 3, 7, 255]], 16, axis=1).repeat(32, axis=0))
    with pytest.raises(BadInput, match=r"a_mask\.png: has the values 3, 7; classes go from 0 to 1"):
        make(photos, make_config())
    _, labels = make(photos, make_config(remap_classes={3: 1, 7: 255, 255: 0})).read(0)
    assert labels[0, [0, 16, 32, 48]].tolist() == [0, 1, 255, 0]
    # Another recoding, other records: they are not mixed.
    with pytest.raises(OutputExists, match="holds records of other images or options"):
        make(photos, make_config(remap_classes={3: 0, 7: 1}))
    _, labels = make(photos, make_config(remap_classes={3: 0, 7: 1}), overwrite=True).read(0)
    assert labels[0, [0, 16, 32, 48]].tolist() == [0, 0, 1, 255]


FOUR = {"nclasses": 4, "remap_classes": {}}
TWO = {"nclasses": 1, "remap_classes": {0: 0, 1: 0, 2: 0, 3: 1, 4: 255}}


@pytest.fixture
def raw(photos):
    """Records of five classes, whose ids are as the masks have them."""
    for stem in STEMS:
        write_mask(photos / f"masks/{stem}_mask.png", np.repeat([[0, 1, 3, 4]], 16, axis=1).repeat(32, axis=0))
    make(photos, make_config(**FOUR))
    return photos


def open_as(photos, **changes):
    """Open the records as the training does."""
    return open_training_records(make_config(**changes), photos / "records")


def test_records_made_otherwise_are_remapped_when_they_are_read(raw):
    pairs = open_as(raw, **TWO)
    assert pairs.read(0)[1][0, [0, 16, 32, 48]].tolist() == [0, 0, 1, 255]
    assert pairs.table.names == ("null", "foreground") and set(pairs.sources) == set(STEMS)
    plain = open_as(raw, **FOUR)
    assert plain.read(0)[1][0, [0, 16, 32, 48]].tolist() == [0, 1, 3, 4]
    assert np.array_equal(plain.read(0)[0], pairs.read(0)[0]) and plain.fingerprint != pairs.fingerprint


def test_nothing_is_remapped_twice(photos):
    """An id that is both an old and a new one would come to another class each time."""
    for stem in STEMS:
        write_mask(photos / f"masks/{stem}_mask.png", np.repeat([[0, 1]], 32, axis=1).repeat(32, axis=0))
    swapped = {"remap_classes": {0: 1, 1: 0}}
    make(photos, make_config(**swapped))
    for changes in (swapped, {"remap_classes": {}}):
        assert open_as(photos, **changes).read(0)[1][0, [0, 63]].tolist() == [1, 0]


@pytest.mark.parametrize(("made", "asked", "message"), [
    (FOUR, TWO | {"remap_classes": {0: 0, 1: 1, 3: 1}}, "leaves the ids 2, 4 of the records in .* but NCLASSES=1 mea"),
    (TWO, FOUR | {"remap_classes": {3: 2}}, r"made with REMAP_CLASSES=\{0: 0, .* the config says \{3: 2\}; give the"),
    (FOUR, FOUR | {"nclasses": 3}, "have 5 label ids, but NCLASSES=3 means 4"),
])  # fmt: skip
def test_a_remapping_that_cannot_be_right(raw, made, asked, message):
    if made is not FOUR:
        make(raw, make_config(**made), overwrite=True)
    with pytest.raises(BadInput, match=message) as caught:
        open_as(raw, **asked)
    assert "\n" not in str(caught.value)


def test_records_that_do_not_say_how_they_were_remapped(raw):
    path = raw / "records/index.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "remap"}))
    assert open_as(raw, **FOUR).read(0)[1].max() == 4
    with pytest.raises(BadInput, match="earlier version, which did not write REMAP_CLASSES down; give the config"):
        open_as(raw, **TWO)


def test_classes_that_become_one_have_both_names(photos):
    names = ClassTable.from_names(["sea", "surf", "sand", "road"])
    for number, stem in enumerate(STEMS):
        (photos / f"masks/{stem}_mask.png").unlink()
        own = ClassTable.from_names(np.roll(names.names, number).tolist())
        labels = np.repeat([[own.index(name) for name in names.names]], 16, axis=1).repeat(32, axis=0)
        write_labelmap(photos / f"masks/{stem}_mask.png", LabelMap(labels.astype(np.uint8), own))
    config = {"nclasses": 2, "remap_classes": {1: 0, 2: 1, 3: 2}}
    both = make(photos, make_config(**config), "remapped")
    make(photos, make_config(nclasses=3))
    for pairs in (both, open_as(photos, **config)):
        assert pairs.table.names == ("sea + surf", "sand", "road") and pairs.table.colors[1] == names.colors[2]
        assert all(labels[0, ::16].tolist() == [0, 0, 1, 2] for _, _, labels in read_all(pairs))


def test_masks_or_labels_in_one_folder_with_the_photographs(photos):
    for stem in STEMS:
        (photos / f"masks/{stem}_mask.png").rename(photos / f"images/{stem}_mask.png")
    (photos / "masks").rmdir()
    (photos / "masks").symlink_to("images")
    make_tfrecords(make_config(), photos / "images", photos / "images", photos / "records")
    assert set(open_records(photos / "records").sources) == set(STEMS)
    make_tfrecords(make_config(usemask=False), photos / "images", None, photos / "wrong_word")
    assert set(open_records(photos / "wrong_word").sources) == set(STEMS), "USEMASK is wrong, and no mask is missing"
    for stem in STEMS:
        (photos / f"images/{stem}_mask.png").rename(photos / f"images/{stem}_label.png")
    make_tfrecords(make_config(usemask=False), photos / "images", photos / "images", photos / "other")
    assert set(open_records(photos / "other").sources) == set(STEMS)


def test_masks_of_black_and_white(photos):
    for stem in STEMS:
        write_mask(photos / f"masks/{stem}_mask.png", np.repeat([[0, 255]], 32, axis=1).repeat(32, axis=0))
    message = r'3 files are .*\n.*\n.*b_mask\.png: holds 0 and 255 only; add "REMAP_CLASSES": \{"255": 1\}'
    with pytest.raises(BadInput, match=message):
        make(photos, make_config())
    assert not (photos / "records").exists()
    _, labels = make(photos, make_config(remap_classes={255: 1})).read(0)
    assert labels[0, [0, 63]].tolist() == [0, 1]


def spoil(photos, how):
    masks, images = photos / "masks", photos / "images"
    if how == "lonely image":
        write_image(images / "d.png", np.zeros((*SIZE, 3), np.uint8))
    elif how == "size":
        write_mask(masks / "b_mask.png", np.zeros((32, 60)))
    elif how == "value":
        write_mask(masks / "c_mask.png", np.full(SIZE, 2))
    elif how == "jpeg":
        Image.new("L", SIZE[::-1]).save(masks / "c_mask.jpg")
        (masks / "c_mask.png").unlink()
    elif how == "cut":
        (masks / "a_mask.png").write_bytes((masks / "a_mask.png").read_bytes()[:60])
    elif how == "one of other bands":
        Image.new("L", SIZE[::-1]).save(images / "c.png")
    elif how == "colours":
        write_image(masks / "a_mask.png", np.zeros((*SIZE, 3), np.uint8))


@pytest.mark.parametrize(("how", "message"), [
    ("lonely image", r"d\.png: has no label map"),
    ("size", r"b_mask\.png: has 32 x 60 pixels, but b\.png has 32 x 64"), ("jpeg", r"c_mask\.jpg: is a JPEG"),
    ("value", r"c_mask\.png: has the values 2; classes go from 0 to 1"), ("cut", r"a_mask\.png.*(damaged|cut)"),
    ("one of other bands", r"a\.png has 3 bands of uint8, c\.png 1 of uint8"), ("colours", r"a_mask\.png is a colour"),
])  # fmt: skip
def test_what_cannot_be_used_is_named_before_anything_is_written(photos, how, message):
    spoil(photos, how)
    with pytest.raises(BadInput, match=message):
        make(photos, make_config())
    assert not (photos / "records").exists()


def test_transparency_is_left_out_of_records(photos, caplog):
    plain = read_all(make(photos, make_config(), out="plain"))
    for path in (photos / "images/a.png", photos / "images/b.png"):
        Image.open(path).convert("RGBA").save(path)
    records = make(photos, make_config())
    assert records.n_bands == 3 and "the transparency of 2 photos (such as a.png) is left out" in caplog.text
    for (_, one, _), (_, other, _) in zip(read_all(records), plain, strict=True):
        assert np.array_equal(one, other)


def test_bands_that_the_config_does_not_say(photos):
    with pytest.raises(BadInput, match="the images have 3 bands, but N_DATA_BANDS is 4; correct the config"):
        make(photos, make_config(n_data_bands=4))
    assert not (photos / "records").exists()


def test_names_of_the_classes(photos, table):
    config = make_config(nclasses=2)
    assert choose_table(config).names == ("null", "class 1", "class 2")
    assert choose_table(config, table) == table
    two = ClassTable(("water", "sand"), ((0, 0, 255), (255, 255, 0)))
    assert choose_table(config, two) == ClassTable(("null", *two.names), ((0, 0, 0), *two.colors))
    with pytest.raises(BadInput, match="the list names 2 classes, but NCLASSES=4 means 5 with the null class first"):
        choose_table(make_config(nclasses=4), two)
    # Those that the label maps name themselves, whatever their order in each.
    for number, stem in enumerate(STEMS):
        (photos / f"masks/{stem}_mask.png").unlink()
        names = tuple(np.roll(table.names, number).tolist())
        colors = tuple(table.colors[table.names.index(name)] for name in names)
        labels = np.full(SIZE, names.index("cliff"), np.uint8)
        write_labelmap(photos / f"masks/{stem}_mask.png", LabelMap(labels, ClassTable(names, colors)))
    pairs = make(photos, config)
    assert pairs.table == table and all((labels == 2).all() for _, _, labels in read_all(pairs))


def test_the_plan_has_every_key_of_the_training():
    config = make_config(
        kernel_size=(3, 5), batch_size=7, patience=4, max_epochs=9, validation_split=0.6, rampup_epochs=2,
        sustain_epochs=3, exp_decay=0.7, start_lr=1e-6, min_lr=1e-7, max_lr=1e-2,
    )  # fmt: skip
    plan = make_plan(config, ResunetExtras(2, "bilinear", loss="combo", seed=5))
    network = plan.architecture
    assert (network.kernel_size, network.filters, network.upsample, network.n_outputs) == ((3, 5), 2, "bilinear", 1)
    assert (plan.batch_size, plan.validation_share) == (7, 0.6)
    assert (plan.fit.epochs, plan.fit.patience, plan.fit.loss.loss, plan.fit.seed) == (9, 4, "combo", 5)
    assert make_plan(make_config(), ResunetExtras(best_by="dice")).fit.best_by == "dice"
    with pytest.raises(BadInput, match=r"KERNEL_SIZE \[3, 5\]: on an encoder it is \[3, 3\]"):
        make_plan(config, ResunetExtras(encoder="mobilenet_v2"))
    with pytest.raises(BadInput, match="upsample=bilinear: a network on an encoder has transposed"):
        ResunetExtras(encoder="mobilenet_v2", upsample="bilinear")
    rates = [plan.fit.schedule.learning_rate(epoch) for epoch in range(7)]
    falling = 1e-7 + (1e-2 - 1e-7) * 0.7
    assert rates == pytest.approx([1e-6, 5.0005e-3, 1e-2, 1e-2, 1e-2, 1e-2, falling])
    assert not plan.augment.any, "the copies are altered once, when they are made"


def test_keys_of_the_smoothing():
    still = choose_smoothing(make_config(do_crf_refine=False, median_filter_value=0))
    assert still == SmoothingOptions() and not still.any
    assert choose_smoothing(make_config(do_crf_refine=False, median_filter_value=5)) == SmoothingOptions(radius=5)
    refined = choose_smoothing(make_config(do_crf_refine=True, median_filter_value=0))
    assert refined.crf_from == "probabilities" and refined.crf == PROBS_SMOOTHING.crf and refined.radius == 0


def test_painted_masks_are_remapped(tmp_path):
    """The class list says what the colours are; REMAP_CLASSES what becomes of them."""
    table = ClassTable(("null", "water", "sand"), ((0, 0, 0), (0, 0, 255), (255, 255, 0)))
    painted = np.repeat([(0, 0, 255), (255, 255, 0)], 32, axis=0).astype(np.uint8)[:, None].repeat(64, 1)
    for name in "ab":
        write_image(tmp_path / f"im/{name}.jpg", painted)
        write_image(tmp_path / f"ma/{name}.png", painted)
    config = ResunetConfig(target_size=(64, 64), nclasses=1, n_data_bands=3, remap_classes={2: 1}, aug_copies=1)
    result = make_tfrecords(config, tmp_path / "im", tmp_path / "ma", tmp_path / "records", table=table)
    assert result.n_records == 2
    records = open_training_records(config, tmp_path / "records")
    assert records.table.names == ("null", "water + sand") and set(np.unique(records.read(0)[1])) <= {1, 255}


def test_a_class_list_names_the_ids_before_they_are_merged(tmp_path):
    """Masks of ids without names: three classes become two."""
    labels = np.repeat([0, 1, 2, 2], 16)[:, None].repeat(64, 1).astype(np.uint8)
    for name in "ab":
        write_image(tmp_path / f"im/{name}.jpg", labels[..., None].repeat(3, 2) * 80)
        write_image(tmp_path / f"ma/{name}.png", labels)
    config = ResunetConfig(target_size=(64, 64), nclasses=1, n_data_bands=3, remap_classes={2: 1}, aug_copies=1)
    given = ClassTable.from_names(["deep", "shallow", "land"])
    make_tfrecords(config, tmp_path / "im", tmp_path / "ma", tmp_path / "records", table=given)
    assert open_training_records(config, tmp_path / "records").table.names == ("deep", "shallow + land")
