import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridseg.dense.programs.config import KEYS, ResunetConfig, config_record, explain_keys, make_lookup, read_config
from hybridseg.errors import BadInput, MissingInput
from hybridseg.options import setting_of, type_of

PUBLISHED = Path(__file__).parent / "data" / "watermask_oblique_2class_batch_4.json"
LEAST = {"TARGET_SIZE": [64, 96], "NCLASSES": 3, "N_DATA_BANDS": 3}
KINDS = {key: type_of(ResunetConfig, key.lower())[0] for key in KEYS}
RANGES = {key: text for key, text, *_ in explain_keys()}


@pytest.fixture
def read(tmp_path):
    """Read a config of some values (beside the three that must be there), or of a text as it is."""

    def read_values(content=None, **values):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(LEAST | values) if content is None else content, encoding="utf-8")
        return read_config(path)

    return read_values


def test_the_published_example():
    assert read_config(PUBLISHED) == ResunetConfig(
        target_size=(768, 1024),
        kernel_size=(7, 7),
        nclasses=1,
        batch_size=4,
        n_data_bands=3,
        do_crf_refine=True,
        do_train=False,
        patience=25,
        ims_per_shard=50,
        max_epochs=200,
        validation_split=0.75,
        rampup_epochs=20,
        sustain_epochs=0.0,
        exp_decay=0.9,
        start_lr=1e-7,
        min_lr=1e-7,
        max_lr=1e-5,
        median_filter_value=3,
        doplot=True,
        root_string="watermask-oblique-data",
        usemask=True,
        aug_rot=5,
        aug_zoom=0.05,
        aug_widthshift=0.05,
        aug_heightshift=0.05,
        aug_hflip=True,
        aug_vflip=True,
        aug_loops=1,
        aug_copies=3,
        remap_classes={0: 0, 1: 0, 2: 0, 3: 1, 4: 1},
    )


def test_the_published_example_has_every_key_and_is_written_as_it_is():
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    record = config_record(read_config(PUBLISHED))
    assert record == published and list(record) == list(published) == list(KEYS)


def test_defaults(read):
    config = read()
    assert config == ResunetConfig(target_size=(64, 96), nclasses=3, n_data_bands=3)
    assert [config.kernel_size, config.batch_size, config.do_crf_refine, config.validation_split] == [
        (3, 3), 4, False, 0.15,
    ]  # fmt: skip
    config.remap_classes[3] = 0
    assert read().remap_classes == {}, "a default is not shared"


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("BATCH_SIZE", 4.0, 4),
        ("TARGET_SIZE", [64.0, 8192], (64, 8192)),
        ("KERNEL_SIZE", 5, (5, 5)),
        ("KERNEL_SIZE", [3, 15], (3, 15)),
        ("SUSTAIN_EPOCHS", 3, 3.0),
        ("EXP_DECAY", 1, 1.0),
        ("MEDIAN_FILTER_VALUE", 0, 0),
        ("AUG_ROT", 180, 180.0),
        ("START_LR", 0.001, 0.001),
        ("REMAP_CLASSES", {"255": 3, "0": 255, "10": 2.0}, {0: 255, 10: 2, 255: 3}),
        ("ROOT_STRING", "plage été 2", "plage été 2"),
        ("NCLASSES", 254, 254),
        ("DOPLOT", False, False),
    ],
)
def test_valid_values(read, key, raw, value):
    found = getattr(read(**{key: raw}), key.lower())
    assert found == value and type(found) is type(value)


