"""An HTTP server to test against: whole files, half ones, streams that fall silent."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".mkv": "video/x-matroska"}


class HttpCamera:
    """Answers by what it was given.

    Attributes:
        files: path -> content.
        streams: path -> (content type, parts); parts are sent one by one, the connection
            is closed after the last.
        short: path -> how many bytes of the file are sent, though all are announced.
        login: ``USER:PASSWORD`` that is demanded; empty = none.
        asked: the paths of all requests.
        hang: set to end streams that wait for it.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.streams: dict[str, tuple[str, Callable[[], Iterator[bytes]]]] = {}
        self.short: dict[str, int] = {}
        self.login = ""
        self.asked: list[str] = []
        self.hang = threading.Event()
        self.port = 0

    def add(self, path: Path) -> str:
        """Offer a file; returns its address."""
        self.files[f"/{path.name}"] = path.read_bytes()
        return self.address(path.name)

    def address(self, name: str, login: str = "") -> str:
        return f"http://{login + '@' if login else ''}127.0.0.1:{self.port}/{name}"

    def silence(self) -> Iterator[bytes]:
        """Send nothing, and keep the connection."""
        self.hang.wait(30)
        yield b""


@contextmanager
def http_camera() -> Iterator[HttpCamera]:
    """Serve on a free port of this machine."""
    camera = HttpCamera()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            camera.asked.append(self.path)
            wanted = "Basic " + base64.b64encode(camera.login.encode()).decode()
            if camera.login and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
            elif path in camera.streams:
                self._stream(*camera.streams[path])
            elif path in camera.files:
                self._file(path)
            else:
                self.send_error(404)

        def _file(self, path: str) -> None:
            data = camera.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", TYPES.get(Path(path).suffix, "video/mp4"))
            self.end_headers()
            if path in camera.short:
                self.wfile.write(data[: camera.short[path]])
                # It never comes back, either.
                camera.files.pop(path)
            else:
                self.wfile.write(data)

        def _stream(self, kind: str, parts: Callable[[], Iterator[bytes]]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            try:
                for part in parts():
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass  # the client has gone

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    camera.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield camera
    finally:
        camera.hang.set()
        server.shutdown()
        thread.join()
        server.server_close()


def mjpeg(pictures: list[bytes], waits: list[float]) -> Iterator[bytes]:
    """A multipart stream of JPEG files, each after its wait."""
    for picture, wait in zip(pictures, waits, strict=True):
        time.sleep(wait)
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        yield head.encode() + picture + b"\r\n"
