"""Operations of torch as operations of ONNX: one small function for each that can be taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from acf_edge.foreign.record import PUT_CHANNELS, Array
from acf_edge.foreign.steps import Value
from acf_edge.foreign.work import Work

_RESIZES: dict[str, dict[str, Any]] = {
    "upsample_nearest2d": {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    "upsample_bilinear2d": {
        "mode": "linear",
        "coordinate_transformation_mode": "half_pixel",
    },
    "upsample_bicubic2d": {
        "mode": "cubic",
        "coordinate_transformation_mode": "half_pixel",
        "cubic_coeff_a": -0.75,
    },
}
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _pair(value: Any) -> list[int]:
    sides = [value] if isinstance(value, int) else [int(side) for side in value]
    return sides * 2 if len(sides) == 1 else sides


def _conv(work: Work) -> list[Value]:
    weight = work.constant("weight")
    transposed = bool(work.get("transposed", False)) or work.call.name == "conv_transpose2d"
    dilation, kernel = _pair(work.get("dilation")), list(weight.shape[2:])
    padding = work.get("padding")
    if isinstance(padding, str):
        spare = [
            step * (side - 1) if padding == "same" else 0
            for step, side in zip(dilation, kernel, strict=True)
        ]
        pads = [side // 2 for side in spare] + [side - side // 2 for side in spare]
    else:
        pads = _pair(padding) * 2
    inputs: list[Value | None] = [work.tensor("input"), weight]
    if work.get("bias") is not None:
        inputs.append(work.constant("bias"))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": _pair(work.get("stride")),
        "pads": pads,
        "dilations": dilation,
        "group": int(work.get("groups", 1)),
    }
    if transposed:
        attributes["output_padding"] = _pair(work.get("output_padding"))
        area = Fraction(math.prod(work.shape("input")[2:]), work.pixels)
        return work.add("ConvTranspose", inputs, attributes, macs=area * weight.size)
    return work.add("Conv", inputs, attributes, macs=work.area() * weight.size)


def _prelu(work: Work) -> list[Value]:
    slope = work.constant("weight").reshape(-1, 1, 1)
    return work.add("PRelu", [work.tensor(), slope])


def _unary(op: str, **attributes: Any) -> Callable[[Work], list[Value]]:
    return lambda work: work.add(op, [work.tensor()], dict(attributes))


def _leaky_relu(work: Work) -> list[Value]:
    return work.add("LeakyRelu", [work.tensor()], {"alpha": float(work.get("negative_slope"))})


def _silu(work: Work) -> list[Value]:
    x = work.tensor()
    return work.add("Mul", [x, *work.add("Sigmoid", [x])])


def _gelu(work: Work) -> list[Value]:
    return work.add(
        "Gelu", [work.tensor()], {"approximate": work.plain("approximate", "none", "tanh")}
    )


def _elu(work: Work) -> list[Value]:
    work.plain("scale", 1), work.plain("input_scale", 1)
    return work.add("Elu", [work.tensor()], {"alpha": float(work.get("alpha"))})


def _clip(low: str, high: str) -> Callable[[Work], list[Value]]:
    def clip(work: Work) -> list[Value]:
        ends = [work.get(low), work.get(high)]
        return work.add(
            "Clip", [work.tensor(), *(None if end is None else work.value(end) for end in ends)]
        )

    return clip


def _add(work: Work) -> list[Value]:
    return _sum(work, work.value(work.get("self")), work.value(work.get("other")), 1.0)


def _sub(work: Work) -> list[Value]:
    return _sum(work, work.value(work.get("self")), work.value(work.get("other")), -1.0)


def _rsub(work: Work) -> list[Value]:
    return _sum(work, work.value(work.get("other")), work.value(work.get("self")), -1.0)


def _sum(work: Work, one: Value, other: Value, sign: float) -> list[Value]:
    factor = sign * float(work.get("alpha", 1))
    if isinstance(other, np.ndarray):
        return work.add("Add", [one, other * np.float32(factor)])
    if factor == -1.0 and isinstance(one, int):
        return work.add("Sub", [one, other])
    if factor != 1.0:
        (other,) = work.add("Mul", [other, _float(factor)])
    return work.add("Add", [other, one] if isinstance(one, np.ndarray) else [one, other])


def _mul(work: Work) -> list[Value]:
    one, other = work.value(work.get("self")), work.value(work.get("other"))
    return work.add("Mul", [other, one] if isinstance(one, np.ndarray) else [one, other])


def _div(work: Work) -> list[Value]:
    work.plain("rounding_mode", None)
    one, other = work.value(work.get("self")), work.value(work.get("other"))
    if isinstance(other, np.ndarray):
        return work.add("Mul", [one, np.float32(1.0) / other])
    return work.add("Div", [one, other])


def _neg(work: Work) -> list[Value]:
    return work.add("Mul", [work.tensor(), _float(-1.0)])


def _pow(work: Work) -> list[Value]:
    return work.add("Pow", [work.tensor(), work.value(work.get("exponent"))])


def _mean(work: Work) -> list[Value]:
    dims = sorted(int(dim) % 4 for dim in work.get("dim") or ())
    work.plain("keepdim", True), work.plain("dtype", None)
    if dims == [2, 3]:
        return work.add("GlobalAveragePool", [work.tensor()])
    if dims == [1]:
        axes = np.array([1], np.int64)
        return work.add("ReduceMean", [work.tensor(), axes], {"keepdims": 1})
    raise work.refused(f" over {dims}")


def _average(work: Work) -> list[Value]:
    if _pair(work.get("output_size")) != [1, 1]:
        raise work.refused()
    return work.add("GlobalAveragePool", [work.tensor()])


def _largest(work: Work) -> list[Value]:
    sides = list(zip(work.shape()[2:], _pair(work.get("output_size")), strict=True))
    if any(before % after for before, after in sides):
        raise work.refused(" by no whole factor")
    kernel = [before // after for before, after in sides]
    return work.add("MaxPool", [work.tensor()], {"kernel_shape": kernel, "strides": kernel})


def _norm(work: Work) -> list[Value]:
    work.plain("training", False)
    column = (1, -1, 1, 1)
    mean, variance = work.constant("running_mean"), work.constant("running_var")
    factor = 1.0 / np.sqrt(variance.astype(np.float64) + float(work.get("eps")))
    if work.get("weight") is not None:
        factor = factor * work.constant("weight")
    shift = -mean * factor
    if work.get("bias") is not None:
        shift = shift + work.constant("bias")
    (scaled,) = work.add("Mul", [work.tensor("input"), _float(factor).reshape(column)])
    return work.add("Add", [scaled, _float(shift).reshape(column)])


def _float(values: Any) -> Array:
    return np.asarray(values, np.float32)


def _cat(work: Work) -> list[Value]:
    if int(work.get("dim")) % 4 != 1:
        raise work.refused(f" along dimension {work.get('dim')}")
    parts = [work.value(part) for part in work.get("tensors")]
    if not all(isinstance(part, int) for part in parts):
        raise work.refused(" with a constant")
    return work.add("Concat", list(parts), {"axis": 1})


def _split(work: Work) -> list[Value]:
    if int(work.get("dim")) % 4 != 1:
        raise work.refused(f" along dimension {work.get('dim')}")
    sizes = np.array([ref.shape[1] for ref in work.call.outputs], np.int64)
    return work.add("Split", [work.tensor(), sizes], {"axis": 1}, len(sizes))


def _slice(work: Work) -> list[Value]:
    dim, before, after = int(work.get("dim")) % 4, work.shape(), work.call.outputs[0].shape
    if before == after:
        return [work.tensor()]
    if dim != 1 or work.get("step", 1) != 1:
        raise work.refused(f" along dimension {dim}")
    start = int(work.get("start") or 0)
    start += before[1] if start < 0 else 0
    ends = [np.array([n], np.int64) for n in (start, start + after[1], 1)]
    return work.add("Slice", [work.tensor(), *ends])


def _repeat_interleave(work: Work) -> list[Value]:
    dim, repeats = work.get("dim"), work.get("repeats")
    if dim is None or int(dim) % 4 != 1 or not isinstance(repeats, int):
        raise work.refused()
    index = np.repeat(np.arange(work.shape()[1], dtype=np.int64), repeats)
    return work.add("Gather", [work.tensor(), index], {"axis": 1})


def _repeat(work: Work) -> list[Value]:
    times = [int(number) for number in work.get("repeats")]
    if len(times) != 4 or times[0] != 1 or times[2:] != [1, 1]:
        raise work.refused()
    index = np.tile(np.arange(work.shape()[1], dtype=np.int64), times[1])
    return work.add("Gather", [work.tensor(), index], {"axis": 1})


def _pixel_shuffle(work: Work) -> list[Value]:
    factor = int(work.get("upscale_factor"))
    return work.add("DepthToSpace", [work.tensor()], {"blocksize": factor, "mode": "CRD"})


def _pixel_unshuffle(work: Work) -> list[Value]:
    # ONNX' SpaceToDepth has another order of channels; as a convolution it can be merged.
    factor, channels = int(work.get("downscale_factor")), work.shape()[1]
    taps = np.zeros((channels, factor, factor, channels, factor, factor), np.float32)
    for c, y, x in np.ndindex(channels, factor, factor):
        taps[c, y, x, c, y, x] = 1.0
    weight = taps.reshape(-1, channels, factor, factor)
    attributes = {
        "kernel_shape": [factor, factor],
        "strides": [factor, factor],
        "pads": [0, 0, 0, 0],
        "dilations": [1, 1],
        "group": 1,
    }
    return work.add("Conv", [work.tensor(), weight], attributes, macs=work.area() * weight.size)


def _resize(work: Work) -> list[Value]:
    if work.get("align_corners"):
        raise work.refused(" with align_corners")
    name = "input" if work.has("input") else "self"
    before, after = work.shape(name)[2:], work.call.outputs[0].shape[2:]
    ratios = [Fraction(a, b) for a, b in zip(after, before, strict=True)]
    if any(ratio.denominator != 1 for ratio in ratios):
        raise work.refused(" by no whole factor")
    factors = np.array([1, 1, *ratios], np.float32)
    return work.add("Resize", [work.tensor(name), None, factors], dict(_RESIZES[work.call.name]))


def _pad(work: Work) -> list[Value]:
    mode = work.get("mode")
    mode = {"constant_pad_nd": "constant", "reflection_pad2d": "reflect"}.get(
        work.call.name, "replicate" if work.call.name == "replication_pad2d" else mode
    )
    # torch: left, right, top, bottom; ONNX: all beginnings, then all ends.
    sides = [int(side) for side in [*(work.get("pad") or work.get("padding")), 0, 0, 0, 0]]
    if any(sides[4:]) or mode not in _PAD_MODES or min(sides) < 0:
        raise work.refused(f" ({mode})")
    if not any(sides):
        return [work.tensor()]
    left, right, top, bottom = sides[:4]
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    inputs: list[Value | None] = [work.tensor(), pads]
    if mode == "constant":
        inputs.append(_float(work.get("value") or 0.0))
    return work.add("Pad", inputs, {"mode": _PAD_MODES[mode]})


def _type_as(work: Work) -> list[Value]:
    return [work.value(work.get("self"))]


def _copy(work: Work) -> list[Value]:
    if work.get("src").shape != work.call.outputs[0].shape:
        raise work.refused(" with repetition")
    return [work.tensor("src")]


def _put_channels(work: Work) -> list[Value]:
    base, part, start = work.tensor("base"), work.tensor("part"), int(work.get("start"))
    before, width = work.shape("base")[1], work.shape("part")[1]
    pieces: list[Value | None] = [part]
    for first, last in ((0, start), (start + width, before)):
        if first < last:
            ends = [np.array([n], np.int64) for n in (first, last, 1)]
            (piece,) = work.add("Slice", [base, *ends])
            pieces.insert(0 if first == 0 and start else len(pieces), piece)
    return work.add("Concat", pieces, {"axis": 1}) if len(pieces) > 1 else [part]


OPERATIONS: dict[str, Callable[[Work], list[Value]]] = {
    "conv2d": _conv,
    "conv_transpose2d": _conv,
    "convolution": _conv,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "relu": _unary("Relu"),
    "relu6": lambda work: work.add("Clip", [work.tensor(), _float(0.0), _float(6.0)]),
    "leaky_relu": _leaky_relu,
    "sigmoid": _unary("Sigmoid"),
    "tanh": _unary("Tanh"),
    "silu": _silu,
    "mish": _unary("Mish"),
    "gelu": _gelu,
    "elu": _elu,
    "hardswish": _unary("HardSwish"),
    "hardsigmoid": _unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardtanh": _clip("min_val", "max_val"),
    "clamp": _clip("min", "max"),
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "mul": _mul,
    "multiply": _mul,
    "div": _div,
    "neg": _neg,
    "pow": _pow,
    "sqrt": _unary("Sqrt"),
    "mean": _mean,
    "adaptive_avg_pool2d": _average,
    "_adaptive_avg_pool2d": _average,
    "adaptive_max_pool2d": _largest,
    "batch_norm": _norm,
    "cat": _cat,
    "concat": _cat,
    "split": _split,
    "split_with_sizes": _split,
    "chunk": _split,
    "slice": _slice,
    "narrow": _slice,
    "repeat": _repeat,
    "repeat_interleave": _repeat_interleave,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "upsample_nearest2d": _resize,
    "upsample_bilinear2d": _resize,
    "upsample_bicubic2d": _resize,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "type_as": _type_as,
    "copy": _copy,
    PUT_CHANNELS: _put_channels,
}
