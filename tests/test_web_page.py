"""The page's controls in a real browser: mouse, finger, keyboard; buttons; what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from web_browser import chromium, page, pixels, wait_for_pictures
from web_rig import RUNGS, flat, free_port, rig, web_uri

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.web.sink import WebSink

pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def grid(number: int) -> tuple[Uint8Image, Uint8Image]:
    """Blocks of 8 pixels of the captured picture, each of another grey."""
    rows, columns = np.mgrid[0:5, 0:8]
    blocks = (40 + 5 * (rows * 8 + columns)).astype(np.uint8)
    small = blocks.repeat(8, 0).repeat(8, 1)[:, :, None].repeat(3, 2)
    return np.ascontiguousarray(small), small.repeat(4, 0).repeat(4, 1)


def divider(shown: Any) -> int:
    return int(shown.get_attribute("#divider", "aria-valuenow"))


def spot(shown: Any, x: float, y: float) -> tuple[float, float]:
    """Where a share of the picture is on the screen."""
    box = shown.locator("#stage").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_the_divider_follows_the_mouse(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as shown:
        assert divider(shown) == 50
        shown.mouse.move(*spot(shown, 0.5, 0.5))
        shown.mouse.down()
        shown.mouse.move(*spot(shown, 0.3, 0.6))
        assert abs(divider(shown) - 30) <= 1
        shown.mouse.move(*spot(shown, -0.5, 0.6))
        assert divider(shown) == 0
        shown.mouse.up()
        shown.mouse.move(*spot(shown, 0.9, 0.6))
        assert divider(shown) == 0
        shown.click("#centre")
        assert divider(shown) == 50


def test_each_side_of_the_divider_shows_its_picture(browser: Any) -> None:
    small = np.full((36, 64, 3), (200, 40, 40), np.uint8)
    large = np.full((144, 256, 3), (40, 40, 200), np.uint8)
    with rig(lambda number: (small, large)) as made, page(browser, made.url) as shown:
        shown.focus("#divider")
        for _ in range(2):
            shown.keyboard.press("PageDown")
        shown.evaluate("acf.next()")
        screen = cv2.imdecode(np.frombuffer(shown.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        for share, red in ((0.1, True), (0.25, True), (0.36, False), (0.9, False)):
            x, y = spot(shown, share, 0.8)
            blue, _, seen = (int(value) for value in screen[int(y), int(x)])
            assert (seen > blue) is red


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["ArrowRight"], 51),
        (["ArrowLeft", "ArrowDown"], 48),
        (["Shift+ArrowRight"], 60),
        (["PageUp", "PageUp"], 70),
        (["Home"], 0),
        (["Home", "ArrowLeft"], 0),
        (["End"], 100),
        (["End", "0"], 50),
    ],
)
def test_the_divider_obeys_the_keyboard(
    shared: Any, keys: list[str], value: int
) -> None:  # fmt: skip
    shared.click("#centre")
    shared.focus("#divider")
    for key in keys:
        shared.keyboard.press(key)
    assert divider(shared) == value
    assert f"{value} % captured" in shared.get_attribute("#divider", "aria-valuetext")


@pytest.fixture(scope="module")
def shared(browser: Any) -> Iterator[Any]:
    """A page for tests that leave it as it was."""
    with rig() as made, page(browser, made.url) as shown:
        yield shown


def test_everything_can_be_reached_with_the_tab_key(shared: Any) -> None:
    shared.reload()
    wait_for_pictures(shared)
    reached = []
    for _ in range(12):
        shared.keyboard.press("Tab")
        reached.append(
            shared.evaluate("document.activeElement.id || document.activeElement.name || 'body'")
        )
    wanted = ["divider", "pause", "snapshot", "record", "zoom", "centre", "full", "engine"]
    assert [each for each in reached if each in wanted][: len(wanted)] == wanted
    shared.focus("#divider")
    shared.keyboard.press("ArrowLeft")
    outline = "getComputedStyle(document.querySelector('.handle')).outlineStyle"
    assert shared.evaluate(outline) == "solid"


def test_everything_has_a_name(shared: Any) -> None:
    script = """() => [...document.querySelectorAll(
        'button, input, [role=slider], [role=img], [role=group], section, aside')]
      .filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim()
        || each.labels?.length || document.getElementById(each.getAttribute('aria-labelledby'))))
      .map((each) => each.outerHTML)"""
    assert shared.evaluate(script) == []


def test_plots_tell_their_figures(shared: Any) -> None:
    shared.wait_for_function(
        "() => /Now [\\d.]+ shown here/.test(document.getElementById('rate').ariaLabel)"
    )
    for name in ("rate", "late", "drop"):
        drawn = """(name) => {
          const canvas = document.getElementById(name);
          const { data } = canvas.getContext("2d")
            .getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value > 0);
        }"""
        assert shared.evaluate(drawn, name)
    assert shared.inner_text("#rate-value") not in ("", "–")
    assert int(shared.inner_text("#late-value")) >= 0
    assert shared.inner_text("#path-total").endswith(" ms")


def test_nothing_jumps_while_pictures_run(browser: Any) -> None:
    script = """
      window.jumped = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.jumped += entry.value;
      }).observe({ type: "layout-shift", buffered: true });
    """
    with rig() as made, page(browser, made.url, script) as shown:
        shown.wait_for_timeout(1500)
        assert shown.evaluate("window.jumped") < 0.01


def test_the_loupe_shows_pixels_of_both_sides(browser: Any) -> None:
    with rig(grid) as made, page(browser, made.url) as shown:
        shown.click("#pause")
        shown.click("#zoom")
        # A corner where four blocks meet, between pixels 63 and 64 of the enhanced picture.
        shown.mouse.move(*spot(shown, 64.5 / 256, 64.5 / 160))
        assert shown.inner_text("#loupe-text").startswith("64, 64\n")
        number = shown.evaluate("acf.last.number")
        script = """() => {
          const canvas = document.getElementById("loupe-canvas");
          const context = canvas.getContext("2d");
          const { data, width, height } =
            context.getImageData(0, 0, canvas.width, canvas.height);
          return [width, height, [...data].filter((_, i) => i % 4 === 1)];
        }"""
        width, height, values = shown.evaluate(script)
        seen = np.array(values).reshape(height, width)
        assert shown.inner_text("#zoom-text") == "8×"
        left, right = seen[:, : width // 2 - 1], seen[:, width // 2 + 1 :]
        greys = {(row, column): 40 + 5 * (row * 8 + column) for row in (1, 2) for column in (1, 2)}
        for pane in (left, right):
            rows, columns = pane.shape
            for (row, column), grey in greys.items():
                corner = pane[4 if row == 1 else rows - 5, 4 if column == 1 else columns - 5]
                assert abs(int(corner) - grey) <= 4
            # Enlarged without blending: each pixel is 8x8 alike, in both panes.
            line = pane[4]
            assert len(set(np.flatnonzero(np.diff(line)) % 8)) <= 1
        # Paused: the same moment still.
        assert shown.evaluate("acf.last.number") == number
        shown.focus("#loupe")
        shown.keyboard.press("Shift+ArrowRight")
        shown.keyboard.press("ArrowUp")
        assert shown.inner_text("#loupe-text").startswith("74, 63\n")
        shown.keyboard.press("+")
        assert shown.inner_text("#zoom-text") == "12×"
        shown.click("#zoom-out")
        assert shown.inner_text("#zoom-text") == "8×"


def test_pausing_holds_the_picture(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as shown:
        shown.focus("#divider")
        shown.keyboard.press(" ")
        assert shown.get_attribute("#pause", "aria-pressed") == "true"
        shown.wait_for_function("() => document.getElementById('state').textContent === 'Paused'")
        number = shown.evaluate("acf.last.number")
        shown.wait_for_timeout(400)
        assert shown.evaluate("acf.last.number") == number
        shown.click("#pause")
        shown.wait_for_function("(number) => acf.last.number > number + 5", arg=number)


def test_a_snapshot_is_both_pictures_without_loss(browser: Any) -> None:
    with rig(grid) as made, page(browser, made.url) as shown:
        shown.click("#pause")
        names: dict[str, Uint8Image] = {}
        files: list[Any] = []
        shown.on("download", lambda file: files.append(file))
        shown.click("#snapshot")
        shown.wait_for_function(
            "() => document.getElementById('toast').textContent.includes('PNG')"
        )
        for _ in range(50):
            if len(files) == 2:
                break
            shown.wait_for_timeout(50)
        for file in files:
            names[file.suggested_filename] = cv2.imread(str(file.path()))
        number = shown.evaluate("acf.last.number")
        (before,) = [name for name in names if name.endswith(f"-{number}-before.png")]
        (after,) = [name for name in names if name.endswith(f"-{number}-after.png")]
        small, large = grid(0)
        assert np.array_equal(names[before], small)
        assert np.array_equal(names[after], large)


def test_a_recording_is_started_stopped_and_downloaded(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as shown:
        shown.click("#record")
        shown.wait_for_selector("#record[aria-pressed=true]")
        assert shown.is_visible("#clock")
        with shown.expect_download() as waiting:
            shown.click("#record")
        file = waiting.value
        assert file.suggested_filename.endswith(".mp4")
        assert Path(file.path()).read_bytes() == b"a whole film"
        shown.wait_for_selector("#record[aria-pressed=false]")
        assert not shown.is_visible("#clock")


def test_an_engine_can_be_chosen_on_every_page_at_once(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as one, page(browser, made.url) as two:
        one.get_by_label(RUNGS[2]).check()
        two.wait_for_function(
            "(name) => [...document.querySelectorAll('.engines label')]"
            ".find((each) => each.textContent.includes(name)).querySelector('input').checked",
            arg=RUNGS[2],
        )
        assert made.controls.held == RUNGS[2]
        two.get_by_label("Automatic").check()
        one.wait_for_function("() => document.querySelector('.engines input').checked")
        assert made.controls.held is None


def test_it_says_that_the_source_is_away_and_that_it_is_back(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as shown:
        made.running.clear()
        made.controls.state = "held"
        made.write(held=True)
        shown.wait_for_selector("#state:has-text('Source away')")
        assert "last picture" in shown.inner_text("#message")
        made.controls.state = "live"
        made.running.set()
        shown.wait_for_selector("#state:has-text('Live')")
        assert shown.inner_text("#message") == ""


def test_the_page_comes_back_with_the_stream(browser: Any) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        with rig(port=port) as made:
            shown = stack.enter_context(page(browser, made.url, foul=True))
            number = made.number
        shown.wait_for_selector("#state:has-text('Ended')")
        stack.enter_context(rig(flat((200, 30, 30)), port=port))
        shown.wait_for_selector("#state:has-text('Live')")
        shown.evaluate("acf.next()")
        assert shown.evaluate("acf.last.number") < number + 1000
        assert pixels(shown, "canvas")[..., 0].mean() > 150


def test_on_a_phone_everything_fits_and_fingers_work(browser: Any) -> None:
    with rig() as made, page(browser, made.url, **PHONE) as shown:
        wide = shown.evaluate("document.documentElement.scrollWidth")
        assert wide == 390
        stage = shown.locator("#stage").bounding_box()
        assert stage["width"] == 390
        for name in ("pause", "snapshot", "record", "zoom", "centre", "full"):
            box = shown.locator(f"#{name}").bounding_box()
            assert box["height"] >= 44 and box["width"] >= 44
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] < 844
        shown.touchscreen.tap(*spot(shown, 0.25, 0.5))
        assert abs(divider(shown) - 25) <= 1
        shown.tap("#zoom")
        # With the loupe on, a finger moves the loupe, and the divider by its handle.
        shown.touchscreen.tap(*spot(shown, 0.75, 0.5))
        assert abs(divider(shown) - 25) <= 1
        assert shown.inner_text("#loupe-text").startswith("192, 72\n")
        loupe = shown.locator("#loupe").bounding_box()
        assert loupe["y"] >= stage["y"] + stage["height"]
        assert shown.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_by_day_and_by_night(browser: Any, scheme: str) -> None:
    script = """() => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
          .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = (each) => {
        const { backgroundColor } = getComputedStyle(each);
        return backgroundColor.endsWith(", 0)") ? ground(each.parentElement) : backgroundColor;
      };
      return [...document.querySelectorAll(
          'h1, h2, .source, .state, .toolbar button, .reason, legend, dt, .key, .engines output')]
        .filter((each) => each.textContent.trim() && each.offsetParent)
        .map((each) => {
          const [a, b] = [light(getComputedStyle(each).color), light(ground(each))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          return [each.className || each.tagName, ratio];
        })
        .filter(([, ratio]) => ratio < 4.5);
    }"""
    with rig() as made, page(browser, made.url, color_scheme=scheme) as shown:
        assert shown.evaluate(script) == []


def test_motion_is_left_out_for_those_who_want_none(browser: Any) -> None:
    with rig() as made, page(browser, made.url, reduced_motion="reduce") as shown:
        moving = "getComputedStyle(document.getElementById('toast')).transitionDuration"
        assert shown.evaluate(moving) == "0s"


def test_full_screen_and_back(browser: Any) -> None:
    with rig() as made, page(browser, made.url) as shown:
        shown.click("#full")
        shown.wait_for_selector("#full[aria-pressed=true]")
        assert shown.is_visible("#pause")
        shown.click("#full")
        shown.wait_for_selector("#full[aria-pressed=false]")


def test_a_page_without_a_stream_yet_waits(browser: Any) -> None:
    sink = WebSink(web_uri(free_port()))
    assert sink.address is None
    with rig(feed=False) as made:
        context = browser.new_context()
        shown = context.new_page()
        shown.goto(made.url)
        shown.wait_for_selector("#state:has-text('Waiting')")
        made.write()
        wait_for_pictures(shown)
        context.close()
