"""TensorRT's models for ONNX Runtime: to judge their quality where there is no GPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from acf_edge.export.model import INPUT
from acf_edge.export.trt.core import SCALES
from acf_edge.ops import functions

_ONE = "judged/one"


def for_onnxruntime(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that ONNX Runtime computes as it is written.

    * Plugins become functions again; those that take codes, between conversions.
    * ONNX Runtime (1.32) rewrites the biases of quantized convolutions as integers, in the
      arithmetic of the scales, which is FP16 here and too coarse for it: 8 dB of the shipped
      network's agreement were lost. A bias that is multiplied by a one, which is not known to
      be one before the picture comes, is left alone.

    Args:
        model: from :func:`acf_edge.export.trt.write.write_tensorrt`, any form; left as it is.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _put_back(result)
    fixed = {tensor.name: tensor for tensor in result.graph.initializer}
    made = {name: node.op_type for node in result.graph.node for name in node.output}
    nodes = list[onnx.NodeProto]()
    for node in result.graph.node:
        coded = node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 2
        if coded and made.get(node.input[0]) == "DequantizeLinear" and node.input[2] in fixed:
            if not nodes or nodes[0].name != f"{_ONE}/Shape":
                nodes = [*_one(result, fixed[node.input[2]].data_type), *nodes]
            late = f"{node.name}:late"
            nodes.append(helper.make_node("Mul", [node.input[2], _ONE], [late], name=late))
            node.input[2] = late
        nodes.append(node)
    kept = [_copy(node) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    onnx.checker.check_model(result)
    return result


def _one(model: onnx.ModelProto, element: int) -> list[onnx.NodeProto]:
    """min(number of pictures, 1)."""
    batch, least, limit = f"{_ONE}/Shape", f"{_ONE}/Min", f"{_ONE}:limit"
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.int64), limit))
    return [
        helper.make_node("Shape", [INPUT], [batch], name=batch, start=0, end=1),
        helper.make_node("Min", [batch, limit], [least], name=least),
        helper.make_node("Cast", [least], [_ONE], name=_ONE, to=element),
    ]


def _put_back(model: onnx.ModelProto) -> None:
    bodies = (functions.junction_vote_function(), functions.attention_function())
    known = {body.name: set(body.attribute) for body in bodies}
    nodes, used = list[onnx.NodeProto](), set[str]()
    for node in map(_copy, model.graph.node):
        if node.domain != functions.DOMAIN:
            nodes.append(node)
            continue
        used.add(node.op_type)
        told = {a.name: a for a in node.attribute}
        del node.attribute[:]
        node.attribute.extend(told[name] for name in told if name in known[node.op_type])
        nodes.extend(_between(node, [told[name].f for name in SCALES if name in told], model))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.functions.extend(body for body in bodies if body.name in used)


def _between(
    node: onnx.NodeProto, scales: list[float], model: onnx.ModelProto
) -> list[onnx.NodeProto]:
    """An operator on codes: floating point inside."""
    if not any(scales):
        return [node]
    names = []
    for word, value in zip(SCALES, scales, strict=True):
        names.append([f"{node.name}:{word}", f"{node.name}:{word}:zero"])
        for name, array in zip(names[-1], (np.float16(value), np.int8(0)), strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    before = []
    for place in (0, 1):
        codes, read = node.input[place], f"{node.name}:float{place}"
        before.append(helper.make_node("DequantizeLinear", [codes, *names[place]], [read], read))
        node.input[place] = read
    given, result = node.output[0], f"{node.name}:result"
    node.output[0] = result
    after = helper.make_node("QuantizeLinear", [result, *names[2]], [given], f"{result}:quantize")
    return [*before, node, after]


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
