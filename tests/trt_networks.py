"""Networks of a few layers with the ends of an engine, in the types that TensorRT fuses."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CODES = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN}


def small_network(
    precision: str = "fp16", *, channels: int = 16, scale: int = 2
) -> onnx.ModelProto:
    """Three convolutions with a residual sum; the middle one in ``precision``."""
    random = np.random.default_rng(0)
    kind = np.float32 if precision == "fp32" else np.float16
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(name: str, values: object) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def zero(name: str, count: int | None) -> str:
        code, dims = CODES[precision], [] if count is None else [count]
        weights.append(helper.make_tensor(name, code, dims, [0] * (count or 1)))
        return name

    def convolution(x: str, inner: int, outer: int, name: str) -> str:
        size = (outer, inner, 3, 3)
        weight = constant(f"{name}.w", random.standard_normal(size) / np.sqrt(9 * inner))
        if precision in CODES and name == "middle":
            step = constant(f"{name}.step", 0.05)
            ends = [step, zero(f"{name}.zero", None)]
            x = node("QuantizeLinear", [x, *ends], f"{name}.codes")
            x = node("DequantizeLinear", [x, *ends], f"{name}.values")
            steps = constant(f"{name}.steps", np.full(outer, 0.01))
            ends = [steps, zero(f"{name}.zeros", outer)]
            weight = node("QuantizeLinear", [weight, *ends], f"{name}.wcodes", axis=0)
            weight = node("DequantizeLinear", [weight, *ends], f"{name}.wvalues", axis=0)
        bias = constant(f"{name}.b", np.zeros(outer))
        return node("Conv", [x, weight, bias], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    elements = TensorProto.FLOAT if precision == "fp32" else TensorProto.FLOAT16
    x = node("Cast", ["image"], "typed", to=elements)
    x = node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    first = node("Relu", [convolution(x, 3, channels, "first")], "first.relu")
    x = node("Relu", [convolution(first, channels, channels, "middle")], "middle.relu")
    x = node("Add", [x, first], "sum")
    x = convolution(x, channels, 3 * scale**2, "last")
    x = node("DepthToSpace", [x], "pixels", blocksize=scale, mode="CRD")
    x = node("Round", [x], "rounded")
    x = node("Clip", [x, constant("lowest", 0), constant("highest", 255)], "clipped")
    x = node("Transpose", [x], "interleaved", perm=[0, 2, 3, 1])
    node("Cast", [x], "enhanced", to=TensorProto.UINT8)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("enhanced", TensorProto.UINT8, ["N", "sH", "sW", 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def with_operator(model: onnx.ModelProto, operator: str, domain: str = "") -> bytes:
    """The model with one of its nodes turned into another operator."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    found = next(one for one in changed.graph.node if one.op_type == "Relu")
    found.op_type, found.domain, found.name = operator, domain, "odd one"
    if domain:
        changed.opset_import.append(helper.make_opsetid(domain, 1))
        found.attribute.append(helper.make_attribute("plugin_namespace", domain))
        found.attribute.append(helper.make_attribute("plugin_version", "1"))
    return changed.SerializeToString()
