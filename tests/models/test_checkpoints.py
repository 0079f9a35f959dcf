import logging

import numpy as np
import pytest

from hybridseg.errors import WriteFailed
from hybridseg.models.checkpoints import read_state, restore_state, save_state

RECORD = {"key": "abc", "history": [{"epoch": 1, "loss": 0.25, "val_loss": None}], "word": "Küste"}


@pytest.fixture(scope="module")
def tf():
    from hybridseg.models.startup import import_tensorflow

    import_tensorflow()
    import tensorflow

    return tensorflow


@pytest.fixture
def variables(tf):
    """Twelve, so that the tenth must not come before the second."""
    made = [tf.Variable(np.full((2, i + 1), i + 0.1, np.float32)) for i in range(10)]
    return [*made, tf.Variable(np.int64(2**40 + 1)), tf.Variable(np.zeros((0, 3), np.float32))]


@pytest.fixture
def saved(tmp_path, variables):
    save_state(tmp_path / "state.npz", variables, RECORD)
    return tmp_path / "state.npz"


def empty(variables):
    for variable in variables:
        variable.assign(np.zeros(variable.shape, variable.dtype.as_numpy_dtype))


def test_there_and_back(saved, variables):
    before = [variable.numpy() for variable in variables]
    empty(variables)
    assert restore_state(saved, variables) == RECORD
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, variables, strict=True))
    assert [path.name for path in saved.parent.iterdir()] == ["state.npz"], "and nothing is left lying"


def test_no_file_is_no_state(tmp_path, variables):
    assert restore_state(tmp_path / "state.npz", variables) is None


def test_a_state_that_is_not_wanted_changes_nothing(saved, variables, caplog):
    empty(variables)
    asked = []
    assert restore_state(saved, variables, accept=lambda record: asked.append(record)) is None
    assert asked == [RECORD] and variables[3].numpy().max() == 0
    assert caplog.records == []


def test_an_error_of_the_one_who_accepts_is_passed_on(saved, variables):
    def refuse(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_state(saved, variables, accept=refuse)


def test_states_of_other_networks(tf, saved, variables, caplog):
    more = [*variables, tf.Variable(1.0)]
    other_shape = [*variables[:3], tf.Variable(np.zeros((2, 9), np.float32)), *variables[4:]]
    for others in (more, variables[:-1], other_shape, []):
        empty(others)
        with caplog.at_level(logging.WARNING):
            assert restore_state(saved, others) is None
        assert "state.npz is damaged (" in caplog.text and "): training starts again" in caplog.text
        assert all((variable.numpy() == 0).all() for variable in others), "all or none"
        caplog.clear()


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_cut_file_is_no_state(saved, variables, share, caplog):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    empty(variables)
    assert restore_state(saved, variables) is None
    assert "training starts again" in caplog.text and variables[3].numpy().max() == 0


@pytest.mark.slow
def test_a_damaged_byte_is_noticed_or_has_no_effect(saved, variables):
    whole, before = saved.read_bytes(), [variable.numpy() for variable in variables]
    n_noticed = 0
    for position in range(0, len(whole), 61):
        for bit in (1, 128):
            damaged = bytearray(whole)
            damaged[position] ^= bit
            saved.write_bytes(damaged)
            empty(variables)
            record = restore_state(saved, variables)
            n_noticed += record is None
            expected = [np.zeros_like(values) for values in before] if record is None else before
            assert all(np.array_equal(a, b.numpy()) for a, b in zip(expected, variables, strict=True)), position
    assert n_noticed > len(whole) / 61


@pytest.mark.parametrize("content", [b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00", b"text", "array", "pickle"])
def test_other_files_are_no_state(saved, variables, content):
    if content == "array":
        with saved.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "pickle":
        with saved.open("wb") as file:
            np.savez(file, record=np.array(["{}"], object), **{f"v{i}": v.numpy() for i, v in enumerate(variables)})
    else:
        saved.write_bytes(content)
    assert restore_state(saved, variables) is None


def test_a_full_disk_leaves_the_old_state(saved, variables, monkeypatch):
    def fail(*args, **settings):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(WriteFailed, match="No space left on device"):
        save_state(saved, variables, {})
    assert saved.read_bytes() == before


def test_a_loss_that_is_not_finite_is_kept(tmp_path):
    save_state(tmp_path / "c.npz", [np.zeros(2)], {"best_loss": np.inf, "é": float("nan")})
    record, _ = read_state(tmp_path / "c.npz", [np.zeros(2)])
    assert record["best_loss"] == np.inf and np.isnan(record["é"])


def test_a_record_that_is_no_json_starts_again(tmp_path, caplog):
    for record in ("[" * 50_000, "[]", '{"a": 1, "a": 2}', "{'a': 1}"):
        np.savez(tmp_path / "c.npz", record=np.array(record), v0=np.zeros(2))
        assert read_state(tmp_path / "c.npz", [np.zeros(2)]) is None
    assert caplog.text.count("training starts again") == 4
