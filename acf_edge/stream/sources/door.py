"""Closing from one thread what another one is reading."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Shut(Exception):
    """The door is shut; there is nothing left to read."""


class Door:
    """One thread reads behind it; another may shut it at any time.

    FFmpeg's contexts must not be freed while a thread is inside of them, so a door
    that is shut while somebody is inside lets that thread clean up on its way out.

    Args:
        release: called once, when the door is shut and nobody is inside.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release: Callable[[], None] | None = release
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def is_shut(self) -> bool:
        """:meth:`shut` was called."""
        return self._stop.is_set()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be behind the door for a while.

        Raises:
            Shut: it is shut, or was shut meanwhile.
        """
        try:
            with self._lock:
                if self.is_shut:
                    raise Shut
                yield
        finally:
            if self.is_shut:
                self._clean_up()
        if self.is_shut:
            raise Shut

    def wait(self, seconds: float) -> None:
        """Sleep before the door.

        Raises:
            Shut: it was shut meanwhile.
        """
        if self._stop.wait(max(0.0, seconds)):
            raise Shut

    def shut(self) -> None:
        """Let nobody in any more. Does not wait for who is inside."""
        self._stop.set()
        self._clean_up()

    def _clean_up(self) -> None:
        # Who holds the lock comes by here after it.
        if self._lock.acquire(blocking=False):
            try:
                release, self._release = self._release, None
                if release is not None:
                    release()
            finally:
                self._lock.release()
