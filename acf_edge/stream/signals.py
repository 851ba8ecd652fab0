"""Ctrl-C, SIGTERM and a closed terminal as a polite request to finish."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signals(on_first: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Give an event that the first SIGINT, SIGTERM or SIGHUP sets; the second one interrupts.

    A SIGHUP that is ignored (``nohup``) stays so. The old handlers come back at the end.
    Outside the main thread signals cannot be caught: the event then stays clear.

    Args:
        on_first: called when the event is set, e.g. to tell the user.
    """
    event = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        if on_first is not None:
            on_first()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    old = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
