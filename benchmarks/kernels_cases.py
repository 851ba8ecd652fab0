"""What the kernel benchmark runs: operators on shapes, their inputs, their truth, their bytes.

A case is plain NumPy and needs no GPU: it makes the bytes of every buffer as the
kernels take them, the launch plan, and the float64 result that judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda import operators
from acf_edge.cuda.plan import Plan
from acf_edge.ops import reference

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

JUNCTION, ATTENTION = "junction_vote", "channel_spatial_attention"
OPERATORS = (JUNCTION, ATTENTION)
NUMBERS: Mapping[str, Any] = {"fp16": np.float16, "fp32": np.float32, "int8": np.int8}
# The largest error that rounding to the type explains: relative to the largest value for floats
# (FP32: the operators' contract), in steps of the output's scale for INT8.
_ROUNDING: Mapping[str, float] = {"fp16": 2e-3, "fp32": 1e-5, "int8": 0.51}
# Of an INT8 sigmoid: half of what tanh.approx.f32 may be off.
_SIGMOID = 2.0**-12
# What TensorRT pads channels to.
MULTIPLES = {("fp16", "nhwc"): 8, ("int8", "nhwc"): 16, ("int8", "chw32"): 32}
FORMS = tuple(
    (dtype, layout)
    for dtype in operators.DTYPES
    for layout in operators.LAYOUTS
    if (layout == "chw32") <= (dtype == "int8")
)


@dataclass(frozen=True)
class Case:
    """One operator on one shape.

    Attributes:
        operator: ``"junction_vote"`` or ``"channel_spatial_attention"``.
        dtype: ``"fp16"``, ``"fp32"`` or ``"int8"`` of features, logits and output.
        layout: ``"nchw"``, ``"nhwc"`` or, for INT8, ``"chw32"``.
        n: batch.
        channels: of the output.
        height: rows.
        width: columns.
        branches: of the junction; the attention has 1.
        squeeze: hidden units of the attention.
        maps: channels of the attention's spatial logits, 1 or ``channels``.
    """

    operator: str
    dtype: operators.Dtype
    layout: operators.Layout
    n: int
    channels: int
    height: int
    width: int
    branches: int = 1
    squeeze: int = 4
    maps: int = 1

    @property
    def features(self) -> tuple[int, int, int, int]:
        """Shape of the features, (N, C, H, W)."""
        return self.n, self.branches * self.channels, self.height, self.width

    @property
    def logits(self) -> tuple[int, int, int, int]:
        """Shape of the element or spatial logits."""
        count = self.features[1] if self.operator == JUNCTION else self.maps
        return self.n, count, self.height, self.width

    @property
    def output(self) -> tuple[int, int, int, int]:
        """Shape of the result."""
        return self.n, self.channels, self.height, self.width

    @property
    def scales(self) -> tuple[float, float, float]:
        """Of features, logits and output; zeros unless INT8."""
        if self.dtype != "int8":
            return 0.0, 0.0, 0.0
        return 4 / 127, 6 / 127, (3 if self.operator == JUNCTION else 2) / 127

    @property
    def label(self) -> str:
        """As the table shows it."""
        form = f"{self.dtype} {self.layout}"
        size = f"{self.width}x{self.height}x{self.features[1]}"
        return f"{self.operator} {form} {size}" + (f" batch {self.n}" if self.n > 1 else "")

    def plan(self) -> Plan:
        """The launch plan of our kernels."""
        if self.operator == JUNCTION:
            return operators.plan_junction_vote(
                self.n,
                self.channels,
                self.branches,
                self.height,
                self.width,
                self.dtype,
                self.layout,
                scales=self.scales,
            )
        return operators.plan_attention(
            self.n,
            self.channels,
            self.squeeze,
            self.height,
            self.width,
            self.dtype,
            self.layout,
            maps=self.maps,
            scales=self.scales,
        )


@dataclass(frozen=True)
class Inputs:
    """The inputs of a case, dense (N, C, H, W), in the case's type (weights never in INT8)."""

    features: Array
    logits: Array
    weights: Mapping[str, Array]


def make_inputs(case: Case, seed: int) -> Inputs:
    """Seeded inputs whose votes are neither all open nor all shut."""
    random = np.random.default_rng(seed)
    number = NUMBERS[case.dtype]

    def tensor(shape: tuple[int, ...], spread: float, scale: float) -> Array:
        values = random.standard_normal(shape, np.float32) * np.float32(spread)
        if scale:
            return np.clip(np.rint(values / scale), -128, 127).astype(number)
        return values.astype(number)

    total = case.features[1]
    shapes: dict[str, tuple[int, ...]]
    if case.operator == JUNCTION:
        shapes = {"weight": (total, total), "bias": (total,)}
    else:
        shapes = {
            "squeeze_weight": (case.squeeze, total),
            "squeeze_bias": (case.squeeze,),
            "excite_weight": (total, case.squeeze),
            "excite_bias": (total,),
        }
    kind = np.float32 if case.dtype == "fp32" else np.float16
    weights = {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(kind)
        for name, shape in shapes.items()
    }
    features = tensor(case.features, 1.0, case.scales[0])
    # An offset for each channel, or every mean would be zero and every channel vote the same.
    if case.dtype != "int8":
        features += random.standard_normal((1, total, 1, 1)).astype(number)
    return Inputs(features, tensor(case.logits, 1.5, case.scales[1]), weights)


def truth(case: Case, inputs: Inputs) -> Float64:
    """The float64 reference on exactly these (rounded) inputs."""
    features, logits = inputs.features.astype(np.float64), inputs.logits.astype(np.float64)
    if case.dtype == "int8":
        features, logits = features * case.scales[0], logits * case.scales[1]
    weights = [array.astype(np.float64) for array in inputs.weights.values()]
    if case.operator == JUNCTION:
        return reference.junction_vote(features, logits, *weights, branches=case.branches)
    return reference.channel_spatial_attention(features, logits, *weights)


