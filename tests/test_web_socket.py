"""The WebSocket: one coding for all viewers, and no viewer harms another or the stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from web_rig import Rig, SlowLink, flat, rig

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.web.hub import Hub

aiohttp = pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")


@dataclass(frozen=True)
class Seen:
    """One moment as a client took it apart."""

    number: int
    key: bool
    codec: int
    kinds: tuple[int, ...]
    units: tuple[bytes, ...] = field(repr=False)


def take_apart(data: bytes) -> Seen:
    _, flags, codec, count, number = struct.unpack_from("<BBBBI", data)
    at = (45 + data[44] + 3) // 4 * 4
    kinds, units = [], []
    for _ in range(count):
        kind, _, _, length = struct.unpack_from("<B3xHHI", data, at)
        kinds.append(kind)
        units.append(data[at + 12 : at + 12 + length])
        at = (at + 12 + length + 3) // 4 * 4
    assert at == len(data)
    return Seen(number, bool(flags & 1), codec, tuple(kinds), tuple(units))


@dataclass
class Client:
    """A page without a screen: it answers each moment at once, unless told not to."""

    socket: Any
    texts: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, kind: str, **more: Any) -> None:
        await self.socket.send_str(json.dumps({"t": kind, **more}))

    async def next(self, *, answer: bool = True) -> Seen:
        """The next moment."""
        while True:
            message = await self.socket.receive(timeout=10)
            if message.type == aiohttp.WSMsgType.TEXT:
                self.texts.append(json.loads(message.data))
            elif message.type == aiohttp.WSMsgType.BINARY:
                seen = take_apart(message.data)
                if answer:
                    await self.say("ack", n=seen.number, rtt=1)
                return seen
            else:
                raise ConnectionError(f"{message.type} {message.data}")

    async def text(self, kind: str) -> dict[str, Any]:
        """The next text message of a kind."""
        while True:
            message = await self.socket.receive(timeout=10)
            if message.type == aiohttp.WSMsgType.TEXT:
                found: dict[str, Any] = json.loads(message.data)
                if found["t"] == kind:
                    return found
            elif message.type != aiohttp.WSMsgType.BINARY:
                raise ConnectionError(str(message.type))


@contextlib.asynccontextmanager
async def client(url: str, codec: str | None = "h264") -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}ws", origin=url.rstrip("/"), max_msg_size=0) as socket,
    ):
        made = Client(socket)
        if codec:
            await made.say("start", codec=codec)
        yield made


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(story(), 60)

    asyncio.run(bounded())


def hub_of(made: Rig) -> Hub:
    assert made.sink._server is not None
    return made.sink._server.hub


def site_of(made: Rig) -> Any:
    assert made.sink._server is not None
    return made.sink._server.site


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def noise(scale: int = 4) -> Callable[[int], tuple[Uint8Image, Uint8Image]]:
    """Pictures that take many bytes."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 54, 96, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (8, 54 * scale, 96 * scale, 3), dtype=np.uint8)
    return lambda number: (small[number % 8], large[number % 8])


def test_a_page_learns_what_it_shows() -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url, None) as page:
                hello = await page.text("hello")
                assert hello["title"] == "rtsp://camera.local/live"
                assert (hello["before"], hello["after"]) == ([64, 36], [256, 144])
                assert hello["rungs"] == list(made.controls.rungs())
                stats = await page.text("stats")
                assert stats["stats"]["governor"]["name"] == made.controls.rungs()[0]
                assert stats["page"]["viewers"] == 1
                await page.say("ping", c=12.5)
                assert (await page.text("pong"))["c"] == 12.5

    play(story)


def test_what_is_sent_can_be_decoded() -> None:
    async def story() -> None:
        with rig(flat((30, 180, 60))) as made:
            decoder = av.CodecContext.create("h264", "r")
            assert isinstance(decoder, VideoCodecContext)
            async with client(made.url) as page:
                frames = []
                for place in range(12):
                    seen = await page.next()
                    assert (seen.codec, seen.kinds) == (1, (0, 1))
                    assert seen.key == (place == 0)
                    frames += decoder.decode(av.Packet(seen.units[1]))
                frames += decoder.decode(None)
                assert len(frames) == 12
                assert (frames[0].width, frames[0].height) == (256, 144)

    play(story)


def test_several_viewers_share_one_coding() -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url) as one, client(made.url) as two:

                async def watch(page: Client) -> dict[int, Seen]:
                    first = await page.next()
                    assert first.key
                    return {seen.number: seen for seen in [await page.next() for _ in range(25)]}

                ones, twos = await asyncio.gather(watch(one), watch(two))
                both = ones.keys() & twos.keys()
                assert len(both) >= 10
                assert all(ones[number].units == twos[number].units for number in both)
                coded = hub_of(made).counters.pictures["h264", "after"]
                assert coded <= hub_of(made).counters.moments

    play(story)


def test_viewers_may_take_different_codecs() -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url) as one, client(made.url, "jpeg") as two:
                assert (await one.next()).codec == 1
                seen = await two.next()
                assert seen.codec == 2
                assert all(unit[:2] == b"\xff\xd8" for unit in seen.units)
                await two.say("start", codec="h264")
                while (seen := await two.next()).codec != 1:
                    pass
                assert seen.key

    play(story)


