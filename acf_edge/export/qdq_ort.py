"""The INT8 dialect that ONNX Runtime runs fast on a CPU.

Unsigned 8-bit activations on every tensor, signed 8-bit weights per output
channel, 32-bit biases, written as QuantizeLinear/DequantizeLinear pairs around
every operation, so that the runtime fuses each of them into one integer kernel.
The uint8 picture *is* the first quantized tensor (scale 1/255, zero point 0) and
the last one; ReLU is the saturation at zero; data movement (concatenation,
shuffles, splits) shares one scale on both sides and costs no arithmetic.

x86 CPUs without VNNI (AMD before Zen 4, Intel before Ice Lake) add up two products at a
time in 16 bits, which saturate when both weights use all of their 8 bits. The weights' scales
are chosen so that no such pair can overflow: the same file then gives the same pixels on
every CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from acf_edge.compress.calibrate import NARROWEST
from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError
from acf_edge.export.even import Evening, find_evenings, whole_range
from acf_edge.export.model import CODES, FOLDED, NORMALISED, PIXELS, alive_nodes
from acf_edge.export.plan import MOVING_OPS, Plan, is_core, make_plan

_UNIT = Range(0.0, 1.0)
_BIAS_ROOM = 2.0**29
PAIR_LIMIT = 127
"""What two neighbouring weights of one sign may add up to; rounding adds one at most, and
255 * 128 < 2**15."""
ANCHOR = "anchor/Conv"
"""The fixed bicubic up-sampling: its output is a picture and keeps a picture's scale."""


def quantized_values(model: onnx.ModelProto) -> list[str]:
    """Names of the activations whose ranges this dialect needs, in graph order.

    Args:
        model: the plain network, operators inlined.
    """
    return list(make_plan(model).values)


def write_qdq(model: onnx.ModelProto, store: ScaleStore, fit_pairs: bool = True) -> onnx.ModelProto:
    """Write the INT8 model.

    Args:
        model: the plain network, operators inlined; left as it is.
        store: ranges for :func:`quantized_values`.
        fit_pairs: keep neighbouring weights so small that kernels that add up pairs of products
            in 16 bits are exact. Without it, CPUs without VNNI lose up to some tenths of a dB in
            bright pictures; with it, weights are up to one bit coarser, which costs less than
            0.001 dB.

    Returns:
        Same inputs and outputs as ``model``.

    Raises:
        InputError: the store lacks a range.
    """
    plan = make_plan(model)
    lacking = [name for name in plan.values if name not in store.ranges]
    if lacking:
        raise InputError(
            f"The scale store lacks the range of '{lacking[0]}'.",
            "It belongs to another network: calibrate again.",
        )
    measured = {name: store.ranges[name] for name in plan.values}
    evenings = find_evenings(model, measured)
    ranges = _settle(model, plan, evenings, measured)
    return _Writer(model, plan, evenings, ranges, fit_pairs).write()


def _settle(
    model: onnx.ModelProto,
    plan: Plan,
    evenings: Mapping[str, Evening],
    ranges: dict[str, Range],
) -> dict[str, Range]:
    """Fixed ranges for pictures and votes, shared ones across data movement."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if not is_core(node.name):
            continue
        if node.op_type in ("Sigmoid", "Unsqueeze") and node.output[0] in ranges:
            # Gates lie in 0..1 whatever the calibration pictures made of them.
            ranges[node.output[0]] = _UNIT
        if node.name == ANCHOR:
            ranges[node.output[0]] = _UNIT
        if node.op_type == "Add" and node.input[0] == NORMALISED and node.input[1] in constants:
            # A picture less its mean: nothing of it is clipped.
            shift = numpy_helper.to_array(constants[node.input[1]])
            ends = min(float(shift.min()), 0.0), max(float(shift.max()), -1.0) + 1.0
            ranges[node.output[0]] = Range(*ends)
    # A chain of movements (shuffle, then concatenation) settles in as many rounds; ranges only
    # ever grow to one another, so it does.
    before: dict[str, Range] = {}
    while before != ranges:
        before = dict(ranges)
        for node in model.graph.node:
            if node.op_type not in MOVING_OPS or not is_core(node.name):
                continue
            if node.output[0] in evenings:
                parts = [ranges.get(name, _UNIT) for name in node.input]
                ranges[node.output[0]] = whole_range(parts, evenings[node.output[0]])
            else:
                group = [plan.relu_of.get(n, n) for n in (*node.input, *node.output)]
                group = [name for name in group if name in ranges]
                if not group:
                    continue
                spans = [ranges[name] for name in group]
                spans += [_UNIT] if NORMALISED in node.input else []
                low, high = min(s.low for s in spans), max(s.high for s in spans)
                ranges.update(dict.fromkeys(group, Range(low, high)))
    return ranges


def activation_scale(span: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of an unsigned 8-bit activation; zero is exact."""
    scale = np.float32((span.high - span.low) / 255.0)
    return scale, np.uint8(np.clip(np.rint(-span.low / scale), 0, 255))