def limit(case: Case) -> float:
    """The largest :func:`error` of a result that is right."""
    if case.dtype != "int8":
        return _ROUNDING[case.dtype]
    most = 128 * case.branches * case.scales[0] / case.scales[2]
    return _ROUNDING["int8"] + _SIGMOID * most


def error(case: Case, result: Array, expected: Float64) -> float:
    """How far a result is off, in the unit of :func:`limit`. NaN or infinity: infinity."""
    values = result.astype(np.float64)
    if values.shape != expected.shape or not np.isfinite(values).all():
        return float("inf")
    if case.dtype == "int8":
        held = np.clip(expected / case.scales[2], -128, 127)
        return float(np.abs(values - held).max())
    return float(np.abs(values - expected).max() / max(np.abs(expected).max(), 1e-30))


def pack(array: Array, layout: str, multiple: int) -> Array:
    """Dense (N, C, H, W) as the bytes of a layout; padding holds what must not matter."""
    if layout == "nchw":
        return np.ascontiguousarray(array)
    n, channels, height, width = array.shape
    padded = -(-channels // multiple) * multiple
    wide = np.full((n, padded, height, width), 77, array.dtype)
    wide[:, :channels] = array
    if layout == "chw32":
        return np.ascontiguousarray(wide.reshape(n, -1, 32, height, width).transpose(0, 1, 3, 4, 2))
    return np.ascontiguousarray(wide.transpose(0, 2, 3, 1))


def packed_bytes(shape: tuple[int, int, int, int], dtype: str, layout: str) -> int:
    """Bytes of a tensor in a layout, its padding with it."""
    n, channels, height, width = shape
    multiple = MULTIPLES.get((dtype, layout), 1)
    channels = -(-channels // multiple) * multiple
    return n * channels * height * width * np.dtype(NUMBERS[dtype]).itemsize


def unpack(raw: Array, shape: tuple[int, int, int, int], dtype: str, layout: str) -> Array:
    """The bytes of a layout as dense (N, C, H, W)."""
    n, channels, height, width = shape
    values = raw.view(NUMBERS[dtype])
    if layout == "nchw":
        return values.reshape(shape)
    if layout == "chw32":
        wide = values.reshape(n, -1, height, width, 32).transpose(0, 1, 4, 2, 3)
        return wide.reshape(n, -1, height, width)[:, :channels]
    return values.reshape(n, height, width, -1).transpose(0, 3, 1, 2)[:, :channels]


def buffers(case: Case, inputs: Inputs) -> dict[str, Array]:
    """What the kernels read, by the names of the plan."""
    multiple = MULTIPLES.get((case.dtype, case.layout), 1)
    second = "element_logits" if case.operator == JUNCTION else "spatial_logits"
    return {
        "features": pack(inputs.features, case.layout, multiple),
        second: pack(inputs.logits, case.layout, multiple),
        **inputs.weights,
    }


@dataclass(frozen=True)
class Traffic:
    """Bytes of one call.

    Attributes:
        once: every tensor once.
        must: and of the features again what a cache cannot keep from the pass that
            averages them to the pass that weighs them.
        passes: the features twice, whatever a cache holds.
    """

    once: int
    must: int
    passes: int


def traffic(case: Case, cache: int) -> Traffic:
    """What has to move between memory and chip.

    No output can be written before the last feature is read (the averages go over
    the whole picture), so features beyond the size of the cache are read twice by
    any implementation.

    Args:
        case: the call.
        cache: bytes of the last-level cache.
    """
    features, logits, output = (
        packed_bytes(shape, case.dtype, case.layout)
        for shape in (case.features, case.logits, case.output)
    )
    once = features + logits + output + _weight_bytes(case)
    return Traffic(once, once + max(0, features - cache), once + features)


def _weight_bytes(case: Case) -> int:
    total = case.features[1]
    count = total * total if case.operator == JUNCTION else (2 * total + 1) * case.squeeze
    return (count + total) * (4 if case.dtype == "fp32" else 2)


def timed_cases(width: int, height: int, channels: int, dtypes: tuple[str, ...]) -> list[Case]:
    """The cases that are timed: both operators, every layout of the types that are asked for."""
    found = []
    for dtype, layout in FORMS:
        if dtype not in dtypes:
            continue
        shape = (1, channels, height, width)
        found.append(Case(JUNCTION, dtype, layout, *shape, branches=3))
        found.append(Case(ATTENTION, dtype, layout, *shape, squeeze=max(1, channels // 4)))
    return found


def random_cases(
    operator: str, dtype: operators.Dtype, layout: operators.Layout, count: int, seed: int
) -> list[Case]:
    """Small shapes of every kind: odd and even, single rows and columns, batches."""
    random = np.random.default_rng([seed, *f"{operator} {dtype} {layout}".encode()])
    found = []
    for index in range(count):
        n, channels = int(random.integers(1, 4)), int(random.integers(1, 49))
        if index % 2:
            channels = max(8, channels // 8 * 8)
        height, width = (int(random.integers(1, 70)) for _ in range(2))
        if index % 3 == 0:
            width = 8 * max(1, width // 8)
        if operator == JUNCTION:
            extra = {"branches": int(random.integers(1, 5))}
        else:
            maps = 1 if index % 4 else channels
            extra = {"squeeze": int(random.integers(1, 9)), "maps": maps}
        found.append(Case(operator, dtype, layout, n, channels, height, width, **extra))
    return found
