"""How far a network sees: from its graph, without running it.

A tile must overlap its neighbours by what one output pixel sees of the input. That is
followed through the graph, node by node, as an interval of input pixels per cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from acf_edge.engine import wire
from acf_edge.errors import InputError

POOL: Final = "GlobalAveragePool"
SAFE_REACH: Final = 96
"""Pixels of overlap where the graph holds an operation whose reach is not known."""
SAFE_ALIGNMENT: Final = 16

_WINDOWS: Final = {"Conv", "QLinearConv", "ConvInteger", "MaxPool", "AveragePool"}
_IN_PLACE: Final = frozenset({
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
    "DequantizeLinear", "Div", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "PRelu", "Pad",
    "Pow", "QuantizeLinear", "Relu", "Round", "Sigmoid", "Slice", "Softplus", "Split", "Sqrt",
    "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
# These may mix rows and columns into other axes. After them positions are lost, which does
# no harm at the very end, where the result is laid out as pixels.
_LAYOUT: Final = {"Reshape", "Flatten"}


@dataclass(frozen=True)
class NodeParts:
    """One node of the main graph with what matters for positions.

    Attributes:
        op: operator; of another domain than ONNX' own with the domain before it.
        inputs, outputs: names of values.
        integers: attributes that are one integer or a list of them.
        raw: the node as it stands in the file.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, tuple[int, ...]]
    raw: memoryview


@dataclass(frozen=True)
class Reach:
    """What an output pixel depends on.

    Attributes:
        pixels: input pixels beyond its own place, on each side.
        alignment: a cut at a multiple of this leaves every grid inside the network where
            it was.
        strides: values averaged over the whole picture -> input pixels per cell and side
            of what is averaged, in graph order.
        width: of the widest layer, in channels per input pixel.
        known: False where an operation is not understood and a safe guess stands in.
    """

    pixels: int
    alignment: int
    strides: Mapping[str, int]
    width: float
    known: bool


@dataclass(frozen=True)
class _Place:
    """A cell covers the input pixels ``index * stride + low .. index * stride + high``."""

    stride: Fraction = Fraction(1)
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    channels: Fraction = Fraction(3)
    laid_out: bool = False


@dataclass
class _Walk:
    places: dict[str, _Place]
    shapes: dict[str, tuple[int, ...]]
    strides: set[Fraction] = field(default_factory=lambda: {Fraction(1)})
    pools: dict[str, int] = field(default_factory=dict)
    unknown: bool = False
    deepest: Fraction = Fraction(0)
    width: Fraction = Fraction(0)


def read_nodes(graph: memoryview) -> list[NodeParts]:
    """The nodes of a graph in file order.

    Raises:
        ValueError: the bytes are no graph.
    """
    return [_node(part) for part in wire.messages(graph, 1)]


def read_shapes(graph: memoryview) -> dict[str, tuple[int, ...]]:
    """The shapes of a graph's constants by their names."""
    shapes = {}
    for tensor in wire.messages(graph, 5):
        name = next((wire.text(part) for part in wire.messages(tensor, 8)), "")
        shapes[name] = tuple(wire.integers(tensor, 1))
    return shapes


def find_reach(graph: memoryview, picture: str, result: str) -> Reach:
    """Follow the picture through the graph.

    Args:
        graph: the main graph; its nodes stand in an order in which they can run.
        picture: name of the input.
        result: name of the output.

    Raises:
        ValueError: the bytes are no graph.
    """
    nodes = read_nodes(graph)
    walk = _Walk({picture: _Place()}, read_shapes(graph))
    for node in nodes:
        _step(walk, node)
    end = walk.places.get(result)
    if end is None:
        walk.unknown = True
    known = not walk.unknown
    pixels = math.ceil(walk.deepest) if known else max(SAFE_REACH, math.ceil(walk.deepest))
    alignment = math.lcm(*(math.ceil(stride) for stride in walk.strides))
    if not known:
        alignment = math.lcm(alignment, SAFE_ALIGNMENT)
    return Reach(pixels, alignment, walk.pools, float(walk.width), known)


def main_graph(model: memoryview) -> memoryview:
    """The graph of a model.

    Raises:
        InputError: there is none, or it comes in pieces.
    """
    graphs = list(wire.messages(model, 7))
    if len(graphs) != 1:
        raise InputError("This is no ONNX model with one graph.", "Build it again.")
    return graphs[0]


