"""Chromium for tests of the web page, where it and playwright are there."""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from acf_edge.engine.protocol import Uint8Image

HOST = "camera.test"
"""A name that the browser takes to 127.0.0.1; no secure context there."""

# The whole canvas, read in the very frame in which it was drawn.
_READ = """async (name) => {
  await acf.next();
  const canvas = document.createElement("canvas");
  canvas.width = acf[name].width;
  canvas.height = acf[name].height;
  const context = canvas.getContext("2d");
  context.drawImage(acf[name], 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let i = 0; i < data.length; i += 8192) {
    text += String.fromCharCode.apply(null, data.subarray(i, i + 8192));
  }
  return [canvas.width, canvas.height, btoa(text)];
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a screen; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", f"--host-resolver-rules=MAP {HOST} 127.0.0.1"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page(
    browser: Any, url: str, script: str = "", *, foul: bool = False, **context: Any
) -> Iterator[Any]:
    """A page that shows pictures; fails on errors in its console and on foreign requests.

    ``foul`` allows errors in its console: a server that is away is one.
    """
    made = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    troubles: list[str] = []
    place = url.split("/")[2]
    if script:
        made.add_init_script(script)
    shown = made.new_page()
    shown.set_default_timeout(15000)
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on(
        "console",
        lambda message: message.type == "error" and troubles.append(message.text),
    )
    shown.on(
        "request",
        lambda request: (
            place in request.url
            or request.url.startswith(("data:", "blob:"))
            or troubles.append(request.url)
        ),
    )
    shown.goto(url)
    wait_for_pictures(shown)
    try:
        yield shown
        assert foul or troubles == []
    finally:
        made.close()


def wait_for_pictures(shown: Any) -> None:
    """Until the page has drawn a picture."""
    shown.wait_for_function("() => window.acf && acf.last !== null")


def pixels(shown: Any, name: str) -> Uint8Image:
    """``(H, W, 3)`` of a canvas: ``canvas`` (enhanced) or ``before``."""
    width, height, text = shown.evaluate(_READ, name)
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.ascontiguousarray(data.reshape(height, width, 4)[:, :, :3])
