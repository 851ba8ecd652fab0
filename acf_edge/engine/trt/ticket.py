"""A picture that is being enhanced."""

from __future__ import annotations

import threading
from collections.abc import Callable

from acf_edge.engine.protocol import Uint8Image


class Ticket:
    """What ``submit`` gives: the picture is under way, :meth:`result` waits for it.

    Args:
        fetch: waits, and returns the picture; called once at most.
    """

    def __init__(self, fetch: Callable[[], Uint8Image]) -> None:
        self._fetch: Callable[[], Uint8Image] | None = fetch
        self._lock = threading.Lock()
        self._picture: Uint8Image | None = None
        self._error: BaseException | None = None

    def result(self) -> Uint8Image:
        """Wait for the picture; every call returns the same array, from any thread.

        Raises:
            AcfError: what went wrong, at every call.
        """
        self.settle()
        if self._error is not None:
            raise self._error
        assert self._picture is not None
        return self._picture

    def settle(self) -> None:
        """Wait until the picture, or what went wrong, is kept here and its buffers are free."""
        with self._lock:
            fetch, self._fetch = self._fetch, None
            if fetch is None:
                return
            try:
                self._picture = fetch()
            except Exception as error:
                self._error = error
            except BaseException:
                # Ctrl-C while waiting says nothing about the picture.
                self._fetch = fetch
                raise
