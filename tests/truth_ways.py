"""Ways into and out of the running pipeline, for the tests of picture truth."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from truth_tools import as_tagged, write_film
from video_clips import FakeEngine, Image, smooth_picture

from acf_edge.errors import InputError
from acf_edge.imaging.files import list_images, read_image, write_image
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.uri import open_sink, open_source

HEIGHT, WIDTH = 288, 480
PICTURE = smooth_picture(HEIGHT, WIDTH, seed=3)


def have_gstreamer() -> bool:
    from acf_edge.stream.gst.load import load

    with contextlib.suppress(InputError):
        load()
        return True
    return False


def have_rtsp() -> bool:
    from acf_edge.stream.gst.elements import works
    from acf_edge.stream.gst.load import load_rtsp_server

    with contextlib.suppress(InputError):
        load_rtsp_server()
        return works("x264enc")
    return False


gst = pytest.mark.skipif(not have_gstreamer(), reason="GStreamer is not installed")
rtsp = pytest.mark.skipif(
    not (have_gstreamer() and have_rtsp()), reason="GStreamer's RTSP server is not installed"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Sources: each gives a URI. ``live`` asks for one that goes on until it is stopped.


def film(folder: Path, matrix: int, full: bool, pixel_format: str, live: bool) -> str:
    path = folder / "in.mkv"
    write_film(path, PICTURE, matrix=matrix, full=full, pixel_format=pixel_format)
    return f"{path}?loop=1&realtime=1" if live else str(path)


def pictures(folder: Path, matrix: int, full: bool, pixel_format: str, live: bool) -> str:
    (folder / "pictures").mkdir()
    for i in range(6):
        write_image(folder / f"pictures/{i}.png", PICTURE)
    return f"{folder}/pictures/" + ("?loop=1&realtime=1" if live else "")


def pipeline(folder: Path, matrix: int, full: bool, pixel_format: str, live: bool) -> str:
    path = folder / "in.mkv"
    count = 400 if live else 8
    write_film(path, PICTURE, matrix=matrix, full=full, pixel_format=pixel_format, count=count)
    pace = " ! identity sync=true" if live else ""
    return f"gst:filesrc location={path} ! matroskademux ! h264parse ! avdec_h264{pace}"


@contextlib.contextmanager
def camera(folder: Path, matrix: int, full: bool) -> Iterator[str]:
    """An RTSP camera that sends the picture; its server is our own sink."""
    address = f"rtsp://127.0.0.1:{free_port()}/camera"
    with running(film(folder, matrix, full, "yuv420p", True), f"{address}?bitrate=40000"):
        yield address


@contextlib.contextmanager
def running(source: str, sink: str, frames: int | None = None) -> Iterator[threading.Thread]:
    """The pipeline with the identity for an engine, in a thread, until the block ends."""
    run = StreamRun([Lane(open_source(source), [open_sink(sink)])], [FakeEngine(1)], frames=frames)
    cancel, failures = threading.Event(), []

    def work() -> None:
        try:
            summary = run.run(cancel)
            failures.extend(s.reason for s in summary.stats.sinks if s.state == "failed")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        cancel.set()
        thread.join(20)
        assert not thread.is_alive()
    assert not failures, failures


# Sinks: each lets a source run into it and returns a picture that came out.


def until_the_end(source: str, sink: str) -> None:
    with running(source, sink, frames=6) as thread:
        thread.join(20)


def recording(suffix: str) -> Callable[[Path, str], Image]:
    def carry(folder: Path, source: str) -> Image:
        path = folder / f"out{suffix}"
        until_the_end(source, f"{path}?crf=0" if suffix == ".webm" else f"{path}?crf=1")
        with av.open(str(path)) as container:
            return as_tagged(list(container.decode(video=0))[-1])

    return carry


def folder_of(kind: str) -> Callable[[Path, str], Image]:
    def carry(folder: Path, source: str) -> Image:
        until_the_end(source, f"{folder}/out/?format={kind}")
        return read_image(list_images(folder / "out")[-1])

    return carry


def gst_pipeline(folder: Path, source: str) -> Image:
    path = folder / "out.mkv"
    until_the_end(
        source,
        "gst:x264enc pass=quant quantizer=1 speed-preset=ultrafast ! h264parse ! matroskamux ! "
        f"filesink location={path}",
    )
    with av.open(str(path)) as container:
        return as_tagged(list(container.decode(video=0))[-1])


def served(folder: Path, source: str) -> Image:
    address = f"rtsp://127.0.0.1:{free_port()}/live"
    with running(source, f"{address}?bitrate=40000") as thread:
        limit = time.monotonic() + 15
        while True:
            try:
                with av.open(address, options={"rtsp_transport": "tcp"}, timeout=5) as container:
                    # The encoder takes some pictures to come to its bit rate.
                    for number, frame in enumerate(container.decode(video=0)):
                        if number == 20:
                            return as_tagged(frame)
            except av.error.FFmpegError:
                assert thread.is_alive() and time.monotonic() < limit
                time.sleep(0.1)


def have_browser() -> bool:
    import importlib.util

    from acf_edge.stream.clock.browser import find_browser

    wanted = ("aiohttp", "playwright")
    return find_browser() is not None and all(importlib.util.find_spec(name) for name in wanted)


web = pytest.mark.skipif(
    not have_browser(), reason="Chromium, playwright or aiohttp is not installed"
)


def on_a_page(browser: Any, folder: Path, source: str) -> Image:
    """What stands in the canvas of a real browser, without its scaling on the screen."""
    port = free_port()
    with (
        running(source, f"web://127.0.0.1:{port}?crf=1"),
        contextlib.closing(browser.new_page()) as page,
    ):
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        page.goto(f"http://127.0.0.1:{port}/")
        shown = f"() => document.querySelector('#after').width === {WIDTH}"
        page.wait_for_function(shown, timeout=15000)
        # Who joins a camera between two key frames sees the first pictures spoilt.
        page.wait_for_timeout(2500)
        before: Image | None = None
        for number in range(20):
            data = page.evaluate("() => document.querySelector('#after').toDataURL('image/png')")
            path = folder / f"canvas{number}.png"
            path.write_bytes(base64.b64decode(data.partition(",")[2]))
            shown_now = read_image(path)
            if before is not None and np.abs(shown_now.astype(int) - before).mean() < 0.05:
                break
            before = shown_now
            page.wait_for_timeout(200)
    return shown_now
