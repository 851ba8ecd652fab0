"""Audio streams that outlive the connection they came with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream


class Shelf:
    """Copies of streams' descriptions, for sinks that copy packets.

    A stream of PyAV points into its container, and crashes the process once that is
    closed. What stands here stays valid while connections come and go, and packets
    of the second connection are handed out under the streams of the first.
    """

    def __init__(self) -> None:
        # Never written to; the one format that holds every codec.
        self._case = av.open(io.BytesIO(), "w", format="null")
        self._streams: list[Stream] = []
        self._keys: list[tuple[object, ...]] = []
        self._places: dict[int, Stream] = {}
        self._wanted: frozenset[int] = frozenset()
        self._filled = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """What was there with the first connection."""
        return tuple(self._streams)

    def fill(self, streams: Sequence[Stream]) -> None:
        """Take the audio streams of a connection: the first adds, later ones are matched."""
        free = list(zip(self._keys, self._streams, strict=True))
        self._places = {}
        for stream in streams:
            key = _key(stream)
            if not self._filled:
                kept = self._add(stream)
                if kept is not None:
                    self._keys.append(key)
                    self._streams.append(kept)
                    self._places[stream.index] = kept
                continue
            for place, (known, kept) in enumerate(free):
                if known == key:
                    self._places[stream.index] = kept
                    del free[place]
                    break
        self._filled = True

    def _add(self, stream: Stream) -> Stream | None:
        try:
            kept = self._case.add_stream_from_template(stream)
        except ValueError:  # a codec that can be stored nowhere
            return None
        kept.metadata.update(stream.metadata)
        return kept

    def want(self, streams: Sequence[Stream]) -> None:
        """Name the streams (of this shelf) whose packets :meth:`label` lets through."""
        self._wanted = frozenset(stream.index for stream in streams)

    def label(self, packet: Packet[Stream]) -> bool:
        """Put a packet under its stream of this shelf; False if nobody wants it."""
        kept = self._places.get(packet.stream_index)
        if kept is None or kept.index not in self._wanted:
            return False
        packet.stream = kept
        return True


def _key(stream: Stream) -> tuple[object, ...]:
    context: Any = stream.codec_context
    if context is None:  # no decoder for it
        return (stream.type,)
    return (
        stream.type,
        context.name,
        getattr(context, "sample_rate", None),
        getattr(getattr(context, "layout", None), "name", None),
        context.extradata,
        stream.time_base,
    )
