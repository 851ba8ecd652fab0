"""Servers that take a connection and then say nothing, hang up, or say something else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from acf_edge.stream.protocols import SourceLost
from acf_edge.stream.uri import open_source

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[int]:
    """A port of this machine whose visitors get this answer."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = listening.accept()
                    kept.append(visitor)
                    answer(visitor)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for visitor in kept:
        visitor.close()


def silent(visitor: socket.socket) -> None:
    """Say nothing, and keep the connection."""


def hangs_up(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.close()


def speaks_otherwise(visitor: socket.socket) -> None:
    visitor.recv(4096)
    visitor.sendall(b"220 mail.example.org ESMTP\r\n" * 3)
    visitor.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_hangs_from_the_first_is_waited_for(scheme: str) -> None:
    with server(silent) as port:
        source = open_source(f"{scheme}://me:secret@127.0.0.1:{port}/live?timeout=0.4")
        with pytest.raises(SourceLost, match=r"^no answer for 0\.6 s$"):
            source.open()


@pytest.mark.parametrize("answer", [hangs_up, speaks_otherwise])
def test_a_camera_that_starts_up_is_waited_for(answer: Answer) -> None:
    with server(answer) as port:
        source = open_source(f"rtsp://me:secret@127.0.0.1:{port}/live?timeout=1")
        with pytest.raises(SourceLost, match="hung up, or answered something else"):
            source.open()
