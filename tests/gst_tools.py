"""What the tests of the GStreamer parts share: URIs, moments, a sink that is fed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from video_clips import Image, numbered_picture

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.source import GstSource
from acf_edge.stream.protocols import Moment, Sink, StreamInfo
from acf_edge.stream.uri import Uri, parse_sink, parse_source

TIME_BASE, RATE = Fraction(1, 90000), Fraction(25)
BT601 = Colour(6, 1, 6, 6)


def need_gstreamer(*elements: str, rtsp: bool = False) -> None:
    """Skip where GStreamer, one of these elements, or its RTSP server is not here."""
    from acf_edge.stream.gst.elements import have
    from acf_edge.stream.gst.load import load, load_rtsp_server

    try:
        load()
        if rtsp:
            load_rtsp_server()
    except InputError as error:
        pytest.skip(error.problem, allow_module_level=True)
    for element in elements:
        if not have(element):
            pytest.skip(f"the element {element} is not here", allow_module_level=True)


def source_uri(text: str) -> Uri:
    return parse_source(text)


def sink_uri(text: str) -> Uri:
    return parse_sink(text)


def made_uri(scheme: str, rest: str, options: Mapping[str, Any] | None = None, **more: Any) -> Uri:
    """A URI as the grammar would make it, for what the grammar need not know."""
    shown = f"{scheme}:{rest}"
    return Uri(shown, scheme, rest, MappingProxyType(dict(options or {})), shown, **more)


def stream_info(
    width: int = 64,
    height: int = 48,
    *,
    colour: Colour = BT601,
    live: bool = False,
    rate: Fraction = RATE,
) -> StreamInfo:
    return StreamInfo("test", width, height, rate, TIME_BASE, colour, colour, live=live)


def moment(picture: Image, number: int, colour: Colour, step: int = 3600) -> Moment:
    frame = Frame(np.ascontiguousarray(picture), number * step, TIME_BASE, step, colour)
    now = time.monotonic()
    return Moment(frame, None, 0, number, now, now, "identity")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def fed(sink: Sink, info: StreamInfo, pictures: list[Image] | None = None) -> Iterator[list[float]]:
    """Keep writing to an opened sink as a camera would; yields how long each write took."""
    size = (info.width, info.height)
    shown = pictures or [numbered_picture(size[1], size[0], n) for n in range(0, 256, 5)]
    taken: list[float] = []
    over = threading.Event()

    def feed() -> None:
        number = 0
        while not over.is_set():
            begin = time.monotonic()
            sink.write(moment(shown[number % len(shown)], number, info.colour))
            taken.append(time.monotonic() - begin)
            number += 1
            over.wait(0.04)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def wait_for(condition: Any, seconds: float = 10) -> bool:
    """Whether something became true in that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def read(text: str, limit: int = 1000) -> tuple[StreamInfo, list[Frame]]:
    source = GstSource(source_uri(text))
    try:
        info = source.open()
        frames: list[Frame] = []
        for frame in source.items():
            assert isinstance(frame, Frame)
            frames.append(frame)
            if len(frames) == limit:
                break
    finally:
        source.close()
    return info, frames


def clip_reader(path: Path) -> str:
    demux = "qtdemux" if path.suffix == ".mp4" else "matroskademux"
    return f"gst:filesrc location={path} ! {demux} ! h264parse ! avdec_h264"
