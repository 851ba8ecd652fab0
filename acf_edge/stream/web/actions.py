"""What the buttons do: hold an engine, record, take a snapshot into a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from acf_edge.errors import AcfError, InputError
from acf_edge.files import atomic_path
from acf_edge.stream.web.encoders import encode_png
from acf_edge.stream.web.hub import Numbered
from acf_edge.stream.web.recorder import Recorder, stamp
from acf_edge.stream.web.site import SITE, Site

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Action = Callable[[Site, dict[str, Any]], Awaitable[dict[str, Any]]]


def posts() -> dict[str, Handler]:
    """Path -> handler."""
    return {
        "/api/hold": _handler(hold),
        "/api/record/start": _handler(start),
        "/api/record/stop": _handler(stop),
        "/api/snapshot": _handler(snapshot),
    }


def _handler(action: Action) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json() if request.can_read_body else {}
        except (json.JSONDecodeError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            return web.json_response({"problem": "The body is no JSON object."}, status=400)
        try:
            return web.json_response(await action(request.app[SITE], body))
        except AcfError as error:
            answer = {"problem": error.problem, "remedy": error.remedy}
            return web.json_response(answer, status=409)

    return handle


async def hold(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """Stay with one engine (``{"rung": NAME}``), or let the governor choose (null)."""
    rung = body.get("rung")
    if site.controls is None:
        raise InputError("This stream has no controls.")
    rungs = list(site.controls.rungs())
    if rung is not None and rung not in rungs:
        raise InputError("There is no such engine.", f"There are: {', '.join(rungs)}.")
    await asyncio.to_thread(site.controls.hold_rung, rung)
    site.held_rung = rung
    site.tell("page", {"page": site.page_state()})
    return {"rung": rung}


def _recorder(site: Site) -> Recorder:
    if site.recorder is None:
        raise InputError("This stream cannot be recorded from here.")
    return site.recorder


async def start(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """Begin a recording."""
    recording = await asyncio.to_thread(_recorder(site).start)
    site.tell("page", {"page": site.page_state()})
    return {"name": recording.path.name}


async def stop(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """Finish it; ``url`` is where to fetch it from, ``folder`` where it was saved."""
    path, notes = await asyncio.to_thread(_recorder(site).stop)
    site.tell("page", {"page": site.page_state()})
    saved = site.settings.save is not None
    return {
        "name": path.name,
        "url": None if saved else f"/recordings/{path.name}",
        "folder": str(path.parent) if saved else None,
        "notes": list(notes),
    }


async def snapshot(site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """Save both pictures of a moment (``{"number": N}``) as PNG in the folder of ``?save=``."""
    folder, number = site.settings.save, body.get("number")
    if folder is None:
        raise InputError("No folder was named for snapshots.", "Start with ?save=FOLDER.")
    found = site.find(number if isinstance(number, int) else None)
    if found is None:
        raise InputError("There is no frame yet.", "Wait for the first one.")
    moment = found

    def write() -> list[str]:
        names = []
        for kind, pixels in _pictures(moment):
            name = f"{stamp()}-{moment.number}-{kind}.png"
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(encode_png(pixels))
            names.append(name)
        return names

    return {"folder": str(folder), "names": await asyncio.to_thread(write)}


def _pictures(found: Numbered) -> list[tuple[str, Any]]:
    views = [("before", found.moment.original), ("after", found.moment.frame.pixels)]
    return [(kind, pixels) for kind, pixels in views if pixels is not None]
