"""The little of an ONNX file that an engine and a profiler must know, read without ``onnx``.

The runtime half installs without the ``onnx`` package. What it needs of a
model (which opset, which nodes, whether it points at other files) is a few
fields of the protocol-buffer wire format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acf_edge.engine.wire import fields, messages, text
from acf_edge.errors import InputError

_EXTERNAL: Final = 1


@dataclass(frozen=True)
class Node:
    """One node of the main graph; empty strings stand for absent tensors and names."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """What was read of a model.

    Attributes:
        ir_version: of the file format.
        opset: of the standard domain; 0 if it imports none.
        nodes: of the main graph, in file order.
        external: whether any tensor keeps its data in another file.
    """

    ir_version: int
    opset: int
    nodes: tuple[Node, ...]
    external: bool


def read_graph(model: bytes) -> Graph:
    """Read the bytes of an ONNX file.

    Raises:
        InputError: they are no ONNX model.
    """
    try:
        ir_version, opset = 0, 0
        nodes: list[Node] = []
        external = False
        for number, value, _ in fields(memoryview(model)):
            if number == 1 and isinstance(value, int):
                ir_version = value
            elif number == 8 and not isinstance(value, int):
                domain, version = _opset(value)
                opset = version if domain in ("", "ai.onnx") else opset
            elif number == 7 and not isinstance(value, int):
                nodes += [_node(part) for part in messages(value, 1)]
                external = external or _graph_external(value)
            elif number == 25 and not isinstance(value, int):
                external = external or any(_node_external(part) for part in messages(value, 7))
    except (ValueError, RecursionError) as error:
        raise InputError(f"This is no ONNX model ({error}).", "Build it again.") from error
    if not nodes:
        raise InputError("This is no ONNX model: it has no nodes.", "Build it again.")
    return Graph(ir_version, opset, tuple(nodes), external)


def _opset(data: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value, _ in fields(data):
        if number == 1 and not isinstance(value, int):
            domain = text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _node(data: memoryview) -> Node:
    inputs, outputs = [], []
    texts = {3: "", 4: "", 7: ""}
    for number, value, _ in fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(text(value))
        elif number == 2:
            outputs.append(text(value))
        elif number in texts:
            texts[number] = text(value)
    return Node(texts[3], texts[4], texts[7], tuple(inputs), tuple(outputs))


def _graph_external(data: memoryview) -> bool:
    tensors = any(_tensor_external(part) for part in messages(data, 5))
    sparse = any(_sparse_external(part) for part in messages(data, 15))
    return tensors or sparse or any(_node_external(part) for part in messages(data, 1))


def _node_external(data: memoryview) -> bool:
    for attribute in messages(data, 5):
        if any(_tensor_external(part) for part in messages(attribute, 5, 10)):
            return True
        if any(_sparse_external(part) for part in messages(attribute, 22, 23)):
            return True
        if any(_graph_external(part) for part in messages(attribute, 6, 11)):
            return True
    return False


def _sparse_external(data: memoryview) -> bool:
    return any(_tensor_external(part) for part in messages(data, 1, 2))


def _tensor_external(data: memoryview) -> bool:
    return any(
        number == 13 or (number == 14 and value == _EXTERNAL) for number, value, _ in fields(data)
    )
