"""The page's server: aiohttp in a thread of its own, and who watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from acf_edge.stream.protocols import Controls, StreamInfo
from acf_edge.stream.web.guard import Guard, Handler
from acf_edge.stream.web.hub import Hub, Numbered
from acf_edge.stream.web.metrics import Histogram
from acf_edge.stream.web.recorder import Recorder
from acf_edge.stream.web.settings import Settings
from acf_edge.stream.web.wire import Encoded

STATIC = Path(__file__).resolve().parent / "static"
STATS_SECONDS = 0.5
_STOP_SECONDS = 5.0
_LARGEST_POST = 4096

# For those who set up logging; nobody else sees tracebacks of requests that broke.
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())


class Watcher(Protocol):
    """Whoever gets moments: a WebSocket's viewer, or one MJPEG answer."""

    @property
    def watches(self) -> str | None:
        """The codec it wants now, or None."""

    def offer(self, encoded: Encoded) -> None:
        """Take a moment, or leave it out."""

    @property
    def pinned(self) -> Numbered | None:
        """The moment that a paused viewer looks at."""

    def notice(self, kind: str, text: str) -> None:
        """Take a text message; of two of a kind, the newer one counts."""


@dataclass(slots=True)
class Sent:
    """What went out to viewers, those that left included."""

    moments: int = 0
    skipped: int = 0
    bytes: int = 0
    viewers: int = 0
    most_at_once: int = 0
    acknowledged: Histogram = field(default_factory=Histogram)


