"""A live source that comes back: opened again and again, on one timeline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Source, SourceLost, StreamInfo

_SHORTEST_WAIT = 0.2
# Within three seconds of its return a source shall be back, connecting and waiting for a
# whole picture included: so nobody may sleep longer than this, however long it was away.
_LONGEST_WAIT = 2.0
_GROWTH = 1.6
# Many clients of one server shall not come back in step.
_JITTER = 0.25
# What is lost again sooner is not back for good: the waits go on growing.
_GOOD_AFTER = 5.0


class Reconnecting:
    """A source around a live source, which it opens again whenever it is lost.

    Time begins at zero with the first frame. After a loss it goes on where it would
    be had nothing happened: the gap is as long as the source was away. Once a source
    has been open, nothing that goes wrong while it is opened again is final: a server
    that comes up refuses, knows no path, sends nonsense for a while.

    Args:
        source: to be opened, read and closed; again and again.
        on_state: called as ``on_state(state, reason)`` from the reading thread whenever one
            of them changes; the reason is empty unless the state is ``"lost"`` or
            ``"opening"``.
        patience: seconds after which the first :meth:`open` gives up; None = never.
        clock: seconds, monotonic.

    Attributes:
        state: ``"opening"`` until the first frame, ``"live"``, ``"lost"``, or ``"closed"``.
        reason: why it was lost or cannot be opened, in words.
        recoveries: how often it came back.
    """

    def __init__(
        self,
        source: Source,
        *,
        on_state: Callable[[str, str], None] | None = None,
        patience: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._on_state = on_state
        self._patience = patience
        self._clock = clock
        self._stop = threading.Event()
        self._unit = Fraction(1, 90000)
        self._wait = _SHORTEST_WAIT
        self._back_since = 0.0
        self._shift: Fraction | None = None
        self._last_pts: int | None = None
        self._last_dts: dict[int, int] = {}
        self._heard = 0.0
        self.state = "opening"
        self.reason = ""
        self.recoveries = 0

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._source.uri

    @property
    def live(self) -> bool:
        """Whether the source is live; some know only once they are open."""
        return self._source.live

    def open(self) -> StreamInfo:
        """Open the source, with back-off until it works.

        Raises:
            InputError: it cannot work, however long one waits.
            SourceLost: out of patience, or :meth:`close` was called.
        """
        self._stop.clear()
        self._set("opening", "")
        begun = self._clock()
        while True:
            try:
                info = self._open()
            except SourceLost as lost:
                waited = self._clock() - begun
                if self._stop.is_set() or (self._patience is not None and waited > self._patience):
                    raise
                self._set("opening", lost.reason)
                if self._stop.wait(self._next_wait()):
                    raise
            else:
                self._unit = info.time_base
                return info

    def _open(self) -> StreamInfo:
        info = self._source.open()
        if self._stop.is_set():
            self._source.close()
            raise SourceLost("it was closed")
        self._shift = None
        return info

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames and packets on one timeline, whatever happens to the source.

        Ends when the source comes to an end by itself, or :meth:`close` is called.
        """
        while True:
            try:
                for item in self._source.items():
                    if self._stop.is_set():
                        return
                    if isinstance(item, Frame):
                        self._mend(item)
                        yield item
                    elif self._mend_packet(item):
                        yield item
            except SourceLost as lost:
                if not self._come_back(lost.reason):
                    return
            else:
                self._set("closed", "")
                return

    def _come_back(self, reason: str) -> bool:
        """Open the lost source again; False if :meth:`close` was called meanwhile."""
        if self._back_since and self._clock() - self._back_since > _GOOD_AFTER:
            self._wait = _SHORTEST_WAIT
        self._back_since = 0.0
        while not self._stop.is_set():
            self._set("lost", reason)
            self._source.close()
            if self._stop.wait(self._next_wait()):
                break
            try:
                self._open()
            except SourceLost as lost:
                reason = lost.reason
            except InputError as error:
                reason = error.problem
            else:
                return True
        return False

    def _next_wait(self) -> float:
        wait = self._wait * (1 - _JITTER * random.random())
        self._wait = min(_LONGEST_WAIT, self._wait * _GROWTH)
        return wait

    def _mend(self, frame: Frame) -> None:
        """Put a frame on the timeline that all connections share."""
        now = self._clock()
        self._align(frame.seconds, now)
        exact = (frame.seconds + (self._shift or 0)) / self._unit
        pts = round(exact)
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        frame.duration = round(frame.duration * frame.time_base / self._unit)
        frame.pts, frame.time_base = pts, self._unit
        self._last_pts, self._heard = pts, now
        if self.state != "live":
            self.recoveries += self.state == "lost"
            self._back_since = now
            self._set("live", "")

    def _mend_packet(self, packet: Packet[Stream]) -> bool:
        """The same for a packet; False if it belongs to a time that is over."""
        when = packet.dts if packet.dts is not None else packet.pts
        if when is None:
            return False
        self._align(when * packet.time_base, self._clock())
        ticks = round((self._shift or 0) / packet.time_base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
        # Muxers refuse a packet that does not come after the one before it.
        last, index = self._last_dts.get(packet.stream_index), packet.stream_index
        if last is not None and when + ticks <= last:
            return False
        self._last_dts[index] = when + ticks
        return True

    def _align(self, seconds: Fraction, now: float) -> None:
        """Fix where a connection's clock stands on ours, by the first that came of it."""
        if self._shift is not None:
            return
        start = Fraction(0)
        if self._last_pts is not None:
            away = Fraction(max(0.0, now - self._heard)).limit_denominator(1_000_000)
            start = self._last_pts * self._unit + away
        self._shift = start - seconds
        # Whole units keep a stream's intervals as they are.
        self._shift = round(self._shift / self._unit) * self._unit

    def _set(self, state: str, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        if self._on_state is not None:
            self._on_state(state, reason)

    def copyable(self) -> Sequence[Stream]:
        """Audio streams whose packets a sink may copy; the same after a recovery."""
        return self._source.copyable()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""
        self._source.pass_along(streams)

    def notes(self) -> list[str]:
        """What is special about it, in words."""
        inner = getattr(self._source, "notes", None)
        notes: list[str] = list(inner()) if inner is not None else []
        if self.recoveries:
            notes.append(f"it was lost and came back {self.recoveries}x")
        return notes

    def close(self) -> None:
        """Let go, for good; from another thread it ends :meth:`items` and :meth:`open`."""
        self._stop.set()
        self._source.close()
