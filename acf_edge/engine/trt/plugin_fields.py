"""The fields of both operators' plugins: what creators advertise, take and write into an engine.

``JunctionVote``: branches int32; features_scale, logits_scale, output_scale float32.
``ChannelSpatialAttention``: features_scale, logits_scale, output_scale float32.

In this order, each of length 1. ``kernels/plugin/fields.h`` says the same in C++: an engine that
was written by one is read by the other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from acf_edge.engine.trt.names import Module

Operator = Literal["JunctionVote", "ChannelSpatialAttention"]
OPERATORS: Final[tuple[Operator, ...]] = ("JunctionVote", "ChannelSpatialAttention")
NAMESPACE: Final = "acf"
VERSION: Final = "1"
SCALES: Final = ("features_scale", "logits_scale", "output_scale")
LARGEST: Final = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What a plugin is made with.

    Attributes:
        branches: B of ``JunctionVote``, 1 at least; 0 for the other operator.
        features_scale, logits_scale, output_scale: the step between two INT8 codes; 0 = the tensor
            is not quantized. All or none.
    """

    branches: int = 0
    features_scale: float = 0.0
    logits_scale: float = 0.0
    output_scale: float = 0.0

    @property
    def quantized(self) -> bool:
        """Features, logits and output are INT8."""
        return self.features_scale > 0.0

    @property
    def scales(self) -> tuple[float, float, float]:
        """Of features, logits and output, as launch plans take them."""
        return self.features_scale, self.logits_scale, self.output_scale


@dataclass(frozen=True)
class Value:
    """One field with its value.

    Attributes:
        name: of the field.
        kind: name of a member of TensorRT's ``PluginFieldType``.
        data: one element; TensorRT reads it where it lies, so somebody has to keep it.
    """

    name: str
    kind: Literal["INT32", "FLOAT32"]
    data: npt.NDArray[Any]


def field_names(operator: Operator) -> tuple[str, ...]:
    """The fields of an operator in their order."""
    return ("branches", *SCALES) if operator == "JunctionVote" else SCALES


def plugin_hash() -> str:
    """SHA-256 (hex) over what an engine and a plugin have to agree on: names, version, fields.

    The same for the plugins in Python and in C++: an engine made with one runs with the other.
    """
    parts = [NAMESPACE, VERSION]
    for operator in OPERATORS:
        parts += [operator, *(f"{v.name}:{v.kind}" for v in field_values(operator, Settings()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def field_values(operator: Operator, settings: Settings) -> tuple[Value, ...]:
    """What goes into an engine, in the order of :func:`field_names`."""
    found: list[Value] = []
    if operator == "JunctionVote":
        found.append(Value("branches", "INT32", np.array([settings.branches], np.int32)))
    found += [
        Value(name, "FLOAT32", np.array([scale], np.float32))
        for name, scale in zip(SCALES, settings.scales, strict=True)
    ]
    return tuple(found)


def field_collection(module: Module, values: Iterable[Value]) -> tuple[Any, Any]:
    """These fields in both shapes that the bindings have; keep both, and the values, while in use.

    Returns:
        the list, and TensorRT's own collection, which points into it. The list would be converted
        where it is returned to TensorRT, but only within a call that came from Python.
    """
    types = module.PluginFieldType
    made = module.PluginFieldCollection(
        [module.PluginField(value.name, value.data, getattr(types, value.kind)) for value in values]
    )
    return made, module.PluginFieldCollection_(made)


def advertised(module: Module, operator: Operator) -> tuple[Any, Any]:
    """What a creator shows: names, types and lengths without values. Keep both shapes, as above."""
    fields = []
    for value in field_values(operator, Settings()):
        field = module.PluginField(value.name)
        field.type = getattr(module.PluginFieldType, value.kind)
        field.size = 1
        fields.append(field)
    made = module.PluginFieldCollection(fields)
    return made, module.PluginFieldCollection_(made)


def read_fields(operator: Operator, given: Iterable[Any]) -> Settings:
    """The settings in what a creator is given: by the ONNX parser, or out of an engine.

    Args:
        operator: whose fields.
        given: TensorRT's fields: ``name``, ``type`` and ``data``.

    Raises:
        ValueError: a field that is missing, unknown, given twice, of another type or length, or
            out of range. A missing scale is 0.
    """
    known = field_names(operator)
    found: dict[str, Any] = {}
    for field in given:
        name = str(field.name)
        if name not in known:
            raise ValueError(f"{operator} has no field '{name}'")
        if name in found:
            raise ValueError(f"field '{name}' came twice")
        value = _one(name, field.data)
        found[name] = (
            _whole(name, field, value) if name == "branches" else _scale(name, field, value)
        )
    if operator == "JunctionVote" and "branches" not in found:
        raise ValueError("field 'branches' is missing")
    settings = Settings(**found)
    if sum(scale > 0 for scale in settings.scales) not in (0, 3):
        raise ValueError(
            "features_scale, logits_scale and output_scale belong together: either all are "
            "positive (INT8) or all are 0"
        )
    return settings


def _one(name: str, data: Any) -> Any:
    values = np.asarray([] if data is None else data).ravel()
    if values.size != 1:
        raise ValueError(f"field '{name}' must hold one value, not {values.size}")
    return values[0]


def _whole(name: str, field: Any, value: Any) -> int:
    if field.type.name not in ("INT32", "INT64"):
        raise ValueError(f"field '{name}' must be a whole number")
    if not 1 <= int(value) <= LARGEST:
        raise ValueError(f"field '{name}' must be 1 or more, not {int(value)}")
    return int(value)


def _scale(name: str, field: Any, value: Any) -> float:
    if field.type.name not in ("FLOAT32", "FLOAT64"):
        raise ValueError(f"field '{name}' must be a float")
    scale = float(np.float32(value))
    if not math.isfinite(scale) or scale < 0.0:
        raise ValueError(f"field '{name}' must be finite and 0 or more, not {float(value):g}")
    return scale


# The names above and the dataclass may not drift apart.
assert {"branches", *SCALES} == {field.name for field in fields(Settings)}
