import pytest

from hybridseg.dense.programs.resunetkeys import KEYS, explain_keys, find_key
from hybridseg.errors import BadInput


@pytest.mark.parametrize(
    ("name", "raw", "field"),
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
    ],
)
def test_valid_values(name, raw, field):
    found = find_key(name).read(raw)
    assert found == field and type(found) is type(field)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *[(key.name, raw) for key in KEYS for raw in (None, float("nan"), float("inf"), [], [1, 2, 3], 10**400)],
        *[(key.name, True) for key in KEYS if key.kind != "switch"],
        *[(key.name, raw) for key in KEYS if key.kind == "switch" for raw in (0, 1, "true", {})],
        *[(key.name, raw) for key in KEYS if key.kind in ("whole", "number") for raw in ("3", -1, [3], {"3": 1})],
        *[(key.name, 1.5) for key in KEYS if key.kind == "whole"],
        ("NCLASSES", 0),
        ("NCLASSES", 255),
        ("N_DATA_BANDS", 256),
        ("TARGET_SIZE", 64),
        ("TARGET_SIZE", [64]),
        ("TARGET_SIZE", [64, True]),
        ("TARGET_SIZE", [0, 64]),
        ("TARGET_SIZE", [64, 8224]),
        ("TARGET_SIZE", [64, "64"]),
        ("KERNEL_SIZE", [1, 3]),
        ("KERNEL_SIZE", [3, 4]),
        ("KERNEL_SIZE", 17),
        ("KERNEL_SIZE", -1),
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
        ("ROOT_STRING", ""),
        ("ROOT_STRING", "x" * 51),
        ("ROOT_STRING", "../x"),
        ("ROOT_STRING", "a\\b"),
        ("ROOT_STRING", ".."),
        ("ROOT_STRING", " x"),
        ("ROOT_STRING", "a\nb"),
        ("ROOT_STRING", "a\ud800"),
        ("REMAP_CLASSES", [[3, 1]]),
        ("REMAP_CLASSES", {"256": 1}),
        ("REMAP_CLASSES", {"-1": 1}),
        ("REMAP_CLASSES", {"01": 1}),
        ("REMAP_CLASSES", {"\u0663": 1}),
        ("REMAP_CLASSES", {"water": 1}),
        ("REMAP_CLASSES", {"3": "1"}),
        ("REMAP_CLASSES", {"3": 1.5}),
        ("REMAP_CLASSES", {"3": True}),
        ("REMAP_CLASSES", {"3": [[[]]]}),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_valid(name, raw):
    with pytest.raises(BadInput) as caught:
        find_key(name).read(raw)
    message = str(caught.value)
    assert message.startswith(f"{name}=") and find_key(name).type_text in message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("PATIENCE", 0, "PATIENCE=0: give a whole number from 1 to 100000"),
        ("PATIENCE", 10**5000, "PATIENCE=a huge number: give a whole number from 1 to 100000"),
        ("DOPLOT", "yes", "DOPLOT='yes': give true or false"),
        ("VALIDATION_SPLIT", float("nan"), "VALIDATION_SPLIT=nan: give a number above 0 to below 1"),
    ],
    ids=["whole", "huge", "switch", "number"],
)
def test_messages_show_the_value_and_the_range(name, raw, message):
    with pytest.raises(BadInput) as caught:
        find_key(name).read(raw)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "near"),
    [
        ([700, 1000], "[672, 992] or [704, 1024]"),
        ([700, 1024], "[672, 1024] or [704, 1024]"),
        ([5, 9999], "[32, 8192]"),
    ],
)
def test_a_wrong_target_size_names_those_near_it(raw, near):
    with pytest.raises(BadInput) as caught:
        find_key("TARGET_SIZE").read(raw)
    assert str(caught.value).endswith(f"give two multiples of 32 from 32 to 8192, [rows, cols], such as {near}")


@pytest.mark.parametrize(
    ("name", "value", "raw"),
    [
        ("KERNEL_SIZE", (3, 5), [3, 5]),
        ("REMAP_CLASSES", {3: 1, 4: 255}, {"3": 1, "4": 255}),
        ("ROOT_STRING", "water", "water"),
        ("DOPLOT", False, False),
    ],
)
def test_what_is_written_is_read_again(name, value, raw):
    assert find_key(name).write(value) == raw and find_key(name).read(raw) == value


def test_every_key_is_explained():
    rows = {name: rest for name, *rest in explain_keys()}
    assert list(rows) == [key.name for key in KEYS]
    assert rows["TARGET_SIZE"][:2] == ["two multiples of 32 from 32 to 8192, [rows, cols]", "required"]
    assert rows["KERNEL_SIZE"][:2] == ["an odd whole number from 3 to 15, or two of them [rows, cols]", "[3, 3]"]
    assert rows["REMAP_CLASSES"][:2] == ['pairs such as {"3": 1} of whole numbers from 0 to 255', "{}"]
    assert rows["AUG_ZOOM"][:2] == ["a number from 0 to below 1", "0.05"]
    assert rows["DOPLOT"][:2] == ["true or false", "true"]
    assert all(meaning.endswith(".") and len(meaning) > 20 for _, _, meaning in rows.values())
