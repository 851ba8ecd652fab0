"""Bounded hand-over between threads: either the sender waits, or the newest wins."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Weightless items (audio packets) are bounded too, generously.
_ITEMS_PER_UNIT = 64


class Closed(Exception):
    """Nothing more comes, or nothing more is wanted."""


class Mailbox(Generic[T]):
    """A first-in first-out queue of at most ``capacity`` frames.

    When it is full, :meth:`put` either waits for room or throws the oldest
    frame away and counts it. Items of weight 0 (packets) are kept in order
    among the frames; there may be 64 of them for each frame of capacity.

    Args:
        capacity: frames, >= 1.
        waits: :meth:`put` waits for room; else the newest frames win.
        on_change: called after every change of what lies in it, outside the lock.
    """

    def __init__(
        self, capacity: int, *, waits: bool, on_change: Callable[[], None] | None = None
    ) -> None:
        self.waits = waits
        self.dropped = 0
        self._capacity = capacity
        self._on_change = on_change
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Frames that wait."""
        return self._weight

    @property
    def has_room(self) -> bool:
        """Whether :meth:`put` would return at once."""
        return not self.waits or self._closed or not self._full()

    @property
    def exhausted(self) -> bool:
        """Closed and empty."""
        with self._changed:
            return self._closed and not self._items

    def put(self, item: T, weight: int = 1) -> None:
        """Append an item; ``weight`` 1 for a frame, 0 for what costs next to nothing.

        Raises:
            Closed: nothing more is wanted.
        """
        with self._changed:
            while self.waits and not self._closed and self._full():
                self._changed.wait()
            if self._closed:
                raise Closed
            if not self.waits:
                self._make_room(weight)
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()
        self._tell()

    def _full(self) -> bool:
        heavy = self._weight >= self._capacity
        return heavy or len(self._items) >= self._capacity * _ITEMS_PER_UNIT

    def _make_room(self, weight: int) -> None:
        if weight and self._weight >= self._capacity:
            oldest = next(i for i, (_, heavy) in enumerate(self._items) if heavy)
            del self._items[oldest]
            self._weight -= 1
            self.dropped += 1
        elif not weight and len(self._items) >= self._capacity * _ITEMS_PER_UNIT:
            _, heavy = self._items.popleft()
            self._weight -= heavy
            self.dropped += heavy

    def take(self, timeout: float | None = None) -> T | None:
        """Take the oldest item; wait for one if there is none.

        Args:
            timeout: seconds to wait; None = as long as it takes.

        Returns:
            None if the time ran out.

        Raises:
            Closed: nothing more comes.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._closed:
                    raise Closed
                left = None if limit is None else limit - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            item, weight = self._items.popleft()
            self._weight -= weight
            if self.waits:
                self._changed.notify_all()
        self._tell()
        return item

    def close(self) -> None:
        """No more items will come; what lies in it can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._tell()

    def abandon(self) -> int:
        """Close it and throw away what lies in it; returns how many frames that were."""
        with self._changed:
            self._closed = True
            self._items.clear()
            lost, self._weight = self._weight, 0
            self._changed.notify_all()
        self._tell()
        return lost

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change()
