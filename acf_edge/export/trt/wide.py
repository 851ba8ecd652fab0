"""Which operations of a 16-bit network are done in 32 bits: normalizations.

A square overflows FP16 from 256 on, and the small number that keeps a root from zero vanishes
in it. So roots, powers, quotients and means over channels stay wide, with the squares and the
differences that lead to them.
"""

from __future__ import annotations

import onnx

from acf_edge.export.plan import is_core

_ALWAYS = {"Sqrt", "Pow", "Div", "ReduceMean", "ReduceSum", "ReduceL2", "Reciprocal", "Exp"}
_BEFORE = {"Sub", "Mul"}


def wide_nodes(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the core's nodes that are computed in 32 bits."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    names: set[str] = set()
    waiting = [n for n in model.graph.node if is_core(n.name) and n.op_type in _ALWAYS]
    while waiting:
        node = waiting.pop()
        if node.name in names:
            continue
        names.add(node.name)
        for value in node.input:
            before = made.get(value)
            if before is None or not is_core(before.name):
                continue
            # A sum leads to a root only as "variance + epsilon"; others are the network's own.
            epsilon = before.op_type == "Add" and bool(fixed & set(before.input))
            if before.op_type in _BEFORE or epsilon:
                waiting.append(before)
    return frozenset(names)
