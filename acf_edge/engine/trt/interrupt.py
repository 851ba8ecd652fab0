"""Ctrl-C while TensorRT compiles.

Most of the Python that runs then is the logger's, and the bindings print what a callback raises
and forget it: an interrupt would be lost. So it is noted, asked for, and raised afterwards.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C while the block runs.

    Outside the main thread, and where somebody else handles the signal, nothing is changed.

    Yields:
        Whether it came.

    Raises:
        KeyboardInterrupt: at the end of the block, whatever else it raised, if it came.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    came = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        came.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if came.is_set():
            raise KeyboardInterrupt
