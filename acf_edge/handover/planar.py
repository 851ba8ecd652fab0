"""A network with planar floating-point pictures at its ends, as DeepStream gives and takes them."""

from __future__ import annotations

from typing import Any, Final

from acf_edge.errors import InputError, MissingExtraError
from acf_edge.handover.source import INPUT, OUTPUT

_ROWS: Final = ":rows"
_TO_ROWS: Final = (0, 2, 3, 1)
_TO_PLANES: Final = (0, 3, 1, 2)


def planar_ends(model: bytes, width: int, height: int, scale: int) -> bytes:
    """Rewrite a model of uint8 ``[N, H, W, 3]`` to float32 ``[1, 3, height, width]``.

    The values stay what they were: 0 to 255 in and out, whole numbers at the output. The transposes
    at both ends meet those that are there and vanish when the engine is built.

    Args:
        model: ONNX in the dialect of TensorRT, input ``image``, output ``enhanced``.
        width, height: of the pictures, in pixels.
        scale: by which they are enlarged.

    Returns:
        The ONNX: input ``image`` float32 ``[1, 3, H, W]``, output ``enhanced`` float32
        ``[1, 3, scale H, scale W]``.

    Raises:
        InputError: the model's ends are others.
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtraError("Writing DeepStream's model", "onnx", "build") from error

    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    last = next((node for node in graph.node if OUTPUT in node.output), None)
    ends = [_end(value) for value in (*graph.input, *graph.output)]
    wanted = [(INPUT, TensorProto.UINT8), (OUTPUT, TensorProto.UINT8)]
    if ends != wanted or last is None or last.op_type != "Cast":
        raise InputError(
            "The bundle's model does not end in uint8 pictures as TensorRT is given them.",
            "Build the bundle again with 'acf-edge build'.",
        )
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == INPUT:
                node.input[place] = INPUT + _ROWS
    last.output[0] = OUTPUT + _ROWS
    del last.attribute[:]
    last.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    enter = helper.make_node(
        "Transpose", [INPUT], [INPUT + _ROWS], name="planar/enter", perm=list(_TO_ROWS)
    )
    leave = helper.make_node(
        "Transpose", [OUTPUT + _ROWS], [OUTPUT], name="planar/leave", perm=list(_TO_PLANES)
    )
    nodes = [enter, *_copies(graph.node), leave]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    small, large = [1, 3, height, width], [1, 3, scale * height, scale * width]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, small))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, large))
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def _end(value: Any) -> tuple[str, int]:
    return str(value.name), int(value.type.tensor_type.elem_type)


def _copies(nodes: Any) -> list[Any]:
    copies = []
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copies.append(copy)
    return copies
