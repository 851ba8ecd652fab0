"""Cameras and network streams through PyAV."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import BlockingIOError as NothingYet
from av.error import ExitError, FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from acf_edge.errors import InputError
from acf_edge.stream.fields import OFF, Deinterlacer
from acf_edge.stream.frame import Frame
from acf_edge.stream.pictures import PictureReader, SourceReport
from acf_edge.stream.protocols import SourceLost, StreamInfo
from acf_edge.stream.source_file import missing_end
from acf_edge.stream.sources.av_options import (
    accelerator_of,
    address_of,
    camera_notes,
    explain,
    format_of,
    open_timeout,
    options_of,
)
from acf_edge.stream.sources.connection import Connection, rate_of
from acf_edge.stream.sources.door import Door, Shut
from acf_edge.stream.sources.pacer import Pacer
from acf_edge.stream.sources.shelf import Shelf
from acf_edge.stream.uri_types import Uri

# Containers without a clock of their own: FFmpeg counts frames at 25 a second.
_CLOCKLESS = frozenset({"mpjpeg", "mjpeg", "h264", "hevc", "jpeg_pipe", "image2pipe"})
# A camera may send a whole picture only every ten seconds.
_LONGEST_BLIND = 20.0
_POLL = 0.002


class AvSource:
    """A camera, or a stream from the network.

    A live one ends with :class:`SourceLost`, never silently; opening it again is the
    business of :class:`Reconnecting`. Pictures keep their size when it changes.

    Args:
        uri: of one of the schemes v4l2, rtsp, rtsps, http, https.

    Raises:
        InputError: options that do not go together.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._options = options_of(uri)
        self._timeout = float(uri.options["timeout"])
        self._live: bool | None = None
        if uri.scheme not in ("http", "https"):
            self._live = True
        elif uri.options["live"] != "auto":
            self._live = uri.options["live"] == "on"
        self._connection: Connection | None = None
        self._closing = threading.Event()
        self._ahead: list[Frame | Packet[Stream]] = []
        self._shelf = Shelf()
        self._notes: list[str] = []

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """Known once it is open where it depends (HTTP): taken for live before."""
        return self._live is not False

    def open(self) -> StreamInfo:
        """Connect and decode the first picture.

        Raises:
            InputError: nothing there, no video, access refused, a camera in use.
            SourceLost: not reachable, no answer, no picture.
        """
        self.close()
        self._closing.clear()
        connection = self._connect()
        self._connection = connection
        self._ahead = []
        try:
            if self._closing.is_set():
                raise Shut
            for item in self._read(connection):
                self._ahead.append(item)
                if isinstance(item, Frame):
                    return self._info(connection, item)
        except Shut:
            connection.door.shut()
            raise SourceLost("it was closed") from None
        except BaseException:
            connection.door.shut()
            raise
        self.close()
        raise InputError(f"'{self.uri}' holds no picture that can be decoded.", "Is it whole?")

    def _connect(self) -> Connection:
        uri = self._uri
        begun = time.monotonic()
        try:
            container = self._open_container(uri)
        except (FFmpegError, OSError) as error:
            late = time.monotonic() - begun >= open_timeout(self._timeout)
            raise explain(error, uri, "no answer", late=late) from None
        try:
            return self._prepare(container)
        except BaseException:
            container.close()
            raise

    def _open_container(self, uri: Uri) -> InputContainer:
        accelerator = accelerator_of(uri)
        if accelerator is not None:
            try:
                return self._open_with(uri, accelerator)
            except ExitError:
                raise
            except (FFmpegError, OSError, RuntimeError):
                # Its memory is full, its sessions are taken, or it was not its fault.
                pass
        return self._open_with(uri, None)

    def _open_with(self, uri: Uri, accelerator: HWAccel | None) -> InputContainer:
        return av.open(
            address_of(uri),
            "r",
            format=format_of(uri),
            # Not "options": those are forced on the decoder, too, which then takes the
            # size that was asked for to be the one that the camera sends.
            container_options=self._options,
            metadata_errors="ignore",
            timeout=(open_timeout(self._timeout), self._timeout),
            hwaccel=accelerator,
        )

    def _prepare(self, container: InputContainer) -> Connection:
        uri = self._uri
        videos = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not videos:
            raise InputError(f"'{uri.shown}' holds no video.", "Give one that does.")
        video = videos[0]
        if video.codec_context is None:
            raise InputError(
                f"The video codec of '{uri.shown}' is not known to this PyAV.",
                "Set the camera to H.264.",
            )
        if self._live is None:
            self._live = container.duration is None
        names = set(container.format.name.split(","))
        if self._live:
            # Frame threads hold back as many pictures as there are threads.
            video.thread_type = "SLICE"
        else:
            video.thread_type = "AUTO"
        sound = list(container.streams.audio) if uri.options.get("audio") else []
        self._shelf.fill(sound)
        clockless = self._live and bool(names & _CLOCKLESS)
        time_base = (None if clockless else video.time_base) or Fraction(1, 90000)
        report, rate = SourceReport(), rate_of(video)
        connection = Connection(
            container=container,
            video=video,
            streams=[video, *sound],
            time_base=time_base,
            rate=rate,
            pictures=PictureReader(
                time_base,
                rate,
                report,
                one_size=not self._live,
                rebuilt=uri.options["deinterlace"] != OFF,
            ),
            report=report,
            deinterlacer=Deinterlacer(uri.options["deinterlace"]),
            live=self._live,
            clockless=clockless,
            door=Door(self._release),
        )
        if video.codec_context.is_hwaccel:
            report.notes.append(f"{video.codec_context.name} is decoded in hardware")
        report.notes += camera_notes(uri, video.width, video.height, rate)
        return connection

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._notes = connection.notes()
            connection.hang_up()

    def _info(self, connection: Connection, first: Frame) -> StreamInfo:
        height, width = first.pixels.shape[:2]
        aspect = connection.video.sample_aspect_ratio
        if not aspect or aspect <= 0 or aspect == 1:
            aspect = None
        elif connection.pictures.orientation.transpose:
            aspect = 1 / aspect
        return StreamInfo(
            title=self.uri,
            width=width,
            height=height,
            rate=connection.rate,
            time_base=connection.time_base,
            tags=connection.pictures.tags,
            colour=first.colour,
            aspect=aspect,
            live=connection.live,
            notes=tuple(connection.notes()),
        )

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames, and packets of the streams named by :meth:`pass_along`.

        Raises:
            SourceLost: a live stream ended, fell silent or broke.
            InputError: a video that has an end broke before it.
        """
        connection = self._connection
        if connection is None:
            return
        # HLS comes in segments of some seconds, each at once.
        paced = connection.live and "hls" in connection.container.format.name
        pacer = Pacer(connection.door.wait) if paced else None
        ahead, self._ahead = self._ahead, []
        try:
            for item in self._all(ahead, connection):
                if not isinstance(item, Frame):
                    if self._shelf.label(item):
                        yield item
                    continue
                if pacer is not None:
                    pacer.wait(item.seconds)
                yield item
        except Shut:
            return

    def _all(
        self, ahead: list[Frame | Packet[Stream]], connection: Connection
    ) -> Iterator[Frame | Packet[Stream]]:
        yield from ahead
        ahead.clear()
        yield from self._read(connection)

    def _read(self, connection: Connection) -> Iterator[Frame | Packet[Stream]]:
        door = connection.door
        heard = seen = time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                with door.inside():
                    pictures, packet, ended = self._step(connection)
            except NothingYet:
                # A camera without a picture for us; the generator has ended with that.
                connection.packets = None
                if time.monotonic() - heard > self._timeout:
                    raise SourceLost(f"no picture for {self._timeout:g} s") from None
                door.wait(_POLL)
                continue
            except (FFmpegError, OSError) as error:
                raise self._gone(connection, error) from None
            heard = time.monotonic()
            if connection.live and heard - asked >= self._timeout:
                # When its patience is over, FFmpeg hands out what it had kept back first.
                raise SourceLost(f"nothing came for {self._timeout:g} s")
            if pictures:
                yield from pictures
                seen = time.monotonic()
            elif connection.live and heard - seen > _LONGEST_BLIND:
                raise SourceLost(f"no picture could be decoded for {_LONGEST_BLIND:g} s")
            if packet is not None:
                yield packet
            if ended:
                if connection.live:
                    raise SourceLost("it ended")
                self._check_end(connection)
                return

    def _step(self, connection: Connection) -> tuple[list[Frame], Packet[Stream] | None, bool]:
        """One packet's pictures, or the packet if it is sound, and whether it is the end.

        Called behind the door. No packet with a picture may leave it (see ``hang_up``).
        """
        packet = connection.next_packet()
        if packet is None:
            return [], None, True
        data = packet.size > 0 or packet.dts is not None
        if data:
            connection.timeline.mend(packet)
        elif connection.live:
            return [], None, True
        # A packet without data knows its stream by this reference only.
        if packet.stream.index == connection.video.index:
            return self._decode(connection, packet), None, False
        return [], packet if data else None, False

    def _check_end(self, connection: Connection) -> None:
        with connection.door.inside():
            missing = missing_end(connection.container, connection.timeline)
        if missing:
            what = f"it ends {float(missing):.1f} s before its announced end"
            raise self._broken(connection, what)

    def _gone(self, connection: Connection, error: Exception) -> InputError | SourceLost:
        reason = explain(error, self._uri, "nothing came", reading=True)
        return reason if connection.live else self._broken(connection, str(reason))

    def _broken(self, connection: Connection, how: str) -> InputError:
        frames = connection.report.frames
        return InputError(
            f"'{self.uri}' broke off: {frames} frames were readable, then: {how}.",
            "Give a longer ?timeout=, or fetch the file first.",
        )

    def _decode(self, connection: Connection, packet: Packet[Stream]) -> list[Frame]:
        """The pictures that a packet brings; called behind the door."""
        context = connection.video.codec_context
        try:
            decoded: list[VideoFrame] = connection.video.decode(packet)
        except FFmpegError:
            connection.report.skipped += 1
            return []
        pictures: list[VideoFrame] = []
        for raw in decoded:
            if connection.clockless:
                passed = time.monotonic() - connection.begun
                raw.pts = round(Fraction(passed) / connection.time_base)
            pictures += connection.deinterlacer.push(raw)
        if packet.size == 0 and packet.dts is None:
            pictures += connection.deinterlacer.flush()
        return [connection.pictures.frame(picture, context) for picture in pictures]

    def copyable(self) -> Sequence[Stream]:
        """The audio streams of the first connection; valid through all others."""
        return self._shelf.streams

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        self._shelf.want(streams)

    def notes(self) -> list[str]:
        """What is special about it, in words."""
        connection = self._connection
        return list(self._notes) if connection is None else connection.notes()

    def close(self) -> None:
        """Hang up. From another thread it ends :meth:`items` within the time-out."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.door.shut()
