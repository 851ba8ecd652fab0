"""The sizes of the ACF network, as data. Imports no torch: the runtime reads it, too."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from acf_edge.errors import InputError

CHANNEL_MULTIPLE = 16
"""Widths are multiples of this: what INT8 convolutions on CPUs and GPUs are built for."""
BRANCHES = ("artefact", "deblur", "structure")
"""Of the sharing phase, in the order in which the junction hears them."""
VOTINGS = ("sigmoid", "softmax", "gate", "none", "plain")
"""How the junction votes, see :mod:`acf_edge.model.junction`; ``plain`` has no branches at all."""
VOTELESS = ("none", "plain")
"""Those of :data:`VOTINGS` in which nobody is asked."""
MAX_WIDTH = 1024
MAX_BLOCKS = 64
"""Of residual blocks at one place."""
MAX_DILATION = 64
# A name becomes part of file names, graph names and lines of text.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REMEDY = "Use a checkpoint of this package."


@dataclass(frozen=True)
class AcfConfig:
    """Shape of one ACF network.

    "Grid" is the resolution at which the branches work: the input divided by
    ``fold`` on each side (a space-to-depth that is part of the first convolutions).

    Bounds (:data:`MAX_WIDTH`, :data:`MAX_BLOCKS`, :data:`MAX_DILATION`) keep a malformed
    checkpoint from asking for the memory of a thousand networks.

    Attributes:
        name: family member, e.g. ``"acf-t"``.
        scale: up-sampling factor, 2 or 4.
        fold: input pixels per grid cell and side: 1 or 2.
        branch: output channels of each branch.
        artefact: interior widths of the artefact branch's residual blocks.
        structure: interior widths of the structure branch's residual blocks.
        deblur: channels of the deblur branch.
        deblur_blocks: per residual block ``(interior width, dilation of its second convolution)``.
        trunk: channels of the reconstruction phase.
        trunk_blocks: interior widths of its residual blocks.
        squeeze: hidden units of the channel attention.
        deblur_step: grid cells per cell and side of the deblur branch: 1 works on the grid, 2 at
            half its resolution.
        voting: how the junction votes, one of :data:`VOTINGS`. With ``"plain"`` the fields of
            the branches and ``squeeze`` mean nothing.
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
    deblur_step: int = 2

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"Network name {_short(self.name)} is not usable.",
                "Use at most 64 letters, digits, dots, dashes and underscores.",
            )
        if self.scale not in (2, 4):
            raise InputError(f"Network scale {self.scale} is unknown.", "Scales are 2 and 4.")
        if self.fold not in (1, 2):
            raise InputError(f"Network fold {self.fold} is unknown.", "Folds are 1 and 2.")
        if self.deblur_step not in (1, 2):
            raise InputError(
                f"Network deblur_step {self.deblur_step} is unknown.", "Steps are 1 and 2."
            )
        if self.voting not in VOTINGS:
            raise InputError(
                f"Voting {_short(self.voting)} is unknown.", f"There are: {', '.join(VOTINGS)}."
            )
        for what in ("artefact", "structure", "deblur_blocks", "trunk_blocks"):
            count = len(getattr(self, what))
            if count > MAX_BLOCKS:
                raise InputError(
                    f"Network depth {what} = {count} is too large.",
                    f"There are at most {MAX_BLOCKS} blocks at one place.",
                )
        for what, width in self._widths():
            if width < CHANNEL_MULTIPLE or width % CHANNEL_MULTIPLE:
                raise InputError(
                    f"Network width {what} = {width} is no multiple of {CHANNEL_MULTIPLE}.",
                    f"Choose {CHANNEL_MULTIPLE}, {2 * CHANNEL_MULTIPLE}, ...",
                )
            if width > MAX_WIDTH:
                raise InputError(
                    f"Network width {what} = {width} is too large.",
                    f"Widths end at {MAX_WIDTH}.",
                )
        for _, dilation in self.deblur_blocks:
            if not 1 <= dilation <= MAX_DILATION:
                raise InputError(
                    f"A dilation in deblur_blocks is {dilation}.",
                    f"Dilations are 1 to {MAX_DILATION}.",
                )

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
        return self.deblur_step * self.fold

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
    table = {"deblur_step": 2, **table}  # checkpoints from before there was a choice
    missing, unknown = known - set(table), set(table) - known
    if missing:
        raise InputError(f"The network configuration lacks {sorted(missing)}.", _REMEDY)
    if unknown:
        rows = ", ".join(sorted(_short(key) for key in list(unknown)[:3]))
        raise InputError(f"The network configuration has unknown keys: {rows}.", _REMEDY)
    values = dict(table)
    for key in ("name", "voting"):
        if not isinstance(values[key], str):
            raise _wrong(key, values[key], "a string")
    for key in ("scale", "fold", "branch", "deblur", "deblur_step", "trunk", "squeeze"):
        values[key] = _integer(key, values[key])
    for key in ("artefact", "structure", "trunk_blocks"):
        values[key] = tuple(_integer(key, width) for width in _list(key, values[key]))
    blocks = []
    for block in _list("deblur_blocks", values["deblur_blocks"]):
        pair = [_integer("deblur_blocks", number) for number in _list("deblur_blocks", block)]
        if len(pair) != 2:
            raise _wrong("deblur_blocks", block, "a pair of width and dilation")
        blocks.append((pair[0], pair[1]))
    values["deblur_blocks"] = tuple(blocks)
    return AcfConfig(**values)