def _step(walk: _Walk, node: NodeParts) -> None:
    sources = [walk.places[name] for name in node.inputs if name in walk.places]
    if node.op == "DequantizeLinear" and node.inputs[0] in walk.shapes:
        walk.shapes[node.outputs[0]] = walk.shapes[node.inputs[0]]
    if not sources or node.op == "Shape":
        return
    if node.op == POOL:
        stride = sources[0].stride
        if stride.denominator == 1 and not sources[0].laid_out:
            walk.pools[node.outputs[0]] = int(stride)
            return
    place = _place(walk, node, sources)
    walk.strides.add(place.stride)
    walk.width = max(walk.width, place.channels / place.stride**2)
    # What lies in the cell's own pixels, or the pixel that several cells share, is no reach.
    before = -place.low - max(1 - place.stride, Fraction(0))
    behind = place.high - max(place.stride - 1, Fraction(0))
    walk.deepest = max(walk.deepest, before, behind)
    walk.places.update(dict.fromkeys(node.outputs, place))


def _place(walk: _Walk, node: NodeParts, sources: list[_Place]) -> _Place:
    first = sources[0]
    laid_out = any(place.laid_out for place in sources)
    if node.op in _WINDOWS and not laid_out:
        kernel = walk.shapes.get(node.inputs[1], ()) if len(node.inputs) > 1 else ()
        return _window(node, first, Fraction(kernel[0]) if kernel else first.channels)
    if node.op == "DepthToSpace" and not laid_out:
        factor = node.integers["blocksize"][0]
        inside = first.stride * Fraction(factor - 1, factor)
        channels = first.channels / factor**2
        return _Place(first.stride / factor, first.low - inside, first.high, channels)
    if node.op == "SpaceToDepth" and not laid_out:
        factor = node.integers["blocksize"][0]
        spread = first.stride * (factor - 1)
        channels = first.channels * factor**2
        return _Place(first.stride * factor, first.low, first.high + spread, channels)
    if node.op in _LAYOUT:
        laid_out = True
    elif node.op not in _IN_PLACE or len({place.stride for place in sources}) > 1:
        walk.unknown = True
    low = min(place.low for place in sources)
    high = max(place.high for place in sources)
    channels = max(place.channels for place in sources)
    if node.op == "Concat":
        channels = sum((place.channels for place in sources), Fraction(0))
    elif node.op == "Split":
        channels = first.channels / len(node.outputs)
    return _Place(first.stride, low, high, channels, laid_out)


def _window(node: NodeParts, source: _Place, channels: Fraction) -> _Place:
    """A window of cells slides over the picture; the taller or wider side counts."""
    kernel = node.integers.get("kernel_shape", (1, 1))
    ones = (1,) * len(kernel)
    strides = node.integers.get("strides", ones)
    dilations = node.integers.get("dilations", ones)
    pads = node.integers.get("pads", (0,) * (2 * len(kernel)))
    low, high = Fraction(0), Fraction(0)
    for axis, (size, step, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        width = (size - 1) * dilation
        before = pads[axis]
        if not any(pads):
            # The picture was padded beforehand: the window stands in the middle.
            before = max(0, (width + 1 - step) // 2)
        low = min(low, Fraction(-before))
        high = max(high, Fraction(width - before))
    return _Place(
        source.stride * max(strides),
        source.low + low * source.stride,
        source.high + high * source.stride,
        channels,
    )


def _node(data: memoryview) -> NodeParts:
    inputs, outputs = [], []
    integers: dict[str, tuple[int, ...]] = {}
    op = domain = ""
    for number, value, _ in wire.fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(wire.text(value))
        elif number == 2:
            outputs.append(wire.text(value))
        elif number == 4:
            op = wire.text(value)
        elif number == 7:
            domain = wire.text(value)
        elif number == 5:
            found = wire.integers(value, 8) or wire.integers(value, 3)
            name = next((wire.text(part) for part in wire.messages(value, 1)), "")
            if found:
                integers[name] = tuple(found)
    prefix = "" if domain in ("", "ai.onnx") else f"{domain}::"
    return NodeParts(prefix + op, tuple(inputs), tuple(outputs), integers, data)
