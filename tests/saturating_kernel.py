"""What ONNX Runtime's integer convolution does on an x86 CPU without VNNI, in NumPy.

There the products of unsigned activations and signed weights are added up in pairs by
``vpmaddubsw``, whose sums saturate at 16 bits; only then are they widened. The pairs are
neighbours in the order of the channels-last kernel: rows, columns, input channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

LOW, HIGH = -(2**15), 2**15 - 1


def columns(codes: npt.NDArray[np.uint8], node: dict[str, Any]) -> npt.NDArray[np.int32]:
    """``(C, H, W)`` -> ``(places, kernel rows * kernel columns * C)``, and the grid's size."""
    (kh, kw), pads = node["kernel_shape"], node["pads"]
    (sy, sx), (dy, dx) = node["strides"], node["dilations"]
    wide = np.pad(codes, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]))).astype(np.int32)
    height = (wide.shape[1] - dy * (kh - 1) - 1) // sy + 1
    width = (wide.shape[2] - dx * (kw - 1) - 1) // sx + 1
    taps = [
        wide[:, y * dy :: sy, x * dx :: sx][:, :height, :width]
        for y in range(kh)
        for x in range(kw)
    ]
    return np.stack(taps).transpose(2, 3, 0, 1).reshape(height * width, -1)


def pair_sums(places: npt.NDArray[np.int32], weight: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """``(places, pairs, O)``, not saturated yet."""
    rows = weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0]).astype(np.int32)
    if len(rows) % 2:
        rows = np.pad(rows, ((0, 1), (0, 0)))
        places = np.pad(places, ((0, 0), (0, 1)))
    products = places[:, :, None] * rows[None]
    return products[:, ::2] + products[:, 1::2]


class Conv(OpRun):  # type: ignore[misc]
    """Codes and scales in, float out."""

    op_domain = "emulated"

    def _run(self, x: Any, sx: Any, w: Any, sw: Any, b: Any = None, **node: Any) -> Any:
        assert x.dtype == np.uint8 and w.dtype == np.int8 and len(x) == 1
        width = x.shape[3] + node["pads"][1] + node["pads"][3]
        width = (width - node["dilations"][1] * (w.shape[3] - 1) - 1) // node["strides"][1] + 1
        places = columns(x[0], node)
        parts = []
        for chunk in np.array_split(places, max(1, len(places) // 256)):
            sums = pair_sums(chunk, w)
            if node["saturate"]:
                sums = np.clip(sums, LOW, HIGH)
            parts.append(sums.sum(axis=1))
        total = np.concatenate(parts) + (0 if b is None else b.astype(np.int64))
        result = total * (np.float64(sx) * sw.astype(np.float64))
        grid = result.astype(np.float32).reshape(-1, width, w.shape[0])
        return (np.ascontiguousarray(grid.transpose(2, 0, 1)[None]),)


def emulated(model: onnx.ModelProto, saturate: bool) -> ReferenceEvaluator:
    """An evaluator of a quantized model whose convolutions add up in integers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    source = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    defaults = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    for node in changed.graph.node:
        if node.op_type != "Conv":
            continue
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert given.pop("group", 1) == 1
        inputs = [list(source[name].input)[:2] for name in node.input]
        kernel = {"kernel_shape": shapes[inputs[1][0]][2:]}
        attributes = {**defaults, **kernel, **given, "saturate": int(saturate)}
        node.domain = "emulated"
        del node.input[:], node.attribute[:]
        node.input.extend([*inputs[0], *inputs[1], *(inputs[2][:1] if len(inputs) > 2 else [])])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    changed.opset_import.append(helper.make_opsetid("emulated", 1))
    return ReferenceEvaluator(changed, new_ops=[Conv])