def quantize_weight(
    weight: npt.NDArray[np.float32],
    keep_sum: bool = False,
    fit_pairs: bool = False,
    least: npt.NDArray[np.float64] | float = 0.0,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric signed 8-bit weights, one scale per output channel.

    Args:
        weight: ``(O, I, rows, columns)`` float32.
        keep_sum: the integer weights of each channel add up to exactly 1 / scale, as those of
            an interpolation must: flat areas then come out unchanged.
        fit_pairs: see :func:`write_qdq`.
        least: smallest scale, one or ``(O,)``; not with ``keep_sum``.

    Returns:
        int8 of the same shape in -127..127, and ``(O,)`` float32 scales.
    """
    flat = weight.reshape(weight.shape[0], -1).astype(np.float64)
    peak = np.maximum(np.abs(flat).max(axis=1), 1e-12)
    if fit_pairs:
        peak = np.maximum(peak, largest_pair(weight) * (127.0 / PAIR_LIMIT))
    if not keep_sum:
        scale = np.maximum(peak / 127.0, least)
        codes = np.rint(flat / scale[:, None])
    else:
        units = np.floor(127.0 / peak)
        scale = 1.0 / units
        exact = flat * units[:, None]
        codes = np.floor(exact)
        for row in range(len(codes)):
            # Largest remainders first get the units that rounding down took away.
            owed = round(exact[row].sum() - codes[row].sum())
            order = np.argsort(-(exact[row] - codes[row]), kind="stable")
            codes[row, order[:owed]] += 1
    codes = np.clip(codes, -127, 127).astype(np.int8)
    return codes.reshape(weight.shape), scale.astype(np.float32)


def largest_pair(weight: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Largest sum of two weights of one sign that a kernel adds up together.

    Args:
        weight: ``(O, I, rows, columns)``. Kernels go through rows, columns, then input channels,
            two by two.

    Returns:
        ``(O,)``, >= 0.
    """
    rows = weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1).astype(np.float64)
    if rows.shape[1] % 2:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    sums = [np.maximum(part[:, ::2], 0) + np.maximum(part[:, 1::2], 0) for part in (rows, -rows)]
    largest: npt.NDArray[np.float64] = np.maximum(*sums).max(axis=1)
    return largest


