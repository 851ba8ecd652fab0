"""From TensorRT's descriptions of a node's tensors to a launch plan.

``kernels/plugin/tensors.cpp`` accepts and refuses the same in C++. Knows TensorRT by the names of
its data types and formats only, so it is tested without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from acf_edge.engine.trt.plugin_fields import Operator, Settings

if TYPE_CHECKING:
    from acf_edge.cuda.operators import Dtype, Layout, Weights
    from acf_edge.cuda.plan import Plan

INPUTS: Final[dict[Operator, tuple[str, ...]]] = {
    "JunctionVote": ("features", "element_logits", "weight", "bias"),
    "ChannelSpatialAttention": (
        "features",
        "spatial_logits",
        "squeeze_weight",
        "squeeze_bias",
        "excite_weight",
        "excite_bias",
    ),
}
OUTPUT: Final = "output"
DTYPES: Final[dict[str, Dtype]] = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
# (data type, format) -> layout of the kernels.
LAYOUTS: Final[dict[tuple[str, str], Layout]] = {
    ("FLOAT", "LINEAR"): "nchw",
    ("FLOAT", "HWC"): "nhwc",
    ("HALF", "LINEAR"): "nchw",
    ("HALF", "HWC8"): "nhwc",
    ("INT8", "LINEAR"): "nchw",
    ("INT8", "HWC16"): "nhwc",
    ("INT8", "CHW32"): "chw32",
}
HWC16_SINCE: Final = (10, 9)
FLOATS: Final[dict[str, Weights]] = {"FLOAT": "fp32", "HALF": "fp16"}


class Named(Protocol):
    """A member of an enumeration of TensorRT."""

    @property
    def name(self) -> str: ...


class Described(Protocol):
    """TensorRT's ``PluginTensorDesc``."""

    @property
    def type(self) -> Named: ...
    @property
    def format(self) -> Named: ...
    @property
    def dims(self) -> Any: ...


@dataclass(frozen=True)
class Problem:
    """One call of an operator, with every size known.

    Attributes:
        dtype, layout: of features, logits and output.
        weights: of weights and biases.
        n, channels, height, width: of the output.
        branches: of ``JunctionVote``.
        squeeze, maps: hidden units and channels of the logits of ``ChannelSpatialAttention``.
        scales: of features, logits and output.
    """

    operator: Operator
    dtype: Dtype
    layout: Layout
    weights: Weights
    n: int
    channels: int
    height: int
    width: int
    branches: int
    squeeze: int
    maps: int
    scales: tuple[float, float, float]

    def plan(self, aligned: bool = True) -> Plan:
        """How it is launched; ``aligned``: every buffer starts on 16 bytes."""
        from acf_edge.cuda.operators import plan_attention, plan_junction_vote

        if self.operator == "JunctionVote":
            return plan_junction_vote(
                self.n,
                self.channels,
                self.branches,
                self.height,
                self.width,
                self.dtype,
                self.layout,
                scales=self.scales,
                weights=self.weights,
                aligned=aligned,
            )
        return plan_attention(
            self.n,
            self.channels,
            self.squeeze,
            self.height,
            self.width,
            self.dtype,
            self.layout,
            maps=self.maps,
            scales=self.scales,
            weights=self.weights,
            aligned=aligned,
        )


def accepts(
    operator: Operator,
    settings: Settings,
    position: int,
    tensors: Sequence[Described],
    version: tuple[int, ...],
) -> bool:
    """Whether a tensor may have its type and format, given those before it.

    Args:
        position: index into inputs, then the output.
        tensors: all of them; what stands behind ``position`` means nothing yet.
        version: of TensorRT.
    """
    last = len(INPUTS[operator])
    if not 0 <= position <= last:
        return False
    asked, features = tensors[position], tensors[0]
    if position == 0:
        kind, shape = asked.type.name, asked.format.name
        if (kind == "INT8") is not settings.quantized or (kind, shape) not in LAYOUTS:
            return False
        return shape != "HWC16" or version >= HWC16_SINCE
    if position in (1, last):
        return asked.type == features.type and asked.format == features.format
    if asked.format.name != "LINEAR" or asked.type.name not in FLOATS:
        return False
    return position == 2 or asked.type == tensors[2].type


