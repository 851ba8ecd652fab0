"""Both ends of the graph as TensorRT can read them.

``uint8`` exists there for inputs and outputs alone, so the conversion comes first and last.
The picture is centred, ``(pixel - 128) / 256``: exact in FP16, and its signed 8-bit codes are
the pixels themselves, so that quantizing it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from acf_edge.errors import InputError
from acf_edge.export.model import CODES, FOLDED, INPUT, NORMALISED, OUTPUT, PIXELS
from acf_edge.export.qdq_ort import ANCHOR
from acf_edge.export.trt.parts import TypedParts

Float32 = npt.NDArray[np.float32]

CENTRED = "input/Centred"
"""Value that holds the padded picture as ``(pixel - 128) / 256``, NCHW."""
CENTRED_STEP = np.float16(2.0**-8)
STRETCH = 256.0 / 255.0
"""Weights on the centred picture are so many times those on the picture in 0..1."""
SHIFT = 128.0 / 255.0
"""... and their biases more by this, times the sum of the weights."""
BLACK = -0.5
"""Zero of the picture in 0..1, as a value of the centred one."""


@dataclass(frozen=True)
class Views:
    """Which forms of the picture the network looks at."""

    centred: bool
    normalised: bool


def input_end(parts: TypedParts, model: onnx.ModelProto, views: Views) -> None:
    """Write from :data:`INPUT` to :data:`CENTRED` and, where it is wanted, :data:`NORMALISED`."""
    floats = parts.cast(INPUT, parts.element)
    padded = floats
    for node in model.graph.node:
        if not node.name.startswith("input/") or PIXELS in node.output:
            continue
        if node.op_type in ("Cast", "Mul"):  # of the pixels: written below
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.op_type == "Shape" and node.input[0] == INPUT:
            copy.input[0] = floats
        if node.op_type == "Neg":
            # Sums of sizes are what all versions know; the negative of a 64-bit one is not.
            zero = parts.integers(f"{node.name}:zero", [0])
            copy.op_type = "Sub"
            copy.input[:] = [zero, node.input[0]]
        if node.op_type == "Pad":
            copy.input[0] = padded
            padded = node.output[0]
        parts.nodes.append(copy)
    pixels = parts.add("Transpose", "input/Transpose", [padded], PIXELS, perm=[0, 3, 1, 2])
    if views.centred:
        middle = parts.floats("input/middle", 128.0)
        less = parts.add("Sub", "input/Sub", [pixels, middle], "input/Signed")
        step = parts.floats("input/step", 2.0**-8)
        parts.add("Mul", "input/Mul", [less, step], CENTRED)
    if views.normalised:
        unit = parts.floats("input/unit", 1.0 / 255.0)
        parts.add("Mul", "input/Normalise", [pixels, unit], NORMALISED)


def anchored(model: onnx.ModelProto) -> bool:
    """Whether the result is the up-sampled picture plus something, and nothing else.

    The up-sampled picture may then stay centred up to the end: in FP16 half as far from zero
    is half the error.
    """
    nodes = {name: node for node in model.graph.node for name in node.output}
    last = nodes[FOLDED]
    anchor = next((node for node in model.graph.node if node.name == ANCHOR), None)
    if anchor is None or last.op_type != "Add" or anchor.input[0] != NORMALISED:
        return False
    value = anchor.output[0]
    uses = sum(list(node.input).count(value) for node in model.graph.node)
    if uses != 1 or value not in last.input or len(anchor.input) > 2:
        return False
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weight = array_of(tensors[anchor.input[1]])
    sums = weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64)
    return bool(np.abs(sums - 1.0).max() < 1e-5)


def output_end(parts: TypedParts, model: onnx.ModelProto, centred: bool) -> None:
    """Write from :data:`FOLDED` to :data:`OUTPUT`.

    Args:
        parts: the graph so far.
        model: the plain network, for the sizes of its last steps.
        centred: :data:`FOLDED` is less than the picture by :data:`SHIFT`.

    Raises:
        InputError: the model's end is not acf-edge's.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if "output/cells" not in constants:
        raise InputError(
            "The model's end is not acf-edge's.", "Give a network that acf-edge exported."
        )
    # The rounding to pixels is done in 32 bits; it is fused with what moves the values anyway.
    value = FOLDED if parts.element == TensorProto.FLOAT else parts.cast(FOLDED, TensorProto.FLOAT)

    def number(name: str, wanted: float) -> str:
        return parts.floats(f"output/{name}", wanted, TensorProto.FLOAT)

    value = parts.add("Mul", "output/Mul", [value, number("full", 255.0)], "output/Scaled")
    if centred:
        value = parts.add("Add", "output/Add", [value, number("middle", 128.0)], "output/Shifted")
    value = parts.add("Round", "output/Round", [value], "output/Rounded")
    ends = [number("low", 0.0), number("high", 255.0)]
    value = parts.add("Clip", "output/Clip", [value, *ends], CODES)
    if parts.element != TensorProto.FLOAT:
        value = parts.cast(CODES, parts.element)
    skipped = ("Mul", "Round", "Clip", "Cast")
    for node in model.graph.node:
        # The arithmetic above stands for the first of the end's nodes; sizes come after.
        if not node.name.startswith("output/") or (
            node.op_type in skipped and node.name in _ARITHMETIC
        ):
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name == CODES and node.op_type != "Shape":
                copy.input[index] = value
        if OUTPUT in node.output:
            copy.output[0] = "output/Cropped"
        parts.nodes.append(copy)
    parts.add("Cast", "output/Cast", ["output/Cropped"], OUTPUT, to=TensorProto.UINT8)


_ARITHMETIC = ("output/Mul", "output/Round", "output/Clip", "output/Cast")


def move_constants(parts: TypedParts, model: onnx.ModelProto) -> None:
    """Take over the integers (sizes, axes) that nodes at the ends and in the core name."""
    used = {name for node in parts.nodes for name in node.input}
    for tensor in model.graph.initializer:
        floating = tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        if tensor.name in used and tensor.name not in parts.initializers and not floating:
            parts.initializers[tensor.name] = tensor


def picture_weights(
    weight: Float32, bias: Float32 | None, shifted: bool
) -> tuple[Float32, Float32 | None]:
    """Weights and bias of a convolution on the picture in 0..1 for the centred one.

    Args:
        weight: ``(O, I, rows, columns)``.
        bias: ``(O,)``.
        shifted: whether the result is to be the same; else it stays less by :data:`SHIFT` times
            the sum of the weights.
    """
    sums = weight.reshape(len(weight), -1).astype(np.float64).sum(axis=1)
    stretched = (weight.astype(np.float64) * STRETCH).astype(np.float32)
    if not shifted:
        return stretched, bias
    base = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    return stretched, (base + SHIFT * sums).astype(np.float32)


def array_of(tensor: onnx.TensorProto) -> Float32:
    """A constant's values as float32."""
    return np.asarray(numpy_helper.to_array(tensor), np.float32)
