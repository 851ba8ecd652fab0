"""The network between the ends: types, codes where they are wanted, plugins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from acf_edge.compress.scales import Range
from acf_edge.export.even import Evening
from acf_edge.export.model import NORMALISED
from acf_edge.export.plan import is_core
from acf_edge.export.qdq_ort import ANCHOR
from acf_edge.export.trt.ends import BLACK, CENTRED, CENTRED_STEP, array_of, picture_weights
from acf_edge.export.trt.numbers import Kind, activation_step, quantize_weight
from acf_edge.export.trt.parts import TypedParts
from acf_edge.export.trt.placement import Placement
from acf_edge.export.trt.wide import wide_nodes
from acf_edge.ops.functions import DOMAIN

_FLOAT32_INPUTS = {("Resize", 1), ("Resize", 2)}
"""(operation, place) of constants that ONNX wants as float32 whatever the rest is."""
PLUGIN_VERSION = "1"
SCALES = ("features_scale", "logits_scale", "output_scale")
"""Attributes of the plugins: of codes; 0 where there are none."""


class CoreWriter:
    """One pass over the core's nodes.

    Args:
        parts: where everything lands.
        model: the plain network.
        placement: what becomes codes.
        ranges: of those values.
        evenings: concatenations whose parts are scaled.
        kind: of the codes; None where there are none.
        centred: the sum with the up-sampled picture stays centred, see
            :func:`acf_edge.export.trt.ends.anchored`.
    """

    def __init__(
        self,
        parts: TypedParts,
        model: onnx.ModelProto,
        placement: Placement,
        ranges: Mapping[str, Range],
        evenings: Mapping[str, Evening],
        kind: Kind | None,
        centred: bool,
    ) -> None:
        self.parts, self.model, self.placement = parts, model, placement
        self.ranges, self.evenings, self.kind, self.centred = ranges, evenings, kind, centred
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        wide = parts.element != TensorProto.FLOAT
        self.wide = wide_nodes(model) if wide else frozenset[str]()

    def write(self) -> None:
        """Append the core's nodes."""
        for node in self.model.graph.node:
            if not is_core(node.name):
                continue
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in self.constants:
                self._convolution(copy)
            elif node.name in self.wide:
                self._wide(copy)
            else:
                self._plain(copy)
            for name in node.output:
                if name in self.ranges and self.kind and node.name not in self.placement.operators:
                    self.parts.quantize(name, self._step(name), self.kind)

    def _plain(self, node: onnx.NodeProto) -> None:
        for place, name in enumerate(node.input):
            self._constant(name, (node.op_type, place) in _FLOAT32_INPUTS)
        if node.name in self.placement.skips and self.kind:
            skip = self.placement.skips[node.name]
            place = list(node.input).index(skip)
            node.input[place] = self.parts.dequantize(skip, node.name, self.kind)
        if node.output[0] in self.evenings:
            factors = self.evenings[node.output[0]].factors
            for place, (name, factor) in enumerate(zip(node.input, factors, strict=True)):
                if factor != 1.0:
                    node.input[place] = self._scaled(node, place, name, factor)
        if node.domain == DOMAIN:
            self._plugin(node)
        self.parts.nodes.append(node)
        if node.name in self.placement.operators and self.kind:
            # For whoever takes no codes; left out at the end where there is nobody.
            value = node.output[0].removesuffix(":codes")
            inputs = [f"{value}:codes", f"{value}:codes:scale", f"{value}:codes:zero"]
            self.parts.add("DequantizeLinear", f"{value}:dequantize", inputs, value)

    def _step(self, value: str) -> np.float16:
        assert self.kind is not None
        return activation_step(self.ranges[value], self.kind)

    def _plugin(self, node: onnx.NodeProto) -> None:
        """Say by name which plugin is meant: parsers differ in what they would guess."""
        scales = [0.0] * len(SCALES)
        if node.name in self.placement.operators and self.kind:
            values = [*node.input[:2], node.output[0]]
            scales = [float(self._step(value)) for value in values]
            # The logits' convolution gives codes; so does the operator, and nothing else.
            node.input[0], node.input[1] = (f"{value}:codes" for value in values[:2])
            node.output[0] = f"{values[2]}:codes"
            self.parts.scale(node.output[0], self._step(values[2]), self.kind)
        told = {"plugin_namespace": DOMAIN, "plugin_version": PLUGIN_VERSION}
        for name, value in {**told, **dict(zip(SCALES, scales, strict=True))}.items():
            node.attribute.append(helper.make_attribute(name, value))

    def _scaled(self, node: onnx.NodeProto, place: int, name: str, factor: float) -> str:
        scaled = f"{node.name}:part{place}"
        constant = self.parts.floats(f"{scaled}:factor", 1.0 / factor)
        return self.parts.add("Mul", scaled, [name, constant], scaled)

    def _wide(self, node: onnx.NodeProto) -> None:
        """In 32 bits; whoever takes the result in 16 finds it under its own name."""
        for place, name in enumerate(node.input):
            if name in self.constants:
                tensor = self.constants[name]
                if tensor.data_type == TensorProto.FLOAT:
                    node.input[place] = self.parts.floats(
                        f"{name}:fp32", array_of(tensor), TensorProto.FLOAT
                    )
            else:
                node.input[place] = self.parts.cast(name, TensorProto.FLOAT)
        outputs = list(node.output)
        for place, name in enumerate(outputs):
            node.output[place] = f"{name}:fp32"
            self.parts.converted[name, TensorProto.FLOAT] = f"{name}:fp32"
        self.parts.nodes.append(node)
        for name in outputs:
            self.parts.add("Cast", f"{name}:narrow", [f"{name}:fp32"], name, to=self.parts.element)

    def _constant(self, name: str, wide: bool = False) -> None:
        tensor = self.constants.get(name)
        if tensor is not None and tensor.data_type == TensorProto.FLOAT:
            self.parts.floats(name, array_of(tensor), TensorProto.FLOAT if wide else None)

    def _convolution(self, node: onnx.NodeProto) -> None:
        source, weight_name = node.input[0], node.input[1]
        weight = array_of(self.constants[weight_name])
        bias_name = node.input[2] if len(node.input) > 2 else ""
        bias = array_of(self.constants[bias_name]) if bias_name else None
        anchor = node.name == ANCHOR
        if source in self.evenings:
            weight = weight * self.evenings[source].columns[:, None, None]
        if source == NORMALISED and node.op_type == "Conv":
            weight, bias = picture_weights(weight, bias, not (anchor and self.centred))
            source = node.input[0] = self._padded(node)
        if node.name in self.placement.convolutions and self.kind:
            axis = 1 if node.op_type == "ConvTranspose" else 0
            codes, scales = quantize_weight(weight, self.kind, axis, anchor)
            node.input[0] = self.parts.dequantize(source, node.name, self.kind)
            node.input[1] = self.parts.weight(weight_name, codes, scales, self.kind, axis)
        else:
            self.parts.floats(weight_name, weight)
        if bias is not None:
            del node.input[2:]
            node.input.append(self.parts.floats(bias_name or f"{node.name}:bias", bias))
        self.parts.nodes.append(node)

    def _padded(self, node: onnx.NodeProto) -> str:
        """The centred picture, black around it where the convolution would have put zeros."""
        pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [])
        value = CENTRED
        if any(pads):
            value = f"{CENTRED}_{'_'.join(map(str, pads))}"
            kept = [attribute for attribute in node.attribute if attribute.name != "pads"]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(helper.make_attribute("pads", [0] * len(pads)))
            if (value, 0) not in self.parts.converted:
                self.parts.converted[value, 0] = value
                whole = [0, 0, *pads[:2], 0, 0, *pads[2:]]
                amounts = self.parts.integers(f"{value}:pads", whole)
                black = self.parts.floats(f"{value}:black", BLACK)
                self.parts.add("Pad", value, [CENTRED, amounts, black], value, mode="constant")
        coded = node.name in self.placement.convolutions and self.kind
        if coded and f"{value}:codes:scale" not in self.parts.initializers:
            self.parts.quantize(value, CENTRED_STEP, coded)
        return value


def picture_views(model: onnx.ModelProto) -> tuple[bool, bool]:
    """Whether convolutions look at the picture, and whether anything else does."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    takers = [node for node in model.graph.node if NORMALISED in node.input]
    plain = [
        node.op_type == "Conv" and node.input[0] == NORMALISED and node.input[1] in fixed
        for node in takers
    ]
    return any(plain), not all(plain)


def count_types(model: onnx.ModelProto) -> Mapping[str, int]:
    """How many convolutions take codes and how many do not, for the ledger: type -> count."""
    made = {name: node for node in model.graph.node for name in node.output}
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    counts: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            source = made.get(node.input[1])
            kind = kinds[source.input[0] if source is not None else node.input[1]]
            name = _WORDS[kind]
            counts[name] = counts.get(name, 0) + 1
    return counts


_WORDS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.INT8: "int8",
    TensorProto.FLOAT8E4M3FN: "fp8",
}
