"""Sound and subtitles that are copied into a recording, packet by packet."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction

from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.protocols import Source
from acf_edge.stream.sinks.containers import Container

# Packets that came before the first picture of a live source, and wait for its time.
_MOST_WAITING = 2000


class Copies:
    """Streams of a source, copied into a container beside its pictures.

    Args:
        container: open for writing, its video stream added.
        kind: what it can hold.
        suffix: of the file, for messages.
        source: told which streams to pass along.
        audio: copy the audio.

    Attributes:
        notes: streams that were left out, in words.

    Raises:
        InputError: the container cannot hold an audio stream of a file. A live source goes on
            without it.
    """

    def __init__(
        self, container: OutputContainer, kind: Container, suffix: str, source: Source, audio: bool
    ) -> None:
        self.notes: list[str] = []
        self._container = container
        self._kind = kind
        self._streams: dict[int, Stream] = {}
        self._filters: dict[int, BitStreamFilterContext] = {}
        self._last: dict[int, int] = {}
        self._waiting: list[Packet[Stream]] = []
        self._begin: Fraction | None = None
        wanted = []
        for stream in source.copyable():
            if stream.type == "audio" and not audio:
                continue
            name = _codec_name(stream)
            copy = self._add(stream, name)
            if copy is not None:
                self._streams[stream.index] = copy
                if name == "aac" and kind.format in ("mp4", "mov"):
                    # MPEG-TS and RTSP carry AAC with headers that MP4 must not have. The
                    # muxer takes them off by itself, but not when it writes fragments.
                    bare = BitStreamFilterContext("aac_adtstoasc", stream)
                    self._filters[stream.index] = bare
                wanted.append(stream)
            elif stream.type == "audio" and not source.live:
                # A file can be recorded again another way; a camera shows this once.
                raise InputError(
                    f"'{suffix}' cannot hold the audio ({name}) of '{source.uri}'.",
                    "Choose .mkv, which holds any audio, or leave it out with '?audio=0'.",
                )
            else:
                self.notes.append(
                    f"stream {stream.index} ({stream.type}, {name}) was left out: "
                    f"'{suffix}' does not take it"
                )
        source.pass_along(wanted)

    def _add(self, stream: Stream, name: str) -> Stream | None:
        if stream.type not in ("audio", "subtitle"):
            return None
        allowed = self._kind.audio if stream.type == "audio" else self._kind.subtitles
        if allowed is None or (allowed and name not in allowed):
            return None
        try:
            copy: Stream = self._container.add_stream_from_template(stream)
        except (FFmpegError, ValueError):
            return None
        if "language" in stream.metadata:
            copy.metadata["language"] = stream.metadata["language"]
        with contextlib.suppress(AttributeError, TypeError):
            copy.disposition = stream.disposition
        return copy

    def begin(self, seconds: Fraction | None) -> None:
        """Say when the recording begins on the source's clock: with that, packets flow.

        Args:
            seconds: taken off every packet's time; what comes before is left out. None
                keeps the source's times.
        """
        self._begin = seconds
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self._mux(packet)

    def write(self, packet: Packet[Stream], begun: bool) -> None:
        """Copy a packet; until the recording has begun it waits."""
        if packet.stream.index not in self._streams:
            return
        if begun:
            self._mux(packet)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(packet)

    def _mux(self, original: Packet[Stream]) -> None:
        index = original.stream.index
        unit = original.time_base
        dts = original.dts if original.dts is not None else original.pts
        if dts is None:
            return
        pts = original.pts if original.pts is not None else dts
        if self._begin is not None:
            shift = round(self._begin / unit)
            pts, dts = pts - shift, dts - shift
            if pts < 0:
                return
        # Muxers refuse a packet that does not come after the one before it.
        last = self._last.get(index)
        if last is not None and dts <= last:
            dts = last + 1
            pts = max(pts, dts)
        self._last[index] = dts
        packet = _copy(original)
        packet.pts, packet.dts = pts, dts
        for ready in self._filtered(index, packet):
            ready.stream = self._streams[index]
            self._container.mux(ready)

    def _filtered(self, index: int, packet: Packet[Stream]) -> Sequence[Packet[Stream]]:
        found = self._filters.get(index)
        return (packet,) if found is None else found.filter(packet)


def _copy(packet: Packet[Stream]) -> Packet[Stream]:
    """A packet of its own: another sink may be writing the same one."""
    copy: Packet[Stream] = Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.duration = packet.duration
    copy.is_keyframe = packet.is_keyframe
    # How many samples a player leaves out at either end of the sound.
    for kind in ("skip_samples",):
        if packet.has_sidedata(kind):
            copy.set_sidedata(packet.get_sidedata(kind))
    return copy


def _codec_name(stream: Stream) -> str:
    context = stream.codec_context
    return str(context.name) if context is not None else "unknown codec"
