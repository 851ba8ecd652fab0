"""Random inputs of both operators, run by the kernels on the host and judged by the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from host_kernels import Buffers, Traffic, build_kernels

from acf_edge.cuda.operators import Dtype, Layout, Weights, plan_attention, plan_junction_vote
from acf_edge.cuda.plan import Plan
from acf_edge.ops.reference import channel_spatial_attention, junction_vote

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

FILES = ("channel_means.cu", "junction_vote.cu", "channel_spatial_attention.cu")
NUMPY: dict[str, type[np.generic]] = {"fp16": np.float16, "fp32": np.float32, "int8": np.int8}
PADDING = {"fp16": 8, "fp32": 1, "int8": 16}  # kHWC8, kHWC, kHWC16
RUBBISH = -77  # in padding of INT8; elsewhere a NaN


@dataclass(frozen=True)
class Case:
    """One call. ``third``: branches of a junction, hidden units of an attention."""

    n: int
    channels: int
    third: int
    height: int
    width: int
    dtype: Dtype
    layout: Layout
    maps: int = 0  # of an attention; 0: this is a junction
    weights: Weights | None = None
    multiple: int | None = None
    aligned: bool = True
    front: bool = False
    skew: int = 0
    seed: int = 0
    spread: float = 2.0
    scales: tuple[float, float, float] = field(init=False)

    def __post_init__(self) -> None:
        scales = (0.05, 0.04, 0.03) if self.dtype == "int8" else (0.0, 0.0, 0.0)
        object.__setattr__(self, "scales", scales)

    @property
    def inputs(self) -> int:
        """Channels of the features."""
        return self.channels if self.maps else self.channels * self.third

    def plan(self) -> Plan:
        shape = (self.n, self.channels, self.third, self.height, self.width)
        options: dict[str, Any] = {
            "scales": self.scales,
            "weights": self.weights,
            "multiple": self.multiple,
            "aligned": self.aligned,
        }
        if self.maps:
            return plan_attention(*shape, self.dtype, self.layout, maps=self.maps, **options)
        return plan_junction_vote(*shape, self.dtype, self.layout, **options)

    def lanes(self, channels: int) -> int:
        if self.layout == "chw32":
            return 32
        multiple = self.multiple or PADDING[self.dtype]
        return -(-channels // multiple) * multiple

    def stored(self, values: Array) -> Array:
        """``(N, C, H, W)`` as it lies in memory, with rubbish in the padding."""
        if self.layout == "nchw":
            return np.ascontiguousarray(values)
        n, channels, height, width = values.shape
        lanes = self.lanes(channels)
        groups = -(-channels // lanes)
        rubbish = RUBBISH if self.dtype == "int8" else np.nan
        padded = np.full((n, groups * lanes, height, width), rubbish, values.dtype)
        padded[:, :channels] = values
        grouped = padded.reshape(n, groups, lanes, height, width)
        return np.ascontiguousarray(grouped.transpose(0, 1, 3, 4, 2))

    def taken_out(self, memory: Array) -> Array:
        """The inverse, for the output; its padding has to be zero."""
        if self.layout == "nchw":
            return memory
        n, groups, height, width, lanes = memory.shape
        flat = memory.transpose(0, 1, 4, 2, 3).reshape(n, groups * lanes, height, width)
        assert not flat[:, self.channels :].any(), "padding that is not zero"
        return flat[:, : self.channels]


@dataclass(frozen=True)
class Inputs:
    """Named arrays ``(N, C, H, W)`` and weights, and what the reference makes of them."""

    features: Array
    logits: Array
    weights: dict[str, Array]
    expected: Float64


def draw(case: Case) -> Inputs:
    """Random inputs in the case's types."""
    random = np.random.default_rng(case.seed)
    shape = (case.n, case.inputs, case.height, case.width)
    if case.dtype == "int8":
        features = random.integers(-128, 128, shape).astype(np.int8)
        logits = random.integers(-128, 128, (shape[0], case.maps or shape[1], *shape[2:]))
        logits = logits.astype(np.int8)
    else:
        features = random.normal(size=shape).astype(NUMPY[case.dtype])
        many = (shape[0], case.maps or shape[1], *shape[2:])
        logits = (case.spread * random.normal(size=many)).astype(NUMPY[case.dtype])
    kind = NUMPY[case.weights or ("fp32" if case.dtype == "fp32" else "fp16")]

    def matrix(*sides: int) -> Array:
        return np.asarray(random.normal(size=sides) / np.sqrt(sides[-1]), kind)

    total, third = case.inputs, case.third
    if case.maps:
        weights = {
            "squeeze_weight": matrix(third, total),
            "squeeze_bias": matrix(third),
            "excite_weight": matrix(total, third),
            "excite_bias": matrix(total),
        }
    else:
        weights = {"weight": matrix(total, total), "bias": matrix(total)}
    return Inputs(features, logits, weights, refer(case, features, logits, weights))


