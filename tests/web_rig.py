"""A running web page for tests: controls that remember, frames that move, a free port."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Moment, Source, StreamInfo
from acf_edge.stream.uri_types import Uri
from acf_edge.stream.web.sink import WebSink

RUNGS = ("acf-t-x4 int8", "acf-t-x2 int8", "bicubic")
COLOUR = Colour(1, 1, 1, 1)
Paint = Callable[[int], tuple[Uint8Image, Uint8Image]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def web_uri(port: int, host: str = "", **options: Any) -> Uri:
    """What the grammar makes of ``web://HOST:PORT?...``."""
    return Uri("", "web", f"{host}:{port}", options, f"web://{host}:{port}", host=host, port=port)


@dataclass
class FakeControls:
    """Controls of a stream that does not run."""

    held: str | None = None
    state: str = "live"
    attached: dict[int, Path] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    frames: int = 0
    dropped: int = 0
    began: float = field(default_factory=time.monotonic)

    def stats(self) -> Mapping[str, Any]:
        quantiles = {"p50": 12.5, "p95": 18.25, "p99": None}
        return {
            "seconds": time.monotonic() - self.began,
            "engine": RUNGS[0],
            "fps": 30.0,
            "sources": [
                {
                    "uri": "rtsp://camera.local/live",
                    "state": self.state,
                    "width": 64,
                    "height": 36,
                    "captured": self.frames + self.dropped,
                    "frames": self.frames,
                    "dropped": self.dropped,
                    "reconnects": 1,
                    "queue": 0,
                    "latency_ms": {"infer": quantiles, "end_to_end": quantiles},
                }
            ],
            "sinks": [
                {"number": 0, "uri": 'web://:8080/"x"', "state": "open", "frames": 5, "dropped": 0},
                *(
                    {
                        "number": number,
                        "uri": str(path),
                        "state": "failed" if number in self.failed else "open",
                        "frames": 1,
                        "dropped": 0,
                        "reason": "the disk is full" if number in self.failed else "",
                    }
                    for number, path in self.attached.items()
                ),
            ],
            "governor": {
                "rung": 0,
                "name": self.held or RUNGS[0],
                "frames": {RUNGS[0]: 700, RUNGS[1]: 250, RUNGS[2]: 50},
                "in_time": 990,
                "late": 10,
                "steps_down": 2,
                "steps_up": 2,
                "reason": "room to spare: 21 of 33 ms",
            },
        }

    def rungs(self) -> Sequence[str]:
        return RUNGS

    def hold_rung(self, name: str | None) -> None:
        self.held = name

    def attach(self, uri: str) -> int:
        path = Path(uri)
        if path.suffix != ".mp4":
            raise InputError(f"'{uri}' is no recording.")
        number = 7 + len(self.attached)
        self.attached[number] = path
        return number

    def detach(self, number: int) -> Sequence[str]:
        self.attached.pop(number).write_bytes(b"a whole film")
        return ["1 frame"]


def flat(colour: tuple[int, int, int], width: int = 64, height: int = 36, scale: int = 4) -> Paint:
    """Always the same colour, both pictures."""

    def paint(number: int) -> tuple[Uint8Image, Uint8Image]:
        small = np.full((height, width, 3), colour, np.uint8)
        return small, np.full((height * scale, width * scale, 3), colour, np.uint8)

    return paint


def info(width: int, height: int, rate: int = 30) -> StreamInfo:
    return StreamInfo(
        "rtsp://camera.local/live",
        width,
        height,
        Fraction(rate),
        Fraction(1, 90000),
        COLOUR,
        COLOUR,
        live=True,
    )


def moment(number: int, paint: Paint, rate: int = 30, *, held: bool = False) -> Moment:
    small, large = paint(number)
    now = time.monotonic()
    frame = Frame(large, number * 90000 // rate, Fraction(1, 90000), 0, COLOUR)
    return Moment(frame, small, 0, number, now, now, RUNGS[0], held)


@dataclass
class Rig:
    """A web sink that is fed.

    Attributes:
        sink: open.
        controls: its controls.
        url: of the page, with a slash at its end.
        paint: gives the pictures; may be exchanged while it runs.
        running: clear it, and no more frames come.
    """

    sink: WebSink
    controls: FakeControls
    url: str
    paint: Paint
    running: threading.Event
    number: int = 0
    slowest_write: float = 0.0
    one: threading.Lock = field(default_factory=threading.Lock)

    def write(self, *, held: bool = False) -> None:
        # As in the runtime, never two at a time.
        with self.one:
            self.number += 1
            item = moment(self.number, self.paint, held=held)
            began = time.monotonic()
            self.sink.write(item)
            self.slowest_write = max(self.slowest_write, time.monotonic() - began)
            self.controls.frames += 1


@contextlib.contextmanager
def rig(
    paint: Paint | None = None,
    *,
    rate: int = 30,
    host: str = "",
    port: int = 0,
    feed: bool = True,
    **options: Any,
) -> Iterator[Rig]:
    """Serve a page on a port, by default a free one; fed in a thread of its own if ``feed``."""
    port = port or free_port()
    sink = WebSink(web_uri(port, host, **options))
    controls = FakeControls()
    sink.bind(controls)
    paint = paint or flat((60, 120, 180))
    small, large = paint(0)
    size = (large.shape[1], large.shape[0])
    sink.open(info(small.shape[1], small.shape[0], rate), size, cast(Source, None))
    running = threading.Event()
    running.set()
    made = Rig(sink, controls, f"http://127.0.0.1:{port}/", paint, running)
    ended = threading.Event()

    def run() -> None:
        due = time.monotonic()
        while not ended.is_set():
            if running.is_set():
                made.write()
            due = max(due + 1 / rate, time.monotonic() - 1 / rate)
            ended.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=run)
    if feed:
        thread.start()
    try:
        yield made
    finally:
        ended.set()
        if feed:
            thread.join()
        recorder = sink._server.site.recorder if sink._server else None
        sink.close()
        if recorder and recorder._folder:
            shutil.rmtree(recorder._folder, ignore_errors=True)


class SlowLink:
    """A TCP proxy that passes on so many bytes a second from the server, and keeps few.

    Args:
        port: of the server on this machine.
        rate: bytes per second towards the client.
    """

    def __init__(self, port: int, rate: float) -> None:
        self.rate = rate
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._ended = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.socket()
                # Small, and set before connecting: what is in it is old already.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                server.connect(("127.0.0.1", self._target))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                self._sockets += [client, server]
                for pair, slow in (((client, server), False), ((server, client), True)):
                    threading.Thread(target=self._pump, args=(*pair, slow), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2048 if slow else 65536):
                if slow and self._ended.wait(len(data) / self.rate):
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended.set()
        for each in (self._server, *self._sockets):
            each.close()
