"""An RTSP server that is fed, and viewers of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from gst_tools import (
    fed,
    free_port,
    sink_uri,
    source_uri,
    stream_info,
)
from video_clips import Image

from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.rtsp_server import RtspServerSink
from acf_edge.stream.gst.source import GstSource
from acf_edge.stream.protocols import StreamInfo

LIVE = stream_info(160, 120, live=True)


@contextmanager
def served(
    text: str = "", info: StreamInfo = LIVE, pictures: list[Image] | None = None
) -> Iterator[tuple[RtspServerSink, list[float]]]:
    """A server that is fed; yields its sink and how long each write took."""
    sink = RtspServerSink(sink_uri(text or f"rtsp://:{free_port()}/live"))
    sink.open(info, (info.width, info.height), None)  # type: ignore[arg-type]
    try:
        with fed(sink, info, pictures) as taken:
            yield sink, taken
    finally:
        sink.close()


def client(address: str, query: str = "") -> GstSource:
    return GstSource(source_uri(f"{address}?backend=gst{query}"))


def frames_of(source: GstSource, count: int) -> list[Frame]:
    return [item for item in islice(source.items(), count) if isinstance(item, Frame)]


@contextmanager
def watching(address: str, query: str = "") -> Iterator[GstSource]:
    source = client(address, query)
    try:
        yield source
    finally:
        source.close()


class PlainClient:
    """Plays a stream over TCP and never reads what comes."""

    def __init__(self, address: str) -> None:
        port = int(address.rpartition(":")[2].partition("/")[0])
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._number = 0
        self._ask("DESCRIBE", address)
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        head = self._ask("SETUP", f"{address}/stream=0", transport)
        session = next(line for line in head.split("\r\n") if line.startswith("Session"))
        self._ask("PLAY", address, session.partition(";")[0])

    def _ask(self, method: str, address: str, *headers: str) -> str:
        self._number += 1
        lines = (f"{method} {address} RTSP/1.0", f"CSeq: {self._number}", *headers, "", "")
        self.socket.sendall("\r\n".join(lines).encode())
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.socket.recv(1)
        head = data.decode()
        assert head.startswith("RTSP/1.0 200"), head
        for line in head.lower().split("\r\n"):
            if line.startswith("content-length:"):
                left = int(line.partition(":")[2])
                while left:
                    left -= len(self.socket.recv(left))
        return head
