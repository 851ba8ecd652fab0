"""A live source that comes back: opened again and again, on one timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Source, StreamInfo


class Reconnecting:
    """A source around a live source, which it opens again whenever it is lost.

    Args:
        source: to be opened, read and closed; again and again.
        on_state: called as ``on_state(state, reason)`` from the reading thread when the
            state changes; the reason is empty unless it is ``"lost"`` or ``"opening"``.
        patience: seconds after which the first :meth:`open` gives up; None = never.

    Attributes:
        state: ``"opening"``, ``"live"``, ``"lost"`` or ``"closed"``.
        reason: why it was lost (or cannot be opened), in words.
        recoveries: how often it came back.
    """

    def __init__(
        self,
        source: Source,
        *,
        on_state: Callable[[str, str], None] | None = None,
        patience: float | None = None,
    ) -> None:
        self._source = source
        self._on_state = on_state
        self._patience = patience
        self.state = "opening"
        self.reason = ""
        self.recoveries = 0

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._source.uri

    @property
    def live(self) -> bool:
        """Always: only live sources come back."""
        return True

    def open(self) -> StreamInfo:
        """Open the source, with back-off until it works."""
        return self._source.open()

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames and packets on one timeline, whatever happens to the source."""
        return self._source.items()

    def copyable(self) -> Sequence[Stream]:
        """Audio streams whose packets a sink may copy; the same after a recovery."""
        return self._source.copyable()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        self._source.pass_along(streams)

    def close(self) -> None:
        """Let go, for good; from another thread it ends :meth:`items` and :meth:`open`."""
        self._source.close()
