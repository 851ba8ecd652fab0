"""What can be read: the page, pictures, figures, health."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from acf_edge.stream.web.encoders import encode_jpeg, encode_png
from acf_edge.stream.web.hub import Numbered
from acf_edge.stream.web.metrics import (
    CONTENT_TYPE,
    Labels,
    Metric,
    histogram,
    render,
    stream_metrics,
)
from acf_edge.stream.web.recorder import stamp
from acf_edge.stream.web.site import SITE, STATIC, Site
from acf_edge.stream.web.viewer import Viewer
from acf_edge.stream.web.wire import H264, JPEG, KINDS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BLOCK = 256 << 10
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "text/plain"}


def gets() -> dict[str, Handler]:
    """Path -> handler. Of the static files, exactly those that exist now are served."""
    paths: dict[str, Handler] = {
        "/": _static(STATIC / "index.html"),
        "/shape.css": shape,
        "/healthz": healthz,
        "/metrics": metrics,
        "/stats.json": stats,
        "/snapshot.jpg": snapshot_jpeg,
        "/snapshot.png": snapshot_png,
        "/recordings/{name}": recording,
    }
    for path in sorted(STATIC.iterdir()):
        if path.suffix in (".js", ".css", ".svg"):
            paths[f"/static/{path.name}"] = _static(path)
    return paths


def _static(path: Path) -> Handler:
    body = path.read_bytes()
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return handle


async def shape(request: web.Request) -> web.StreamResponse:
    """What the page must know before it is laid out, so that nothing jumps afterwards."""
    site = request.app[SITE]
    (width, height), rows = site.size, len(site.controls.rungs()) if site.controls else 0
    ratio = width * site.aspect / height if height else 16 / 9
    rows += rows > 1  # "Automatic"
    text = f":root {{ --ratio: {ratio:.5f}; --rows: {rows}; }}\n"
    return web.Response(text=text, content_type="text/css")


async def healthz(request: web.Request) -> web.StreamResponse:
    """200 while fresh frames come, 503 otherwise. Needs no token: it shows no picture."""
    site = request.app[SITE]
    await site.refresh()
    good, words = site.health()
    return web.json_response(words, status=200 if good else 503)


async def stats(request: web.Request) -> web.StreamResponse:
    """The stream's statistics and the page's."""
    site = request.app[SITE]
    return web.json_response({**await site.refresh(), "page": site.page_state()})


async def metrics(request: web.Request) -> web.StreamResponse:
    """For Prometheus."""
    site = request.app[SITE]
    text = render([*stream_metrics(await site.refresh()), *_page_metrics(site)])
    return web.Response(body=text.encode("utf-8"), headers={"Content-Type": CONTENT_TYPE})


def _page_metrics(site: Site) -> list[Metric]:
    counters, sent = site.hub.counters, site.sent
    now = [each for each in site.watchers if isinstance(each, Viewer)]
    age = site.hub.age

    def one(name: str, kind: str, text: str, value: float) -> Metric:
        return Metric(f"acf_edge_web_{name}", kind, text, [("", (), float(value))])

    def by_codec(name: str, kind: str, text: str, values: dict[str, float]) -> Metric:
        rows: list[tuple[str, Labels, float]] = [
            ("", (("codec", codec),), float(value)) for codec, value in values.items()
        ]
        return Metric(f"acf_edge_web_{name}", kind, text, rows)

    pictures: list[tuple[str, Labels, float]] = [
        ("", (("codec", codec), ("picture", kind)), float(count))
        for (codec, kind), count in counters.pictures.items()
    ]
    watching = {
        codec: float(sum(each.watches == codec for each in site.watchers)) for codec in (H264, JPEG)
    }
    family = [
        one("frames_total", "counter", "Frames that came to the page's server.", counters.moments),
        by_codec("viewers", "gauge", "Viewers who watch now.", watching),
        one("joined_total", "counter", "Viewers that ever joined.", sent.viewers),
        Metric("acf_edge_web_pictures_total", "counter", "Pictures coded for viewers.", pictures),
        one("key_frames_total", "counter", "Pairs of H.264 key frames.", counters.keys),
        by_codec("encode_seconds_total", "counter", "Time spent on coding.", counters.seconds),
        by_codec(
            "encoded_bytes_total",
            "counter",
            "Bytes that coding made.",
            {codec: float(count) for codec, count in counters.bytes.items()},
        ),
        one(
            "sent_frames_total",
            "counter",
            "Frames sent to viewers.",
            sent.moments + sum(each.sent for each in now),
        ),
        one(
            "skipped_frames_total",
            "counter",
            "Frames left out for viewers that were too slow.",
            sent.skipped + sum(each.skipped for each in now),
        ),
        one(
            "sent_bytes_total",
            "counter",
            "Bytes of pictures sent to viewers.",
            sent.bytes + sum(each.sent_bytes for each in now),
        ),
        histogram(
            "acf_edge_web_view_latency_seconds",
            "From capture until a viewer's page has said that the frame was drawn.",
            sent.acknowledged,
        ),
    ]
    if age is not None:
        family.append(one("frame_age_seconds", "gauge", "Since the last fresh frame.", age))
    return family


def _asked_for(request: web.Request) -> tuple[Numbered, str]:
    """The moment and the picture that the query names.

    Raises:
        HTTPException: there is none, or the query is wrong.
    """
    site = request.app[SITE]
    kind = request.query.get("picture", "after")
    text = request.query.get("number", "")
    if kind not in KINDS or (text and not text.isdecimal()):
        raise web.HTTPBadRequest(text="?picture=before|after and ?number=N\n")
    number = int(text[:12]) if text else None
    found = site.find(number)
    if found is None:
        raise web.HTTPServiceUnavailable(text="no frame yet\n")
    return found, kind


async def snapshot_jpeg(request: web.Request) -> web.StreamResponse:
    """The newest frame (``?picture=before`` for the captured one) as JPEG."""
    found, kind = _asked_for(request)
    pixels = found.moment.original if kind == "before" else found.moment.frame.pixels
    if pixels is None:
        raise web.HTTPNotFound(text="the captured picture is not at hand\n")
    data = await asyncio.to_thread(encode_jpeg, pixels, 90)
    return web.Response(body=data, content_type="image/jpeg")


async def snapshot_png(request: web.Request) -> web.StreamResponse:
    """The same without loss; ``?number=N`` asks for the moment of that message."""
    found, kind = _asked_for(request)
    pixels = found.moment.original if kind == "before" else found.moment.frame.pixels
    if pixels is None:
        raise web.HTTPNotFound(text="the captured picture is not at hand\n")
    data = await asyncio.to_thread(encode_png, pixels)
    name = f"{stamp()}-{found.number}-{kind}.png"
    return web.Response(
        body=data,
        content_type="image/png",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Acf-Number": str(found.number),
        },
    )


async def recording(request: web.Request) -> web.StreamResponse:
    """A finished recording, for download."""
    site = request.app[SITE]
    name = request.match_info["name"]
    finished = site.recorder.finished.get(name) if site.recorder else None
    if finished is None or not finished.path.is_file():
        raise web.HTTPNotFound(text="no such recording\n")
    answer = web.StreamResponse(
        headers={
            "Content-Type": "video/mp4",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
    )
    with finished.path.open("rb") as file:
        answer.content_length = finished.path.stat().st_size
        await answer.prepare(request)
        while block := await asyncio.to_thread(file.read, _BLOCK):
            await answer.write(block)
    await answer.write_eof()
    finished.fetched = True  # a browser that goes away before raises
    return answer
