"""The last picture, shown again with a mark while its source is away."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment

# A second of silence at least, and three frames of a slow source.
HOLD_AFTER = 1.0
_FRAMES_MISSED = 3
_LONGEST_RATE = 5


def patience(rate: Fraction) -> float:
    """Seconds without a frame after which a source of this rate counts as away."""
    return max(HOLD_AFTER, _FRAMES_MISSED / float(rate))


def interval(rate: Fraction) -> float:
    """Seconds between two held pictures: as the source, but at most 5 a second."""
    return 1 / min(float(rate), _LONGEST_RATE)


class HeldPicture:
    """One outage of one source: its last picture with a mark that counts the seconds.

    Args:
        last: the last moment that came through; its pixels are not changed.
    """

    def __init__(self, last: Moment) -> None:
        self._last = last
        self._dimmed: Uint8Image | None = None
        self._marked: Uint8Image | None = None
        self._second = -1

    def moment(self, now: float, pts: int) -> Moment:
        """The picture as it is to be shown now.

        Args:
            now: ``time.monotonic()``.
            pts: in the time base of the last frame.
        """
        last = self._last
        second = int(now - last.captured)
        if self._marked is None or second != self._second:
            if self._dimmed is None:
                self._dimmed = dim_border(last.frame.pixels)
            self._marked = draw_badge(self._dimmed, f"no signal {_clock(second)}")
            self._second = second
        old = last.frame
        frame = Frame(
            self._marked, pts, old.time_base, old.duration, old.colour, old.rotation, key=False
        )
        return Moment(
            frame=frame,
            original=last.original,
            source=last.source,
            sequence=last.sequence,
            captured=last.captured,
            inferred=now,
            rung=last.rung,
            held=True,
        )


def dim_border(pixels: Uint8Image) -> Uint8Image:
    """A copy of ``(H, W, 3)`` uint8 RGB whose outer 4 % are a third as bright."""
    result = pixels.copy()
    height, width = result.shape[:2]
    edge = max(1, round(0.04 * min(height, width)))
    for strip in (
        result[:edge],
        result[-edge:],
        result[edge:-edge, :edge],
        result[edge:-edge, -edge:],
    ):
        strip //= 3
    return result


def draw_badge(pixels: Uint8Image, text: str) -> Uint8Image:
    """A copy of ``(H, W, 3)`` uint8 RGB with a white text on a dark plate, top left.

    The plate is a tenth of the height, at most as wide as the picture; a picture
    of fewer than 32 lines gets none.
    """
    result = pixels.copy()
    height, width = result.shape[:2]
    if height < 32 or width < 32:
        return result
    font = cv2.FONT_HERSHEY_SIMPLEX
    wanted = 0.045 * height
    (wide, high), below = cv2.getTextSize(text, font, 1.0, 1)
    edge = max(1, round(0.04 * min(height, width)))
    scale = min(wanted / high, 0.8 * (width - 2 * edge) / wide)
    stroke = max(1, round(scale * 1.5))
    (wide, high), below = cv2.getTextSize(text, font, scale, stroke)
    pad = max(2, high // 2)
    right, bottom = edge + wide + 2 * pad, edge + high + below + pad
    cv2.rectangle(result, (edge, edge), (right, bottom), (24, 24, 24), cv2.FILLED)
    cv2.putText(
        result,
        text,
        (edge + pad, edge + pad // 2 + high),
        font,
        scale,
        (255, 255, 255),
        stroke,
        cv2.LINE_AA,
    )
    return np.ascontiguousarray(result, dtype=np.uint8)


def _clock(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
