"""What a viewer gets when it is quick, slow, asleep or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from web_rig import flat, moment

from acf_edge.stream.web.hub import Numbered
from acf_edge.stream.web.viewer import QUEUE, Viewer
from acf_edge.stream.web.wire import H264, JPEG, Encoded


def encoded(number: int, *, key: bool = False, codec: str = H264) -> Encoded:
    return Encoded(codec, number, key or codec == JPEG, 0.0, (), str(number).encode())


@dataclass
class Wire:
    """A socket that remembers, and can be stopped up."""

    sent: list[Any] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def send_bytes(self, data: bytes) -> None:
        await self.open.wait()
        self.sent.append(data)

    async def send_str(self, data: str) -> None:
        await self.open.wait()
        self.sent.append(data)


@dataclass
class Bench:
    """A viewer, its clock, what it asked for."""

    wire: Wire = field(default_factory=Wire)
    now: float = 0.0
    asked: list[bool] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire.open.set()
        self.viewer = Viewer(self.wire, self.asked.append, self.seen.append, lambda: self.now)

    async def run(self, seconds: float = 0.0) -> None:
        """Let the sender do what it can."""
        self.now += seconds
        for _ in range(20):
            await asyncio.sleep(0)


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_a_viewer_begins_with_a_key_frame() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(H264)
        assert bench.asked == [True]
        for number, key in enumerate([False, False, True, False], 1):
            bench.viewer.offer(encoded(number, key=key))
        await bench.run()
        assert bench.viewer.sent == 2
        assert bench.viewer.skipped == 2
        sender.cancel()

    play(story())


def test_pictures_of_the_other_codec_are_not_missed() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(H264)
        for number in range(1, 4):
            bench.viewer.offer(encoded(number, codec=JPEG))
            bench.viewer.offer(encoded(number, key=number == 1))
            await bench.run()
            bench.viewer.answer(number, 0.001)
        assert bench.viewer.sent == 3
        assert bench.viewer.skipped == 0
        sender.cancel()

    play(story())


def test_what_waits_is_never_more_than_two() -> None:
    async def story() -> None:
        bench = Bench()
        bench.viewer.start(JPEG)
        for number in range(1, 101):
            bench.viewer.offer(encoded(number, codec=JPEG))
        sender = asyncio.create_task(bench.viewer.send_forever())
        await bench.run()
        assert bench.viewer.sent <= QUEUE
        assert bench.viewer.skipped == 100 - bench.viewer.sent
        sender.cancel()

    play(story())


def test_after_a_gap_the_next_picture_is_a_key_frame() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(H264)
        bench.wire.open.clear()
        for number in range(1, 7):
            bench.viewer.offer(encoded(number, key=number == 1))
            await bench.run()
        assert bench.asked == [True, False]
        bench.wire.open.set()
        await bench.run()
        assert bench.viewer.sent == 1
        bench.viewer.answer(1, 0.001)
        bench.viewer.offer(encoded(7))
        await bench.run()
        assert bench.viewer.sent == 1
        bench.viewer.offer(encoded(8, key=True))
        bench.viewer.offer(encoded(9))
        await bench.run()
        assert bench.viewer.sent == 3
        sender.cancel()

    play(story())


def test_without_answers_little_is_sent_and_then_nothing() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(JPEG)
        for number in range(1, 200):
            bench.viewer.offer(encoded(number, codec=JPEG))
            await bench.run(1 / 30)
        assert bench.viewer.sent <= 12
        assert bench.viewer.watches is None  # asleep: nothing need be coded for it
        bench.viewer.answer(200, 0.001)
        assert bench.viewer.watches == JPEG
        sender.cancel()

    play(story())


def test_a_slow_viewer_gets_fresh_pictures() -> None:
    """30 pictures a second are made, and each takes 0.4 s on its way."""

    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(JPEG)
        ages, due = [], 0.0
        for number in range(1, 600):
            bench.viewer.offer(encoded(number, codec=JPEG))
            await bench.run(1 / 30)
            if bench.wire.sent and bench.now >= due:
                drawn = int(bench.wire.sent.pop(0))
                ages.append(number - drawn)
                bench.viewer.answer(drawn, 0.001)
                due = bench.now + 0.4
        assert len(ages) > 40
        # At the start a few are under way before the link is known to be slow. Then 12
        # pictures are made while one is on its way; it may have waited for a moment.
        assert max(ages) <= 40
        assert max(ages[8:]) <= 15
        sender.cancel()

    play(story())


def test_the_key_frame_is_asked_for_when_it_can_be_sent() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(H264)
        bench.viewer.offer(encoded(1, key=True))
        await bench.run()
        bench.now += 1.0  # the first one is under way for long: the link is slow
        for number in range(2, 8):
            bench.viewer.offer(encoded(number))
            await bench.run()
        assert bench.asked == [True]
        bench.viewer.answer(1, 0.001)
        assert bench.asked == [True, False]
        sender.cancel()

    play(story())


def test_a_pause_sends_nothing_and_keeps_what_is_looked_at() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(H264)
        looked_at = Numbered(5, moment(5, flat((1, 2, 3))))
        bench.viewer.pause(looked_at)
        bench.viewer.offer(encoded(6, key=True))
        await bench.run()
        assert bench.viewer.sent == 0
        assert bench.viewer.watches is None
        assert bench.viewer.pinned is looked_at
        bench.viewer.start(H264)
        assert bench.viewer.pinned is None
        assert bench.asked == [True, True]
        sender.cancel()

    play(story())


def test_of_two_notices_of_a_kind_the_newer_is_sent() -> None:
    async def story() -> None:
        bench = Bench()
        bench.viewer.notice("stats", "old")
        bench.viewer.notice("pong", "p")
        bench.viewer.notice("stats", "new")
        sender = asyncio.create_task(bench.viewer.send_forever())
        await bench.run()
        assert sorted(bench.wire.sent) == ["new", "p"]
        sender.cancel()

    play(story())


def test_answers_tell_how_old_the_pictures_were() -> None:
    async def story() -> None:
        bench = Bench(now=10.0)
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(JPEG)
        bench.viewer.offer(Encoded(JPEG, 1, True, 9.9, (), b""))
        await bench.run()
        bench.now = 10.02
        bench.viewer.answer(1, 0.001)
        assert [round(age, 3) for age in bench.seen] == [0.12]
        sender.cancel()

    play(story())


def test_after_a_pause_nobody_waits_for_what_was_thrown_away() -> None:
    async def story() -> None:
        bench = Bench()
        sender = asyncio.create_task(bench.viewer.send_forever())
        bench.viewer.start(JPEG)
        bench.viewer.offer(encoded(1, codec=JPEG))
        await bench.run()
        bench.viewer.pause(None)  # the first one is on its way, and never answered
        await bench.run(10.0)
        bench.viewer.start(JPEG)
        bench.viewer.offer(encoded(2, codec=JPEG))
        await bench.run()
        assert bench.viewer.sent == 2
        sender.cancel()

    play(story())
