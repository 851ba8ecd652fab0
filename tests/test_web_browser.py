"""Pictures in a real browser: that they come, their colours, their age, their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from web_browser import HOST, chromium, page, pixels, wait_for_pictures
from web_rig import Rig, SlowLink, flat, rig

from acf_edge.engine.protocol import Uint8Image
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.stream.clock.code import CODE_ROWS, COLUMNS, ROWS, paint, read

pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")

NO_WEBCODECS = "delete window.VideoDecoder; delete window.VideoFrame;"
COLOURS = (
    (200, 30, 40),
    (30, 180, 60),
    (40, 60, 210),
    (240, 240, 240),
    (16, 16, 16),
    (128, 128, 128),
    (230, 200, 40),
    (90, 140, 170),
)
PATCH = 20


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def patches(number: int) -> tuple[Uint8Image, Uint8Image]:
    """Eight flat colours; both sides of the small picture are odd."""
    row = np.array(COLOURS, np.uint8).reshape(2, 4, 3)
    small = row.repeat(PATCH, 0).repeat(PATCH, 1)[:-1, :-1]
    return np.ascontiguousarray(small), small.repeat(4, 0).repeat(4, 1)


def lag(made: Rig, shown: Any) -> int:
    """How many moments the screen is behind the stream."""
    number = shown.evaluate("acf.last.number")
    assert made.sink._server is not None
    return int(made.sink._server.hub.counters.moments - number)


@pytest.mark.parametrize(
    ("script", "transport"), [("", "h264"), (NO_WEBCODECS, "jpeg")], ids=["h264", "jpeg"]
)
def test_colours_are_right_on_both_sides(browser: Any, script: str, transport: str) -> None:
    with rig(patches) as made, page(browser, made.url, script) as shown:
        assert shown.evaluate("acf.transport.codec") == transport
        for name in ("canvas", "before"):
            seen = pixels(shown, name).astype(float)
            assert seen.shape == (4 * (2 * PATCH - 1), 4 * (4 * PATCH - 1), 3)
            errors = []
            for place, colour in enumerate(COLOURS):
                top, left = (place // 4) * 4 * PATCH, (place % 4) * 4 * PATCH
                inner = seen[top + 24 : top + 56, left + 24 : left + 56].reshape(-1, 3)
                errors.append(np.abs(inner - colour))
            # Of each colour and channel: three code values, the roundings of the codec.
            assert np.mean(errors, axis=1).max() <= 3


def test_an_address_that_is_not_secure_gets_jpeg(browser: Any) -> None:
    with rig(token="a-token-for-tests", names=HOST) as made:
        url = made.url.replace("127.0.0.1", HOST)
        with page(browser, f"{url}?token=a-token-for-tests") as shown:
            assert shown.evaluate("window.isSecureContext") is False
            assert shown.evaluate("acf.transport.codec") == "jpeg"
            assert "not secure" in shown.get_attribute("#transport", "title")
            # The token has left the address, and the cookie has taken over.
            assert shown.url == url
            shown.reload()
            wait_for_pictures(shown)
            assert "a-token" not in shown.evaluate("document.cookie")


def test_the_token_can_be_typed_in(browser: Any) -> None:
    with rig(token="a-token-for-tests") as made:
        context = browser.new_context()
        shown = context.new_page()
        shown.set_default_timeout(15000)
        assert shown.goto(made.url).status == 401
        shown.fill("#token", "not-the-token")
        shown.click("button")
        shown.fill("#token", "a-token-for-tests")
        shown.click("button")
        wait_for_pictures(shown)
        assert shown.url == made.url
        context.close()


def test_a_decoder_that_fails_is_replaced(browser: Any) -> None:
    script = "VideoDecoder.prototype.decode = () => { throw new Error('broken'); };"
    with rig() as made, page(browser, made.url, script) as shown:
        assert shown.evaluate("acf.transport.codec") == "jpeg"
        assert "broken" in shown.get_attribute("#transport", "title")


def test_both_pictures_on_the_screen_are_of_the_same_moment(browser: Any) -> None:
    """Each moment has its own brightness, so a pair that is not one shows at once."""

    def paint_number(number: int) -> tuple[Uint8Image, Uint8Image]:
        grey = 40 + number * 37 % 160
        return flat((grey,) * 3)(number)

    with rig(paint_number) as made, page(browser, made.url) as shown:
        script = """async () => {
          const out = [];
          const context = document.createElement("canvas").getContext("2d");
          const at = (canvas) => {
            context.drawImage(canvas, 20, 20, 1, 1, 0, 0, 1, 1);
            return context.getImageData(0, 0, 1, 1).data[0];
          };
          for (let i = 0; i < 25; i += 1) {
            await acf.next();
            out.push([at(acf.before), at(acf.canvas)]);
          }
          return out;
        }"""
        pairs = np.array(shown.evaluate(script))
        assert np.abs(pairs[:, 0] - pairs[:, 1]).max() <= 4
        assert np.ptp(pairs[:, 0]) > 60


@pytest.mark.parametrize("query", ["", "?upsample=webgl"], ids=["canvas", "webgl"])
def test_the_captured_picture_is_up_sampled_bicubically(browser: Any, query: str) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (6, 10, 1), dtype=np.uint8).repeat(3, 2)
    small = upscale_bicubic(coarse, 4)
    wanted = upscale_bicubic(small, 4)
    with (
        rig(lambda number: (small, wanted), rate=5) as made,
        page(browser, made.url + query) as shown,
    ):
        seen = pixels(shown, "before").astype(float)
    error = float(np.abs(seen - wanted).mean())
    # Without a GPU the page makes do with a softer filter, unless it is told not to.
    assert error < (1.2 if query else 2.5)


def test_a_viewer_on_a_slow_link_sees_fresh_frames(browser: Any) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 54, 96, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (8, 216, 384, 3), dtype=np.uint8)
    with rig(lambda n: (small[n % 8], large[n % 8])) as made:
        port = int(made.url.rstrip("/").rpartition(":")[2])
        link = SlowLink(port, rate=120_000)
        try:
            with page(browser, f"http://localhost:{link.port}/") as shown:
                lags = []
                for _ in range(12):
                    shown.evaluate("acf.next()")
                    lags.append(lag(made, shown))
        finally:
            link.close()
    assert max(lags[-6:]) <= 45


def test_several_viewers_see_the_stream(browser: Any) -> None:
    with (
        rig() as made,
        page(browser, made.url) as one,
        page(browser, made.url) as two,
        page(browser, made.url, NO_WEBCODECS) as three,
    ):
        for shown in (one, two, three):
            number = shown.evaluate("acf.last.number")
            shown.wait_for_function("(number) => acf.last.number > number + 10", arg=number)
            shown.wait_for_function(
                "() => document.getElementById('viewers').textContent === '3 viewers'"
            )
            assert lag(made, shown) < 30


def test_another_size_in_the_middle_is_shown(browser: Any) -> None:
    with rig(flat((60, 120, 180), 64, 36)) as made, page(browser, made.url) as shown:
        assert pixels(shown, "canvas").shape == (144, 256, 3)
        made.paint = flat((180, 60, 120), 40, 30)
        shown.wait_for_function("() => acf.canvas.width === 160 && acf.canvas.height === 120")
        assert np.abs(pixels(shown, "canvas").mean(axis=(0, 1)) - (180, 60, 120)).max() <= 4


@pytest.mark.parametrize("script", ["", NO_WEBCODECS], ids=["h264", "jpeg"])
def test_a_clock_in_the_picture_can_be_read_through_the_hook(browser: Any, script: str) -> None:
    def clock(number: int) -> tuple[Uint8Image, Uint8Image]:
        small = np.full((90, 160, 3), 128, np.uint8)
        paint(small, 1_000_000 + number)
        return small, small.repeat(2, 0).repeat(2, 1)

    with rig(clock) as made, page(browser, made.url, script) as shown:
        area = {"height": CODE_ROWS / ROWS, "columns": COLUMNS, "rows": CODE_ROWS}
        shown.evaluate("(area) => acf.record(area)", area)
        shown.wait_for_timeout(600)
        samples = shown.evaluate("acf.take()")
        assert len(samples) >= 5
        for sample in samples:
            levels = np.array(sample["levels"]).reshape(CODE_ROWS, COLUMNS)
            whole = np.full((ROWS, COLUMNS), 128, np.uint8)
            whole[:CODE_ROWS] = levels.round()
            whole = whole.repeat(8, 0).repeat(8, 1)
            # The rig numbers frames and messages alike.
            assert read(whole) == 1_000_000 + sample["number"]
            assert sample["latency"] > 0
            assert abs(sample["wall"] / 1e6 - shown.evaluate("Date.now()") / 1e3) < 60
        assert shown.evaluate("acf.take()") != samples


def test_a_hidden_tab_gets_nothing_until_it_is_shown(browser: Any) -> None:
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with rig() as made, page(browser, made.url) as shown:
        assert made.sink._server is not None
        hub = made.sink._server.hub
        shown.evaluate(hide, True)
        shown.wait_for_timeout(300)
        coded, moments = hub.counters.pictures["h264", "after"], hub.counters.moments
        shown.wait_for_timeout(500)
        assert hub.counters.moments > moments
        assert hub.counters.pictures["h264", "after"] <= coded + 1
        shown.evaluate(hide, False)
        shown.evaluate("acf.next()")
        assert lag(made, shown) < 30


def test_a_decoder_that_swallows_pictures_is_begun_anew(browser: Any) -> None:
    script = """
      const { decode, configure } = VideoDecoder.prototype;
      let count = 0;
      window.begun = 0;
      VideoDecoder.prototype.configure = function (...given) {
        window.begun += 1;
        count = 0;
        return configure.apply(this, given);
      };
      VideoDecoder.prototype.decode = function (...given) {
        count += 1;
        return window.begun <= 2 && count > 20 ? undefined : decode.apply(this, given);
      };
    """
    with rig() as made, page(browser, made.url, script) as shown:
        shown.wait_for_function("() => window.begun >= 4")
        number = shown.evaluate("acf.last.number")
        shown.wait_for_function("(number) => acf.last.number > number + 30", arg=number)
        assert lag(made, shown) < 30
