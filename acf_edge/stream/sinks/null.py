"""A sink that counts and forgets: for measuring what comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.protocols import Moment, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri


class NullSink:
    """Count what comes and let it go.

    Args:
        uri: ``null://``.

    Attributes:
        frames: fresh pictures taken.
        held: pictures taken that were shown again because the source was away.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self.frames = 0
        self.held = 0

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
        """Frames of a file are all counted: what is measured is the whole way to here."""
        return True

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Nothing to prepare."""

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Count a moment; packets were not asked for."""
        if isinstance(item, Moment):
            self.frames += not item.held
            self.held += item.held

    def close(self) -> Sequence[str]:
        """Nothing to finish, nothing to say."""
        return ()
