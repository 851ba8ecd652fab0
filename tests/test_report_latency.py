"""The picture of the latency: bars that are as long as the times they stand for."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from acf_edge.report import latency_svg
from acf_edge.report.words import count, duration, milliseconds, shorten, signed, when

SVG = "{http://www.w3.org/2000/svg}"


def layer(module: str, ms: float, op: str = "Conv", name: str = "") -> dict[str, Any]:
    return {"name": name or f"/{module}", "op": op, "module": module, "ms": ms}


def profile(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"total_ms": sum(one["ms"] for one in layers), "layers": list(layers)}


def bars(svg: str) -> list[tuple[str, float, str]]:
    """Tooltip, length and colour of each layer's bar."""
    found = []
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        rect, title = group.find(f"{SVG}rect"), group.find(f"{SVG}title")
        assert rect is not None
        assert title is not None
        found.append((title.text or "", float(rect.get("width", "0")), rect.get("fill", "")))
    return found


@pytest.mark.parametrize("width", [340, 960])
def test_bars_are_proportional_and_in_order(width: int) -> None:
    svg = latency_svg(profile(layer("a.x", 1.0), layer("b.y", 4.0), layer("a.x", 2.0)), width=width)
    found = bars(svg)
    assert [title.split(" ")[0] for title, _, _ in found] == ["/a.x", "/b.y", "/a.x"]
    lengths = [length for _, length, _ in found]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.01)
    assert lengths[2] == pytest.approx(2 * lengths[0], rel=0.01)
    assert found[0][2] == found[2][2] != found[1][2]


@pytest.mark.parametrize("width", [340, 960])
def test_nothing_is_drawn_outside_the_picture(width: int) -> None:
    names = [f"sharing.branch{i}.body.{j}.a_rather_long_name" for i in range(9) for j in range(5)]
    root = ET.fromstring(latency_svg(profile(*[layer(name, 0.3) for name in names]), width=width))
    assert root.get("width") == str(width)
    height = float(root.get("height", "0"))
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", "0")) >= 0
        assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width
        assert float(rect.get("y", "0")) + float(rect.get("height", "0")) <= height


def test_small_layers_become_one_bar_per_module() -> None:
    given = profile(layer("a", 10.0), *[layer("b", 0.01) for _ in range(5)], layer("c", 0.01))
    titles = [title for title, _, _ in bars(latency_svg(given))]
    assert [title.split(" ·")[0] for title in titles] == ["/a", "/c", "5 small layers"]
    assert len(bars(latency_svg(given, smallest=0.0))) == 7


def test_the_slowest_group_is_split_while_colours_last() -> None:
    three = [layer(f"sharing.{name}.conv", 5.0) for name in ("art", "blur", "form")]
    few = latency_svg(profile(*three, layer("tail.conv", 1.0)))
    assert len({colour for _, _, colour in bars(few)}) == 4
    many = latency_svg(profile(*[layer(f"trunk.{i}.conv", 1.0) for i in range(30)]))
    assert len({colour for _, _, colour in bars(many)}) == 1


def test_what_no_module_owns_is_grey_and_the_legend_has_all_groups() -> None:
    svg = latency_svg(profile(layer("head", 2.0), layer("(runtime)", 1.0), layer("(layout)", 1.0)))
    text = "".join(ET.fromstring(svg).itertext())
    for name in ("head", "(runtime)", "(layout)", "50%", "25%", "4.00 ms"):
        assert name in text
    colours = [colour for _, _, colour in bars(svg)]
    for colour in colours[1:]:
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        assert max(red, green, blue) - min(red, green, blue) < 32
    assert len(set(colours)) == 3


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"layers": []},
        {"total_ms": 0, "layers": [layer("a", 0.0)]},
        {"total_ms": None, "layers": [layer("a", -1.0), {"name": None}]},
    ],
)
def test_an_empty_profile_is_still_a_picture(given: dict[str, Any]) -> None:
    assert ET.fromstring(latency_svg(given)).tag == f"{SVG}svg"


def test_names_are_escaped() -> None:
    svg = latency_svg(profile(layer('<a b="c">&', 1.0)))
    assert '<a b="c">&' in "".join(ET.fromstring(svg).itertext())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (count(172345), "172\u202fk"),
        (count(3.31e9), "3.31\u202fG"),
        (count(999), "999"),
        (count(999_900), "1.00\u202fM"),
        (count(None), "–"),
        (count(True), "–"),
        (duration(3.42), "3.4\u202fs"),
        (duration(59.6), "1\u202fmin"),
        (duration(5412), "1\u202fh 30\u202fmin"),
        (milliseconds(13.72), "13.7"),
        (milliseconds(0.0123), "0.012"),
        (milliseconds(123.4), "123"),
        (signed(-0.001, 2), "±0.00"),
        (signed(-0.06, 2), "−0.06"),
        (when("2026-11-23T12:30:59+02:00"), "2026-11-23 10:30 UTC"),
        (when("2026-11-23T10:30:59Z"), "2026-11-23 10:30 UTC"),
        (when("yesterday"), "yesterday"),
        (shorten("abcdefghij", 5), "a…hij"),
        (shorten("abc", 5), "abc"),
    ],
)
def test_numbers_as_people_read_them(said: str, expected: str) -> None:
    assert said == expected
