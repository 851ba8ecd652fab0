"""Asking the web page's server over plain HTTP, with any headers."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit


class Answer:
    """Status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    """One request; header names are written with underscores."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body or None, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post(url: str, path: str, body: object = None, **headers: str) -> Answer:
    headers.setdefault("Origin", url.rstrip("/"))
    data = json.dumps(body if body is not None else {}).encode()
    return ask(url, path, "POST", data, Content_Type="application/json", **headers)


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
