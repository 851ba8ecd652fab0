"""One viewer: what waits for it, what is on its way, what it left out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from acf_edge.stream.web.hub import Numbered
from acf_edge.stream.web.wire import H264, Encoded

QUEUE = 2
"""Moments that may wait for a viewer. One more, and it is too slow for them."""

_MOST_IN_FLIGHT = 12
_FIRST_IN_FLIGHT = 2  # before anything is known of the link
# Seconds that the oldest unanswered moment may be under way, beyond the bare round
# trip, before the next one is sent: what a fast link never needs.
_SLACK = 0.06
_ROUND_TRIP = 0.02
# Without an answer for so long the page is asleep: nothing is coded for it.
_ASLEEP = 3.0
# A page that is busy measures long round trips, too: they must not let more pile up.
_LONGEST_ROUND_TRIP = 0.25


class Socket(Protocol):
    """What a viewer needs of a WebSocket."""

    async def send_bytes(self, data: bytes) -> None:
        """Send, waiting while the socket's buffer is full."""

    async def send_str(self, data: str) -> None:
        """Send, waiting while the socket's buffer is full."""


class Viewer:
    """Decides which moments a viewer gets. Lives in the server's loop.

    A moment is sent only while the page draws those before it: so what is old never
    waits in a buffer of the system or the browser, where it could not be taken back. Of
    H.264 nothing can be left out between two key frames; who misses one picture
    waits for the next key frame.

    Args:
        socket: where to send.
        ask_key: asks the hub for a key frame; its argument says "at once".
        acknowledged: told the seconds from capture to the viewer's answer.
        clock: seconds.
    """

    def __init__(
        self,
        socket: Socket,
        ask_key: Callable[[bool], None],
        acknowledged: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.codec: str | None = None
        self.paused = False
        self.pinned: Numbered | None = None
        self.sent = self.skipped = self.sent_bytes = 0
        self._socket = socket
        self._ask_key = ask_key
        self._acknowledged = acknowledged
        self._clock = clock
        self._queue: deque[Encoded] = deque()
        self._notices: dict[str, str] = {}
        self._in_flight: deque[tuple[int, float, float]] = deque()
        self._needs_key = True
        self._asked = False
        self._round_trip = _ROUND_TRIP
        self._slow = False
        self._most = _FIRST_IN_FLIGHT
        self._wake = asyncio.Event()

    @property
    def watches(self) -> str | None:
        """The codec it wants now; None while it pauses or its page is asleep."""
        asleep = self._in_flight and self._clock() - self._in_flight[0][1] > _ASLEEP
        return None if self.paused or asleep else self.codec

    def start(self, codec: str) -> None:
        """Begin (again) with a codec. What was sent before is never answered."""
        self.codec, self.paused, self.pinned = codec, False, None
        self._forget()
        self._needs_key, self._asked = True, codec == H264
        if self._asked:
            self._ask_key(True)

    def pause(self, shown: Numbered | None) -> None:
        """Send nothing until :meth:`start`; ``shown`` stays at hand for a snapshot."""
        self.paused, self.pinned = True, shown
        self._forget()

    def _forget(self) -> None:
        # A page that pauses or begins anew throws away what it has not drawn yet.
        self._queue.clear()
        self._in_flight.clear()

    def notice(self, kind: str, text: str) -> None:
        """Send a text soon; of two of a kind, the newer one."""
        self._notices[kind] = text
        self._wake.set()

    def offer(self, encoded: Encoded) -> None:
        """Take a moment that was coded, or leave it out."""
        if encoded.codec != self.codec:
            return
        if self.watches is None:
            self._needs_key = True
            return
        if self._needs_key and not encoded.key:
            self.skipped += 1
            return
        if len(self._queue) >= QUEUE:
            self.skipped += len(self._queue)
            self._queue.clear()
            if not encoded.key:
                self.skipped += 1
                self._needs_key, self._asked = True, False
                self._ask_if_useful()
                return
        self._needs_key = self._asked = False
        self._queue.append(encoded)
        self._wake.set()

    def answer(self, number: int, round_trip: float | None) -> None:
        """The page has drawn moment ``number``; those before it are past, too.

        Args:
            number: as in the message.
            round_trip: seconds, the shortest that the page measured lately.
        """
        if round_trip is not None and round_trip >= 0:
            self._round_trip = min(round_trip, _LONGEST_ROUND_TRIP)
        now = self._clock()
        while self._in_flight and self._in_flight[0][0] <= number:
            _, sent, captured = self._in_flight.popleft()
            self._slow = now - sent > self._round_trip + _SLACK
            self._acknowledged(now - captured)
            self._most = _MOST_IN_FLIGHT
        self._ask_if_useful()
        self._wake.set()

    def _ask_if_useful(self) -> None:
        """Ask for the key frame that is missed once it could be sent as soon as it is there."""
        if self._needs_key and not self._asked and self.codec == H264 and self._may_send():
            self._asked = True
            self._ask_key(False)

    async def send_forever(self) -> None:
        """Send what there is, as long as the connection lives.

        Raises:
            ConnectionError: it does not any more.
        """
        while True:
            if self._notices:
                kind = next(iter(self._notices))
                await self._socket.send_str(self._notices.pop(kind))
            elif self._queue and self._may_send():
                encoded = self._queue.popleft()
                self._in_flight.append((encoded.number, self._clock(), encoded.captured))
                self.sent += 1
                self.sent_bytes += len(encoded.data)
                await self._socket.send_bytes(encoded.data)
            else:
                self._wake.clear()
                await self._wake.wait()

    def _may_send(self) -> bool:
        if not self._in_flight:
            return True
        if self._slow:  # one at a time: a second one would only wait behind it
            return False
        under_way = self._clock() - self._in_flight[0][1]
        return len(self._in_flight) < self._most and under_way < self._round_trip + _SLACK
