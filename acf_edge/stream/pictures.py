"""Decoded pictures become frames: colour, orientation and time, the same for every source."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from acf_edge.stream.colour import (
    UPRIGHT,
    Colour,
    Orientation,
    bits_of,
    decode_rgb,
    orientation_of_matrix,
    resolve,
    tags_of,
)
from acf_edge.stream.frame import Frame


@dataclass(slots=True)
class SourceReport:
    """What went on while reading; complete once the frames are exhausted.

    Attributes:
        frames: frames handed out.
        corrupt: frames that the decoder marked as damaged.
        untimed: frames without a timestamp of their own; they follow the one
            before by the stream's frame interval.
        retimed: frames whose timestamp did not come after the one before; moved
            to one unit after it, because no container holds time that runs back.
        resized: frames of another size than the first.
        skipped: coded pictures that could not be decoded at all.
        damage: what is wrong with the file as a whole, in words; empty if nothing is.
        notes: what is special about its pixels, in words.
    """

    frames: int = 0
    corrupt: int = 0
    untimed: int = 0
    retimed: int = 0
    resized: int = 0
    skipped: int = 0
    damage: str = ""
    notes: list[str] = field(default_factory=list)


class PictureReader:
    """Turns the decoded pictures of one stream into frames.

    Args:
        time_base: seconds per unit of the pictures' timestamps.
        rate: frames per second, for pictures without a timestamp.
        report: counts what is special about them.
        one_size: scale pictures of another size to that of the first; otherwise
            they keep their own.
        rebuilt: interlaced pictures were rebuilt from their fields before.

    Attributes:
        tags: colour tags of the first picture as the decoder gave them.
        orientation: how the first picture had to be turned.
    """

    def __init__(
        self,
        time_base: Fraction,
        rate: Fraction,
        report: SourceReport,
        *,
        one_size: bool,
        rebuilt: bool = False,
    ) -> None:
        self.tags = Colour()
        self.orientation: Orientation = UPRIGHT
        self._time_base = time_base
        self._step = max(1, round(1 / (rate * time_base)))
        self._report = report
        self._one_size = one_size
        self._rebuilt = rebuilt
        self._reformatter = VideoReformatter()
        self._coded: tuple[int, int] | None = None
        self._last_pts: int | None = None

    def frame(self, raw: VideoFrame, context: VideoCodecContext) -> Frame:
        """Convert, turn and time one picture."""
        report = self._report
        if self._coded is None:
            self._coded = (raw.width, raw.height)
            self.tags = tags_of(raw, context)
            self.orientation = self._find_orientation(raw)
            self._note_format(raw)
        size = None
        if (raw.width, raw.height) != self._coded:
            report.resized += 1
            size = self._coded if self._one_size else None
        report.corrupt += bool(raw.is_corrupt)
        colour = resolve(tags_of(raw, context), raw.width, raw.height, rgb=raw.format.is_rgb)
        pixels = decode_rgb(self._reformatter, raw, colour, size)
        frame = Frame(
            pixels=self.orientation.apply(pixels),
            pts=self._time(raw.pts),
            time_base=self._time_base,
            duration=max(0, raw.duration or 0),
            colour=colour,
            key=bool(raw.key_frame),
        )
        report.frames += 1
        return frame

    def _time(self, pts: int | None) -> int:
        last = self._last_pts
        if pts is None:
            self._report.untimed += 1
            pts = 0 if last is None else last + self._step
        elif last is not None and pts <= last:
            self._report.retimed += 1
            pts = last + 1
        self._last_pts = pts
        return pts

    def _find_orientation(self, raw: VideoFrame) -> Orientation:
        try:
            # Frame.side_data keeps its container, which keeps the frame: a circle that
            # only the garbage collector opens, too late for a camera's memory.
            data = cast(Any, SideDataContainer)(raw)[SideDataType.DISPLAYMATRIX]
        except KeyError:
            return UPRIGHT
        orientation = orientation_of_matrix(bytes(data))
        if orientation is None:
            self._report.notes.append(
                "the display matrix is not a right angle; it was left out and the pixels unturned"
            )
            return UPRIGHT
        return orientation

    def _note_format(self, raw: VideoFrame) -> None:
        notes = self._report.notes
        if bits_of(raw) > 8:
            notes.append(f"{bits_of(raw)}-bit pixels were dithered to 8 bits")
        if any(component.is_alpha for component in raw.format.components):
            notes.append("transparency was left out")
        if self.tags.hdr:
            notes.append("the HDR transfer curve was kept as it is, in 8 bits")
        if raw.interlaced_frame and not self._rebuilt:
            notes.append("the video is interlaced; its fields were not separated")
