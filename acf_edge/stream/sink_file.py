"""Frames and passed-along packets into a video file."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import av
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.stream.colour import Colour, YuvWriter
from acf_edge.stream.encoder import EncoderOptions, add_video
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource

__all__ = ["VIDEO_SUFFIXES", "EncoderOptions", "FileSink", "check_video_suffix"]

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
VIDEO_SUFFIXES = tuple(sorted(_FORMATS))
_WEBM_AUDIO = ("opus", "libopus", "vorbis", "libvorbis")
_WEBM_SUBTITLES = ("webvtt",)
# Of a container that holds only this brand of file, not of the film in it.
_CONTAINER_KEYS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


def check_video_suffix(path: Path) -> str:
    """Return FFmpeg's name of the container for ``path``.

    Raises:
        InputError: the suffix names no container that can be written.
    """
    container = _FORMATS.get(path.suffix.lower())
    if container is None:
        raise InputError(
            f"'{path}': videos cannot be written as '{path.suffix or 'a file without suffix'}'.",
            f"Choose one of: {', '.join(VIDEO_SUFFIXES)}.",
        )
    return container


class FileSink:
    """Write one enhanced video stream and copies of the source's other streams.

    Args:
        path: where to write (a temporary file: it is not removed on failure).
        target: the name the user gave; its suffix chooses the container.
        source: gives streams, metadata, times; told which packets to pass along.
        size: ``(width, height)`` of the frames to come.
        colour: what they are written with and tagged as.
        options: see :class:`EncoderOptions`.

    Raises:
        InputError: the container cannot hold an audio stream of the source, or
            the codec pictures of that size.
    """

    def __init__(
        self,
        path: Path,
        target: Path,
        source: FileSource,
        size: tuple[int, int],
        colour: Colour,
        options: EncoderOptions,
    ) -> None:
        self.frames = 0
        self.notes: list[str] = []
        self._target = target
        self._colour = colour
        self._durations: dict[int, int] = {}
        self._copies: dict[int, Stream] = {}
        self._last_dts: dict[int, int] = {}
        format_name = check_video_suffix(target)
        self._edits = format_name in ("mp4", "mov")
        self._end = 0
        self._container = av.open(
            f"file:{path}",
            "w",
            format=format_name,
            container_options=_muxer_options(format_name, source.time_base.denominator),
        )
        try:
            self.video = add_video(self._container, format_name, source, size, colour, options)
            pixel_format = str(self.video.codec_context.pix_fmt)
            if pixel_format == "yuv444p":
                self.notes.append("odd size: written as 4:4:4, which some players do not show")
            self._writer = YuvWriter(*size, colour, pixel_format)
            self._add_copies(source, format_name, options)
            self._copy_metadata(source)
        except BaseException:
            self.abandon()
            raise
        if format_name in ("matroska", "webm") and (source.time_base * 1000).denominator != 1:
            self.notes.append(f"'{target.suffix}' keeps time in whole milliseconds; .mp4 is exact")

    def _add_copies(self, source: FileSource, format_name: str, options: EncoderOptions) -> None:
        wanted = []
        for stream in source.container.streams:
            if stream.index == source.video.index:
                continue
            if stream.type == "audio" and not options.audio:
                continue
            name = _codec_name(stream)
            copy = self._try_copy(stream, format_name, name)
            if copy is not None:
                self._copies[stream.index] = copy
                wanted.append(stream)
            elif stream.type == "audio":
                raise InputError(
                    f"'{self._target.suffix}' cannot hold the audio ({name}) of '{source.path}'.",
                    "Choose .mkv, which holds any audio, or leave it out with --no-audio.",
                )
            else:
                self.notes.append(
                    f"stream {stream.index} ({stream.type}, {name}) was left out: "
                    f"'{self._target.suffix}' does not take it"
                )
        source.pass_along(wanted)

    def _try_copy(self, stream: Stream, format_name: str, name: str) -> Stream | None:
        if stream.type not in ("audio", "subtitle"):
            return None
        if format_name == "webm":
            allowed = _WEBM_AUDIO if stream.type == "audio" else _WEBM_SUBTITLES
            if name not in allowed:
                return None
        try:
            copy: Stream = self._container.add_stream_from_template(stream)
        except (FFmpegError, ValueError):
            return None
        copy.metadata.update(_film_metadata(stream.metadata))
        with contextlib.suppress(AttributeError, TypeError):
            copy.disposition = stream.disposition
        return copy

    def _copy_metadata(self, source: FileSource) -> None:
        self._container.metadata.update(_film_metadata(source.container.metadata))
        video = _film_metadata(source.video.metadata)
        video.pop("rotate", None)  # the pixels were turned
        self.video.metadata.update(video)
        chapters = source.container.chapters()
        if chapters:
            self._container.set_chapters(chapters)

    @property
    def audio_streams(self) -> int:
        """How many audio streams are copied."""
        return sum(stream.type == "audio" for stream in self._copies.values())

    def write(self, item: Frame | Packet[Stream]) -> None:
        """Encode a frame, or pass a packet along untouched.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        try:
            if isinstance(item, Frame):
                self._write_frame(item)
            else:
                self._copy(item)
        except FFmpegError as error:
            raise self._explain(error) from error

    def begin(self) -> None:
        """Write the header now: what the container refuses, it refuses here.

        Raises:
            InputError: it cannot hold these streams; the file cannot be written.
        """
        try:
            self._container.start_encoding()
        except (FFmpegError, ValueError) as error:
            if isinstance(error, FFmpegError) and error.errno != errno.EINVAL:
                raise self._explain(error) from error
            raise InputError(
                f"'{self._target.suffix}' cannot hold all of these streams "
                f"({', '.join(sorted(_codec_name(s) for s in self._container.streams))}).",
                "Choose .mkv, which holds any audio, or leave it out with --no-audio.",
            ) from error

    def write_coded(self, packet: Packet[Stream]) -> None:
        """Add a picture that an encoder with the same options has coded already.

        Args:
            packet: with its times, time base and key flag set.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        packet.stream = self.video
        try:
            self._container.mux(packet)
        except FFmpegError as error:
            raise self._explain(error) from error
        self.frames += 1

    def _copy(self, packet: Packet[Stream]) -> None:
        index = packet.stream.index
        # Muxers refuse a packet that does not come after the one before it.
        if packet.dts is None:
            packet.dts = packet.pts
        last = self._last_dts.get(index)
        if last is not None and packet.dts is not None and packet.dts <= last:
            packet.dts = last + 1
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        if packet.dts is not None:
            self._last_dts[index] = packet.dts
        packet.stream = self._copies[index]
        self._container.mux(packet)

    def _write_frame(self, frame: Frame) -> None:
        picture = self._writer.convert(frame.pixels)
        picture.pts = frame.pts
        picture.time_base = frame.time_base
        self._durations[frame.pts] = frame.duration
        self._end = frame.pts + frame.duration
        self._mux(self.video.encode(picture))
        self.frames += 1

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            # Muxers take a frame's length from the next timestamp; the last has none.
            duration = self._durations.pop(packet.pts, 0) if packet.pts is not None else 0
            if duration:
                packet.duration = duration
            self._container.mux(packet)

    def finish(self) -> None:
        """Flush the encoder and write the index. The file is whole afterwards.

        Raises:
            InputError: the disk is full or the file cannot be written.
        """
        try:
            packets = self.video.encode(None)
            if packets and self._edits and packets[-1].pts is not None:
                # MP4 ends when the last packet *coded* does, which need not be the one shown last.
                self._durations[packets[-1].pts] = max(
                    self._durations.get(packets[-1].pts, 0), self._end - packets[-1].pts
                )
            self._mux(packets)
            self._container.close()
        except FFmpegError as error:
            self.abandon()
            raise self._explain(error) from error

    def abandon(self) -> None:
        """Close the file without caring whether it is whole. Never raises an FFmpeg error."""
        # A full disk fails a second time here, when the trailer is written.
        with contextlib.suppress(FFmpegError):
            self._container.close()

    def _explain(self, error: FFmpegError) -> InputError:
        if error.errno == errno.EFBIG:
            return InputError(
                f"'{self._target}' grew beyond the size that is allowed here.",
                "Raise the limit (ulimit -f), or choose a higher --crf.",
            )
        if error.errno is not None and 0 < error.errno < 200:
            return explain_os_error(OSError(error.errno, error.strerror), self._target)
        return InputError(f"'{self._target}' cannot be written: {error.strerror}.")


def _muxer_options(format_name: str, ticks: int) -> dict[str, str]:
    if format_name not in ("mp4", "mov"):
        # AAC starts before zero; shifting that to zero would shift every picture.
        return {"avoid_negative_ts": "disabled"}
    # A late start is kept as an edit in movie time, which is milliseconds unless told.
    return {"movflags": "+faststart", "movie_timescale": str(min(max(ticks, 1000), 1_000_000))}


def _codec_name(stream: Stream) -> str:
    context = stream.codec_context
    return str(context.name) if context is not None else "unknown codec"


def _film_metadata(metadata: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in metadata.items() if k.lower() not in _CONTAINER_KEYS}
