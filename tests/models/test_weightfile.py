import tracemalloc
import zlib

import h5py
import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput
from hybridseg.models.weightfile import encode_weights, load_weights, read_weights, write_weights


@pytest.fixture(scope="module")
def network(tiny):
    return tiny(n_bands=1, n_outputs=2).build()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.h5"


def randomize(network, seed=0):
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape).astype(weight.dtype.name))


def test_there_and_back(network, path):
    randomize(network)
    write_weights(path, network)
    expected = [weight.numpy() for weight in network.weights]
    randomize(network, seed=1)
    load_weights(network, path)
    assert all(np.array_equal(a, b) for a, b in zip(expected, network.weights, strict=True))
    arrays = read_weights(path)
    assert len(arrays) == len(network.weights) and arrays["scores/scores/kernel:0"].shape == (1, 1, 4, 2)


def test_keras_reads_it_too(network, path):
    randomize(network)
    write_weights(path, network)
    expected = [weight.numpy() for weight in network.weights]
    randomize(network, seed=1)
    network.load_weights(path)
    assert all(np.array_equal(a, b) for a, b in zip(expected, network.weights, strict=True))


def test_we_read_what_keras_writes(network, path):
    randomize(network)
    network.save_weights(path, save_format="h5")
    expected = [weight.numpy() for weight in network.weights]
    randomize(network, seed=1)
    load_weights(network, path)
    assert all(np.array_equal(a, b) for a, b in zip(expected, network.weights, strict=True))


def test_the_same_weights_are_the_same_bytes(network):
    assert encode_weights(network) == encode_weights(network)


def test_counters_are_weights(path):
    import tf_keras

    from hybridseg.models.layers import make_dropout

    pixels = tf_keras.Input((4,))
    model = tf_keras.Model(pixels, make_dropout(0.5, "drop")(pixels))
    model.layers[1].count.assign(2**40 + 1)
    write_weights(path, model)
    model.layers[1].count.assign(0)
    load_weights(model, path)
    assert model.layers[1].count.numpy() == 2**40 + 1


@pytest.mark.parametrize("other", [
    {"width": 5}, {"n_outputs": 1}, {"n_bands": 3}, {"norm": False},
], ids=str)  # fmt: skip
def test_weights_of_another_network_change_nothing(network, tiny, path, other):
    write_weights(path, tiny(**{"n_bands": 1, "n_outputs": 2, **other}).build())
    randomize(network)
    before = [weight.numpy() for weight in network.weights]
    with pytest.raises(BadInput, match=r"has weights of another network \(\d+ differ, .*; give the settings with"):
        load_weights(network, path)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.weights, strict=True))


@pytest.mark.parametrize("dtype", ["f2", "f8", "i8", "u8"])
def test_numbers_of_another_type(network, path, dtype):
    path.write_bytes(encode_weights(network))
    with h5py.File(path, "a") as file:
        shape = file["scores/scores/bias:0"].shape
        del file["scores/scores/bias:0"]
        file["scores/scores/bias:0"] = np.full(shape, 3, dtype)
    load_weights(network, path)
    assert network.get_layer("scores").bias.numpy().tolist() == [3, 3]


def test_texts_are_no_numbers(network, path):
    path.write_bytes(encode_weights(network))
    with h5py.File(path, "a") as file:
        del file["scores/scores/bias:0"]
        file["scores/scores/bias:0"] = "__import__('os').system('exit 3')"
    with pytest.raises(BadInput, match=r"1 differ, scores/scores/bias:0 for one"):
        load_weights(network, path)


def link_soft(file):
    file["scores/bias"] = h5py.SoftLink("/secret")


def link_out(file):
    file["scores/bias"] = h5py.ExternalLink("other.h5", "/secret")


def link_group_out(file):
    file["more"] = h5py.ExternalLink("other.h5", "/")


def store_outside(file):
    file.create_dataset("scores/bias", (4,), "u1", external=[("secret.txt", 0, 4)])


def store_virtually(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (3,))
    file.create_virtual_dataset("scores/bias", layout)