class _Writer:
    """One pass over the nodes; everything that is written lands in ``nodes``."""

    def __init__(
        self,
        model: onnx.ModelProto,
        plan: Plan,
        evenings: Mapping[str, Evening],
        ranges: Mapping[str, Range],
        fit_pairs: bool,
    ) -> None:
        self.model = model
        self.evenings = evenings
        self.ranges = ranges
        self.fit_pairs = fit_pairs
        self.relu_of = plan.relu_of
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def write(self) -> onnx.ModelProto:
        dropped = set(self.relu_of.values())
        for node in self.model.graph.node:
            if node.op_type == "Relu" and node.output[0] in dropped:
                continue
            if NORMALISED in node.output:
                self._dequantize(PIXELS, NORMALISED, _UNIT)
            elif CODES in node.output:
                self._quantize(FOLDED, CODES, _UNIT)
            elif not is_core(node.name):
                self._copy(node)
            else:
                self._core(node)
        return self._finish()

    def _constant(self, name: str, value: Any) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _scale(self, value: str, span: Range) -> list[str]:
        scale, zero = activation_scale(span)
        return [self._constant(f"{value}:scale", scale), self._constant(f"{value}:zero", zero)]

    def _quantize(self, source: str, target: str, span: Range) -> None:
        inputs = [source, *self._scale(target, span)]
        self.nodes.append(
            helper.make_node("QuantizeLinear", inputs, [target], name=f"{source}:quantize")
        )

    def _dequantize(self, source: str, target: str, span: Range) -> None:
        inputs = [source, *self._scale(source, span)]
        self.nodes.append(
            helper.make_node("DequantizeLinear", inputs, [target], name=f"{target}:dequantize")
        )

    def _copy(self, node: onnx.NodeProto) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        self.nodes.append(copy)
        return copy

    def _core(self, node: onnx.NodeProto) -> None:
        copy = self._copy(node)
        if node.op_type == "Conv":
            self._weights(copy)
        elif node.output[0] in self.evenings:
            self._parts(copy, self.evenings[node.output[0]])
        elif node.op_type in ("Add", "Mul"):
            value = self.relu_of.get(node.output[0], node.output[0])
            if value in self.ranges or value == FOLDED:
                self._operands(copy)
        for index, raw in enumerate(node.output):
            value = self.relu_of.get(raw, raw)
            if value in self.ranges:
                # The float value keeps its name; its codes get one beside it.
                copy.output[index] = f"{value}:float"
                self._quantize(f"{value}:float", f"{value}:codes", self.ranges[value])
                self._dequantize(f"{value}:codes", value, self.ranges[value])

    def _parts(self, node: onnx.NodeProto, evening: Evening) -> None:
        """Read the codes of a concatenation's parts with scales that make them alike."""
        for index, (name, factor) in enumerate(zip(node.input, evening.factors, strict=True)):
            codes, span = (PIXELS, _UNIT) if name == NORMALISED else (f"{name}:codes", None)
            scale, zero = activation_scale(span or self.ranges[name])
            read = f"{node.name}:part{index}"
            inputs = [codes, self._constant(f"{read}:scale", np.float32(scale / factor))]
            inputs.append(self._constant(f"{read}:zero", zero))
            self._insert_before(
                helper.make_node("DequantizeLinear", inputs, [read], name=f"{read}:dequantize")
            )
            node.input[index] = read

    def _operands(self, node: onnx.NodeProto) -> None:
        """Constants of a sum or a product as integers, too."""
        for index, name in enumerate(node.input):
            if name not in self.constants:
                continue
            value = self.constants[name].astype(np.float64)
            low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
            scale, zero = activation_scale(Range(low, max(high, low + NARROWEST)))
            codes = np.clip(np.rint(value / scale) + zero, 0, 255).astype(np.uint8)
            inputs = [self._constant(f"{name}:codes", codes)]
            inputs += [self._constant(f"{name}:scale", scale), self._constant(f"{name}:zero", zero)]
            node.input[index] = f"{name}:float"
            self._insert_before(
                helper.make_node(
                    "DequantizeLinear", inputs, [f"{name}:float"], name=f"{name}:dequantize"
                )
            )

    def _weights(self, node: onnx.NodeProto) -> None:
        source, weight = node.input[0], node.input[1]
        span = _UNIT if source == NORMALISED else self.ranges[source]
        step = activation_scale(span)[0]
        least: Any = 0.0
        if len(node.input) > 2:
            # A channel of tiny weights must leave its bias room in 32 bits.
            least = np.abs(self.constants[node.input[2]].astype(np.float64)) / (step * _BIAS_ROOM)
        values = self.constants[weight]
        if source in self.evenings:
            values = values * self.evenings[source].columns[:, None, None]
        codes, scale = quantize_weight(values, node.name == ANCHOR, self.fit_pairs, least)
        weight_scale = self._constant(f"{weight}:scale", scale)
        zero = self._constant(f"{weight}:zero", np.zeros(len(scale), np.int8))
        inputs = [self._constant(f"{weight}:codes", codes), weight_scale, zero]
        node.input[1] = f"{weight}:float"
        self._insert_before(
            helper.make_node(
                "DequantizeLinear", inputs, [node.input[1]], name=f"{weight}:dequantize", axis=0
            )
        )
        if len(node.input) > 2:
            bias = node.input[2]
            bias_scale = step * scale
            wide = np.rint(self.constants[bias] / bias_scale.astype(np.float64))
            whole = np.clip(wide, -(2**31), 2**31 - 1).astype(np.int32)
            inputs = [
                self._constant(f"{bias}:codes", whole),
                self._constant(f"{bias}:scale", bias_scale.astype(np.float32)),
                self._constant(f"{bias}:zero", np.zeros(len(scale), np.int32)),
            ]
            node.input[2] = f"{bias}:float"
            self._insert_before(
                helper.make_node(
                    "DequantizeLinear", inputs, [node.input[2]], name=f"{bias}:dequantize", axis=0
                )
            )

    def _insert_before(self, node: onnx.NodeProto) -> None:
        self.nodes.insert(len(self.nodes) - 1, node)

    def _finish(self) -> onnx.ModelProto:
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        del result.graph.node[:], result.graph.initializer[:]
        nodes = alive_nodes(self.nodes, {value.name for value in self.model.graph.output})
        result.graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        for tensor in self.model.graph.initializer:
            if tensor.name in used:
                result.graph.initializer.append(tensor)
        result.graph.initializer.extend(
            tensor for name, tensor in self.initializers.items() if name in used
        )
        onnx.checker.check_model(result)
        return result
