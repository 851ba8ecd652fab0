"""Recordings: MP4, MOV, Matroska, WebM and MPEG-TS that play even after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.protocols import Moment, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri


class RecordingSink:
    """Record a stream into one file.

    Args:
        uri: a path that ends in .mp4 .mov .mkv .webm or .ts, with its options.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri

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

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin the file."""

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Encode a frame, or pass a packet along."""

    def close(self) -> Sequence[str]:
        """Finish the file."""
        return ()