@dataclass
class Site:
    """What the handlers share. Touched in the server's loop alone, but for what is noted.

    Attributes:
        settings: how the page is served.
        hub: thread-safe.
        controls: of the running stream, thread-safe; None where it has none.
        recorder: None without controls; thread-safe.
        watchers: all viewers.
        sent: counters.
        held_rung: the engine that a viewer chose; None = the governor chooses.
        source: number of the source that is shown.
        stats: the stream's statistics as last read.
        ending, tasks: see :meth:`answering`.
    """

    settings: Settings
    hub: Hub
    controls: Controls | None
    recorder: Recorder | None
    info: StreamInfo | None = None
    size: tuple[int, int] = (0, 0)
    source: int = 0
    watchers: set[Watcher] = field(default_factory=set)
    sent: Sent = field(default_factory=Sent)
    held_rung: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def join(self, watcher: Watcher) -> None:
        """One more watches."""
        self.watchers.add(watcher)
        self.sent.viewers += 1
        self.sent.most_at_once = max(self.sent.most_at_once, len(self.watchers))
        self.demand()

    def leave(self, watcher: Watcher) -> None:
        """One less."""
        self.watchers.discard(watcher)
        self.demand()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """While this lasts, the end of the stream ends the block, and nothing else."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.ending.is_set():
                raise
        finally:
            self.tasks.discard(task)

    def demand(self) -> None:
        """Tell the hub which codecs are watched."""
        self.hub.want(frozenset(each.watches for each in self.watchers if each.watches))

    def deliver(self, encoded: Encoded) -> None:
        """Offer a moment to everybody."""
        for watcher in self.watchers:
            watcher.offer(encoded)

    def find(self, number: int | None) -> Numbered | None:
        """The moment of that number, if at hand or on a paused screen; else the newest."""
        for watcher in self.watchers:
            pinned = watcher.pinned
            if pinned is not None and pinned.number == number:
                return pinned
        return self.hub.find(number)

    def tell(self, kind: str, message: Mapping[str, Any]) -> None:
        """Send everybody a text message."""
        text = json.dumps({"t": kind, **message}, default=str)
        for watcher in self.watchers:
            watcher.notice(kind, text)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether fresh frames come, and the words for it."""
        age = self.hub.age
        state = self.source_stats(self.stats).get("state")
        fresh = age is not None and age <= self.settings.stale
        good = fresh and state not in ("held", "failed", "ended")
        status = "ok" if good else "starting" if age is None else "lost" if fresh else "stale"
        return good, {
            "status": status,
            "source": state or ("live" if fresh else "unknown"),
            "seconds_since_frame": None if age is None else round(age, 3),
        }

    def source_stats(self, stats: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of the statistics on the source that is shown."""
        sources = stats.get("sources") or ()
        return sources[self.source] if self.source < len(sources) else {}

    @property
    def aspect(self) -> float:
        """Width of a pixel by its height."""
        return float(self.info.aspect) if self.info and self.info.aspect else 1.0

    def hello(self) -> dict[str, Any]:
        """What a page needs to know first."""
        info = self.info
        return {
            "title": info.title if info else "",
            "live": bool(info and info.live),
            "notes": list(info.notes) if info else [],
            "hdr": bool(info and info.colour.hdr),
            "before": [info.width, info.height] if info else [0, 0],
            "after": list(self.size),
            "aspect": self.aspect,
            "rungs": list(self.controls.rungs()) if self.controls else [],
            "held_rung": self.held_rung,
            "record": self.recorder is not None,
            "save": str(self.settings.save) if self.settings.save else None,
            "now": time.monotonic(),
        }

    def page_state(self) -> dict[str, Any]:
        """What changes, and is shown beside the stream's statistics."""
        running = self.recorder.running if self.recorder else None
        return {
            "viewers": len(self.watchers),
            "source": self.source,
            "held_rung": self.held_rung,
            "recording": None
            if running is None
            else {"name": running.path.name, "seconds": time.monotonic() - running.began},
        }

    async def refresh(self) -> Mapping[str, Any]:
        """Read the stream's statistics anew."""
        if self.controls is not None:
            self.stats = await asyncio.to_thread(self.controls.stats)
        return self.stats


SITE = web.AppKey("site", Site)


class PageServer:
    """Runs the page until it is stopped.

    Args:
        settings: how.
        controls: of the running stream, or None.
    """

    def __init__(self, settings: Settings, controls: Controls | None) -> None:
        self.settings = settings
        self.hub = Hub(settings, self._deliver)
        recorder = Recorder(controls, settings.save) if controls else None
        self.site = Site(settings, self.hub, controls, recorder)
        self.port = settings.port
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="acf-web", daemon=True)
        self._up = threading.Event()
        self._failed: BaseException | None = None

    def start(self, listening: socket.socket) -> None:
        """Serve on a socket that listens already; returns once the page can be asked for."""
        self.port = int(listening.getsockname()[1])
        self._socket = listening
        self._thread.start()
        self._up.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Say good-bye to the viewers and let go of the port. Safe to call twice."""
        if self._thread.is_alive():
            self._call(self._stopping.set)
            self._thread.join(_STOP_SECONDS)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # The loop is closed when the stream's last frames race with the end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, encoded: Encoded) -> None:
        self._call(self.site.deliver, encoded)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        pool = ThreadPoolExecutor(2, thread_name_prefix="acf-web")
        self._loop.set_default_executor(pool)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failed = error
            _LOG.debug("the page's server stopped", exc_info=True)
        finally:
            self._up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(
            make_application(self.site),
            access_log=None,
            logger=_LOG,
            handle_signals=False,
            shutdown_timeout=0.5,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            self._up.set()
            while not self._stopping.is_set():
                await self._tick()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), STATS_SECONDS)
            self.site.tell("ended", {})
            await asyncio.sleep(0.05)
            self.site.ending.set()
            for task in list(self.site.tasks):
                task.cancel()
        finally:
            await runner.cleanup()

    async def _tick(self) -> None:
        """What is done twice a second: statistics to the viewers, an eye on the recording."""
        site = self.site
        site.demand()
        recording = site.recorder is not None and site.recorder.running is not None
        if not site.watchers and not recording:
            return
        try:
            stats = await site.refresh()
        except Exception:  # statistics are a nicety; the picture goes on without
            _LOG.debug("no statistics", exc_info=True)
            return
        if site.recorder is not None and recording:
            reason = await asyncio.to_thread(site.recorder.watch, stats)
            if reason:
                site.tell("problem", {"problem": f"The recording ended: {reason}."})
        site.tell("stats", {"now": time.monotonic(), "stats": stats, "page": site.page_state()})


def make_application(site: Site) -> web.Application:
    """All that is served: the static files by name, the stream, figures, and the buttons."""
    from acf_edge.stream.web import actions, routes, sockets

    guard = Guard(site.settings, (STATIC / "login.html").read_bytes())

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await guard.check(request, handler)

    application = web.Application(middlewares=[check], client_max_size=_LARGEST_POST)
    application[SITE] = site
    application.on_response_prepare.append(guard.add_headers)
    router = application.router
    router.add_post("/login", guard.login)
    router.add_get("/ws", sockets.websocket, allow_head=False)
    router.add_get("/live.mjpg", sockets.mjpeg, allow_head=False)
    for path, get in routes.gets().items():
        router.add_get(path, get)
    for path, post in actions.posts().items():
        router.add_post(path, post)
    return application
