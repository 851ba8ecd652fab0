"""The little of an ONNX file that an engine and a profiler must know, read without ``onnx``.

The runtime half installs without the ``onnx`` package. What it needs of a
model (which opset, which nodes, whether it points at other files) is a few
fields of the protocol-buffer wire format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from acf_edge.errors import InputError

_VARINT: Final = 0
_BYTES: Final = 2
_FIXED: Final = {1: 8, 5: 4}
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
        for number, value in _fields(memoryview(model)):
            if number == 1 and isinstance(value, int):
                ir_version = value
            elif number == 8 and not isinstance(value, int):
                domain, version = _opset(value)
                opset = version if domain in ("", "ai.onnx") else opset
            elif number == 7 and not isinstance(value, int):
                nodes += [_node(part) for part in _messages(value, 1)]
                external = external or _graph_external(value)
            elif number == 25 and not isinstance(value, int):
                external = external or any(_node_external(part) for part in _messages(value, 7))
    except (ValueError, RecursionError) as error:
        raise InputError(f"This is no ONNX model ({error}).", "Build it again.") from error
    if not nodes:
        raise InputError("This is no ONNX model: it has no nodes.", "Build it again.")
    return Graph(ir_version, opset, tuple(nodes), external)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): int for varints, bytes for the rest."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field is cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _messages(data: memoryview, *numbers: int) -> Iterator[memoryview]:
    for number, value in _fields(data):
        if number in numbers and not isinstance(value, int):
            yield value


def _opset(data: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1 and not isinstance(value, int):
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _node(data: memoryview) -> Node:
    inputs, outputs = [], []
    texts = {3: "", 4: "", 7: ""}
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number in texts:
            texts[number] = _text(value)
    return Node(texts[3], texts[4], texts[7], tuple(inputs), tuple(outputs))


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _graph_external(data: memoryview) -> bool:
    tensors = any(_tensor_external(part) for part in _messages(data, 5))
    sparse = any(_sparse_external(part) for part in _messages(data, 15))
    return tensors or sparse or any(_node_external(part) for part in _messages(data, 1))


def _node_external(data: memoryview) -> bool:
    for attribute in _messages(data, 5):
        if any(_tensor_external(part) for part in _messages(attribute, 5, 10)):
            return True
        if any(_sparse_external(part) for part in _messages(attribute, 22, 23)):
            return True
        if any(_graph_external(part) for part in _messages(attribute, 6, 11)):
            return True
    return False


def _sparse_external(data: memoryview) -> bool:
    return any(_tensor_external(part) for part in _messages(data, 1, 2))


def _tensor_external(data: memoryview) -> bool:
    return any(
        number == 13 or (number == 14 and value == _EXTERNAL) for number, value in _fields(data)
    )