def demand_types(operator: Operator, settings: Settings, types: Sequence[Named]) -> None:
    """Check the inputs' data types.

    Raises:
        ValueError: what does not fit.
    """
    names = INPUTS[operator]
    if len(types) != len(names):
        raise ValueError(f"{operator} has {len(names)} inputs, not {len(types)}")
    kind = types[0].name
    if settings.quantized and kind != "INT8":
        raise ValueError(f"features are {kind}, but the scales are set: they must be INT8")
    if not settings.quantized and kind not in FLOATS:
        raise ValueError(f"features are {kind}, but without scales they must be FLOAT or HALF")
    if types[1] != types[0]:
        raise ValueError(f"{names[1]} must have the type of the features")
    for name, found in zip(names[2:], types[2:], strict=True):
        if found.name not in FLOATS or found != types[2]:
            raise ValueError(f"{name}: weights and biases must be all FLOAT or all HALF")


def problem_of(operator: Operator, settings: Settings, tensors: Sequence[Described]) -> Problem:
    """What is computed, from the inputs and the output.

    Raises:
        ValueError: types, formats or shapes that do not fit each other.
    """
    names = (*INPUTS[operator], OUTPUT)
    if len(tensors) != len(names):
        raise ValueError(f"{operator} has {len(names)} tensors, not {len(tensors)}")
    demand_types(operator, settings, [tensor.type for tensor in tensors[:-1]])
    features, output = tensors[0], tensors[-1]
    layout = LAYOUTS.get((features.type.name, features.format.name))
    if layout is None:
        raise ValueError(f"features in the format {features.format.name}, which no kernel reads")
    if output.type != features.type:
        raise ValueError("the output must have the type of the features")
    for index, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
        like_features = index in (0, 1, len(names) - 1)
        if tensor.format.name != (features.format.name if like_features else "LINEAR"):
            raise ValueError(f"{name} in the format {tensor.format.name}, which it may not have")
    shapes = {name: _shape(name, tensor) for name, tensor in zip(names, tensors, strict=True)}
    sizes = _sizes(operator, settings, shapes)
    return Problem(
        operator,
        DTYPES[features.type.name],
        layout,
        FLOATS[tensors[2].type.name],
        *sizes,
        scales=settings.scales,
    )


def _shape(name: str, tensor: Described) -> tuple[int, ...]:
    shape = tuple(int(size) for size in tensor.dims)
    # The output's sides follow from the inputs'; TensorRT need not know them (-1) yet.
    least = -1 if name == OUTPUT else 1
    if any(size < least or size == 0 for size in shape):
        raise ValueError(f"{name} {shape}: a side is empty or not known")
    return shape


def _sizes(
    operator: Operator, settings: Settings, shapes: dict[str, tuple[int, ...]]
) -> tuple[int, int, int, int, int, int, int]:
    """n, channels, height, width, branches, squeeze, maps."""
    names = INPUTS[operator]
    logits = shapes[names[1]]
    if len(shapes["features"]) != 4 or len(logits) != 4 or len(shapes[names[2]]) != 2:
        raise ValueError(
            f"features {shapes['features']}, {names[1]} {logits} and {names[2]} "
            f"{shapes[names[2]]} must have 4, 4 and 2 dimensions"
        )
    n, joined, height, width = shapes["features"]
    expected: dict[str, tuple[int, ...]]
    if operator == "JunctionVote":
        branches, squeeze, maps = settings.branches, 0, 0
        if joined % branches:
            raise ValueError(f"{joined} channels cannot be shared among {branches} branches")
        channels = joined // branches
        expected = {
            "element_logits": (n, joined, height, width),
            "weight": (joined, joined),
            "bias": (joined,),
        }
    else:
        branches, channels, maps = 0, joined, logits[1]
        squeeze = shapes["squeeze_weight"][0]
        if maps not in (1, joined):
            raise ValueError(f"spatial_logits {logits} must have 1 or {joined} channels")
        expected = {
            "spatial_logits": (n, maps, height, width),
            "squeeze_weight": (squeeze, joined),
            "squeeze_bias": (squeeze,),
            "excite_weight": (joined, squeeze),
            "excite_bias": (joined,),
        }
    expected[OUTPUT] = (n, channels, height, width)
    for name, shape in expected.items():
        known = len(shapes[name]) == len(shape) and all(
            found in (size, -1) for found, size in zip(shapes[name], shape, strict=True)
        )
        if not known:
            raise ValueError(f"{name} is {shapes[name]}, not {shape}")
    return n, channels, height, width, branches, squeeze, maps
