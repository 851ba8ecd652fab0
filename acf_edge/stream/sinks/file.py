"""Recordings: MP4, MOV, Matroska, WebM and MPEG-TS that play even after a crash."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.files import explain_os_error
from acf_edge.stream.colour import YuvWriter, output_colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment, SinkFailed, Source, StreamInfo
from acf_edge.stream.sinks.containers import Container, container_of, drop_torn_end
from acf_edge.stream.sinks.copies import Copies
from acf_edge.stream.sinks.encoding import Wish, add_stream, choose_encoding
from acf_edge.stream.sinks.fit import letterbox
from acf_edge.stream.sinks.options import RECORDING_OPTIONS, with_defaults
from acf_edge.stream.sinks.place import Place

if TYPE_CHECKING:
    from acf_edge.stream.uri_types import Uri

_CHECK_SECONDS = 1.0


class RecordingSink:
    """Record a stream into one file.

    The file grows under its own name and plays at any time, after a crash too; see
    :class:`~acf_edge.stream.sinks.place.Place` for a name that is taken already.

    Args:
        uri: a path that ends in .mp4 .m4v .mov .mkv .webm or .ts, with the options of
            :data:`~acf_edge.stream.sinks.options.RECORDING_OPTIONS`.

    Attributes:
        frames: pictures written.

    Raises:
        InputError: the suffix names no container.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._options = with_defaults(RECORDING_OPTIONS, uri.options)
        self._target = Path(uri.rest)
        self._kind = container_of(self._target)
        self._recording: _Recording | None = None
        self._notes: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """As the user gave it."""
        return self._uri.shown

    @property
    def wants_original(self) -> bool:
        """Never."""
        return False

    @property
    def lossless(self) -> bool:
        """A recording: of a file, nothing may be dropped."""
        return True

    @property
    def frames(self) -> int:
        """Pictures written."""
        return self._recording.frames if self._recording is not None else 0

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin the file.

        Raises:
            InputError: the name is taken, the place cannot be written, the container
                cannot hold the source's audio, the encoder refuses.
        """
        place = Place(self._target, bool(self._options["overwrite"]))
        try:
            self._recording = _Recording(place, self._kind, self._options, info, size, source)
        except BaseException:
            place.discard()
            raise

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Encode a frame, or copy a packet.

        Raises:
            SinkFailed: the disk is full, the file was removed, or cannot be written.
                What was written until then plays.
        """
        if self._recording is None:
            raise SinkFailed(f"'{self._target}' is not open")
        self._recording.write(item)

    def close(self) -> Sequence[str]:
        """Finish the file; it is whole afterwards.

        Raises:
            SinkFailed: it cannot be finished; what was written until then plays.
        """
        recording = self._recording
        if recording is None:
            return ()
        if not recording.closed:
            recording.finish()
        return tuple(recording.notes)