def test_nothing_is_coded_once_the_last_viewer_is_gone_or_pauses() -> None:
    async def story() -> None:
        with rig() as made:
            counters = hub_of(made).counters
            async with client(made.url) as page:
                await page.next()
                await page.say("pause", n=1)
                await until(lambda: hub_of(made)._wanted == frozenset())
                coded, moments = counters.pictures["h264", "after"], counters.moments
                await until(lambda: counters.moments > moments + 10)
                assert counters.pictures["h264", "after"] <= coded + 1
                await page.say("start", codec="h264")
                seen = await page.next()
                while seen.number <= moments:
                    seen = await page.next()
                assert seen.key
            await until(lambda: not site_of(made).watchers)
            coded, moments = counters.pictures["h264", "after"], counters.moments
            await until(lambda: counters.moments > moments + 10)
            assert counters.pictures["h264", "after"] <= coded + 1

    play(story)


def test_a_paused_picture_stays_for_a_snapshot() -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url, "jpeg") as page:
                seen = await page.next()
                await page.say("pause", n=seen.number)
                await until(lambda: hub_of(made).counters.moments > seen.number + 30)
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{made.url}snapshot.png?number={seen.number}") as answer,
                ):
                    assert answer.headers["X-Acf-Number"] == str(seen.number)

    play(story)


@pytest.mark.parametrize(("codec", "rate", "count"), [("h264", 40_000, 28), ("jpeg", 120_000, 8)])
def test_a_slow_viewer_sees_no_stale_frames_and_harms_nobody(
    codec: str, rate: int, count: int
) -> None:
    async def story() -> None:
        with rig(noise()) as made:
            port = int(made.url.rstrip("/").rpartition(":")[2])
            link = SlowLink(port, rate=rate)
            moments = hub_of(made).counters
            lags, quick = [], []

            async def slow_one() -> None:
                async with client(f"http://127.0.0.1:{link.port}/", codec) as page:
                    while len(lags) < count:
                        seen = await page.next()
                        lags.append(moments.moments - seen.number)

            async def quick_one() -> None:
                async with client(made.url, codec) as page:
                    while len(lags) < count:
                        seen = await page.next()
                        quick.append(moments.moments - seen.number)

            try:
                await asyncio.gather(slow_one(), quick_one())
            finally:
                link.close()
            # The lag is the time that one message takes on this link (a key frame or a JPEG
            # about 20 pictures, twice that at the start); if messages piled up, it would
            # grow with each and end beyond 100.
            assert max(lags) <= 90
            assert max(lags[-6:]) <= 45
            assert sorted(quick)[len(quick) // 2] <= 3
            assert len(quick) > 2 * len(lags)
            assert made.slowest_write < 2.0

    play(story)


def test_a_viewer_who_never_reads_is_dropped_from_the_count_of_who_watches() -> None:
    async def story() -> None:
        with rig(noise()) as made:
            async with client(made.url, "jpeg") as page:
                await page.next(answer=False)
                await until(lambda: hub_of(made)._wanted == frozenset())
                sent = sum(each.sent for each in site_of(made).watchers)
                assert sent <= 12

    play(story)


def test_a_viewer_who_vanishes_is_noticed() -> None:
    async def story() -> None:
        with rig(noise()) as made:
            async with client(made.url) as page:
                await page.next()
                page.socket._response.connection.transport.abort()
                await until(lambda: not site_of(made).watchers)
            assert site_of(made).sent.moments >= 1

    play(story)


def test_more_viewers_than_allowed_are_turned_away() -> None:
    async def story() -> None:
        with rig(viewers=2) as made:
            async with client(made.url) as one, client(made.url) as two, client(made.url) as three:
                await one.next()
                await two.next()
                message = await three.socket.receive(timeout=10)
                assert message.type == aiohttp.WSMsgType.CLOSE
                assert message.data == 1013

    play(story)


@pytest.mark.parametrize("said", ["no json", "[]", "{}", '{"t": 1}', "x" * 5000])
def test_who_talks_nonsense_is_hung_up_on(said: str) -> None:
    async def story() -> None:
        with rig() as made, contextlib.suppress(ConnectionError):
            async with client(made.url, None) as page:
                await page.socket.send_str(said)
                while True:
                    message = await page.socket.receive(timeout=10)
                    if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                        break
                assert page.socket.close_code in (1008, 1009)

    play(story)


@pytest.mark.parametrize(
    "said",
    [
        {"t": "ack"},
        {"t": "ack", "n": "x", "rtt": -5},
        {"t": "ack", "n": 10**30, "rtt": "x"},
        {"t": "start", "codec": "av1"},
        {"t": "start", "codec": []},
        {"t": "pause", "n": None},
        {"t": "unknown"},
    ],
)
def test_who_talks_oddly_is_still_served(said: dict[str, Any]) -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url, None) as page:
                await page.socket.send_str(json.dumps(said))
                await page.say("start", codec="jpeg")
                assert (await page.next()).codec == 2

    play(story)


def test_the_end_of_the_stream_is_said() -> None:
    async def story() -> None:
        with rig() as made:
            async with client(made.url) as page:
                await page.next()
                await asyncio.get_running_loop().run_in_executor(None, made.sink.close)
                await page.text("ended")

    play(story)


def test_viewers_who_come_and_go_leave_nothing_behind() -> None:
    async def story() -> None:
        with rig() as made:

            async def visit(codec: str) -> None:
                async with client(made.url, codec) as page:
                    await page.next()

            def open_things() -> tuple[int, int]:
                return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

            await asyncio.gather(*(visit(codec) for codec in ("h264", "jpeg") * 3))
            await until(lambda: not site_of(made).watchers)
            files, threads = open_things()
            for _ in range(5):
                await asyncio.gather(*(visit(codec) for codec in ("h264", "jpeg") * 3))
            await until(lambda: not site_of(made).watchers)
            await until(lambda: open_things()[0] <= files + 2)
            assert open_things()[1] <= threads + 1

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files can be counted on Linux only")
    play(story)
