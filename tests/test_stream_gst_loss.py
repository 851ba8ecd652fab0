"""RTSP servers that are killed, hang or say nothing, as the source sees them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from gst_tools import (
    free_port,
    need_gstreamer,
)
from rtsp_tools import client, frames_of

from acf_edge.stream.protocols import SourceLost

need_gstreamer("rtspsrc", "x264enc", "avdec_h264", "rtph264pay", "h264parse", rtsp=True)

# A server of its own process can be killed and held.

SERVE = """
import sys, time
sys.path[:0] = {paths!r}
from gst_tools import moment, sink_uri, stream_info
from video_clips import numbered_picture
from acf_edge.stream.gst.rtsp_server import RtspServerSink
sink, info = RtspServerSink(sink_uri(sys.argv[1])), stream_info(160, 120, live=True)
sink.open(info, (160, 120), None)
print("ready", flush=True)
number = 0
while True:
    sink.write(moment(numbered_picture(120, 160, number % 256), number, info.colour))
    number += 1
    time.sleep(0.04)
"""


@contextmanager
def process(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = folder / "serve.py"
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    script.write_text(SERVE.format(paths=paths), encoding="utf-8")
    command = [sys.executable, str(script), f"rtsp://:{port}/live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            yield server
        finally:
            server.send_signal(signal.SIGCONT)
            server.kill()


def test_a_server_that_is_killed_or_hangs_is_lost_and_found_again(tmp_path: Path) -> None:
    port = free_port()
    source = client(f"rtsp://127.0.0.1:{port}/live", "&timeout=1")
    times: list[Fraction] = []
    with process(port, tmp_path) as server:
        source.open()
        times += [frame.seconds for frame in frames_of(source, 5)]
        server.kill()
        begin = time.monotonic()
        with pytest.raises(SourceLost):
            for _ in source.items():
                pass
        assert time.monotonic() - begin < 3
        source.close()
        with pytest.raises(SourceLost):
            source.open()
    with process(port, tmp_path) as server:
        source.open()
        times += [frame.seconds for frame in frames_of(source, 5)]
        server.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(SourceLost, match="no frame for 1 s"):
            for _ in source.items():
                pass
        source.close()
        with pytest.raises(SourceLost):
            source.open()
        assert time.monotonic() - begin < 10
        server.send_signal(signal.SIGCONT)
        source.open()
        times += [frame.seconds for frame in frames_of(source, 5)]
        source.close()
    assert times == sorted(set(times))


def test_closing_ends_an_attempt_to_open() -> None:
    with socket.socket() as silent:  # takes the connection and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        source = client(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live", "&timeout=30")
        timer = threading.Timer(0.3, source.close)
        timer.start()
        begin = time.monotonic()
        with pytest.raises(SourceLost):
            source.open()
        assert time.monotonic() - begin < 3
        timer.join()