def _integer(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, value, "an integer")
    if abs(value) > 2**31:
        raise _wrong(key, value, "an integer of sane size")
    return value


def _list(key: str, value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(key, value, "a list")
    if len(value) > MAX_BLOCKS:
        raise _wrong(key, value, f"a list of at most {MAX_BLOCKS}")
    return value


def _wrong(key: str, value: Any, wanted: str) -> InputError:
    return InputError(
        f"The network configuration's '{key}' is {_short(value)} where {wanted} is wanted.",
        _REMEDY,
    )


def _short(value: Any) -> str:
    """One line of bounded length, whatever a stranger's file holds."""
    try:
        text = reprlib.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a huge {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:40]} ..."


_TINY = AcfConfig(
    name="acf-t",
    scale=4,
    fold=2,
    branch=32,
    artefact=(32,),
    structure=(32,),
    deblur=32,
    deblur_blocks=((32, 4), (32, 8)),
    trunk=64,
    trunk_blocks=(64,),
    squeeze=16,
    deblur_step=1,
)

SIZES: dict[str, AcfConfig] = {
    "acf-t": _TINY,
    "acf-s": replace(
        _TINY,
        name="acf-s",
        branch=64,
        artefact=(64, 64),
        structure=(64, 64),
        deblur=64,
        deblur_blocks=((64, 2), (64, 4), (64, 8)),
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
        deblur_step=2,
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
        deblur_step=2,
        deblur_blocks=((256, 2), (256, 4), (256, 8), (256, 8), (256, 8), (256, 8)),
        trunk=128,
        trunk_blocks=(128,) * 6,
        squeeze=32,
    ),
}
"""``acf-t`` for a CPU, ``acf-s`` and ``acf-b`` for GPUs, ``acf-paper`` of the size of GFN."""

BASELINES: dict[str, AcfConfig] = {
    "plain-t": replace(_TINY, name="plain-t", trunk_blocks=(64, 64, 32), voting="plain"),
    "plain-s": replace(
        SIZES["acf-s"], name="plain-s", trunk_blocks=(128, 128, 128, 128, 32), voting="plain"
    ),
}
"""What the ACF networks are measured against: a trunk alone, of the same cost (within 2 %)."""


def config_named(name: str, scale: int = 4) -> AcfConfig:
    """Look up a size.

    Raises:
        InputError: no such size or scale.
    """
    known = {**SIZES, **BASELINES}
    if name not in known:
        raise InputError(f"There is no network '{name}'.", f"There are: {', '.join(known)}.")
    return replace(known[name], scale=scale)