@pytest.mark.parametrize(("spoil", "message"), [
    (link_soft, "scores/bias is a link"), (link_out, "scores/bias is a link"), (link_group_out, "more is a link"),
    (store_outside, "scores/bias lies in another file"), (store_virtually, "scores/bias lies in another file"),
])  # fmt: skip
def test_no_other_file_is_read(tmp_path, path, monkeypatch, spoil, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("1234")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(3, dtype=np.float32)
    with h5py.File(path, "w") as file:
        file["scores/kernel"] = np.zeros(3)
        spoil(file)
    with pytest.raises(BadInput, match=rf"weights\.h5: {message}.*; it is not a weight file"):
        read_weights(path)


def test_groups_in_groups(path):
    with h5py.File(path, "w") as file:
        file["/".join("abcdefgh") + "/w"] = np.zeros(3)
    assert list(read_weights(path)) == ["a/b/c/d/e/f/g/h/w"]
    with h5py.File(path, "w") as file:
        file["/".join("abcdefghijkl") + "/w"] = np.zeros(3)
    with pytest.raises(BadInput, match="its groups are nested too deep"):
        read_weights(path)


def test_groups_with_many_names_are_not_walked_through(path):
    """Eight storeys of a hundred doors each: ten thousand billion ways to the top."""
    with h5py.File(path, "w") as file:
        here = file
        for _ in range(7):
            there = here.create_group("0")
            for number in range(1, 100):
                here[str(number)] = there
            here = there
    with pytest.raises(BadInput, match="0 has several names; it is not a weight file"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["a/b"] = file.create_group("a")
    with pytest.raises(BadInput, match="has several names"):
        read_weights(path)


def test_a_bomb_is_refused_before_memory_is_taken(path):
    for shape in ((10**6, 10**6), (200, 500)):
        with h5py.File(path, "w") as file:
            file.create_dataset("a", shape, "f4", fillvalue=1, chunks=(100, 100))
        assert path.stat().st_size < 10_000
        with pytest.raises(BadInput, match="it claims to hold far more numbers than it can"):
            read_weights(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.random.default_rng(0).random((200, 500)), compression="gzip")
    assert read_weights(path)["a"].shape == (200, 500)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_cut_files(network, path, share):
    whole = encode_weights(network)
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadInput, match=r"weights\.h5 is damaged or not a weight file .*; copy it again or train again"):
        read_weights(path)


def test_what_is_no_file_of_weights(tmp_path, path):
    with pytest.raises(MissingInput, match=r"there are no weights .*weights\.h5"):
        read_weights(path)
    path.write_text("<html>")
    with pytest.raises(BadInput, match=r"weights\.h5 is damaged or not a weight file"):
        read_weights(path)
    with pytest.raises(BadInput, match="is a folder, not a file"):
        read_weights(tmp_path)


def test_a_small_array_in_a_huge_piece(path):
    """HDF5 reserves the memory of a whole piece to read one number of it."""
    with h5py.File(path, "w") as file:
        piece = {"maxshape": (None,), "chunks": (2**29,), "compression": "gzip"}
        file.create_dataset("kernel", (1,), "f4", **piece)
    assert path.stat().st_size < 10_000
    with pytest.raises(BadInput, match="far more numbers than it can"):
        read_weights(path)


@pytest.mark.parametrize("packing", [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}], ids=str)
def test_arrays_in_pieces(path, packing):
    values = np.random.default_rng(0).random((30, 7)).astype("f4")
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=values, chunks=(8, 3), **packing)
    assert np.array_equal(read_weights(path)["w"], values)


@pytest.mark.parametrize("n_bytes", [0, 100, 4 * 64 * 64 + 4, 60_000_000])
@pytest.mark.parametrize("skipped", [0, 1])
def test_a_piece_that_unpacks_to_more_or_less_than_it_is(path, n_bytes, skipped):
    """HDF5 doubles its memory until all of it is there, and reads on behind its end."""
    with h5py.File(path, "w") as file:
        item = file.create_dataset("w", (64, 64), "f4", chunks=(64, 64), compression="gzip")
        item.id.write_direct_chunk((0, 0), zlib.compress(bytes(n_bytes)), skipped)
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"weights\.h5: /w unpacks to more numbers than it has, or fewer"):
        read_weights(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_pieces_that_only_a_plugin_unpacks(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.zeros((64, 64), "f4"), chunks=(64, 64), compression="lzf")
    with pytest.raises(BadInput, match=r"/w is compressed as weights never are"):
        read_weights(path)
