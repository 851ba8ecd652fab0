"""Rewrite what ONNX Runtime's CPU kernels do slowly; the last step before a model is written.

ONNX Runtime's PReLU asks every value for its sign, and real pictures answer unpredictably. Where
no slope is above one, ``max(y, a * y)`` is the same in two operations without a question, in
float32 as between a dequantization and a quantization. Leaky ReLUs are left alone: they have
kernels of their own in either.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper


def lower_for_cpu(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model for ONNX Runtime on a CPU; the given one is left as it is."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if not any(node.op_type == "PRelu" for node in model.graph.node):
        return result
    slopes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    names = {node.name for node in model.graph.node}
    del result.graph.node[:]
    for node in model.graph.node:
        gentle = node.op_type == "PRelu" and node.input[1] in slopes
        if not gentle or (slopes[node.input[1]] > 1.0).any():
            result.graph.node.append(node)
            continue
        module = node.name.rsplit("/", 1)[0]
        product, largest = (_free(f"{module}/{op}", names) for op in ("Mul", "Max"))
        result.graph.node.append(
            helper.make_node("Mul", list(node.input), [f"{product}:sloped"], name=product)
        )
        result.graph.node.append(
            helper.make_node(
                "Max", [node.input[0], f"{product}:sloped"], list(node.output), name=largest
            )
        )
    onnx.checker.check_model(result)
    return result


def _free(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
