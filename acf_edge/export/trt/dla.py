"""A form that a deep-learning accelerator (DLA) can run whole, at a price in quality.

A DLA has no pooling over a whole picture, and no sigmoid in INT8. So

* what is decided from the mean of the whole picture (the channel votes, the channel
  attention) is decided once, from the mean over the calibration pictures, and becomes a
  constant per channel: all pictures are heard alike;
* ``sigmoid(x)`` of each place becomes a ramp, ``clip(x / 5 + 1/2, 0, 1)``, a clipped ReLU that
  the convolution before it is scaled for.

Both ends of the graph (conversion, padding, the shuffle to pixels) stay on the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from acf_edge.errors import InputError
from acf_edge.export.model import inline_operators
from acf_edge.export.plan import is_core

ChannelMeans = Mapping[str, npt.NDArray[np.float32]]
"""Name of a globally pooled value -> its mean over the calibration pictures, ``(C,)``."""
SLOPE = 0.2
"""Of the ramp: at 0.2 it is nowhere further from the sigmoid than 0.08."""


def measure_means(
    plain: onnx.ModelProto, pictures: Sequence[npt.NDArray[np.uint8]]
) -> ChannelMeans:
    """What the pooled features are on average: the DLA's stand-in for global pooling.

    Args:
        plain: the plain network, operators as functions or inlined.
        pictures: degraded low-resolution pictures, ``(H, W, 3)`` uint8 RGB: those of the
            calibration.

    Raises:
        InputError: no pictures.
    """
    if not pictures:
        raise InputError("The means of no pictures are asked for.", "Give calibration pictures.")
    model = inline_operators(plain) if plain.functions else plain
    names = [node.output[0] for node in _pools(model)]
    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for name in names:
        probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    sums = [np.zeros(1)] * len(names)
    for picture in pictures:
        found = session.run(names, {session.get_inputs()[0].name: picture[None]})
        sums = [total + array.reshape(-1) for total, array in zip(sums, found, strict=True)]
    return {
        name: (total / len(pictures)).astype(np.float32)
        for name, total in zip(names, sums, strict=True)
    }


def friendly(model: onnx.ModelProto, means: ChannelMeans | None) -> onnx.ModelProto:
    """The same network without global pooling and without sigmoid.

    Args:
        model: the plain network, operators inlined; left as it is.
        means: from :func:`measure_means`.

    Raises:
        InputError: there is global pooling, and ``means`` lacks it.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    known: dict[str, npt.NDArray[Any]] = {
        t.name: numpy_helper.to_array(t) for t in result.graph.initializer
    }
    for node in _pools(result):
        if means is None or node.output[0] not in means:
            raise InputError(
                f"The DLA's form needs the mean of '{node.output[0]}'.",
                "Measure it on the calibration pictures first.",
            )
        known[node.output[0]] = means[node.output[0]].reshape(1, -1, 1, 1)
    nodes, folded = [], set[str]()
    for node in result.graph.node:
        if node.output[0] in known:
            folded.update(node.output)
            continue
        if is_core(node.name) and all(name in known for name in node.input):
            known.update(zip(node.output, _computed(node, known), strict=True))
            folded.update(node.output)
            continue
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    for name in sorted(folded & used):
        result.graph.initializer.append(numpy_helper.from_array(known[name], name))
    ramped = [one for node in nodes for one in _ramp(node, result)]
    del result.graph.node[:]
    result.graph.node.extend(ramped)
    onnx.checker.check_model(result)
    return result


def _pools(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]


def _computed(
    node: onnx.NodeProto, known: Mapping[str, npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    """What a node makes of constants."""
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape
            )
            for name in dict.fromkeys(node.input)
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    feeds = {name: known[name] for name in node.input}
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    return list(results)


def _ramp(node: onnx.NodeProto, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """A sigmoid as ``clip(SLOPE x + 1/2, 0, 1)``."""
    if node.op_type != "Sigmoid":
        return [node]
    source, before = node.input[0], list[onnx.NodeProto]()

    def constant(word: str, value: float) -> str:
        name = f"{node.name}:{word}"
        tensor = numpy_helper.from_array(np.array(value, np.float32), name)
        model.graph.initializer.append(tensor)
        return name

    if not _scaled_before(model, source):
        scaled, moved = f"{node.name}:scaled", f"{node.name}:moved"
        slope, offset = constant("slope", SLOPE), constant("half", 0.5)
        before = [
            helper.make_node("Mul", [source, slope], [scaled], name=scaled),
            helper.make_node("Add", [scaled, offset], [moved], name=moved),
        ]
        source = moved
    ends = [constant("zero", 0.0), constant("one", 1.0)]
    clip = helper.make_node("Clip", [source, *ends], list(node.output), name=f"{node.name}:ramp")
    return [*before, clip]


def _scaled_before(model: onnx.ModelProto, value: str) -> bool:
    """Put slope and offset into the convolution that alone makes ``value``, if there is one."""
    makers = [node for node in model.graph.node if value in node.output]
    uses = sum(list(node.input).count(value) for node in model.graph.node)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if uses != 1 or not makers or makers[0].op_type != "Conv" or len(makers[0].input) < 3:
        return False
    names = makers[0].input[1:3]
    shared = [n for n in model.graph.node if n is not makers[0] and set(names) & set(n.input)]
    if shared or any(name not in tensors for name in names):
        return False
    for name, offset in zip(names, (0.0, 0.5), strict=True):
        values = numpy_helper.to_array(tensors[name]) * np.float32(SLOPE) + np.float32(offset)
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    return True
