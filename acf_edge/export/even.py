"""Concatenations of unlike parts: each keeps its own scale; the convolutions behind even it out.

One scale for a picture's features in -100..100 and for a mask in -0.5..0.5 would leave the mask
one bit. A part that is read as ``part / factor`` has the same codes with another scale, which
costs nothing, and a convolution that takes the whole multiplies its weights by ``factor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from acf_edge.compress.scales import Range
from acf_edge.export.model import NORMALISED
from acf_edge.export.plan import is_core

UNLIKE = 8.0
"""Parts whose ranges differ by less share one scale: then nothing has to be converted, and
three bits less are borne well by networks that were trained on such parts."""


@dataclass(frozen=True)
class Evening:
    """One concatenation.

    Attributes:
        factors: per part, 0 < factor <= 1.
        columns: the same per channel of the whole, float32: for the weights behind.
    """

    factors: tuple[float, ...]
    columns: npt.NDArray[np.float32]


def find_evenings(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> dict[str, Evening]:
    """Concatenations of channels that only plain convolutions take: value -> evening."""
    found: dict[str, tuple[onnx.NodeProto, list[float]]] = {}
    for node in model.graph.node:
        if node.op_type != "Concat" or not is_core(node.name):
            continue
        parts = [_reach(name, ranges) for name in node.input]
        takers = [n for n in model.graph.node if node.output[0] in n.input]
        plain = all(n.op_type == "Conv" and _groups(n) == 1 for n in takers)
        if takers and plain and all(parts) and max(parts) > UNLIKE * min(parts):
            found[node.output[0]] = node, [part / max(parts) for part in parts]
    if not found:
        return {}
    widths = _channels(model)
    return {
        value: Evening(
            tuple(factors),
            np.repeat(np.asarray(factors, np.float32), [widths[name] for name in node.input]),
        )
        for value, (node, factors) in found.items()
        if all(name in widths for name in node.input)
    }


def whole_range(parts: list[Range], evening: Evening) -> Range:
    """The range of a concatenation whose parts are read as ``part / factor``."""
    pairs = list(zip(parts, evening.factors, strict=True))
    low = min(part.low / factor for part, factor in pairs)
    return Range(low, max(part.high / factor for part, factor in pairs))


def _reach(name: str, ranges: Mapping[str, Range]) -> float:
    if name == NORMALISED:
        return 1.0
    return max(-ranges[name].low, ranges[name].high) if name in ranges else 0.0


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """Value -> its second dimension, where that is known."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    dims = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    return {n: d[1].dim_value for n, d in dims.items() if len(d) == 4 and d[1].dim_value > 0}
