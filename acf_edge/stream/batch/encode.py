"""From enhanced frames to a segment."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from fractions import Fraction

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from acf_edge.errors import InputError
from acf_edge.stream.batch.reader import Numbered
from acf_edge.stream.batch.segment import CodedPicture, Mark, Segment
from acf_edge.stream.colour import Colour, YuvWriter
from acf_edge.stream.encoder import EncoderOptions, add_video
from acf_edge.stream.frame import Frame


@dataclass(frozen=True, slots=True)
class FilmShape:
    """What all segments of a film have in common.

    Attributes:
        format_name: FFmpeg's name of the container that they will be joined in.
        rate: frames per second, nominal.
        time_base: seconds per unit of the frames' timestamps.
        aspect: pixel aspect ratio; None where square or unknown.
        size: ``(width, height)`` of the enhanced frames.
        colour: what they are written with and tagged as.
        options: of the encoder.
    """

    format_name: str
    rate: Fraction
    time_base: Fraction
    aspect: Fraction | None
    size: tuple[int, int]
    colour: Colour
    options: EncoderOptions


class SegmentEncoder:
    """Encode one segment: the first frame is a key frame, the last one flushes.

    Args:
        shape: of the film.
        job: see :class:`Segment`.
        number: of the segment.
        first: number of the first frame in the film.

    Raises:
        InputError: the codec cannot write frames of that shape.
    """

    def __init__(self, shape: FilmShape, job: str, number: int, first: int) -> None:
        self._job, self._number, self._first = job, number, first
        self._durations: dict[int, int] = {}
        self._pictures: list[CodedPicture] = []
        self._tail: list[Mark] = []
        self._clean = True
        self._end = 0
        self.frames = 0
        # The encoder asks the container how it wants its parameter sets; nothing is written.
        self._container = av.open(f"file:{os.devnull}", "w", format=shape.format_name)
        try:
            self._video = add_video(
                self._container, shape.format_name, shape, shape.size, shape.colour, shape.options
            )
            pixel_format = str(self._video.codec_context.pix_fmt)
            self._writer = YuvWriter(*shape.size, shape.colour, pixel_format)
        except BaseException:
            self.abandon()
            raise

    def write(self, item: Numbered) -> None:
        """Encode an enhanced frame.

        Raises:
            InputError: the encoder refuses it.
        """
        frame: Frame = item.frame
        picture = self._writer.convert(frame.pixels)
        picture.pts, picture.time_base = frame.pts, frame.time_base
        self._durations[frame.pts] = frame.duration
        self._end = frame.pts + frame.duration
        if item.mark is not None:
            self._tail.append(item.mark)
        self._clean = self._clean and item.clean
        try:
            self._take(self._video.encode(picture))
        except FFmpegError as error:
            raise InputError(f"The encoder failed: {error.strerror}.") from error
        self.frames += 1

    def _take(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is None:
                raise InputError("The encoder gave a picture without a time.")
            duration = self._durations.pop(packet.pts, 0)
            picture = CodedPicture(bytes(packet), packet.pts, duration, packet.is_keyframe)
            self._pictures.append(picture)

    def finish(self, head: tuple[Mark, ...] = ()) -> Segment:
        """Flush the encoder and close it.

        Args:
            head: see :class:`Segment`.

        Raises:
            InputError: the encoder failed.
        """
        try:
            self._take(self._video.encode(None))
        except FFmpegError as error:
            raise InputError(f"The encoder failed: {error.strerror}.") from error
        extradata = bytes(self._video.codec_context.extradata or b"")
        self.abandon()
        if len(self._pictures) != self.frames or self._durations:
            raise InputError(
                f"The encoder gave {len(self._pictures)} pictures for {self.frames} frames."
            )
        return Segment(
            job=self._job,
            number=self._number,
            first=self._first,
            pictures=tuple(self._pictures),
            extradata=extradata,
            end=self._end,
            tail=tuple(self._tail),
            clean=self._clean,
            head=head,
        )

    def abandon(self) -> None:
        """Close the encoder. Safe to call twice."""
        with contextlib.suppress(FFmpegError):
            self._container.close()
