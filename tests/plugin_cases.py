"""Nodes with data for walks of the C++ plugin: tensors as TensorRT lays them out, and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda.operators import Layout, plan_attention, plan_junction_vote
from acf_edge.cuda.plan import Plan
from acf_edge.ops import reference

Array = npt.NDArray[Any]
STORED = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}
# TensorRT's format -> layout of the kernels, channels of a group.
FORMATS: dict[str, tuple[Layout, int]] = {
    "linear": ("nchw", 0),
    "hwc": ("nhwc", 1),
    "hwc8": ("nhwc", 8),
    "hwc16": ("nhwc", 16),
    "chw32": ("chw32", 32),
}
SCALES = (0.04, 0.09, 0.02)


def laid_out(values: Array, form: str) -> Array:
    """``(N, C, H, W)`` as that format has it in memory; padding is rubbish."""
    layout, multiple = FORMATS[form]
    if layout == "nchw":
        return np.ascontiguousarray(values)
    n, channels, height, width = values.shape
    groups = -(-channels // multiple)
    rubbish = 77 if values.dtype == np.int8 else np.nan
    padded = np.full((n, groups * multiple, height, width), rubbish, values.dtype)
    padded[:, :channels] = values
    if layout == "nhwc":
        return np.ascontiguousarray(padded.transpose(0, 2, 3, 1))
    split = padded.reshape(n, groups, multiple, height, width)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2))


def read_back(data: Array, shape: Sequence[int], form: str) -> tuple[Array, Array]:
    """What :func:`laid_out` made, as ``(N, C, H, W)``; and what stands in the padding."""
    layout, multiple = FORMATS[form]
    n, channels, height, width = shape
    if layout == "nchw":
        return data.reshape(shape), data[:0]
    groups = -(-channels // multiple)
    if layout == "nhwc":
        whole = data.reshape(n, height, width, groups * multiple).transpose(0, 3, 1, 2)
    else:
        split = data.reshape(n, groups, height, width, multiple)
        whole = split.transpose(0, 1, 4, 2, 3).reshape(n, groups * multiple, height, width)
    return whole[:, :channels], whole[:, channels:]


@dataclass
class Case:
    """One node.

    Attributes:
        extra: branches of JunctionVote; maps of the logits of ChannelSpatialAttention.
        weights: type of weights and biases; empty: that of the features, FP16 for INT8.
        shift: bytes that features and output are off an allocation's start.
    """

    operator: str
    dtype: str
    form: str
    n: int
    channels: int
    extra: int
    height: int
    width: int
    weights: str = ""
    shift: int = 0
    squeeze: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        self.stored = self.weights or ("fp32" if self.dtype == "fp32" else "fp16")
        self.scales = SCALES if self.dtype == "int8" else (0.0, 0.0, 0.0)
        self.voting = self.operator == "JunctionVote"
        if self.voting:
            joined = self.channels * self.extra
            self.shapes = [[joined], [joined], [joined, joined], [joined]]
        else:
            c, s = self.channels, self.squeeze
            self.shapes = [[c], [self.extra], [s, c], [s], [c, s], [c]]
        for index in (0, 1):
            self.shapes[index] = [self.n, *self.shapes[index], self.height, self.width]
        self.output_shape = (self.n, self.channels, self.height, self.width)

    def values(self) -> list[Array]:
        """The inputs as the GPU would have them: rounded to their types, quantized."""
        random = np.random.default_rng(self.seed)
        found = []
        for index, shape in enumerate(self.shapes):
            value = random.normal(0.0, 1.0 if index < 2 else 0.3, shape)
            if index < 2 and self.dtype == "int8":
                value = np.clip(np.round(value / self.scales[index]), -128, 127)
            found.append(value.astype(STORED[self.dtype if index < 2 else self.stored]))
        return found

    def expected(self) -> npt.NDArray[np.float64]:
        """The reference on these very inputs, ``(N, C, H, W)``."""
        real = [value.astype(np.float64) for value in self.values()]
        if self.dtype == "int8":
            real[0] *= self.scales[0]
            real[1] *= self.scales[1]
        if self.voting:
            return reference.junction_vote(*real, branches=self.extra)
        return reference.channel_spatial_attention(*real)

    def tolerances(self) -> tuple[float, float]:
        """Relative and absolute: half a step of the output's type, and the sums' in FP32."""
        if self.dtype == "int8":
            return 0.0, 0.51 * self.scales[2]
        return (1e-5, 1e-6) if self.dtype == "fp32" else (1e-3, 1e-4)

    def plan(self, aligned: bool = True) -> Plan:
        """The launch plan in Python."""
        layout = FORMATS[self.form][0]
        keys: dict[str, Any] = {
            "scales": self.scales,
            "weights": self.stored,
            "aligned": aligned,
        }
        size: tuple[Any, ...] = (self.height, self.width, self.dtype, layout)
        if self.voting:
            return plan_junction_vote(self.n, self.channels, self.extra, *size, **keys)
        return plan_attention(self.n, self.channels, self.squeeze, *size, maps=self.extra, **keys)

    def names(self) -> tuple[str, ...]:
        """Of the inputs, in their order."""
        if self.voting:
            return ("features", "element_logits", "weight", "bias")
        return (
            *("features", "spatial_logits", "squeeze_weight", "squeeze_bias"),
            *("excite_weight", "excite_bias"),
        )

    def fields(self) -> list[str]:
        """As plugin_host takes them."""
        words = [f"field=branches:int32:{self.extra}"] if self.voting else []
        if any(self.scales):
            keys = ("features_scale", "logits_scale", "output_scale")
            words += [f"field={k}:float32:{v!r}" for k, v in zip(keys, self.scales, strict=True)]
        return words

    def words(self, folder: Path | None = None) -> list[str]:
        """All of plugin_host's arguments; with a folder, for data that is written there."""
        words = [f"op={self.operator}", *self.fields()]
        for index, value in enumerate(self.values()):
            big = index < 2
            form, dtype = (self.form, self.dtype) if big else ("linear", self.stored)
            word = f"in={dtype}:{form}:{'x'.join(map(str, value.shape))}"
            if folder is not None:
                path = folder / f"{index}.bin"
                path.write_bytes((laid_out(value, form) if big else value).tobytes())
                word += f":{path}:{self.shift if big else 0}"
            words.append(word)
        word = f"out={self.dtype}:{self.form}:{'x'.join(map(str, self.output_shape))}"
        if folder is not None:
            size = laid_out(np.zeros(self.output_shape, STORED[self.dtype]), self.form).nbytes
            word += f":{folder / 'output.bin'}:{size}:{self.shift}"
        return [*words, word]

    def output(self, folder: Path) -> tuple[npt.NDArray[np.float64], Array]:
        """What a walk has written: ``(N, C, H, W)``, and its padding."""
        data = np.fromfile(folder / "output.bin", STORED[self.dtype])
        found, padding = read_back(data, self.output_shape, self.form)
        scale = self.scales[2] if self.dtype == "int8" else 1.0
        return found.astype(np.float64) * scale, padding
