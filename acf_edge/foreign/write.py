"""The whole ONNX model of a foreign network: uint8 picture in, uint8 picture out, any size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from acf_edge.export.graph import GraphParts
from acf_edge.export.model import (
    FOLDED,
    INPUT,
    NORMALISED,
    OUTPUT,
    assemble,
    normalise,
    picture_end,
)
from acf_edge.export.qdq_ort import ANCHOR as ANCHOR_NODE
from acf_edge.foreign.record import ROOT
from acf_edge.foreign.simplify import ANCHOR, PICTURE
from acf_edge.foreign.steps import Array, Step, Steps

# Paths that mean something else in a graph of ours.
_TAKEN = ("input", "output", "anchor")
_NAMES = {"Conv": ("weight", "bias"), "ConvTranspose": ("weight", "bias"), "PRelu": ("slope",)}


def write_model(
    steps: Steps, factor: int, scale: int, title: str, minimum: int, multiple: int
) -> onnx.ModelProto:
    """Write a network and both ends of the graph.

    Args:
        steps: from :func:`acf_edge.foreign.simplify.simplify`.
        factor: what that gave.
        scale: pixels of the result per pixel of the picture and side.
        title: of the graph.
        minimum: pixels a side that the network needs at least; 0 or more.
        multiple: of which its sides must be multiples; 1 or more.

    Returns:
        Input ``image`` ``(N, H, W, 3)`` uint8 RGB, output ``enhanced``
        ``(N, scale H, scale W, 3)`` uint8 RGB; N, H and W are free.
    """
    parts = GraphParts(names={INPUT, OUTPUT, FOLDED, ANCHOR_NODE})
    parts.add("Shape", "input", [INPUT], start=1, end=3)
    normalise(parts, _padded(parts, minimum, multiple))
    names = {PICTURE: NORMALISED, steps.result: FOLDED}
    for step in steps.steps:
        _node(parts, step, names)
    picture_end(parts, factor, scale)
    return assemble(parts, title, scale)


def _padded(parts: GraphParts, minimum: int, multiple: int) -> str:
    """Pad at the right and the bottom as spandrel does: mirrored, and where that ends, repeated."""
    if minimum <= 1 and multiple == 1:
        return INPUT

    def number(name: str, value: list[int]) -> str:
        return parts.constant(f"input/{name}", np.array(value, np.int64))

    one, zeros = number("one", [1]), number("zeros", [0, 0, 0, 0, 0])
    least, align = number("least", [minimum]), number("align", [multiple])
    enough = parts.add("Max", "input", ["input/Shape", least])
    missing = parts.add("Mod", "input", [parts.add("Neg", "input", [enough]), align])
    wanted = parts.add("Add", "input", [enough, missing])
    spare = parts.add("Sub", "input", [wanted, "input/Shape"])
    inside = parts.add("Sub", "input", ["input/Shape", one])
    mirrored = parts.add("Min", "input", [spare, inside])
    repeated = parts.add("Sub", "input", [spare, mirrored])
    zero = number("zero", [0])
    value = INPUT
    for mode, amount in (("reflect", mirrored), ("edge", repeated)):
        pads = parts.add("Concat", "input", [zeros, amount, zero], axis=0)
        value = parts.add("Pad", "input", [value, pads], mode=mode)
    return value


def _node(parts: GraphParts, step: Step, names: dict[int, str]) -> None:
    module = f"{ROOT}.{step.module}" if step.module in _TAKEN else step.module
    if step.module == ANCHOR:
        module, name = "anchor", ANCHOR_NODE
    else:
        name = parts.unique(f"{module}/{step.op}")
    inputs = []
    for place, value in enumerate(step.inputs):
        if value is None:
            inputs.append("")
        elif isinstance(value, int):
            inputs.append(names[value])
        else:
            known = _NAMES.get(step.op, ())
            ending = known[place - 1] if 0 < place <= len(known) else f"{step.op.lower()}_{place}"
            inputs.append(_constant(parts, f"{module}.{ending}", value))
    outputs = []
    for index, number in enumerate(step.outputs):
        if number not in names:
            names[number] = name if not index else parts.unique(f"{name}:{index}")
        outputs.append(names[number])
    while inputs and not inputs[-1]:
        inputs.pop()
    parts.nodes.append(helper.make_node(step.op, inputs, outputs, name=name, **step.attributes))


def _constant(parts: GraphParts, name: str, value: Array) -> str:
    # Never shared: each use may be quantized in its own way.
    name = parts.unique(name)
    parts.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name
