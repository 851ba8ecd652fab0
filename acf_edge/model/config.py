"""The sizes of the ACF network, as data. Imports no torch: the runtime reads it, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from acf_edge.errors import InputError

CHANNEL_MULTIPLE = 16
"""Widths are multiples of this: what INT8 convolutions on CPUs and GPUs are built for."""


@dataclass(frozen=True)
class AcfConfig:
    """Shape of one ACF network.

    "Grid" is the resolution at which the branches work: the input divided by
    ``fold`` on each side (a space-to-depth that is part of the first convolutions).

    Attributes:
        name: family member, e.g. ``"acf-t"``.
        scale: up-sampling factor, 2 or 4.
        fold: input pixels per grid cell and side: 1 or 2.
        branch: output channels of each branch.
        artefact: interior widths of the artefact branch's residual blocks.
        structure: interior widths of the structure branch's residual blocks.
        deblur: channels of the deblur branch at half the grid's resolution.
        deblur_blocks: per residual block ``(interior width, dilation of its second convolution)``.
        trunk: channels of the reconstruction phase.
        trunk_blocks: interior widths of its residual blocks.
        squeeze: hidden units of the channel attention.
        voting: how the junction votes; see :mod:`acf_edge.model.junction`.
    """

    name: str
    scale: int
    fold: int
    branch: int
    artefact: tuple[int, ...]
    structure: tuple[int, ...]
    deblur: int
    deblur_blocks: tuple[tuple[int, int], ...]
    trunk: int
    trunk_blocks: tuple[int, ...]
    squeeze: int
    voting: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.scale not in (2, 4):
            raise InputError(f"Network scale {self.scale} is unknown.", "Scales are 2 and 4.")
        if self.fold not in (1, 2):
            raise InputError(f"Network fold {self.fold} is unknown.", "Folds are 1 and 2.")
        if self.voting != "sigmoid":
            raise InputError(f"Voting '{self.voting}' is unknown.", "There is: sigmoid.")
        for what, width in self._widths():
            if width < CHANNEL_MULTIPLE or width % CHANNEL_MULTIPLE:
                raise InputError(
                    f"Network width {what} = {width} is no multiple of {CHANNEL_MULTIPLE}.",
                    f"Choose {CHANNEL_MULTIPLE}, {2 * CHANNEL_MULTIPLE}, ...",
                )
        if any(dilation < 1 for _, dilation in self.deblur_blocks):
            raise InputError("A dilation is below 1.", "Dilations start at 1.")

    def _widths(self) -> list[tuple[str, int]]:
        rows = [("branch", self.branch), ("deblur", self.deblur), ("trunk", self.trunk)]
        rows += [("squeeze", self.squeeze)]
        rows += [("artefact", w) for w in self.artefact]
        rows += [("structure", w) for w in self.structure]
        rows += [("deblur_blocks", w) for w, _ in self.deblur_blocks]
        rows += [("trunk_blocks", w) for w in self.trunk_blocks]
        return rows

    @property
    def title(self) -> str:
        """Name and scale, e.g. ``"acf-t-x4"``."""
        return f"{self.name}-x{self.scale}"

    @property
    def alignment(self) -> int:
        """Sides that are no multiple of this are padded inside the graph, right and bottom."""
        return 2 * self.fold

    @property
    def factor(self) -> int:
        """Output pixels per grid cell and side."""
        return self.fold * self.scale

    def to_json(self) -> dict[str, Any]:
        """Plain types only; :func:`config_from_json` reads it back."""
        return asdict(self)


def config_from_json(table: Mapping[str, Any]) -> AcfConfig:
    """Read a configuration and check it.

    Raises:
        InputError: a key that is missing, unknown, or of the wrong type.
    """
    known = {field.name for field in fields(AcfConfig)}
    missing, unknown = known - set(table), set(table) - known
    if missing or unknown:
        wrong = f"lacks {sorted(missing)}" if missing else f"has unknown keys {sorted(unknown)}"
        raise InputError(f"The network configuration {wrong}.", "Use a checkpoint of this package.")
    values = dict(table)
    try:
        for key in ("scale", "fold", "branch", "deblur", "trunk", "squeeze"):
            values[key] = _integer(values[key])
        for key in ("artefact", "structure", "trunk_blocks"):
            values[key] = tuple(_integer(v) for v in values[key])
        values["deblur_blocks"] = tuple(
            (_integer(width), _integer(dilation)) for width, dilation in values["deblur_blocks"]
        )
        if not isinstance(values["name"], str) or not isinstance(values["voting"], str):
            raise TypeError("name and voting are strings")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The network configuration has a wrong type: {error}.",
            "Use a checkpoint of this package.",
        ) from None
    return AcfConfig(**values)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value


_TINY = AcfConfig(
    name="acf-t",
    scale=4,
    fold=2,
    branch=32,
    artefact=(32,),
    structure=(32,),
    deblur=64,
    deblur_blocks=((64, 2), (64, 4)),
    trunk=64,
    trunk_blocks=(64,),
    squeeze=16,
)

SIZES: dict[str, AcfConfig] = {
    "acf-t": _TINY,
    "acf-s": replace(
        _TINY,
        name="acf-s",
        branch=64,
        artefact=(64, 64),
        structure=(64, 64),
        deblur=128,
        deblur_blocks=((128, 2), (128, 4), (128, 4)),
        trunk=128,
        trunk_blocks=(128, 128),
    ),
    "acf-b": replace(
        _TINY,
        name="acf-b",
        fold=1,
        branch=64,
        artefact=(64,) * 3,
        structure=(64,) * 3,
        deblur=128,
        deblur_blocks=((128, 2), (128, 4), (128, 8), (128, 8)),
        trunk=96,
        trunk_blocks=(96,) * 6,
        squeeze=32,
    ),
    "acf-paper": replace(
        _TINY,
        name="acf-paper",
        fold=1,
        branch=96,
        artefact=(96,) * 6,
        structure=(96,) * 6,
        deblur=256,
        deblur_blocks=((256, 2), (256, 4), (256, 8), (256, 8), (256, 8), (256, 8)),
        trunk=128,
        trunk_blocks=(128,) * 6,
        squeeze=32,
    ),
}
"""``acf-t`` for a CPU, ``acf-s`` and ``acf-b`` for GPUs, ``acf-paper`` of the size of GFN."""


def config_named(name: str, scale: int = 4) -> AcfConfig:
    """Look up a size.

    Raises:
        InputError: no such size or scale.
    """
    if name not in SIZES:
        raise InputError(f"There is no network '{name}'.", f"There are: {', '.join(SIZES)}.")
    return replace(SIZES[name], scale=scale)
