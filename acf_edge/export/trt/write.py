"""The one way from the plain network to what TensorRT is given.

======== =================================================================================
fp32     everything in 32 bits
fp16     everything in 16 bits but normalizations and the rounding to pixels
int8     fp16; convolutions take signed 8-bit codes, symmetric, one scale per activation and
         one per channel of weights; so do the skips of residual sums
fp8      the same with E4M3 codes; convolutions on the picture stay fp16: four significant
         bits are too few for pixels
======== =================================================================================

The network is strongly typed: the types in the graph are the types of the engine. ONNX opset
20, which TensorRT's parser reads from 10.0 on. ONNX Runtime computes the same, see
:func:`acf_edge.export.trt.judged.for_onnxruntime`.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper

from acf_edge.compress.scales import Range, ScaleStore
from acf_edge.errors import InputError
from acf_edge.export.even import Evening
from acf_edge.export.model import NORMALISED, alive_nodes, inline_operators
from acf_edge.export.trt.core import CoreWriter, picture_views
from acf_edge.export.trt.dla import ChannelMeans, friendly, measure_means
from acf_edge.export.trt.ends import Views, anchored, input_end, move_constants, output_end
from acf_edge.export.trt.numbers import FP8, INT8
from acf_edge.export.trt.parts import ELEMENTS, TypedParts
from acf_edge.export.trt.placement import NOWHERE, place, settle, sigmoid_inputs
from acf_edge.ops import functions

__all__ = [
    "PRECISIONS",
    "QUANTIZED",
    "ChannelMeans",
    "measure_means",
    "quantized_values",
    "write_tensorrt",
]

PRECISIONS = ("fp32", "fp16", "int8", "fp8")
QUANTIZED = ("int8", "fp8")
"""These need a scale store."""
_KINDS = {"int8": INT8, "fp8": FP8}


def quantized_values(plain: onnx.ModelProto) -> list[str]:
    """Names of the activations whose ranges :func:`write_tensorrt` needs, in graph order.

    A store that was calibrated for :func:`acf_edge.export.qdq_ort.quantized_values` has them
    all.

    Args:
        plain: the plain network, with its operators as functions or inlined.
    """
    model = _inlined(plain)
    wanted = {*place(model).values, *sigmoid_inputs(model)}
    # Unlike parts of a concatenation are evened out, for which their own ranges are needed.
    joined = [n for n in model.graph.node if n.op_type == "Concat" and n.output[0] in wanted]
    wanted.update(name for node in joined for name in node.input if name != NORMALISED)
    return [name for node in model.graph.node for name in node.output if name in wanted]


def write_tensorrt(
    plain: onnx.ModelProto,
    *,
    precision: str,
    store: ScaleStore | None = None,
    plugins: bool = False,
    dla: bool = False,
    means: ChannelMeans | None = None,
    keep: Collection[str] = (),
    int8_plugins: bool = False,
) -> onnx.ModelProto:
    """Write the model that TensorRT compiles as a strongly typed network.

    Args:
        plain: float32, from :func:`acf_edge.export.model.export_network` or of others, operators
            as functions; left as it is.
        precision: one of :data:`PRECISIONS`.
        store: ranges for :func:`quantized_values`; needed for :data:`QUANTIZED`.
        plugins: keep the ``acf`` nodes, as plugins of the namespace ``acf`` (no functions in the
            model). Else they are inlined: for TensorRT-RTX and for ``--no-plugins``.
        dla: no global pooling and no sigmoid, so that a DLA takes the whole core (see
            :mod:`acf_edge.export.trt.dla`); not with ``plugins``.
        means: from :func:`measure_means`; needed with ``dla`` where there is global pooling.
        keep: names of convolutions that stay in FP16 at :data:`QUANTIZED` precisions.
        int8_plugins: with ``plugins`` at INT8: the plugins read and write codes instead of FP16,
            half the memory traffic and a little less quality.

    Returns:
        Input ``image`` ``(N, H, W, 3)`` uint8 RGB, output ``enhanced`` ``(N, sH, sW, 3)`` uint8.

    Raises:
        InputError: an unknown precision, no store or one of another network, ``dla`` with
            ``plugins`` or without means, ``int8_plugins`` without its conditions, a ``keep``
            that names no convolution.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"Unknown precision '{precision}'.", f"There are: {', '.join(PRECISIONS)}."
        )
    if precision in QUANTIZED and store is None:
        raise InputError(f"Precision {precision} needs a scale store.", "Calibrate first.")
    if plugins and dla:
        raise InputError(
            "A DLA runs no plugins.", "Leave out one of the two: the DLA's form inlines them."
        )
    if int8_plugins and not (plugins and precision == "int8"):
        raise InputError(
            "Only the plugins of an INT8 network can take codes.",
            "Ask for precision int8 with plugins, or leave the operators in FP16.",
        )
    model = plain if plugins else _inlined(plain)
    if plugins and not any(node.domain == functions.DOMAIN for node in plain.graph.node):
        plugins = False
    if dla:
        model = friendly(model, means)
    placement, kind = NOWHERE, _KINDS.get(precision)
    ranges: dict[str, Range] = {}
    evenings: dict[str, Evening] = {}
    if kind is not None and store is not None:
        placement = place(model, kind is INT8, keep, int8_plugins)
        ranges, evenings = settle(model, placement, store)
    parts = TypedParts(ELEMENTS["fp32" if precision == "fp32" else "fp16"])
    centred = anchored(model)
    input_end(parts, model, Views(*picture_views(model)))
    CoreWriter(parts, model, placement, ranges, evenings, kind, centred).write()
    output_end(parts, model, centred)
    move_constants(parts, model)
    return _assemble(parts, plain, plugins)


def _inlined(plain: onnx.ModelProto) -> onnx.ModelProto:
    return inline_operators(plain) if plain.functions else plain


def _assemble(parts: TypedParts, plain: onnx.ModelProto, plugins: bool) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(plain)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    del result.functions[:], result.opset_import[:]
    nodes = alive_nodes(parts.nodes, {value.name for value in plain.graph.output})
    used = {name for node in nodes for name in node.input}
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(t for n, t in parts.initializers.items() if n in used)
    result.opset_import.append(helper.make_opsetid("", functions.OPSET))
    if plugins:
        opset = helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION)
        result.opset_import.append(opset)
    onnx.checker.check_model(result)
    return result
