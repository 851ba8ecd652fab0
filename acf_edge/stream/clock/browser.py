"""Reads the clock from the picture that a real browser shows."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from acf_edge.errors import InputError, MissingExtraError
from acf_edge.stream.clock.code import CODE_ROWS, COLUMNS, ROWS, decode
from acf_edge.stream.clock.sightings import Sightings
from acf_edge.stream.protocols import Sink
from acf_edge.stream.uri import open_sink

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Blocks are drawn this many pixels wide and high before they are read.
_BLOCK = 8
_POLL = 0.2
_START = 30.0

# Once per picture that is shown, the strip is drawn small; the middle of each block is
# its level. Nothing is decoded here: times and levels are fetched from time to time.
_SCRIPT = """
([columns, codeRows, rows, block, selector]) => {
  const small = document.createElement('canvas');
  small.width = columns * block; small.height = codeRows * block;
  const pen = small.getContext('2d', {willReadFrequently: true});
  const found = window.__acf_clock = [];
  let last = '';
  const look = () => {
    const shown = document.querySelector(selector);
    const width = shown && (shown.naturalWidth || shown.videoWidth || shown.width);
    const height = shown && (shown.naturalHeight || shown.videoHeight || shown.height);
    if (width && height) {
      const seen = performance.timeOrigin + performance.now();
      try {
        const strip = height * codeRows / rows;
        pen.drawImage(shown, 0, 0, width, strip, 0, 0, small.width, small.height);
        const data = pen.getImageData(0, 0, small.width, small.height).data;
        const levels = [];
        for (let row = 0; row < codeRows; row++)
          for (let column = 0; column < columns; column++) {
            let sum = 0;
            for (let y = 2; y < block - 2; y++)
              for (let x = 2; x < block - 2; x++) {
                const at = 4 * ((row * block + y) * small.width + column * block + x);
                sum += data[at] + data[at + 1] + data[at + 2];
              }
            levels.push(Math.round(sum / (3 * (block - 4) * (block - 4))));
          }
        const key = levels.join();
        if (key !== last) { last = key; found.push([seen, levels]); }
      } catch (error) { /* not drawn yet */ }
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
"""


def find_browser() -> str | None:
    """Path of a Chromium that can be driven; None if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class BrowserReader:
    """Shows the page of ``web://`` in a headless Chromium and reads its canvas.

    Args:
        port: for the page; must be free.
        selector: CSS selector of the element that shows the enhanced picture.

    Raises:
        MissingExtraError: the package playwright is not installed.
        InputError: there is no Chromium.
    """

    how = "served to a headless Chromium, read from its canvas"

    def __init__(self, port: int, selector: str = "#after") -> None:
        if importlib.util.find_spec("playwright") is None:
            raise MissingExtraError("Reading the clock in a browser", "playwright", "test")
        browser = find_browser()
        if browser is None:
            raise InputError(
                "There is no Chromium on this machine.", "Install it, or measure another sink."
            )
        self._browser = browser
        self._port = port
        self._selector = selector
        self.sightings = Sightings()
        self.failure = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="acf-clock", daemon=True)

    def sink(self) -> Sink:
        """A page."""
        return open_sink(f"web://127.0.0.1:{self._port}")

    def start(self) -> None:
        """Start the browser and begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Close the browser."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(15)

    def _guard(self) -> None:
        from playwright.sync_api import Error

        try:
            self._look()
        except Error as error:
            if not self._over.is_set():
                self.failure = f"the browser failed: {str(error).splitlines()[0]}"

    def _look(self) -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=self._browser,
                args=["--no-sandbox", "--disable-dev-shm-usage", "--mute-audio"],
            )
            with contextlib.closing(browser):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                self._go(page)
                page.evaluate(_SCRIPT, [COLUMNS, CODE_ROWS, ROWS, _BLOCK, self._selector])
                while not self._over.is_set():
                    page.wait_for_timeout(1000 * _POLL)
                    self._take(page.evaluate("() => window.__acf_clock.splice(0)"))

    def _go(self, page: Any) -> None:
        from playwright.sync_api import Error

        limit = time.monotonic() + _START
        while True:
            try:
                page.goto(f"http://127.0.0.1:{self._port}/")
                return
            except Error:
                # The server is not up yet.
                if self._over.is_set() or time.monotonic() > limit:
                    raise
                self._over.wait(_POLL)

    def _take(self, found: Sequence[tuple[float, list[float]]]) -> None:
        for seen, levels in found:
            grid = np.asarray(levels, np.float64).reshape(CODE_ROWS, COLUMNS)
            self.sightings.add(decode(grid), round(seen * 1000))
