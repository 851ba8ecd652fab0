"""The two ways pictures leave: a WebSocket for the page, MJPEG for everything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from acf_edge.stream.web.hub import Numbered
from acf_edge.stream.web.site import SITE, Site
from acf_edge.stream.web.viewer import Viewer
from acf_edge.stream.web.wire import AFTER, CODECS, JPEG, KINDS, Encoded

# What may wait in the system for one viewer. With the answers of the page this is
# the second fence, and the only one for MJPEG.
_SEND_BUFFER = 128 << 10
_UNSENT = 16 << 10
_LARGEST_MESSAGE = 1024
_MOST_MESSAGES_PER_SECOND = 400
_HEARTBEAT_SECONDS = 5.0
_CLOSE_SECONDS = 0.5
_BOUNDARY = "acf-frame"


def bound_buffers(request: web.Request) -> None:
    """Let hardly anything wait between us and the network."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=_UNSENT)
    raw = transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Linux knows it as 25 even where Python does not.
            lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)
            if lowat is not None:
                raw.setsockopt(socket.IPPROTO_TCP, lowat, _UNSENT)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """``GET /ws``: moments, statistics and answers; see docs/web.md."""
    site = request.app[SITE]
    answer = web.WebSocketResponse(
        timeout=_CLOSE_SECONDS,
        heartbeat=_HEARTBEAT_SECONDS,
        max_msg_size=_LARGEST_MESSAGE,
        compress=False,
    )
    await answer.prepare(request)
    if len(site.watchers) >= site.settings.viewers:
        await answer.close(code=1013, message=b"too many viewers")
        return answer
    bound_buffers(request)
    viewer = Viewer(
        answer,
        ask_key=lambda at_once: site.hub.ask_key(at_once=at_once),
        acknowledged=site.sent.acknowledged.add,
    )
    viewer.notice("hello", json.dumps({"t": "hello", **site.hello()}))
    site.join(viewer)
    sender = asyncio.create_task(_send(viewer, answer))
    try:
        with site.answering():
            await _listen(site, viewer, answer)
    finally:
        site.leave(viewer)
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender
        site.sent.moments += viewer.sent
        site.sent.skipped += viewer.skipped
        site.sent.bytes += viewer.sent_bytes
    return answer


async def _send(viewer: Viewer, answer: web.WebSocketResponse) -> None:
    # A viewer that vanished: the reading side notices, and ends it all.
    with contextlib.suppress(ConnectionError, RuntimeError):
        await viewer.send_forever()
    await answer.close()


async def _listen(site: Site, viewer: Viewer, answer: web.WebSocketResponse) -> None:
    second, count = 0, 0
    async for message in answer:
        if message.type != WSMsgType.TEXT:
            continue
        now = int(time.monotonic())
        second, count = (second, count + 1) if now == second else (now, 1)
        said = _parsed(message.data)
        if said is None or count > _MOST_MESSAGES_PER_SECOND:
            await answer.close(code=1008, message=b"not understood")
            return
        _obey(site, viewer, said)


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("t"), str) else None


def _obey(site: Site, viewer: Viewer, said: Mapping[str, Any]) -> None:
    kind = said["t"]
    if kind == "ack":
        number, trip = said.get("n"), said.get("rtt")
        if isinstance(number, int):
            viewer.answer(number, trip / 1000 if isinstance(trip, (int, float)) else None)
    elif kind == "ping":
        pong = {"t": "pong", "c": said.get("c"), "now": time.monotonic()}
        viewer.notice("pong", json.dumps(pong))
    elif kind == "start":
        codec = said.get("codec")
        if isinstance(codec, str) and codec in CODECS:
            viewer.start(codec)
            site.demand()
    elif kind == "pause":
        number = said.get("n")
        viewer.pause(site.hub.find(number) if isinstance(number, int) else None)
        site.demand()


class MjpegWatcher:
    """Keeps the newest JPEG for one multipart answer."""

    watches = JPEG
    pinned: Numbered | None = None

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._newest: bytes | None = None
        self._fresh = asyncio.Event()

    def offer(self, encoded: Encoded) -> None:
        """Replace what has not been sent yet."""
        for picture in encoded.pictures if encoded.codec == JPEG else ():
            if picture.kind == self._kind:
                self._newest = picture.data
                self._fresh.set()

    def notice(self, kind: str, text: str) -> None:
        """There is no place for words."""

    async def next(self) -> bytes:
        """Wait for a picture that is newer than the last one given."""
        await self._fresh.wait()
        self._fresh.clear()
        assert self._newest is not None
        return self._newest


async def mjpeg(request: web.Request) -> web.StreamResponse:
    """``GET /live.mjpg[?picture=before]``: for players and pages that know nothing better."""
    site = request.app[SITE]
    if len(site.watchers) >= site.settings.viewers:
        raise web.HTTPServiceUnavailable(text="too many viewers\n")
    answer = web.StreamResponse(
        headers={"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"}
    )
    bound_buffers(request)
    await answer.prepare(request)
    watcher = MjpegWatcher(KINDS.get(request.query.get("picture", "after"), AFTER))
    site.join(watcher)
    try:
        await answer.write(f"--{_BOUNDARY}\r\n".encode("ascii"))
        with site.answering():
            await _send_parts(site, watcher, answer)
    except ConnectionError:
        pass  # the viewer went away
    finally:
        site.leave(watcher)
    return answer


async def _send_parts(site: Site, watcher: MjpegWatcher, answer: web.StreamResponse) -> None:
    while True:
        data = await watcher.next()
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        # The boundary goes with the picture before it: players show it at once.
        tail = f"\r\n--{_BOUNDARY}\r\n"
        await answer.write(head.encode("ascii") + data + tail.encode("ascii"))
        site.sent.moments += 1
        site.sent.bytes += len(data)