WRONG_KIND = {
    bool: [0, 1, "true", {}],
    int: ["3", -1, [3], {"3": 1}, True, 1.5],
    float: ["3", -1, [3], {"3": 1}, True],
    str: [True, 5, "", "x" * 51, "../x", "a\\b", "..", " x", "a\nb"],
    tuple[int, int]: [True, [64, True], [64], [0, 64], [64, "64"], [1.5, 3], -1],
    dict[int, int]: [True, [[3, 1]], {"256": 1}, {"-1": 1}, {"01": 1}, {"\u0663": 1}, {"water": 1}, {"3": "1"},
                     {"3": 1.5}, {"3": True}, {"3": [[[]]]}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        *[(key, raw) for key in KEYS for raw in (None, [], [1, 2, 3], 10**300, *WRONG_KIND[KINDS[key]])],
        ("NCLASSES", 0),
        ("NCLASSES", 255),
        ("N_DATA_BANDS", 256),
        ("TARGET_SIZE", [64, 8224]),
        ("KERNEL_SIZE", [1, 3]),
        ("KERNEL_SIZE", [3, 4]),
        ("KERNEL_SIZE", 17),
        ("VALIDATION_SPLIT", 0),
        ("VALIDATION_SPLIT", 1),
        ("EXP_DECAY", 0),
        ("EXP_DECAY", 1.01),
        ("MAX_LR", 0),
        ("PATIENCE", 0),
        ("AUG_COPIES", 0),
        ("AUG_LOOPS", 0),
        ("AUG_ROT", 181),
        ("AUG_ZOOM", 1),
        ("AUG_WIDTHSHIFT", 1),
        ("MEDIAN_FILTER_VALUE", 51),
    ],
)
def test_a_wrong_value_is_one_problem_with_what_would_be_valid(read, key, raw):
    with pytest.raises(BadInput) as caught:
        read(**{key: raw})
    message = str(caught.value)
    assert f"config.json: {key}=" in message and f"give {RANGES[key]}" in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("key", "raw", "message"),
    [
        ("PATIENCE", 0, "PATIENCE=0: give a whole number from 1 to 100,000"),
        ("DOPLOT", "yes", 'DOPLOT="yes": give true or false'),
        ("AUG_ZOOM", 1.5, "AUG_ZOOM=1.5: give a number from 0 to below 1"),
    ],
)
def test_messages_show_the_value_and_the_range(read, key, raw, message):
    with pytest.raises(BadInput) as caught:
        read(**{key: raw})
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("raw", "near"),
    [
        ([700, 1000], "[672, 992] or [704, 1024]"),
        ([700, 1024], "[672, 1024] or [704, 1024]"),
        ([5, 9999], "[32, 8192]"),
    ],
)
def test_a_wrong_target_size_names_those_near_it(read, raw, near):
    with pytest.raises(BadInput) as caught:
        read(TARGET_SIZE=raw)
    assert str(caught.value).endswith(f"a multiple of 32, such as {near}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MIN_LR": 1e-3, "MAX_LR": 1e-3}, "MIN_LR=0.001 must be below MAX_LR=0.001"),
        ({"START_LR": 0.1, "MAX_LR": 0.01}, "START_LR=0.1 must not be above MAX_LR=0.01"),
        ({"MAX_LR": 1e-9, "START_LR": 0}, "MIN_LR=1e-05 must be below MAX_LR=1e-09"),
        ({"NCLASSES": 1, "REMAP_CLASSES": {"3": 2}}, "REMAP_CLASSES makes 2 of 3"),
        ({"REMAP_CLASSES": {"3": 3, "4": 4, "5": 255}}, "REMAP_CLASSES makes 4 of 4"),
    ],
)
def test_values_that_do_not_go_together(read, values, message):
    with pytest.raises(BadInput) as caught:
        read(**values)
    assert f"config.json: {message}" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("batch_size", "did you mean BATCH_SIZE?"),
        ("TARGETSIZE", "did you mean TARGET_SIZE?"),
        ("AUG_ROTATION", "did you mean AUG_ROT?"),
        ("zzz", "explain-config` lists all keys"),
    ],
)
def test_an_unknown_key(read, name, advice):
    with pytest.raises(BadInput, match=f"there is no key '{name}'; .*") as caught:
        read(**{name: 1})
    assert str(caught.value).endswith(advice)


def test_a_missing_key(read):
    with pytest.raises(BadInput, match=r"NCLASSES is missing: give a whole number from 1 to 254$"):
        read('{"TARGET_SIZE": [64, 64], "N_DATA_BANDS": 3}')


def test_all_that_is_wrong_is_in_one_message(read):
    with pytest.raises(BadInput) as caught:
        read('{"TARGET_SIZE": [65, 64], "nclasses": 2, "BATCH_SIZE": -1}')
    head, *lines = str(caught.value).split("\n  ")
    assert head.endswith("config.json: 4 things are wrong")
    starts = ["there is no key 'nclasses'; did you mean NCLASSES?", "N_DATA_BANDS is missing", "TARGET_SIZE=[65, 64]"]
    assert [line.startswith(start) for line, start in zip(lines, [*starts, "BATCH_SIZE=-1"], strict=True)] == [True] * 4
    with pytest.raises(BadInput, match=r"2 things are wrong\n  MIN_LR.*\n  START_LR"):
        read(MIN_LR=0.5, START_LR=0.6, MAX_LR=0.4)


def test_files_that_cannot_be_configs(read, tmp_path):
    for content in ('{"NCLASSES": 1,}', "[1, 2]", '{"NCLASSES": 1, "NCLASSES": 2}', '{"MAX_LR": NaN}'):
        with pytest.raises(BadInput, match=r"config\.json: "):
            read(content)
    with pytest.raises(MissingInput):
        read_config(tmp_path / "none.json")


