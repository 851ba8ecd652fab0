"""A model that takes the averages of the whole picture as an input.

The votes and the attention of an ACF network look at averages over the whole picture. A
tile does not have them. So each global average in the graph becomes a choice between an
average that is given and the one of the tile, and the latter, taken over a part of the
tile alone, becomes an output: from the parts of all tiles comes the whole picture's.

The graph is edited as bytes; weights are neither read nor copied into anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from acf_edge.engine import wire
from acf_edge.engine.reach import POOL, NodeParts, Reach, find_reach, main_graph, read_nodes
from acf_edge.errors import InputError

GIVEN: Final = "tile/given"
"""Input: bool scalar, whether the averages that are fed count."""

_FLOAT, _INT64, _BOOL = 1, 7, 9
# Measured: acf-t has 24 channels per input pixel where it is widest and takes 435 bytes
# per pixel at INT8 and 870 in float32, its result included.
_BYTES_INT8, _BYTES_FLOAT = 18, 36
# Fields of ONNX' messages.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_NODE, _INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP = 1, 2, 3, 4


@dataclass(frozen=True)
class Pool:
    """One global average.

    Attributes:
        statistic: name of the input that gives it, float32 ``(1, C, 1, 1)``.
        pooled: name of the output that tells the tile's, of the same shape.
        start, end: names of the inputs that bound the part of the tile that is averaged:
            int64 ``(2,)``, row and column, in cells; the end is exclusive and may lie
            beyond the tile.
        stride: input pixels per cell and side.
    """

    statistic: str
    pooled: str
    start: str
    end: str
    stride: int


@dataclass(frozen=True)
class TileModel:
    """The edited model.

    Attributes:
        model: bytes of the ONNX file; inputs and outputs of the original come first.
        pools: in the order in which they depend on each other.
        reach: what an output pixel depends on.
        exact: every global average was found and can be given.
        bytes_per_pixel: memory that the network needs per input pixel, roughly.
    """

    model: bytes
    pools: tuple[Pool, ...]
    reach: Reach
    exact: bool
    bytes_per_pixel: int


def make_tile_model(model: bytes, picture: str = "image", result: str = "enhanced") -> TileModel:
    """Edit a model.

    Args:
        model: bytes of an ONNX file.
        picture: name of its input.
        result: name of its output.

    Raises:
        InputError: they are no ONNX model.
    """
    try:
        view = memoryview(model)
        graph = main_graph(view)
        nodes = read_nodes(graph)
        reach = find_reach(graph, picture, result)
        inside = any(_holds_pool(function) for function in wire.messages(view, _MODEL_FUNCTIONS))
        pools = tuple(
            Pool(
                f"tile/average:{i}", f"tile/pooled:{i}", f"tile/start:{i}", f"tile/end:{i}", stride
            )
            for i, stride in enumerate(reach.strides.values())
        )
        found = sum(node.op == POOL for node in nodes)
        edited = model if not pools else _edit(view, graph, nodes, reach, pools)
    except (ValueError, RecursionError, KeyError) as error:
        raise InputError(f"This is no ONNX model ({error}).", "Build it again.") from error
    exact = reach.known and found == len(pools) and not inside
    quantized = any(node.op == "QuantizeLinear" for node in nodes)
    each = _BYTES_INT8 if quantized else _BYTES_FLOAT
    return TileModel(edited, pools, reach, exact, max(64, round(each * reach.width)))


def _holds_pool(function: memoryview) -> bool:
    return any(
        wire.text(op) == POOL
        for node in wire.messages(function, 7)
        for op in wire.messages(node, _NODE_OP)
    )


def _edit(
    model: memoryview,
    graph: memoryview,
    nodes: list[NodeParts],
    reach: Reach,
    pools: tuple[Pool, ...],
) -> bytes:
    of = dict(zip(reach.strides, pools, strict=True))
    producers = {name: node for node in nodes for name in node.outputs}
    at = iter(nodes)
    parts: list[bytes | memoryview] = []
    for field in wire.fields(graph):
        if field.number == _NODE:
            node = next(at)
            pool = of.get(node.outputs[0]) if node.outputs else None
            parts += [field.raw] if pool is None else _choice(node, pool, producers)
        else:
            parts.append(field.raw)
    parts.append(_integers("tile/axes", [2, 3]))
    parts.append(_end(_GRAPH_INPUT, GIVEN, _BOOL, []))
    for pool in pools:
        parts.append(_end(_GRAPH_INPUT, pool.statistic, _FLOAT, [1, None, 1, 1]))
        parts.append(_end(_GRAPH_INPUT, pool.start, _INT64, [2]))
        parts.append(_end(_GRAPH_INPUT, pool.end, _INT64, [2]))
        parts.append(_end(_GRAPH_OUTPUT, pool.pooled, _FLOAT, [1, None, 1, 1]))
    edited = wire.message(_MODEL_GRAPH, *parts)
    whole = (edited if f.number == _MODEL_GRAPH else f.raw for f in wire.fields(model))
    return b"".join(whole)


def _choice(node: NodeParts, pool: Pool, producers: dict[str, NodeParts]) -> list[bytes]:
    """What stands for a global average: cut, average, choose."""
    source, made = node.inputs[0], []
    producer = producers.get(source)
    dequantized = producer is not None and producer.op == "DequantizeLinear"
    if producer is not None and dequantized:
        # Cut the codes: a quarter of the bytes, and only what is averaged becomes float.
        source = producer.inputs[0]
    cut = f"{pool.pooled}/cut"
    made.append(_node("Slice", [source, pool.start, pool.end, "tile/axes"], cut))
    if producer is not None and dequantized:
        made.append(_node("DequantizeLinear", [cut, *producer.inputs[1:]], f"{cut}/float"))
        cut = f"{cut}/float"
    made.append(_node(POOL, [cut], pool.pooled))
    made.append(_node("Where", [GIVEN, pool.statistic, pool.pooled], node.outputs[0]))
    return made


def _node(op: str, inputs: list[str], output: str) -> bytes:
    return wire.message(
        _NODE,
        *(wire.string(_NODE_INPUT, name) for name in inputs),
        wire.string(_NODE_OUTPUT, output),
        wire.string(_NODE_NAME, f"{output}/{op}"),
        wire.string(_NODE_OP, op),
    )


def _integers(name: str, values: list[int]) -> bytes:
    """A constant: int64, one axis."""
    data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    return wire.message(
        _INITIALIZER,
        wire.integer(1, len(values)),
        wire.integer(2, _INT64),
        wire.string(8, name),
        wire.message(9, data),
    )


def _end(number: int, name: str, kind: int, shape: list[int | None]) -> bytes:
    """An input or output of the graph."""
    sizes = (wire.message(1, b"" if n is None else wire.integer(1, n)) for n in shape)
    tensor = wire.message(1, wire.integer(1, kind), wire.message(2, *sizes))
    return wire.message(number, wire.string(1, name), wire.message(2, tensor))
