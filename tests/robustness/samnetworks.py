"""Networks shaped like those of Segment Anything, of a few operations: the area of a point is what has its colour."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper


def save(path: Path, nodes, inputs, outputs, constants=()) -> Path:
    """Write a network; inputs and outputs are pairs of a name and a shape, all of 32-bit numbers."""
    describe = lambda some: [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in some]  # noqa: E731
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "stand-in", describe(inputs), describe(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def save_encoder(path: Path) -> Path:
    """The mean colour of 16 x 16 pixels, in the first three of 256 channels."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["small"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Pad", ["small", "pads"], ["image_embeddings"]),
    ]
    pads = np.array([0, 0, 0, 0, 0, 253, 0, 0], np.int64)
    return save(
        path, nodes, [("x", ["n", 3, 1024, 1024])], [("image_embeddings", ["n", 256, 64, 64])], [("pads", pads)]
    )


DECODER_INPUTS = [
    ("image_embeddings", [1, 256, 64, 64]), ("point_coords", [1, "n", 2]), ("point_labels", [1, "n"]),
    ("mask_input", [1, 1, 256, 256]), ("has_mask_input", [1]), ("orig_im_size", [2]),
]  # fmt: skip


def save_decoder(path: Path, *, inputs=DECODER_INPUTS) -> Path:
    """What is like the embedding at the first point; a point outside of the area takes all away."""
    make = helper.make_node
    nodes = [
        # The place of the first point in the embedding.
        make("Slice", ["point_coords", "zero1", "one1", "one1"], ["first"]),
        make("Squeeze", ["first", "axes01"], ["xy"]),
        make("Div", ["xy", "sixteen"], ["cell"]),
        make("Cast", ["cell"], ["at"], to=TensorProto.INT64),
        make("Gather", ["at", "zero"], ["col"]),
        make("Gather", ["at", "one"], ["row"]),
        make("Gather", ["image_embeddings", "row"], ["line"], axis=2),
        make("Gather", ["line", "col"], ["here"], axis=2),
        make("Unsqueeze", ["here", "axes23"], ["there"]),
        make("Sub", ["image_embeddings", "there"], ["off"]),
        make("Abs", ["off"], ["far"]),
        make("ReduceMax", ["far"], ["farthest"], axes=[1], keepdims=1),
        make("Sub", ["near", "farthest"], ["like"]),
        make("Equal", ["point_labels", "nought"], ["is_outside"]),
        make("Cast", ["is_outside"], ["outside"], to=TensorProto.FLOAT),
        make("ReduceMax", ["outside"], ["any_outside"], keepdims=0),
        make("Mul", ["any_outside", "ten"], ["less"]),
        make("Sub", ["like", "less"], ["low_res_masks"]),
        # As the published decoder enlarges it.
        make("Resize", ["low_res_masks", "", "", "full"], ["large"], mode="linear"),
        make("ReduceMax", ["orig_im_size"], ["longest"], keepdims=0),
        make("Div", ["k1024", "longest"], ["share"]),
        make("Mul", ["orig_im_size", "share"], ["scaled"]),
        make("Add", ["scaled", "half"], ["more"]),
        make("Floor", ["more"], ["whole"]),
        make("Cast", ["whole"], ["ends"], to=TensorProto.INT64),
        make("Slice", ["large", "zero2", "ends", "axes23"], ["cut"]),
        make("Cast", ["orig_im_size"], ["size"], to=TensorProto.INT64),
        make("Concat", ["one_one", "size"], ["shape"], axis=0),
        make("Resize", ["cut", "", "", "shape"], ["masks"], mode="linear"),
        make("ReduceMax", ["masks"], ["best"], axes=[2, 3], keepdims=0),
        make("Identity", ["best"], ["iou_predictions"]),
    ]
    ints = {"zero1": [0], "one1": [1], "axes01": [0, 1], "axes23": [2, 3], "zero2": [0, 0], "zero": 0, "one": 1}
    ints |= {"full": [1, 1, 1024, 1024], "one_one": [1, 1]}
    floats = {"sixteen": 16.0, "near": 0.4, "nought": 0.0, "ten": 10.0, "k1024": 1024.0, "half": 0.5}
    constants = [(name, np.array(value, np.int64)) for name, value in ints.items()]
    constants += [(name, np.array(value, np.float32)) for name, value in floats.items()]
    outputs = [("masks", [1, 1, None, None]), ("iou_predictions", [1, 1]), ("low_res_masks", [1, 1, 64, 64])]
    return save(path, nodes, inputs, outputs, constants)
