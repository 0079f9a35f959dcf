import numpy as np
import pytest

from hybridseg.models.summaries import SummaryWriter


@pytest.fixture
def read_events():
    """Read the event files of a folder: (tag, step, value) of each entry, in their order."""
    import tensorflow as tf

    def read(folder):
        found = []
        for path in sorted(folder.glob("events*")):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                for value in event.summary.value:
                    found.append((value.tag, event.step, tf.make_ndarray(value.tensor)))
        return found

    return read


def test_scalars_are_written_under_their_set(tmp_path, read_events):
    with SummaryWriter(tmp_path) as summaries:
        summaries.write_scalars("train", 10, {"accuracy": 0.5, "loss": 2.0})
        summaries.write_scalars("train", 20, {"accuracy": 0.75, "loss": None})
        summaries.write_scalars("validation", 20, {"accuracy": 0.25})
    train = [(tag, step, float(value)) for tag, step, value in read_events(tmp_path / "train")]
    assert train == [("accuracy", 10, 0.5), ("loss", 10, 2.0), ("accuracy", 20, 0.75)]
    [(tag, step, value)] = read_events(tmp_path / "validation")
    assert (tag, step, float(value)) == ("accuracy", 20, 0.25)


def test_images_are_written_whole(tmp_path, read_events):
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    with SummaryWriter(tmp_path) as summaries:
        summaries.write_images("wrong", 3, images)
        summaries.write_images("none", 3, images[:0])
    [(tag, step, value)] = read_events(tmp_path / "validation")
    assert (tag, step) == ("wrong", 3)
    assert [tf.io.decode_png(encoded).numpy().tolist() for encoded in value[2:]] == images.tolist()


def test_histograms_and_the_graph(tmp_path, read_events):
    import tensorflow as tf
    import tf_keras

    pixels = tf_keras.Input((None, None, 2))
    network = tf_keras.Model(pixels, tf_keras.layers.Conv2D(3, 1, name="only_layer")(pixels))
    with SummaryWriter(tmp_path) as summaries:
        summaries.write_histograms(7, {"weights/a": np.linspace(0, 1, 100), "gradients/a": np.zeros(4)})
        summaries.write_graph(network)
    (tag, step, bins), (other, _, _) = read_events(tmp_path / "train")
    assert (tag, step, other) == ("weights/a", 7, "gradients/a")
    assert bins[:, 2].sum() == 100 and (bins[0, 0], bins[-1, 1]) == (0, 1)
    [path] = (tmp_path / "train").glob("events*")
    graphs = [e.graph_def for e in tf.compat.v1.train.summary_iterator(str(path)) if e.HasField("graph_def")]
    assert len(graphs) == 1 and b"only_layer" in graphs[0]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(None) as summaries:
        summaries.write_scalars("train", 1, {"accuracy": 0.5})
        summaries.write_images("wrong", 1, np.zeros((1, 2, 2, 3), np.uint8))
        summaries.write_histograms(1, {"weights": np.zeros(3)})
        summaries.write_graph(None)
    assert not list(tmp_path.iterdir())
