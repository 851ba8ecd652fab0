"""A frame that carries its truth: pixels, time, colour, orientation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import Colour


@dataclass(slots=True)
class Frame:
    """One picture of a stream, on the host.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB, full range, C-contiguous.
        pts: presentation time in units of ``time_base``; strictly increasing in a stream.
        time_base: seconds per unit, exact.
        duration: how long it is shown, in units of ``time_base``; 0 where unknown.
        colour: what the coded picture was tagged with (or, untagged, how it was
            read); a sink that writes YUV again uses its matrix and range.
        rotation: degrees clockwise that a viewer must still turn it by. File
            sources turn the pixels themselves, so theirs is 0.
        key: the coded picture stood on its own (a seek point).
    """

    pixels: Uint8Image
    pts: int
    time_base: Fraction
    duration: int
    colour: Colour
    rotation: int = 0
    key: bool = False

    @property
    def seconds(self) -> Fraction:
        """Presentation time in seconds, exact."""
        return self.pts * self.time_base

    def enhanced(self, pixels: Uint8Image) -> Frame:
        """The same moment with other pixels."""
        return Frame(
            pixels, self.pts, self.time_base, self.duration, self.colour, self.rotation, self.key
        )
