"""The page's server: aiohttp in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from acf_edge.stream.protocols import Controls
from acf_edge.stream.web import actions, routes, sockets
from acf_edge.stream.web.guard import Guard, Handler
from acf_edge.stream.web.hub import Hub
from acf_edge.stream.web.recorder import Recorder
from acf_edge.stream.web.settings import Settings
from acf_edge.stream.web.site import SITE, STATIC, Site
from acf_edge.stream.web.wire import Encoded

STATS_SECONDS = 0.5
_STOP_SECONDS = 5.0
_LARGEST_POST = 4096

# For those who set up logging; nobody else sees tracebacks of requests that broke.
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())


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
