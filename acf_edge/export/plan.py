"""Which activations of a plain network are quantized, and which ReLUs vanish in what they follow.

Convolutions, gates and data movement always give integers; sums, products and activations do
where all that they take is integer. Whatever else there is (a normalization's squares and
roots) stays in float32, up to the next convolution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx

from acf_edge.export.model import FOLDED, NORMALISED

MOVING_OPS = {"Concat", "DepthToSpace", "Split", "Slice", "Gather", "Resize", "Pad", "MaxPool"}
"""They compute nothing, or choose: one scale on both sides."""
_ALWAYS = {"Conv", "ConvTranspose", "Sigmoid", "GlobalAveragePool", "Unsqueeze"} | MOVING_OPS
_LIKE_THEIR_INPUTS = {"Add", "Mul", "Sub", "Div", "Relu", "LeakyRelu", "PRelu", "Clip", "Elu"} | {
    "Tanh",
    "Gelu",
    "Mish",
    "HardSwish",
    "HardSigmoid",
}


@dataclass(frozen=True)
class Plan:
    """What becomes of the activations.

    Attributes:
        values: names of the quantized ones, in graph order.
        relu_of: quantized convolution or sum -> the ReLU that it absorbs.
    """

    values: tuple[str, ...]
    relu_of: dict[str, str]


def is_core(name: str) -> bool:
    """Whether a node belongs to the network and not to the picture's ends of the graph."""
    return not name.startswith(("input/", "output/"))


def make_plan(model: onnx.ModelProto) -> Plan:
    """Decide for a plain network, operators inlined."""
    core = [node for node in model.graph.node if is_core(node.name)]
    fixed = {tensor.name for tensor in model.graph.initializer} | {""}
    wanted = {
        name
        for node in core
        if node.op_type in MOVING_OPS | {"Conv", "ConvTranspose", "GlobalAveragePool"}
        for name in (node.input if node.op_type == "Concat" else node.input[:1])
    }
    alone = _relu_after(model)
    whole, values = {NORMALISED}, list[str]()
    relu_of: dict[str, str] = {}
    for node in core:
        if node.op_type == "Relu" and node.output[0] in relu_of.values():
            continue
        taken = [name for name in node.input if name not in fixed]
        integer = node.op_type in _ALWAYS or (
            node.op_type in _LIKE_THEIR_INPUTS and all(name in whole for name in taken)
        )
        for name in node.output:
            if name == FOLDED:
                continue
            if integer and name in alone:
                relu_of[name] = alone[name]
            if integer or name in wanted:
                values.append(relu_of.get(name, name))
                whole.add(values[-1])
    return Plan(tuple(values), relu_of)


def _relu_after(model: onnx.ModelProto) -> dict[str, str]:
    """Convolution or sum -> the ReLU that alone consumes it."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    return {
        node.input[0]: node.output[0]
        for node in model.graph.node
        if node.op_type == "Relu"
        and uses[node.input[0]] == 1
        and producers.get(node.input[0]) in ("Conv", "Add")
    }
