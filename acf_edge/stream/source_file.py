"""A video file as a stream of frames, with everything else in it passed along."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from acf_edge.errors import InputError
from acf_edge.stream.fields import OFF, REBUILT, Deinterlacer
from acf_edge.stream.frame import Frame
from acf_edge.stream.integrity import Promise, read_promise
from acf_edge.stream.pictures import PictureReader, SourceReport
from acf_edge.stream.timeline import Timeline

# Containers that write their duration down; of others FFmpeg makes a guess.
_EXACT_DURATION = frozenset({"mov", "mp4", "matroska", "webm", "avi"})
_SLACK = Fraction(1, 2)
_KEEP = "--keep-damaged"


class FileSource:
    """Open a video file and read its first frame.

    Args:
        path: any container and codec that FFmpeg knows.
        keep_damaged: read what can be read of a damaged file instead of refusing it.
        deinterlace: ``"off"``, ``"on"`` or ``"auto"``, see :class:`Deinterlacer`.
        start: seconds into the file from which on frames and packets are handed out.
        keep_word: how the user asks for ``keep_damaged``, for messages.

    Attributes:
        container: the open PyAV container (for its metadata and stream templates).
        video: its main video stream.
        first: the first frame, upright; size and colour are those of the stream.
        tags: colour tags as the decoder gave them (:attr:`Frame.colour` is resolved).
        start: seconds on the file's own clock before which nothing is handed out; 0 = all is.
        aspect: pixel aspect ratio as displayed; None where unknown or square.
        report: see :class:`SourceReport`.
        exhausted: :meth:`items` has reached the end of the file.

    Raises:
        InputError: not a video, without a video stream, cut off or damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_damaged: bool = False,
        deinterlace: str = OFF,
        start: float = 0.0,
        keep_word: str = _KEEP,
    ) -> None:
        self.path = path
        self.report = SourceReport()
        self._keep_damaged = keep_damaged
        self._remedy = f"Run again with {keep_word} to enhance what is left of it."
        self._deinterlacer = Deinterlacer(deinterlace)
        self._rebuilt = deinterlace != OFF
        self.start = Fraction(start)
        self._timeline = Timeline()
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
            if start:
                self._seek()
            self._prepare()
        except BaseException:
            self.container.close()
            raise

    def _seek(self) -> None:
        begin = Fraction(self.container.start_time or 0, av.time_base)
        self.start += begin
        # Where a container cannot seek, what lies before is read and left out.
        with contextlib.suppress(FFmpegError):
            self.container.seek(int(self.start * av.time_base))

    def _prepare(self) -> None:
        self._pictures = PictureReader(
            self.time_base, self.rate, self.report, one_size=True, rebuilt=self._rebuilt
        )
        self._items = self._read()
        self._ahead: list[Frame | Packet[Stream]] = []
        for item in self._items:
            self._ahead.append(item)
            if isinstance(item, Frame):
                self.first = item
                break
        else:
            if self.start and not self.report.skipped:
                raise InputError(
                    f"'{self.path}' ends before the given start.", "Give an earlier one."
                )
            raise InputError(f"No frame of '{self.path}' could be decoded.", "Is it a whole file?")
        self.tags = self._pictures.tags
        aspect = self.video.sample_aspect_ratio
        if aspect and aspect > 0 and aspect != 1:
            self.aspect: Fraction | None = (
                1 / aspect if self._pictures.orientation.transpose else aspect
            )
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
        if self._deinterlacer.used:
            notes.append(REBUILT)
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
            elif packet.dts is None and packet.pts is None:
                continue
            elif not self._before_start(packet.pts, packet.time_base):
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
        flushing = packet is None or (packet.size == 0 and packet.dts is None)
        for raw in frames:
            yield from map(self._frame, self._whole(self._deinterlacer.push(raw)))
        if flushing:
            yield from map(self._frame, self._whole(self._deinterlacer.flush()))

    def _whole(self, pictures: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        for picture in pictures:
            if not self._before_start(picture.pts, self.time_base):
                yield picture

    def _frame(self, raw: VideoFrame) -> Frame:
        return self._pictures.frame(raw, self.video.codec_context)

    def _before_start(self, pts: int | None, unit: Fraction) -> bool:
        return bool(self.start) and pts is not None and pts * unit < self.start

    def _check_end(self) -> None:
        missing = missing_end(self.container, self._timeline)
        if missing:
            self._damaged(f"it ends {float(missing):.1f} s before its announced end")

    def _damaged(self, how: str) -> None:
        if not self._keep_damaged:
            raise InputError(
                f"'{self.path}' is damaged: {self.report.frames} frames were readable, "
                f"then: {how}.",
                self._remedy,
            )
        self.report.damage = self.report.damage or how

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
            self._remedy,
        )


def missing_end(container: InputContainer, timeline: Timeline) -> Fraction:
    """Seconds between the last packet and the announced end, where that is worth a word.

    Damage inside a file can make a demuxer lose its way and end early.
    """
    names = set(container.format.name.split(","))
    if timeline.jumps or not container.duration or not names & _EXACT_DURATION:
        return Fraction(0)
    # Matroska counts its duration from zero, the others from their first packet.
    start = 0 if "matroska" in names else container.start_time or 0
    announced = Fraction(start + container.duration, av.time_base)
    gap = announced - timeline.end
    return gap if gap > max(_SLACK, announced / 50) else Fraction(0)


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
