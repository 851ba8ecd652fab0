"""Three stages, three threads, bounded hand-over: nothing is lost, nothing piles up.

Decoding, inference and encoding all release the interpreter lock, so plain
threads overlap them. The calling thread only waits (and ticks), so signals and
progress bars live there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

# Weightless items (audio packets) are bounded too, generously.
_ITEMS_PER_UNIT = 64


class Aborted(Exception):
    """Another stage failed; this one has nothing left to do."""


class Handover(Generic[T]):
    """A first-in first-out queue that holds at most ``capacity`` units of weight.

    :meth:`put` blocks while it is full and iterating while it is empty; after
    :meth:`close` the rest is handed out and iteration ends; after :meth:`abort`
    both raise :class:`Aborted` at once. Any object may be an item, None too.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._closed = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, item: T, weight: int = 1) -> None:
        """Append one item; ``weight`` 1 for a frame, 0 for what costs next to nothing."""
        with self._changed:
            while not self._aborted and self._full(weight):
                self._changed.wait()
            if self._aborted:
                raise Aborted
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()

    def _full(self, weight: int) -> bool:
        if len(self._items) >= self._capacity * _ITEMS_PER_UNIT:
            return True
        return weight > 0 and self._weight >= self._capacity

    def __iter__(self) -> Iterator[T]:
        """Take items, oldest first, until the queue is closed and empty."""
        while True:
            with self._changed:
                while not (self._aborted or self._closed or self._items):
                    self._changed.wait()
                if self._aborted:
                    raise Aborted
                if not self._items:
                    return
                item, weight = self._items.popleft()
                self._weight -= weight
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        """No more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake everybody up and drop what is left."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()


@dataclass(slots=True)
class StageSeconds:
    """Seconds each stage was busy (waiting for its neighbours not counted)."""

    produce: float = 0.0
    transform: float = 0.0
    consume: float = 0.0


def run_pipeline(
    produce: Iterable[A],
    transform: Callable[[A], B],
    consume: Callable[[B], None],
    *,
    weigh: Callable[[A | B], int] = lambda item: 1,
    capacity: int = 4,
    cancel: threading.Event | None = None,
    tick: Callable[[], None] | None = None,
    interval: float = 0.1,
) -> StageSeconds:
    """Pull items from ``produce`` through ``transform`` into ``consume``, in order.

    Each runs in a thread of its own. Nothing is dropped: a slow stage holds up
    the ones before it.

    Args:
        produce: iterated in the first thread.
        transform: called once per item in the second thread.
        consume: called once per result in the third thread.
        weigh: how much of a queue's capacity an item takes: 0 or 1.
        capacity: units of weight that may wait between two stages.
        cancel: once set, no further item is pulled; those under way are finished.
        tick: called in the calling thread every ``interval`` seconds.
        interval: seconds between ticks.

    Returns:
        The busy seconds per stage.

    Raises:
        Whatever a stage raised first; the other stages have stopped by then. If
        the calling thread is interrupted (or ``tick`` raises), all stages stop
        before that exception leaves.
    """
    first: Handover[A] = Handover(capacity)
    second: Handover[B] = Handover(capacity)
    clock = StageSeconds()
    failures: list[BaseException] = []
    lock = threading.Lock()

    def fail(error: BaseException) -> None:
        with lock:
            failures.append(error)
        first.abort()
        second.abort()

    def guard(body: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                body()
            except Aborted:
                pass
            except BaseException as error:
                fail(error)

        return run

    def producing() -> None:
        source = iter(produce)
        while cancel is None or not cancel.is_set():
            start = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                break
            finally:
                clock.produce += time.perf_counter() - start
            first.put(item, weigh(item))
        first.close()

    def transforming() -> None:
        for item in first:
            start = time.perf_counter()
            result = transform(item)
            clock.transform += time.perf_counter() - start
            second.put(result, weigh(result))
        second.close()

    def consuming() -> None:
        for item in second:
            start = time.perf_counter()
            consume(item)
            clock.consume += time.perf_counter() - start

    threads = [
        threading.Thread(target=guard(body), name=f"acf-{name}", daemon=True)
        for name, body in (("decode", producing), ("infer", transforming), ("encode", consuming))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(interval)
                if tick is not None:
                    tick()
    except BaseException:
        first.abort()
        second.abort()
        for thread in threads:
            thread.join()
        raise
    if failures:
        raise failures[0]
    return clock