@pytest.mark.parametrize(("record", "message"), [
    ({"format": 1, "kind": "dense", "classes": [], "size": [64, 96]}, "it is the card of a network; give the config"),
    ({"version": "5.0", "shapes": []}, "it is neither a config nor the card of a network; give the config"),
])  # fmt: skip
def test_a_card_and_a_foreign_file_are_told_apart(read, record, message):
    with pytest.raises(BadInput, match=rf"config\.json: {message}, which says TARGET_SIZE .*init-config`$"):
        read(json.dumps(record))


def test_the_constructor_is_as_strict_as_the_file():
    with pytest.raises(BadInput, match=r"2 things are wrong\n  TARGET_SIZE=\[60, 64\].*\n  NCLASSES=\"1\""):
        ResunetConfig(target_size=(60, 64), nclasses="1", n_data_bands=3)
    config = ResunetConfig(target_size=[64, 96], nclasses=2, n_data_bands=3.0)
    assert config == ResunetConfig(target_size=(64, 96), nclasses=2, n_data_bands=3)
    with pytest.raises(BadInput, match="MIN_LR"):
        dataclasses.replace(config, min_lr=0.5)


@pytest.mark.parametrize(("nclasses", "n_outputs", "n_label_ids"), [(1, 1, 2), (2, 3, 3), (4, 5, 5)])
def test_outputs_and_labels(nclasses, n_outputs, n_label_ids):
    config = ResunetConfig(target_size=(64, 64), nclasses=nclasses, n_data_bands=3)
    assert (config.n_outputs, config.n_label_ids) == (n_outputs, n_label_ids)


def test_remap_table():
    table = make_lookup(read_config(PUBLISHED).remap_classes)
    assert table.shape == (256,) and table.dtype == np.uint8
    assert table[:6].tolist() == [0, 0, 0, 1, 1, 5] and (table[5:] == np.arange(5, 256)).all()


def test_every_key_is_explained():
    rows = {name: rest for name, *rest in explain_keys()}
    assert list(rows) == list(KEYS) and [key for key in KEYS if rows[key][1] == "required"] == list(LEAST)
    assert (
        rows["TARGET_SIZE"][0] == "one number or [rows, cols], each a whole number from 32 to 8,192, a multiple of 32"
    )
    assert rows["KERNEL_SIZE"][:2] == ["one number or [rows, cols], each a whole number from 3 to 15, odd", "[3, 3]"]
    assert rows["REMAP_CLASSES"][:2] == ['pairs such as {"3": 1} of whole numbers from 0 to 255', "{}"]
    assert rows["AUG_ZOOM"][:2] == ["a number from 0 to below 1", "0.1"]
    assert rows["DOPLOT"][:2] == ["true or false", "true"] and rows["ROOT_STRING"][1] == '"images"'
    assert all(meaning.endswith(".") and len(meaning) > 20 for _, _, meaning in rows.values())


def _draw_value(key):
    kind, span = KINDS[key], setting_of(ResunetConfig, key.lower()).span
    low, high = (span.low, span.high) if span else (0, 1)
    whole = st.integers(int(low), int(high))
    if kind is float:
        return st.floats(low, high, exclude_min=span.above, exclude_max=span.below)
    return {
        bool: st.booleans(),
        int: whole,
        tuple[int, int]: st.tuples(*[whole.filter(lambda side: side in span)] * 2),
        str: st.text("aé海_-. 1", min_size=1, max_size=48).map(lambda text: f"x{text}x"),
        dict[int, int]: st.dictionaries(st.integers(0, 255), st.sampled_from([0, 1, 255])),
    }[kind]


@st.composite
def configs(draw):
    values = {key.lower(): draw(_draw_value(key)) for key in KEYS if key != "TARGET_SIZE"}
    rates = sorted(draw(st.lists(st.floats(0, 1, exclude_min=True), min_size=2, max_size=2, unique=True)))
    values |= {"min_lr": rates[0], "start_lr": rates[0], "max_lr": rates[1]}
    sides = st.integers(1, 256).map(lambda n: 32 * n)
    return ResunetConfig(**values, target_size=(draw(sides), draw(sides)))


@settings(deadline=None)
@given(configs())
def test_write_and_read_is_identity(config):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        record = config_record(config)
        path.write_text(json.dumps(record), encoding="utf-8")
        again = read_config(path)
        assert again == config and config_record(again) == record


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aB1 ./", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("0123", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYS, "OTHER"]), JSON_VALUES, max_size=4))
def test_any_json_is_read_whole_or_refused_in_words(values):
    """What is taken is taken as it stands: writing it gives the same values back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(LEAST | values), encoding="utf-8")
        try:
            record = config_record(read_config(path))
        except BadInput as error:
            assert str(error).startswith(f"{path}: ")
        else:
            sides = ("KERNEL_SIZE", "TARGET_SIZE")
            assert all(record[name] == (LEAST | values)[name] for name in values if name not in sides)
