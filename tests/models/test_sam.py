"""Networks of SAM: what they are given, what comes back, and files that are not what they should be."""

import sys

import numpy as np
import pytest

from hybridseg.errors import BadInput, MissingInput, MissingPackage
from hybridseg.models import sam as module
from hybridseg.models.sam import Prompt, Sam, check_onnx, decode, embed, open_networks

from samnetworks import DECODER_INPUTS, helper, numpy_helper, onnx, save, save_decoder, save_encoder  # isort: skip


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    return save_encoder(folder / "E.onnx"), save_decoder(folder / "D.onnx")


@pytest.fixture
def image():
    """A bright square on a dark ground, 120 x 300 pixels."""
    found = np.full((120, 300, 3), 40, np.uint8)
    found[30:90, 160:240] = 200
    return found


def test_a_point_gives_what_is_like_it(paths, image):
    found = Sam(*paths).segment(image, Prompt(((60.0, 200.0, True),)))
    truth = image[..., 0] > 100
    assert found.shape == truth.shape and found.dtype == bool
    # A cell of the embedding has almost five pixels.
    assert (found & truth).sum() / (found | truth).sum() > 0.85
    other = Sam(*paths).segment(image, Prompt(((10.0, 10.0, True),)))
    assert other[10, 10] and not other[60, 200]
    assert not Sam(*paths).segment(image, Prompt(((60.0, 200.0, True), (10.0, 10.0, False)))).any()


class Spy:
    """Stands for a network: keeps what it is given, and answers with an array of each name."""

    def __init__(self, **answers):
        self.answers, self.fed = answers, []

    def run(self, names, feed):
        self.fed.append(feed)
        return [self.answers[name] for name in names]

    def get_inputs(self):
        return [type("Place", (), {"name": "x"})]

    def get_outputs(self):
        return [type("Place", (), {"name": name}) for name in self.answers]


def test_the_encoder_gets_a_normalized_and_padded_image():
    encoder = Spy(image_embeddings=np.zeros((1, 256, 64, 64), np.float32))
    image = np.full((100, 200, 3), (124, 116, 104), np.uint8)
    embed(encoder, image)
    pixels = encoder.fed[0]["x"]
    assert pixels.shape == (1, 3, 1024, 1024) and pixels.dtype == np.float32
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    assert pixels[0, :, 511, 1023] == pytest.approx(expected, abs=1e-5) and not pixels[0, :, 512:].any()


def test_the_decoder_gets_points_and_boxes_in_its_own_pixels():
    masks = np.zeros((1, 4, 100, 200), np.float32)
    masks[0, 2, :50] = 1
    decoder = Spy(masks=masks, iou_predictions=np.array([[0.9, 0.1, 0.8, 0.3]], np.float32))
    found = decode(decoder, np.zeros((1, 256, 64, 64)), Prompt(((10.0, 20.0, True),)), (100, 200))
    fed = decoder.fed[0]
    # 1024 / 200 = 5.12; x before y, and a position that is none where there is no box.
    assert fed["point_coords"].tolist() == [[[pytest.approx(102.4), pytest.approx(51.2)], [0, 0]]]
    assert fed["point_labels"].tolist() == [[1, -1]] and fed["orig_im_size"].tolist() == [100, 200]
    assert fed["has_mask_input"].tolist() == [0] and fed["mask_input"].shape == (1, 1, 256, 256)
    # Of a single point the best but the first, as the published program does.
    assert found[:50].all() and not found[50:].any()
    prompt = Prompt(((10.0, 20.0, False),), (5.0, 6.0, 50.0, 60.0))
    assert not decode(decoder, np.zeros((1, 256, 64, 64)), prompt, (100, 200)).any()
    assert decoder.fed[1]["point_labels"].tolist() == [[0, 2, 3]]
    assert decoder.fed[1]["point_coords"][0, 1:] == pytest.approx(np.array([[6, 5], [60, 50]]) * 5.12)


@pytest.mark.slow
def test_embeddings_are_kept_for_the_last_windows(paths, image, monkeypatch):
    made = []
    monkeypatch.setattr(module, "embed", lambda encoder, image: made.append(1) or embed(encoder, image))
    sam, prompt = Sam(*paths), Prompt(((60.0, 200.0, True),))
    for key in (0, 0, 1, 0, *range(2, 9), 0, 1):
        sam.segment(image, prompt, key=key)
    # 0 was used between, so that 1 is the one that was forgotten.
    assert len(made) == 10 and len(sam._kept) == 8


def test_networks_that_are_not_those(paths, tmp_path):
    encoder, decoder = paths
    with pytest.raises(BadInput, match=r"D\.onnx is not the encoder of SAM: it takes image_embeddings"):
        open_networks(decoder, decoder)
    with pytest.raises(BadInput, match=r"E\.onnx is not the decoder of SAM.*export_onnx_model"):
        open_networks(encoder, encoder)
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    small = save(tmp_path / "small.onnx", identity, [("x", [1, 3, 512, 512])], [("y", [1, 3, 512, 512])])
    with pytest.raises(BadInput, match="1 x 3 x 1024 x 1024"):
        open_networks(small, decoder)
    same = save(tmp_path / "same.onnx", identity, [("x", [1, 3, 1024, 1024])], [("y", [1, 3, 1024, 1024])])
    with pytest.raises(BadInput, match="it gives y"):
        open_networks(same, decoder)
    wide = [(name, [2, 256, 64, 64] if name == "image_embeddings" else shape) for name, shape in DECODER_INPUTS]
    with pytest.raises(BadInput, match="is not the decoder"):
        open_networks(encoder, save_decoder(tmp_path / "wide.onnx", inputs=wide))


def test_files_that_are_none(paths, tmp_path):
    with pytest.raises(MissingInput):
        check_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network at all")
    with pytest.raises(BadInput, match="not an ONNX file"):
        check_onnx(tmp_path / "text.onnx")
    foreign = onnx.load(paths[0])
    foreign.graph.node[0].domain, foreign.graph.node[0].op_type = "evil", "Shell"
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(BadInput, match="cannot be run"):
        Sam(tmp_path / "foreign.onnx", paths[1])


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "link.bin"])
@pytest.mark.parametrize("nested", [False, True])
def test_data_from_outside_of_the_folder(paths, tmp_path, place, nested):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = onnx.load(paths[0])
    tensor = model.graph.initializer[0]
    if nested:
        tensor = numpy_helper.from_array(np.zeros(8, np.int64), "hidden")
        inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))
        tensor = model.graph.node[-1].attribute[0].g.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    (folder / "E.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="outside of its folder"):
        check_onnx(folder / "E.onnx")


def test_data_beside_the_file_are_read(paths, tmp_path, image):
    model = onnx.load(paths[1])
    tensor = next(one for one in model.graph.initializer if one.name == "near")
    onnx.external_data_helper.set_external_data(tensor, "D.data")
    onnx.save(model, tmp_path / "D.onnx")
    assert (tmp_path / "D.data").exists()
    assert Sam(paths[0], tmp_path / "D.onnx").segment(image, Prompt(((60.0, 200.0, True),))).any()


def test_without_the_packages(paths, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match="pip install onnxruntime onnx"):
        Sam(*paths)


@pytest.mark.slow
def test_the_first_run_is_in_a_process_of_its_own(paths, apart, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Sam(*paths) and list((tmp_path / "hybridseg").glob("*.tried"))