class _Recording:
    """One open file."""

    def __init__(
        self,
        place: Place,
        kind: Container,
        options: dict[str, object],
        info: StreamInfo,
        size: tuple[int, int],
        source: Source,
    ) -> None:
        self.frames = 0
        self.notes: list[str] = []
        self.closed = False
        self._place = place
        self._size = size
        self._live = info.live
        self._keep_held = options["held"] == "keep"
        self._unit = kind.time_base(info.time_base)
        self._nominal = max(1, round(1 / (info.rate * self._unit)))
        self._begin = Fraction(0)
        self._last: int | None = None
        self._lengths: dict[int, int] = {}
        self._held = self._left_out = self._retimed = self._resized = 0
        self._looked = time.monotonic()
        colour = output_colour(info.tags, info.colour, *size)
        wish = Wish(
            place.target.suffix.lower(),
            str(options["encoder"]),
            int(str(options["crf"])),
            str(options["preset"]),
            size,
            info.rate,
            info.live,
        )
        encoding = choose_encoding(wish)
        try:
            self._container = av.open(
                f"file:{place.path}",
                "w",
                format=kind.format,
                container_options=dict(kind.options),
            )
        except FFmpegError as error:
            raise explain_os_error(OSError(error.errno, error.strerror), place.path) from error
        try:
            self._video = add_stream(
                self._container, encoding, size, info.rate, self._unit, colour, info.aspect
            )
            self._writer = YuvWriter(*size, colour, encoding.pixel_format)
            self._copies = Copies(
                self._container, kind, place.target.suffix, source, bool(options["audio"])
            )
            # Left alone, PyAV opens the file with the first packet: a removed one anew.
            self._container.start_encoding()
        except FFmpegError as error:
            self._abandon()
            raise InputError(f"{self._reason(error)}.", "Choose another place or name.") from error
        except BaseException:
            self._abandon()
            raise
        self.notes += self._copies.notes
        if encoding.note:
            self.notes.append(encoding.note)
        if not info.live and kind.unit == Fraction(1, 1000) and 1000 % info.time_base.denominator:
            self.notes.append(
                f"'{place.target.suffix}' keeps time in whole milliseconds; .mp4 is exact"
            )

    def write(self, item: Moment | Packet[Stream]) -> None:
        if self.closed:
            raise SinkFailed(f"'{self._place.path}' is closed")
        try:
            if isinstance(item, Moment):
                self._moment(item)
            else:
                self._copies.write(item, begun=self._last is not None)
        except FFmpegError as error:
            raise self._fail(self._reason(error)) from error
        except SinkFailed as error:
            raise self._fail(error.reason) from error

    def _moment(self, moment: Moment) -> None:
        now = time.monotonic()
        if now - self._looked > _CHECK_SECONDS:
            self._looked = now
            self._place.check()
        if moment.held and not self._keep_held:
            self._left_out += 1
            return
        self._held += moment.held
        frame = moment.frame
        first = self._last is None
        picture = self._writer.convert(self._fitted(frame))
        picture.pts = self._time(frame)
        picture.time_base = self._unit
        length = round(frame.duration * frame.time_base / self._unit)
        self._lengths[picture.pts] = length or self._nominal
        if first:
            # Now that the clock is known, the sound that came before is due.
            self._copies.begin(self._begin if self._live else None)
        self._mux(self._video.encode(picture))
        self.frames += 1

    def _fitted(self, frame: Frame) -> Uint8Image:
        pixels = frame.pixels
        if frame.rotation % 360:
            pixels = np.rot90(pixels, -frame.rotation // 90)
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            self._resized += 1
            pixels = letterbox(pixels, *self._size)
        return np.ascontiguousarray(pixels)

    def _time(self, frame: Frame) -> int:
        """The frame's time in our unit, after that of the one before."""
        last = self._last
        if last is None and self._live:
            self._begin = frame.seconds
        pts = round((frame.seconds - self._begin) / self._unit)
        if last is not None and pts <= last:
            self._retimed += 1
            pts = last + 1
        self._last = pts
        return pts

    def _mux(self, packets: list[Packet[Stream]]) -> None:
        for packet in packets:
            # Muxers take a frame's length from the next timestamp; the last has none.
            if packet.pts is not None:
                packet.duration = self._lengths.pop(packet.pts, self._nominal)
            self._container.mux(packet)

    def finish(self) -> None:
        """Flush the encoder, write the index, give the file its name."""
        if not self.frames:
            self.closed = True
            self._abandon()
            self._place.discard()
            self.notes.append(f"no picture came: '{self._place.target}' was not written")
            return
        try:
            self._mux(self._video.encode(None))
            self._container.close()
            self._place.finish()
        except FFmpegError as error:
            raise self._fail(self._reason(error)) from error
        except SinkFailed as error:
            raise self._fail(error.reason) from error
        self.closed = True
        self._say()

    def _say(self) -> None:
        for count, what in (
            (self._resized, "of another size, scaled to fit with black around them"),
            (self._retimed, "with a time that ran back, put after the one before"),
            (self._held, "repeated while the source was away"),
            (self._left_out, "that were repeated while the source was away left out"),
        ):
            if count:
                self.notes.append(f"{count} {'picture' if count == 1 else 'pictures'} {what}")

    def _fail(self, reason: str) -> SinkFailed:
        """Close what there is, and say where it is."""
        if not self.closed:
            self.closed = True
            self._abandon()
            plays = drop_torn_end(self._place.path)
            self._say()
            if self.frames and plays and self._place.path.exists():
                self.notes.append(f"'{self._place.path}' holds what was recorded until then")
            else:
                self._place.discard()
        return SinkFailed(reason)

    def _abandon(self) -> None:
        # A full disk fails a second time here, when the trailer is written.
        with contextlib.suppress(FFmpegError):
            self._container.close()

    def _reason(self, error: FFmpegError) -> str:
        if error.errno == errno.EFBIG:
            return f"'{self._place.path}' grew beyond the size that is allowed here"
        if error.errno is not None and 0 < error.errno < 200:
            cause = OSError(error.errno, error.strerror)
            return explain_os_error(cause, self._place.path).problem.rstrip(".")
        return f"'{self._place.path}' cannot be written: {error.strerror}"
