"""The pipeline's promises: order, bounds, clean ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from acf_edge.engine.protocol import Done
from acf_edge.errors import InputError
from acf_edge.stream import ahead
from acf_edge.stream.pipeline import Aborted, Handover, run_pipeline


def _alive() -> int:
    stages = {"acf-decode", "acf-infer", "acf-encode"}
    return sum(thread.name in stages for thread in threading.enumerate())


def test_everything_arrives_once_and_in_order() -> None:
    got: list[int] = []
    run_pipeline(range(500), lambda x: x * 3, got.append)
    assert got == [3 * i for i in range(500)]
    assert _alive() == 0


def test_a_slow_consumer_holds_up_the_source() -> None:
    pulled, got, ahead = 0, 0, 0

    def produce() -> Iterator[int]:
        nonlocal pulled
        for i in range(60):
            pulled += 1
            yield i

    def consume(item: int) -> None:
        nonlocal got, ahead
        time.sleep(0.001)
        ahead = max(ahead, pulled - got)
        got += 1

    run_pipeline(produce(), lambda x: x, consume, capacity=4)
    assert got == 60
    assert ahead <= 4 + 4 + 3 + 1  # two queues, one item in each hand


def test_weightless_items_do_not_take_the_place_of_frames() -> None:
    queue: Handover[str] = Handover(2)
    for _ in range(20):
        queue.put("packet", 0)
    queue.put("frame")
    queue.put("frame")
    blocked = threading.Thread(target=lambda: queue.put("frame"), daemon=True)
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    for _ in range(21):
        next(iter(queue))
    blocked.join(5)
    assert not blocked.is_alive()


def test_weightless_items_are_bounded_too() -> None:
    queue: Handover[int] = Handover(1)
    filler = threading.Thread(target=lambda: [queue.put(i, 0) for i in range(10_000)], daemon=True)
    filler.start()
    filler.join(0.1)
    assert filler.is_alive()
    assert [next(iter(queue)) for _ in range(10_000)] == list(range(10_000))
    filler.join(5)
    assert not filler.is_alive()


@pytest.mark.parametrize("stage", ["produce", "transform", "consume", "tick"])
@pytest.mark.parametrize("at", [0, 1, 30])
def test_an_error_anywhere_stops_all_and_comes_out(stage: str, at: int) -> None:
    def check(here: str, item: int) -> int:
        if here == stage and item == at:
            raise ValueError(f"{here} {item}")
        return item

    ticks = iter(range(10_000))

    def consume(item: int) -> None:
        check("consume", item)

    def tick() -> None:
        check("tick", next(ticks))

    endless = (check("produce", i) for i in iter(int, 1)) if stage == "tick" else None
    source = endless or (check("produce", i) for i in range(100))
    with pytest.raises(ValueError, match=f"{stage} {at}"):
        run_pipeline(
            source,
            lambda item: check("transform", item),
            consume,
            tick=tick if stage == "tick" else None,
            interval=0.001,
        )
    assert _alive() == 0


def test_an_interrupt_of_the_caller_stops_all() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(iter(int, 1), lambda x: x, lambda x: None, tick=interrupt, interval=0.01)
    assert _alive() == 0


def test_cancelling_finishes_what_is_under_way() -> None:
    cancel = threading.Event()
    pulled: list[int] = []
    got: list[int] = []

    def produce() -> Iterator[int]:
        for i in range(10_000):
            pulled.append(i)
            if i == 50:
                cancel.set()
            yield i

    run_pipeline(produce(), lambda x: x, got.append, cancel=cancel)
    assert got == pulled == list(range(51))


def test_closed_queues_drain_and_aborted_ones_do_not() -> None:
    queue: Handover[int] = Handover(4)
    queue.put(1)
    queue.put(2)
    queue.close()
    assert list(queue) == [1, 2]
    assert list(queue) == []
    queue = Handover(4)
    queue.put(1)
    queue.abort()
    with pytest.raises(Aborted):
        next(iter(queue))
    with pytest.raises(Aborted):
        queue.put(2)


def test_the_stages_run_side_by_side() -> None:
    """All three have to be at work at once for any of them to get on."""
    together = threading.Barrier(3, timeout=20)

    def produce() -> Iterator[int]:
        for i in range(2):
            yield i
        for i in range(2, 6):
            together.wait()
            yield i

    def transform(item: int) -> int:
        if 1 <= item < 5:
            together.wait()
        return item

    def consume(item: int) -> None:
        if item < 4:
            together.wait()

    run_pipeline(produce(), transform, consume)


def test_none_is_an_item_like_any_other() -> None:
    got: list[None] = []
    run_pipeline([None] * 50, lambda x: x, got.append)
    assert len(got) == 50


class Ahead:
    """An engine that counts what is under way, and doubles its pictures when they are asked for."""

    scale, name = 1, "ahead"

    def __init__(self, slots: int) -> None:
        self.slots, self.under_way, self.most = threading.Semaphore(slots), 0, 0
        self.lock = threading.Lock()

    def run(self, frame: np.ndarray) -> np.ndarray:
        return self.submit(frame).result()

    def submit(self, frame: np.ndarray) -> Done:
        self.slots.acquire()
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        outer = self

        class Ticket(Done):
            def result(self) -> np.ndarray:
                time.sleep(0.002)
                with outer.lock:
                    outer.under_way -= 1
                outer.slots.release()
                return frame * 2

        return Ticket(frame)

    def close(self) -> None: ...


def test_frames_are_under_way_together_and_stay_in_order() -> None:
    engine, got = Ahead(2), []
    frames = [np.full((2, 2, 3), n, np.uint8) for n in range(40)]
    run_pipeline(
        frames,
        lambda frame: ahead.start(engine, frame, lambda picture: int(picture[0, 0, 0])),
        ahead.settled(got.append),
    )
    assert got == [2 * n for n in range(40)]
    assert engine.most == 2 and engine.under_way == 0


def test_what_goes_wrong_later_comes_out() -> None:
    def fail() -> int:
        raise InputError("The GPU is gone.", "Start again.")

    with pytest.raises(InputError, match="GPU is gone"):
        run_pipeline(
            range(100), lambda n: ahead.Later(fail) if n == 5 else n, ahead.settled(lambda n: None)
        )


def test_an_engine_that_cannot_run_ahead_is_waited_for() -> None:
    class Plain(Ahead):
        submit = None  # type: ignore[assignment]

        def run(self, frame: np.ndarray) -> np.ndarray:
            return frame

    frame = np.zeros((1, 1, 3), np.uint8)
    assert ahead.start(Plain(1), frame, lambda picture: picture) is frame
