"""What is quantized for TensorRT: the inputs of convolutions, and the skips of residual sums.

TensorRT fuses ``quantize(relu(convolution + skip))`` into one kernel where the convolution's
input and the skip come from 8-bit codes and the convolution's raw output stays in floating
point. Everything else (votes, attention, the sum with the up-sampled picture) is FP16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError
from acf_edge.export.even import Evening, find_evenings, whole_range
from acf_edge.export.model import FOLDED, NORMALISED
from acf_edge.export.plan import is_core
from acf_edge.ops.functions import DOMAIN

UNIT = Range(0.0, 1.0)


@dataclass(frozen=True)
class Placement:
    """Where 8 bits are.

    Attributes:
        convolutions: names of the nodes that take codes.
        skips: name of a residual sum -> the value that it takes from codes.
        values: activations that become codes, in graph order; the picture is not among them.
        operators: names of plugin nodes that take and give codes.
    """

    convolutions: frozenset[str]
    skips: Mapping[str, str]
    values: tuple[str, ...]
    operators: frozenset[str] = frozenset()


NOWHERE = Placement(frozenset(), {}, ())


def place(
    model: onnx.ModelProto,
    picture: bool = True,
    keep: Collection[str] = (),
    operators: bool = False,
) -> Placement:
    """Decide for a plain network.

    Args:
        model: operators as functions or inlined.
        picture: whether convolutions take codes that look at the picture itself (or at a sum
            or product of it with constants), or whose result is the enhanced picture.
        keep: names of convolutions that stay in floating point.
        operators: plugin nodes take codes of features and logits and give codes, too.

    Raises:
        InputError: ``keep`` names what is no convolution.
    """
    core = [node for node in model.graph.node if is_core(node.name)]
    fixed = {tensor.name for tensor in model.graph.initializer}
    pictures = _pictures(core, fixed)
    known = {node.name for node in core if node.op_type in ("Conv", "ConvTranspose")}
    for name in keep:
        if name not in known:
            raise InputError(
                f"'{name}' is no convolution of this network.", f"There are: {sorted(known)[:4]}."
            )
    taken = [
        node
        for node in core
        if node.name in known
        and node.name not in keep
        and _groups(node) == 1
        and node.input[1] in fixed
        and (picture or (node.input[0] not in pictures and node.output[0] != FOLDED))
    ]
    skips = _skips(core, {node.output[0] for node in taken}, fixed)
    wanted = {node.input[0] for node in taken} | set(skips.values())
    plugins = [node for node in core if operators and node.domain == DOMAIN]
    wanted |= {name for node in plugins for name in (*node.input[:2], *node.output)}
    made = [name for node in core for name in node.output if name in wanted]
    names = frozenset(node.name for node in taken)
    return Placement(names, skips, tuple(made), frozenset(node.name for node in plugins))


def sigmoid_inputs(model: onnx.ModelProto) -> list[str]:
    """Convolutions' results that become votes; the operators' logits, once they are inlined."""
    convolved = {n.output[0] for n in model.graph.node if n.op_type == "Conv"}
    votes = {n.input[0] for n in model.graph.node if n.op_type == "Sigmoid"}
    return [name for n in model.graph.node for name in n.output if name in convolved & votes]


def _pictures(core: list[onnx.NodeProto], fixed: set[str]) -> set[str]:
    """Values that are the picture but for constants."""
    found = {NORMALISED}
    for node in core:
        if node.op_type in ("Add", "Sub", "Mul", "Concat", "Pad") and all(
            name in found or name in fixed for name in node.input
        ):
            found.update(node.output)
    return found


def _skips(core: list[onnx.NodeProto], convolved: set[str], fixed: set[str]) -> dict[str, str]:
    uses = Counter(name for node in core for name in node.input)
    made = {name: index for index, node in enumerate(core) for name in node.output}
    skips = {}
    for node in core:
        # The last sum makes the picture itself, which 8 bits would not do justice.
        if node.op_type != "Add" or node.output[0] == FOLDED or fixed & set(node.input):
            continue
        if any(name not in made for name in node.input):
            continue
        early, late = sorted(node.input, key=made.__getitem__)
        for raw, skip in ((late, early), (early, late)):
            if raw in convolved and uses[raw] == 1 and raw != skip:
                skips[node.name] = skip
                break
    return skips


def settle(
    model: onnx.ModelProto, placement: Placement, store: ScaleStore
) -> tuple[dict[str, Range], dict[str, Evening]]:
    """The range of each value that becomes codes, and concatenations that have to be evened.

    Raises:
        InputError: the store lacks a range.
    """
    lacking = [name for name in placement.values if name not in store.ranges]
    if lacking:
        raise InputError(
            f"The scale store lacks the range of '{lacking[0]}'.",
            "It belongs to another network: calibrate again.",
        )
    ranges = {name: store.ranges[name] for name in placement.values}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        less_mean = node.op_type == "Add" and node.input[0] == NORMALISED
        if less_mean and node.output[0] in ranges and node.input[1] in constants:
            # A picture less its mean: nothing of it is clipped.
            shift = numpy_helper.to_array(constants[node.input[1]])
            ends = min(float(shift.min()), 0.0), max(float(shift.max()), -1.0) + 1.0
            ranges[node.output[0]] = Range(*ends)
    evenings = {}
    for name, evening in find_evenings(model, store.ranges).items():
        node = next(n for n in model.graph.node if name in n.output)
        takers = [n for n in model.graph.node if name in n.input]
        if name in ranges and all(taker.name in placement.convolutions for taker in takers):
            parts = [UNIT if part == NORMALISED else store.ranges[part] for part in node.input]
            evenings[name] = _exact(evening)
            ranges[name] = whole_range(parts, evenings[name])
    return ranges, evenings


def _exact(evening: Evening) -> Evening:
    """Factors that are exact in FP16, and none so small that a part would leave its range."""

    def power(factors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        exponents = np.ceil(np.log2(np.asarray(factors, np.float64)))
        rounded: npt.NDArray[np.float32] = np.exp2(np.maximum(exponents, -8)).astype(np.float32)
        return rounded

    factors = tuple(float(factor) for factor in power(evening.factors))
    return Evening(factors, power(evening.columns))


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)
