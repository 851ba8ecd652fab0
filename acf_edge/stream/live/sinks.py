"""The sinks of a run: those it began with, and those that come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.feed import Feed
from acf_edge.stream.live.outlet import Outlet
from acf_edge.stream.live.words import reason_of
from acf_edge.stream.protocols import Controls, Sink

# How long a source waits for its sinks to open before it begins without the slow ones.
_OPENING = 10.0
_INTERVAL = 0.1


class SinkBoard:
    """Numbers, opens, adds and removes sinks. Every method may be called from any thread.

    Args:
        scale: of the engines.
        patience: seconds that one call to a sink may take.
        wake: called when what waits for a sink has changed.
        changed: called when the state of a sink has.
        controls: makes the controls for a sink of the source of this number.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        scale: int,
        patience: float,
        wake: Callable[[], None],
        changed: Callable[[], None],
        controls: Callable[[int], Controls],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scale = scale
        self._patience = patience
        self._wake = wake
        self._changed = changed
        self._controls = controls
        self._clock = clock
        self._lock = threading.Lock()
        self._outlets: dict[int, Outlet] = {}
        self._attached: set[int] = set()
        self._next = 0

    def all(self) -> tuple[Outlet, ...]:
        """In the order of their numbers."""
        with self._lock:
            return tuple(self._outlets.values())

    def of(self, feed: Feed) -> tuple[Outlet, ...]:
        """Those that show one source."""
        return tuple(outlet for outlet in self.all() if outlet.source == feed.number)

    def new(self, feed: Feed, sink: Sink) -> Outlet:
        """Give a sink its number and the controls that it asks for; it is not opened."""
        bind: Any = getattr(sink, "bind", None)
        if bind is not None:
            bind(self._controls(feed.number))
        with self._lock:
            outlet = Outlet(
                self._next,
                sink,
                feed.number,
                self._wake,
                self._changed,
                patience=self._patience,
                clock=self._clock,
            )
            self._outlets[outlet.number] = outlet
            self._next += 1
        return outlet

    def open_all(self, feed: Feed) -> None:
        """Open the sinks that a source began with, side by side; wait until they are."""
        for outlet in feed.outlets:
            self._start(feed, outlet)
        limit = time.monotonic() + _OPENING
        for outlet in feed.outlets:
            while not outlet.opened.wait(_INTERVAL):
                if feed.stopping or time.monotonic() > limit:
                    return

    def attach(self, feed: Feed, sink: Sink) -> int:
        """Show a running source in another sink, and return the sink's number.

        Raises:
            InputError: the source is not running, or the sink cannot be opened.
        """
        if feed.info is None or feed.finished or feed.stopping:
            raise InputError(f"'{feed.source.uri}' is not running.", "Wait until it is.")
        outlet = self.new(feed, sink)
        self._start(feed, outlet)
        outlet.opened.wait(_OPENING)
        if outlet.state == "opening":
            outlet.abandon(f"it did not open within {_OPENING:g} s")
        if outlet.state == "open" and feed.add(outlet):
            with self._lock:
                self._attached.add(outlet.number)
            return outlet.number
        self._forget(feed, outlet)
        outlet.finish()
        if isinstance(outlet.error, AcfError):
            raise outlet.error
        reason = reason_of(outlet.error) if outlet.error else "the source has ended"
        raise InputError(f"'{sink.uri}' cannot be opened: {reason}.")

    def detach(self, feeds: Sequence[Feed], number: int) -> Sequence[str]:
        """Finish a sink that was attached; not from the sink's own thread.

        Returns:
            Its notes, and why it failed if it did.

        Raises:
            InputError: there is none of this number, or the run began with it.
        """
        with self._lock:
            outlet = self._outlets.get(number) if number in self._attached else None
        if outlet is None or outlet.owns_current_thread():
            raise InputError(f"There is no sink {number} to detach.", "Name one that was attached.")
        feed = feeds[outlet.source]
        feed.remove(outlet)
        outlet.finish()
        while not outlet.over.wait(_INTERVAL):
            self.give_up_if_overdue(outlet)
        self._forget(feed, outlet)
        failed = [f"failed: {reason_of(outlet.error)}"] if outlet.error else []
        return (*outlet.notes, *failed)

    @staticmethod
    def give_up_if_overdue(outlet: Outlet) -> None:
        """Let a sink go that hangs."""
        reason = outlet.overdue()
        if reason:
            outlet.abandon(reason)

    def _start(self, feed: Feed, outlet: Outlet) -> None:
        info = feed.info
        assert info is not None
        size = (info.width * self._scale, info.height * self._scale)
        outlet.start(info, size, feed.source, feed.want)

    def _forget(self, feed: Feed, outlet: Outlet) -> None:
        feed.remove(outlet)
        with self._lock:
            self._outlets.pop(outlet.number, None)
            self._attached.discard(outlet.number)
