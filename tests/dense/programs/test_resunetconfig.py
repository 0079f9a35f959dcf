import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridseg.dense.programs.resunetconfig import ResunetConfig, config_record, read_config
from hybridseg.dense.programs.resunetkeys import KEYS, REQUIRED, find_key
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.tables import write_json

PUBLISHED = Path(__file__).parent / "data" / "watermask_oblique_2class_batch_4.json"
LEAST = {"TARGET_SIZE": [64, 96], "NCLASSES": 3, "N_DATA_BANDS": 3}


@pytest.fixture
def read(tmp_path):
    """Read a config of some values (beside the three that must be there), or of a text or bytes as they are."""

    def read_values(content=None, **values):
        path = tmp_path / "config.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
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
    assert record == published and list(record) == list(published)


def test_fields_are_the_keys_in_lower_case_and_in_order():
    assert [f.name for f in dataclasses.fields(ResunetConfig)] == [key.name.lower() for key in KEYS]


def test_only_three_keys_must_be_there_and_every_default_is_valid(read):
    assert [key.name for key in KEYS if key.default is REQUIRED] == list(LEAST)
    config = read()
    assert config == ResunetConfig(target_size=(64, 96), nclasses=3, n_data_bands=3)
    assert all(getattr(config, key.field_name) == key.default for key in KEYS if key.name not in LEAST)


def test_a_default_is_not_shared():
    one, two = (ResunetConfig(target_size=(64, 64), nclasses=1, n_data_bands=1) for _ in range(2))
    one.remap_classes[3] = 0
    assert two.remap_classes == {} and find_key("REMAP_CLASSES").default == {}


@pytest.mark.parametrize("raw", [None, float("nan"), 10**400], ids=["null", "NaN", "huge"])
@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_one_wrong_value_is_one_problem(read, key, raw):
    """What cannot be read contradicts nothing."""
    with pytest.raises(BadInput) as caught:
        read(**{key.name: raw})
    message = str(caught.value)
    assert f"config.json: {key.name}=" in message and message.endswith(key.type_text) and "\n" not in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MIN_LR": 1e-3, "MAX_LR": 1e-3}, "MIN_LR=0.001 must be below MAX_LR=0.001"),
        ({"START_LR": 0.1, "MAX_LR": 0.01}, "START_LR=0.1 must not be above MAX_LR=0.01"),
        ({"MAX_LR": 1e-9, "START_LR": 0}, "MIN_LR=1e-05 must be below MAX_LR=1e-09"),
        ({"NCLASSES": 1, "REMAP_CLASSES": {"3": 2}}, "REMAP_CLASSES makes 2 of 3, which is no class"),
        ({"REMAP_CLASSES": {"3": 3, "4": 4}}, "REMAP_CLASSES makes 4 of 4, which is no class: with NCLASSES=3"),
    ],
)
def test_values_that_do_not_go_together(read, values, message):
    with pytest.raises(BadInput) as caught:
        read(**values)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("batch_size", "did you mean BATCH_SIZE?"),
        ("TARGETSIZE", "did you mean TARGET_SIZE?"),
        ("AUG_ROTATION", "did you mean AUG_ROT?"),
        ("zzz", "the keys are TARGET_SIZE, KERNEL_SIZE"),
    ],
)
def test_an_unknown_key(read, name, advice):
    with pytest.raises(BadInput) as caught:
        read(**{name: 1})
    assert f"there is no key '{name}'; {advice}" in str(caught.value)


def test_a_missing_key(read):
    with pytest.raises(BadInput, match=r"NCLASSES is missing: give a whole number from 1 to 254$"):
        read('{"TARGET_SIZE": [64, 64], "N_DATA_BANDS": 3}')


def test_all_that_is_wrong_is_in_one_message(read):
    text = (
        '{"TARGET_SIZE": [65, 64], "nclasses": 2, "PATIENCE": 0, "PATIENCE": 1, "MIN_LR": 0.1, "BATCH_SIZE": NaN, '
        '"REMAP_CLASSES": {"1": 2, "1": 3}}'
    )
    with pytest.raises(BadInput) as caught:
        read(text)
    head, *lines = str(caught.value).split("\n  ")
    assert head.endswith("config.json: 7 things are wrong")
    starts = [
        "'1' is there 2 times",
        "'PATIENCE' is there 2 times",
        "there is no key 'nclasses'; did you mean NCLASSES?",
    ]
    starts += ["N_DATA_BANDS is missing", "TARGET_SIZE=[65, 64]", "BATCH_SIZE=nan", "MIN_LR=0.1 must be below MAX_LR"]
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines


