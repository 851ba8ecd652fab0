"""The sizes of pictures that an engine is compiled for.

TensorRT compiles an engine for ranges of sizes ("optimization profiles"): it runs every
size between the smallest and the largest, and is tuned for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from acf_edge.engine.passport import InputProfile
from acf_edge.errors import InputError

LONGEST_SIDE: Final = 8192
"""Pixels; a larger picture does not fit into what TensorRT counts with 32 bits at x4."""
MOST_PROFILES: Final = 16
DEFAULT_SIZE: Final = "64x64:320x180:1280x720"

_SIZE: Final = re.compile(r"([0-9]{1,6})[xX×]([0-9]{1,6})")
_HINT: Final = "Write WIDTHxHEIGHT, or MIN:OPT:MAX such as 64x64:320x180:1280x720."
_LARGEST_TENSOR: Final = 2**31 - 1

Size = tuple[int, int]
"""``(width, height)`` in pixels."""


@dataclass(frozen=True)
class SizeProfile:
    """Sizes ``(width, height)`` in pixels: the smallest, the one to tune for, the largest.

    Raises:
        InputError: a side below 1 or above :data:`LONGEST_SIDE`, or the three are not
            in order, width by width and height by height.
    """

    minimum: Size
    optimum: Size
    maximum: Size

    def __post_init__(self) -> None:
        for width, height in (self.minimum, self.optimum, self.maximum):
            if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
                raise InputError(
                    f"The size {width}x{height} cannot be compiled for.",
                    f"Give sides of 1 to {LONGEST_SIDE} pixels.",
                )
        for axis, name in enumerate(("width", "height")):
            low, best, high = self.minimum[axis], self.optimum[axis], self.maximum[axis]
            if not low <= best <= high:
                raise InputError(
                    f"The size '{self}' is out of order: its {name}s are {low}, {best}, {high}.",
                    "Give the smallest, the usual and the largest size in this order.",
                )

    def __str__(self) -> str:
        sizes = [self.minimum, self.optimum, self.maximum]
        if self.fixed:
            del sizes[1:]
        return ":".join(f"{width}x{height}" for width, height in sizes)

    @property
    def fixed(self) -> bool:
        """Whether it is one size."""
        return self.minimum == self.optimum == self.maximum

    def holds(self, width: int, height: int) -> bool:
        """Whether a picture of this size runs."""
        return (
            self.minimum[0] <= width <= self.maximum[0]
            and self.minimum[1] <= height <= self.maximum[1]
        )

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The three shapes ``(1, H, W, 3)`` of the engine's input."""
        low, best, high = (
            (1, height, width, 3) for width, height in (self.minimum, self.optimum, self.maximum)
        )
        return low, best, high

    def to_passport(self) -> InputProfile:
        """The same in the words of the passport."""
        return InputProfile(self.minimum, self.optimum, self.maximum)

    @classmethod
    def from_passport(cls, profile: InputProfile) -> SizeProfile:
        """What :meth:`to_passport` gave.

        Raises:
            InputError: the sizes are out of order.
        """
        return cls(profile.minimum, profile.optimum, profile.maximum)


def parse_profile(text: str) -> SizeProfile:
    """Read ``--size``: one size, or the smallest, the usual and the largest.

    Example:
        >>> parse_profile("64x64:320x180:1280x720").optimum
        (320, 180)

    Raises:
        InputError: it is something else.
    """
    parts = [_SIZE.fullmatch(part.strip()) for part in text.split(":")]
    if len(parts) not in (1, 3) or not all(parts):
        raise InputError(f"The size '{text}' is not understood.", _HINT)
    sizes = [(int(part[1]), int(part[2])) for part in parts if part]
    low, best, high = sizes if len(sizes) == 3 else sizes * 3
    return SizeProfile(low, best, high)


def parse_profiles(texts: Sequence[str]) -> tuple[SizeProfile, ...]:
    """Read several ``--size``; the same one twice counts once, in the order given.

    Raises:
        InputError: one is not understood, there is none, or there are too many.
    """
    profiles = tuple(dict.fromkeys(parse_profile(text) for text in texts))
    if not 1 <= len(profiles) <= MOST_PROFILES:
        raise InputError(f"{len(profiles)} sizes to compile for.", f"Give 1 to {MOST_PROFILES}.")
    return profiles


def check_scale(profiles: Sequence[SizeProfile], scale: int) -> None:
    """Refuse a size whose enlarged picture has more values than TensorRT can count.

    Raises:
        InputError: ``3 * scale**2 * width * height`` is 2**31 or more.
    """
    for profile in profiles:
        width, height = profile.maximum
        if 3 * scale**2 * width * height > _LARGEST_TENSOR:
            raise InputError(
                f"A picture of {width}x{height} enlarged {scale} times is too large for TensorRT.",
                "Compile for a smaller size; larger pictures are taken in tiles.",
            )


def choose_profile(profiles: Sequence[SizeProfile], width: int, height: int) -> int:
    """The index of the profile to run a picture with: of those that hold it, the one whose
    usual size is nearest in area.

    Raises:
        InputError: none holds it.
    """
    fitting = [index for index, one in enumerate(profiles) if one.holds(width, height)]
    if not fitting:
        sizes = ", ".join(_range(one) for one in profiles) or "none"
        raise InputError(
            f"A picture of {width}x{height} does not fit this engine; it takes: {sizes}.",
            f"Build it for this size too: acf-edge build ... --size {width}x{height}",
        )

    def distance(index: int) -> int:
        best = profiles[index].optimum
        return abs(best[0] * best[1] - width * height)

    return min(fitting, key=distance)


def _range(profile: SizeProfile) -> str:
    if profile.fixed:
        return str(profile)
    low, high = profile.minimum, profile.maximum
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