def refer(case: Case, features: Array, logits: Array, weights: dict[str, Array]) -> Float64:
    """What the reference makes of it."""
    one, other = (scale or 1.0 for scale in case.scales[:2])
    x, e = features.astype(np.float64) * one, logits.astype(np.float64) * other
    if case.maps:
        return channel_spatial_attention(x, e, *weights.values())
    return junction_vote(x, e, weights["weight"], weights["bias"], case.third)


@dataclass(frozen=True)
class Result:
    """``(N, C, H, W)`` in the case's dtype, and what each kernel moved."""

    output: Array
    traffic: Sequence[Traffic]


def run(case: Case, inputs: Inputs, order: int = 0, plan: Plan | None = None) -> Result:
    """Run the case's plan (or another) over guarded buffers."""
    kernels = build_kernels(FILES)
    with Buffers(kernels, case.front, case.skew) as buffers:
        buffers.put("features", case.stored(inputs.features))
        logits = "spatial_logits" if case.maps else "element_logits"
        buffers.put(logits, case.stored(inputs.logits))
        for name, values in inputs.weights.items():
            buffers.put(name, values)
        shape = (case.n, case.channels, case.height, case.width)
        stored = case.stored(np.zeros(shape, NUMPY[case.dtype])).shape
        output = buffers.new("output", stored, NUMPY[case.dtype])
        traffic = kernels.run(plan or case.plan(), buffers, order)
    return Result(case.taken_out(output.array), traffic)


def judge(case: Case, output: Array, expected: Float64) -> None:
    """FP32: 1e-6 of the largest value. FP16: half a last place and 2e-6. INT8: half a step."""
    found = output.astype(np.float64)
    assert np.isfinite(found).all()
    if case.dtype == "int8":
        steps = np.clip(expected / case.scales[2], -128, 127)
        assert np.abs(found - steps).max() <= 0.501
    elif case.dtype == "fp16":
        assert (np.abs(found - expected) <= np.abs(expected) * 2.0**-11 * 1.02 + 2e-6).all()
    else:
        assert np.abs(found - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())


def check(case: Case, order: int = 0) -> Result:
    """Run and judge."""
    inputs = draw(case)
    result = run(case, inputs, order)
    judge(case, result.output, inputs.expected)
    return result


def random_case(seed: int, attention: bool) -> Case:
    """Any shape, type, layout, padding, alignment."""
    random = np.random.default_rng(seed)

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(random.integers(len(values)))]

    dtype: Dtype = one_of(("fp16", "fp32", "int8"))
    layout: Layout = one_of(("nchw", "nhwc", "chw32") if dtype == "int8" else ("nchw", "nhwc"))
    channels = one_of((1, 3, 4, 5, 8, 16, 20, 24, 32, 33, 48))
    height, width = int(random.integers(1, 40)), int(random.integers(1, 70))
    if random.random() < 0.3:
        width = width // 8 * 8 + 8
    case = Case(
        n=int(random.integers(1, 4)),
        channels=channels,
        third=int(random.integers(1, 9 if attention or channels < 10 else 4)),
        height=height,
        width=width,
        dtype=dtype,
        layout=layout,
        maps=one_of((1, channels)) if attention else 0,
        weights=one_of((None, "fp16", "fp32")),
        multiple=one_of((None, 1, 4, 32)) if layout == "nhwc" else None,
        aligned=bool(random.random() < 0.8),
        front=bool(random.integers(2)),
        seed=seed,
    )
    if random.random() < 0.3:
        size = 4 if "fp32" in (case.weights, dtype) else 2
        case = replace(case, aligned=False, skew=size * int(random.integers(1, 16 // size)))
    return case