def test_a_message_stays_short_however_much_is_wrong(read):
    with pytest.raises(BadInput) as caught:
        read("{" + ", ".join(f'"X{i}": 0, "X{i}": 0' for i in range(200)) + "}")
    lines = str(caught.value).split("\n  ")
    assert len(lines) == 62 and lines[1] == "'X0' is there 2 times; keep one" and lines[-1].startswith("and ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON text"),
        (b"[1, 2]", "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b'{"NCLASSES": 1,}', "is no JSON text"),
        (b"{'NCLASSES': 1}", "is no JSON text"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "is no JSON text"),
        (b'{"NCLASSES": ' + b"9" * 5000 + b"}", "is no JSON text"),
        (b"[" * 500_000, "is nested far too deeply"),
        (b'{"a":' * 150_000, "is nested far too deeply"),
        (b" " * 1_000_001, "is larger than 1,000,000 bytes"),
        (b"__import__('os').system('true')", "is no JSON text"),
    ],
)
def test_hostile_files(read, content, message):
    with pytest.raises(BadInput) as caught:
        read(content)
    assert f"config.json: {message}" in str(caught.value) and len(str(caught.value)) < 500


def test_many_hostile_names_take_no_long_time(read):
    """Comparing each of these with every key would take minutes."""
    names = ", ".join(f'"TARGET_SIZ{i:05}": 0' for i in range(40_000))
    with pytest.raises(BadInput, match="there are 39980 more names that are no keys"):
        read("{" + names + "}")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(MissingInput, match="there is no file"):
        read_config(tmp_path / "none.json")
    with pytest.raises(BadInput, match="is a folder"):
        read_config(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="is a pipe or device"):
        read_config(tmp_path / "pipe")


def test_a_byte_order_mark_is_read_over(read):
    assert read(b"\xef\xbb\xbf" + json.dumps(LEAST).encode()).nclasses == 3


def test_the_constructor_is_as_strict_as_the_file():
    with pytest.raises(BadInput, match=r"2 things are wrong\n  TARGET_SIZE=\[60, 64\].*\n  NCLASSES='1'"):
        ResunetConfig(target_size=(60, 64), nclasses="1", n_data_bands=3)
    with pytest.raises(BadInput, match="a huge number"):
        ResunetConfig(target_size=(64, 64), nclasses=10**5000, n_data_bands=3)
    config = ResunetConfig(target_size=np.array([64, 96]).tolist(), nclasses=np.int64(2), n_data_bands=3.0)
    assert config == ResunetConfig(target_size=(64, 96), nclasses=2, n_data_bands=3)
    assert hash(config) == hash(dataclasses.replace(config))
    with pytest.raises(BadInput, match="MIN_LR"):
        dataclasses.replace(config, min_lr=0.5)


@pytest.mark.parametrize(
    ("nclasses", "n_outputs", "n_label_ids", "max_label"), [(1, 1, 2, 1), (2, 3, 3, 2), (4, 5, 5, 4)]
)
def test_outputs_and_labels(nclasses, n_outputs, n_label_ids, max_label):
    config = ResunetConfig(target_size=(64, 64), nclasses=nclasses, n_data_bands=3)
    assert (config.n_outputs, config.n_label_ids, config.max_label) == (n_outputs, n_label_ids, max_label)


def test_remap_table():
    table = read_config(PUBLISHED).remap_table()
    assert table.shape == (256,) and table.dtype == np.uint8
    assert table[:6].tolist() == [0, 0, 0, 1, 1, 5] and (table[5:] == np.arange(5, 256)).all()


def _draw_value(key):
    low, high = (key.span.low, key.span.high) if key.span else (0, 1)
    whole = st.integers(int(low), int(high))
    if key.kind == "number":
        return st.floats(low, high, exclude_min=key.span.above, exclude_max=key.span.below)
    return {
        "switch": st.booleans(),
        "whole": whole,
        "sides": st.tuples(whole, whole).map(lambda sides: tuple(side | 1 for side in sides)),
        "sizes": st.tuples(st.integers(1, 256), st.integers(1, 256)).map(lambda n: (32 * n[0], 32 * n[1])),
        "name": st.text("aé海_-. 1", min_size=1, max_size=48).map(lambda text: f"x{text}x"),
        "remap": st.dictionaries(st.integers(0, 255), st.sampled_from([0, 1, 255])),
    }[key.kind]


@st.composite
def configs(draw):
    values = {key.field_name: draw(_draw_value(key)) for key in KEYS}
    rates = sorted(draw(st.lists(st.floats(0, 1, exclude_min=True), min_size=2, max_size=2, unique=True)))
    values |= {"min_lr": rates[0], "start_lr": rates[0], "max_lr": rates[1]}
    return ResunetConfig(**values)


@given(configs())
def test_write_and_read_is_identity(config):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        write_json(path, config_record(config))
        assert read_config(path) == config
        assert config_record(read_config(path)) == json.loads(path.read_text(encoding="utf-8"))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aB1 ./", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("0123", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([key.name for key in KEYS] + ["OTHER"]), JSON_VALUES, max_size=4))
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
            assert all(record[name] == (LEAST | values)[name] for name in values if name != "KERNEL_SIZE")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_bytes(content)
        with pytest.raises(BadInput):
            read_config(path)
