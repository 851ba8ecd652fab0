"""A video file as a stream of frames, with everything else in it passed along."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from acf_edge.errors import InputError
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
from acf_edge.stream.integrity import Promise, read_promise
from acf_edge.stream.timeline import Timeline

# Containers that write their duration down; of others FFmpeg makes a guess.
_EXACT_DURATION = frozenset({"mov", "mp4", "matroska", "webm", "avi"})
_SLACK = Fraction(1, 2)
_KEEP = "Run again with --keep-damaged to enhance what is left of it."


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
        resized: frames of another size than the first, scaled to it.
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


class FileSource:
    """Open a video file and read its first frame.

    Args:
        path: any container and codec that FFmpeg knows.
        keep_damaged: read what can be read of a damaged file instead of refusing it.

    Attributes:
        container: the open PyAV container (for its metadata and stream templates).
        video: its main video stream.
        first: the first frame, upright; size and colour are those of the stream.
        tags: colour tags as the decoder gave them (:attr:`Frame.colour` is resolved).
        aspect: pixel aspect ratio as displayed; None where unknown or square.
        report: see :class:`SourceReport`.
        exhausted: :meth:`items` has reached the end of the file.

    Raises:
        InputError: not a video, without a video stream, cut off or damaged.
    """

    def __init__(self, path: Path, *, keep_damaged: bool = False) -> None:
        self.path = path
        self.report = SourceReport()
        self._keep_damaged = keep_damaged
        self._reformatter = VideoReformatter()
        self._timeline = Timeline()
        self._last_pts: int | None = None
        self._wanted: frozenset[int] = frozenset()
        self.exhausted = False
        promise = read_promise(path)
        self.container = _open(path, promise)
        try:
            self.video = _main_video(self.container, path)
            self.video.thread_type = "AUTO"
            self.time_base = self.video.time_base or Fraction(1, 90000)
            if promise.missing:
                self._refuse_cut_off(promise)
            self._prepare()
        except BaseException:
            self.container.close()
            raise

    def _prepare(self) -> None:
        self._items = self._read()
        self._ahead: list[Frame | Packet[Stream]] = []
        self.tags = Colour()
        self._orientation = UPRIGHT
        self._coded: tuple[int, int] | None = None
        for item in self._items:
            self._ahead.append(item)
            if isinstance(item, Frame):
                self.first = item
                break
        else:
            raise InputError(f"No frame of '{self.path}' could be decoded.", "Is it a whole file?")
        aspect = self.video.sample_aspect_ratio
        if aspect and aspect > 0 and aspect != 1:
            self.aspect: Fraction | None = 1 / aspect if self._orientation.transpose else aspect
        else:
            self.aspect = None

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Only after the thread that reads frames has ended."""
        self.container.close()

    @property
    def rate(self) -> Fraction:
        """Frames per second: the average, or a guess; 25 where nothing is known."""
        for rate in (self.video.average_rate, self.video.guessed_rate):
            if rate and 0 < rate <= 1000:
                return Fraction(rate)
        return Fraction(25)

    @property
    def expected_frames(self) -> int | None:
        """How many frames the container announces; None where it does not."""
        if self.video.frames:
            return self.video.frames
        if self.video.duration is not None:
            return max(1, round(self.video.duration * self.time_base * self.rate))
        if self.container.duration:
            return max(1, round(Fraction(self.container.duration, av.time_base) * self.rate))
        return None

    def pass_along(self, streams: list[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        self._wanted = frozenset(stream.index for stream in streams)

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Every frame once, in display order, and the packets of the wanted streams.

        Raises:
            InputError: the file turned out to be damaged (unless ``keep_damaged``).
        """
        ahead, self._ahead = self._ahead, []
        for item in ahead:
            if isinstance(item, Frame) or item.stream.index in self._wanted:
                yield item
        del ahead
        for item in self._items:
            if isinstance(item, Frame) or item.stream.index in self._wanted:
                yield item
        self.exhausted = True

    def notes(self) -> list[str]:
        """Everything that is not handed out as it is in the file, in words."""
        report, notes = self.report, list(self.report.notes)
        if report.damage:
            notes.append(f"the input is damaged: {report.damage}")
        if self._timeline.jumps:
            jumps = self._timeline.jumps
            notes.append(f"the clock of the input leapt ({jumps}x); the leaps were taken out")
        for count, what in (
            (report.corrupt, "marked as damaged by the decoder"),
            (report.skipped, "not decodable"),
            (report.untimed, "without a timestamp, put after the one before by the frame rate"),
            (report.retimed, "with a timestamp that ran back, put after the one before"),
            (report.resized, "of another size than the first, scaled to it"),
        ):
            if count:
                notes.append(f"{count} {'frame' if count == 1 else 'frames'} {what}")
        return notes

    def _read(self) -> Iterator[Frame | Packet[Stream]]:
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                self._damaged(f"reading failed ({error.strerror})")
                yield from self._decode(None)
                return
            if packet is None:
                self._check_end()
                return
            self._timeline.mend(packet)
            # A flushing packet knows its stream by this reference only.
            if packet.stream.index == self.video.index:
                yield from self._decode(packet)
            elif packet.dts is not None or packet.pts is not None:
                yield packet

    def _decode(self, packet: Packet[Stream] | None) -> Iterator[Frame]:
        try:
            frames = self.video.decode(packet)
        except FFmpegError as error:
            self.report.skipped += 1
            # Recordings that begin between two key frames start like this.
            if self.report.frames:
                self._damaged(f"a picture cannot be decoded ({error.strerror})")
            return
        for frame in frames:
            yield self._frame(frame)

    def _check_end(self) -> None:
        """Damage inside a file can make a demuxer lose its way and end early."""
        container = self.container
        names = set(container.format.name.split(","))
        if self._timeline.jumps or not container.duration or not names & _EXACT_DURATION:
            return
        announced = Fraction((container.start_time or 0) + container.duration, av.time_base)
        gap = announced - self._timeline.end
        if gap > max(_SLACK, announced / 50):
            self._damaged(f"it ends {float(gap):.1f} s before its announced end")

    def _damaged(self, how: str) -> None:
        if not self._keep_damaged:
            raise InputError(
                f"'{self.path}' is damaged: {self.report.frames} frames were readable, "
                f"then: {how}.",
                _KEEP,
            )
        self.report.damage = self.report.damage or how

    def _frame(self, raw: VideoFrame) -> Frame:
        report = self.report
        if self._coded is None:
            self._coded = (raw.width, raw.height)
            self.tags = tags_of(raw, self.video.codec_context)
            self._orientation = self._find_orientation(raw)
            self._note_format(raw)
        if (raw.width, raw.height) != self._coded:
            report.resized += 1
        report.corrupt += bool(raw.is_corrupt)
        colour = resolve(
            tags_of(raw, self.video.codec_context), raw.width, raw.height, rgb=raw.format.is_rgb
        )
        pixels = decode_rgb(self._reformatter, raw, colour, self._coded)
        frame = Frame(
            pixels=self._orientation.apply(pixels),
            pts=self._time(raw.pts),
            time_base=self.time_base,
            duration=max(0, raw.duration or 0),
            colour=colour,
            key=bool(raw.key_frame),
        )
        report.frames += 1
        return frame

    def _time(self, pts: int | None) -> int:
        last = self._last_pts
        if pts is None:
            self.report.untimed += 1
            step = max(1, round(1 / (self.rate * self.time_base)))
            pts = 0 if last is None else last + step
        elif last is not None and pts <= last:
            self.report.retimed += 1
            pts = last + 1
        self._last_pts = pts
        return pts

    def _find_orientation(self, raw: VideoFrame) -> Orientation:
        try:
            # PyAV's stubs call this mapping a TypedDict with string keys; it is neither.
            data = cast(Any, raw.side_data)[SideDataType.DISPLAYMATRIX]
        except KeyError:
            return UPRIGHT
        orientation = orientation_of_matrix(bytes(data))
        if orientation is None:
            self.report.notes.append(
                "the display matrix is not a right angle; it was left out and the pixels unturned"
            )
            return UPRIGHT
        return orientation

    def _note_format(self, raw: VideoFrame) -> None:
        notes = self.report.notes
        if bits_of(raw) > 8:
            notes.append(f"{bits_of(raw)}-bit pixels were dithered to 8 bits")
        if any(component.is_alpha for component in raw.format.components):
            notes.append("transparency was left out")
        if self.tags.hdr:
            notes.append("the HDR transfer curve was kept as it is, in 8 bits")
        if raw.interlaced_frame:
            notes.append("the video is interlaced; its fields were not separated")

    def _refuse_cut_off(self, promise: Promise) -> None:
        how = _share(promise)
        if self._keep_damaged:
            self.report.damage = how
            return
        announced = self.expected_frames
        there = _count_readable(self.path)
        raise InputError(
            f"'{self.path}' is cut off: {how}, {there} of "
            f"{announced if announced else 'an unknown number of'} frames are readable.",
            _KEEP,
        )


def _open(path: Path, promise: Promise) -> InputContainer:
    try:
        # "file:" keeps a colon in the name from being taken for a protocol.
        return av.open(f"file:{path}", "r", metadata_errors="ignore")
    except FFmpegError as error:
        if promise.lacks_index:
            raise InputError(
                f"'{path}' is cut off: it ends before its index (the 'moov' box).",
                "Copy or record it again.",
            ) from error
        if promise.missing:
            raise InputError(
                f"'{path}' is cut off: {_share(promise)}, its index among them.",
                "Copy or record it again.",
            ) from error
        raise InputError(
            f"'{path}' is not a video that can be read ({error.strerror}).", "Check the file."
        ) from error


def _share(promise: Promise) -> str:
    share = 100 * promise.missing / promise.size
    return f"{share:.0f} % of its bytes are missing" if share >= 1 else "its end is missing"


def _main_video(container: InputContainer, path: Path) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise InputError(f"'{path}' holds no video stream.", "Give a video or an image.")
    if streams[0].codec_context is None:
        raise InputError(
            f"The video codec of '{path}' is not known to this PyAV.", "Convert it to H.264 first."
        )
    return streams[0]


def _count_readable(path: Path) -> int:
    """Coded pictures that can still be read whole. Nothing is decoded."""
    count = 0
    with contextlib.suppress(FFmpegError), av.open(f"file:{path}", "r") as container:
        for packet in container.demux(video=0):
            if packet.size and not packet.is_corrupt:
                count += 1
    return count
