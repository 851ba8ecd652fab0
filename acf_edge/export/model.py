"""The whole ONNX model: uint8 picture in, uint8 picture out, any size.

``network.onnx``, the plain model, holds the two operators as functions of the
domain ``acf``. Padding, conversion, normalisation, the shuffle to pixels,
rounding, clipping and cropping are in the graph, so a runtime never touches a
pixel itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor, nn

from acf_edge.export.graph import GraphParts, trace_into
from acf_edge.model.config import AcfConfig
from acf_edge.model.network import MARGIN, AcfNetwork
from acf_edge.ops import functions

INPUT = "image"
OUTPUT = "enhanced"
PIXELS = "input/Pixels"
"""Value that holds the padded uint8 picture, NCHW."""
NORMALISED = "input/Normalised"
"""Value that holds the padded picture as float32 in 0..1, NCHW."""
FOLDED = "output/Folded"
"""Value that holds the result on the grid, float32, 0..1, not clipped, NCHW."""
CODES = "output/Codes"
"""Value that holds the result on the grid as uint8, NCHW."""
IR_VERSION = 10


class _Core(nn.Module):
    """The network between padding and shuffle."""

    def __init__(self, network: AcfNetwork) -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)
        self.kind = type(network)

    def forward(self, padded: Tensor) -> Tensor:
        return self.kind.folded(self, padded)[0]  # type: ignore[arg-type]


def export_network(network: AcfNetwork) -> onnx.ModelProto:
    """Write the plain float32 model.

    Args:
        network: any device; its parameters are copied.

    Returns:
        Input ``image`` ``(N, H, W, 3)`` uint8 RGB, output ``enhanced``
        ``(N, scale H, scale W, 3)`` uint8 RGB; N, H and W are free.
    """
    parts = GraphParts(names={INPUT, OUTPUT})
    _input(parts, network.config)
    result = trace_into(parts, _Core(network), NORMALISED)
    for node in parts.nodes:
        # One fixed name for the core's end, whatever its last operation is.
        node.output[:] = [FOLDED if name == result else name for name in node.output]
    picture_end(parts, network.config.factor, network.config.scale)
    bodies = (functions.junction_vote_function(), functions.attention_function())
    used = {node.op_type for node in parts.nodes if node.domain == functions.DOMAIN}
    ours = [body for body in bodies if body.name in used]
    return assemble(parts, network.config.title, network.config.scale, ours)


def _input(parts: GraphParts, config: AcfConfig) -> None:
    """Pad (edge) to the alignment and by the margin, to NCHW, to 0..1."""
    ints = np.array
    parts.add("Shape", "input", [INPUT], start=1, end=3)
    parts.constant("input/align", ints([config.alignment], np.int64))
    parts.constant("input/before", ints([0, MARGIN, MARGIN, 0, 0], np.int64))
    parts.constant("input/margin", ints([MARGIN], np.int64))
    parts.constant("input/zero", ints([0], np.int64))
    negative = parts.add("Neg", "input", ["input/Shape"])
    missing = parts.add("Mod", "input", [negative, "input/align"])
    after = parts.add("Add", "input", [missing, "input/margin"])
    pads = parts.add("Concat", "input", ["input/before", after, "input/zero"], axis=0)
    normalise(parts, parts.add("Pad", "input", [INPUT, pads], mode="edge"))


def normalise(parts: GraphParts, padded: str) -> None:
    """From the padded uint8 picture ``(N, H, W, 3)`` to :data:`PIXELS` and :data:`NORMALISED`."""
    parts.names.update((PIXELS, NORMALISED))
    parts.nodes.append(
        helper.make_node("Transpose", [padded], [PIXELS], name="input/Transpose", perm=[0, 3, 1, 2])
    )
    floats = parts.add("Cast", "input", [PIXELS], to=TensorProto.FLOAT)
    parts.constant("input/unit", np.array([1.0 / 255.0], np.float32))
    parts.nodes.append(
        helper.make_node("Mul", [floats, "input/unit"], [NORMALISED], name="input/Mul")
    )


def picture_end(parts: GraphParts, factor: int, scale: int) -> None:
    """From :data:`FOLDED` to the enhanced picture: round, clip, shuffle to pixels, crop.

    Args:
        parts: has ``input/Shape``, height and width of the picture that came in, and
            :data:`FOLDED`, its channels ordered row, column, colour.
        factor: pixels of the result per cell of the grid and side.
        scale: pixels of the result per pixel of the picture and side.
    """
    parts.constant("output/full", np.array([255.0], np.float32))
    parts.constant("output/low", np.array(0.0, np.float32))
    parts.constant("output/high", np.array(255.0, np.float32))
    scaled = parts.add("Mul", "output", [FOLDED, "output/full"])
    rounded = parts.add("Round", "output", [scaled])
    clipped = parts.add("Clip", "output", [rounded, "output/low", "output/high"])
    parts.names.add(CODES)
    parts.nodes.append(
        helper.make_node("Cast", [clipped], [CODES], name="output/Cast", to=TensorProto.UINT8)
    )
    # The shuffle as one transposition of whole runs of factor * 3 bytes.
    rows = parts.add("Transpose", "output", [CODES], perm=[0, 2, 3, 1])
    parts.constant("output/cells", np.array([0, 0, 0, factor, factor * 3], np.int64))
    cells = parts.add("Reshape", "output", [rows, "output/cells"])
    lines = parts.add("Transpose", "output", [cells], perm=[0, 1, 3, 2, 4])
    grid = parts.add("Shape", "output", [CODES], start=2, end=4)
    parts.constant("output/factor", np.array([factor], np.int64))
    size = parts.add("Mul", "output", [grid, "output/factor"])
    parts.constant("output/same", np.array([0], np.int64))
    parts.constant("output/colours", np.array([3], np.int64))
    shape = parts.add("Concat", "output", ["output/same", size, "output/colours"], axis=0)
    picture = parts.add("Reshape", "output", [lines, shape])
    parts.constant("output/scale", np.array([scale], np.int64))
    wanted = parts.add("Mul", "output", ["input/Shape", "output/scale"])
    parts.constant("output/start", np.array([0, 0], np.int64))
    parts.constant("output/axes", np.array([1, 2], np.int64))
    parts.nodes.append(
        helper.make_node(
            "Slice",
            [picture, "output/start", wanted, "output/axes"],
            [OUTPUT],
            name="output/Slice",
        )
    )


def assemble(
    parts: GraphParts, title: str, scale: int, operators: Sequence[onnx.FunctionProto] = ()
) -> onnx.ModelProto:
    """Make a checked model of the parts; ``operators`` are functions of the domain ``acf``."""
    opsets = [helper.make_opsetid("", functions.OPSET)]
    if operators:
        opsets.append(helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION))
    graph = helper.make_graph(
        parts.nodes,
        title,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info(
                OUTPUT, TensorProto.UINT8, ["N", f"{scale}*H", f"{scale}*W", 3]
            )
        ],
        parts.initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="acf-edge",
        functions=list(operators),
        opset_imports=opsets,
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {"acf_edge.network": title})
    onnx.checker.check_model(model)
    return model


def inline_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the ``acf`` nodes by their bodies; the new nodes keep their module's path."""
    bodies = {function.name: function for function in model.functions}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.functions[:]
    del result.graph.node[:]
    for node in model.graph.node:
        if node.domain != functions.DOMAIN:
            result.graph.node.append(node)
            continue
        result.graph.node.extend(_body(bodies[node.op_type], node))
    kept = [opset for opset in result.opset_import if opset.domain != functions.DOMAIN]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    onnx.checker.check_model(result)
    return result


def _body(function: onnx.FunctionProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    module = node.name.rsplit("/", 1)[0]
    renamed = dict(zip(function.input, node.input, strict=True))
    renamed.update(zip(function.output, node.output, strict=True))
    nodes = []
    for inner in function.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        for index, name in enumerate(inner.input):
            copy.input[index] = renamed[name]
        for index, name in enumerate(inner.output):
            copy.output[index] = renamed.setdefault(name, f"{module}/{name}")
        copy.name = f"{module}/{inner.op_type}:{inner.output[0]}"
        nodes.append(copy)
    return nodes


def alive_nodes(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Leave out what no output needs, such as the float conversions that codes replaced.

    Args:
        nodes: in an order in which they can run.
        wanted: names of the outputs; grows by what they need.
    """
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
