"""The report's page: whole, self-contained, escaped; the ledger as tables."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from acf_edge.report import Figure, Sheet, Slide, ledger_table, render_report

PNG = b"\x89PNG\r\n\x1a\n before"
JPEG = b"\xff\xd8\xff\xe0 after"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 truth"
EVIL = "<script>alert('&')</script>\"><img src=x onerror=y>"


def quality(recipe: str, psnr: float, ssim: float) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "psnr_y": psnr,
        "ssim_y": ssim,
        "psnr_rgb": psnr - 1,
        "ssim_rgb": ssim,
        "bicubic_psnr_y": 24.21,
        "bicubic_ssim_y": 0.6411,
    }


def stage(name: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(("params", "macs", "mib", "ms"))
    return row | {
        "stage": name,
        "verdict": verdict,
        "seconds": 75.2,
        "key": "k",
        "note": "",
        "quality": [],
        **more,
    }


LEDGER: dict[str, Any] = {
    "format_version": 1,
    "rows": [
        stage("trained", params=172345, macs=3310000000, mib=0.68, ms=41.26,
              quality=[quality("acf-std", 24.93, 0.6712)]),
        stage("pruned", "skipped", seconds=0.0),
        stage("quantized", "allowed", note="48 pictures", mib=0.21,
              quality=[quality("acf-std", 24.16, 0.6652)]),
        stage("compiled", ms=13.72, mib=0.31, quality=[quality("acf-std", 24.87, 0.665)]),
    ],
}  # fmt: skip
PROFILE: dict[str, Any] = {
    "total_ms": 3.0,
    "width": 320,
    "height": 180,
    "date": "2026-11-23T10:12:00+00:00",
    "machine": {"cpu": "Some CPU", "cores": 2, "arch": "x86_64"},
    "layers": [
        {"name": "/head/Conv", "op": "QLinearConv", "module": "head", "ms": 2.0},
        {"name": "(runtime overhead)", "op": "", "module": "(runtime)", "ms": 1.0},
    ],
}
PASSPORT: dict[str, Any] = {
    "network": "acf-t",
    "scale": 4,
    "precision": "int8",
    "target": "cpu",
    "runtime": "onnxruntime",
    "runtime_version": "1.32.0",
    "weights_sha256": "ab" * 32,
    "source_command": ["acf-edge", "build", "a b.safetensors"],
    "created": "2026-11-22T09:00:00+00:00",
    "acf_edge_version": "0.1.0",
}
SLIDES = [
    Slide("frame 1", PNG, JPEG, 1280, 720, truth=WEBP),
    Slide("frame 9", PNG, JPEG, 1280, 720),
]


class Page(HTMLParser):
    """Reads a page: tags with attributes, visible text, balance of the tags."""

    VOID = ("meta", "img", "input", "br", "rect", "line")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.contents: dict[str, str] = {}
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.contents[self.open[-1]] = data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(**changes: Any) -> Page:
    given: dict[str, Any] = {
        "title": "acf-t-x4 int8",
        "ledger": LEDGER,
        "passport": PASSPORT,
        "profile": PROFILE,
        "slides": SLIDES,
    }
    return Page(render_report(**(given | changes)))


def test_the_page_is_balanced_and_loads_nothing() -> None:
    html = render_report(
        title="t", ledger=LEDGER, passport=PASSPORT, profile=PROFILE, slides=SLIDES
    )
    read = Page(html)
    assert read.open == []
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    outside = re.findall(r"""(?:https?:)?//[a-z][^\s"'<]*""", html.split("<body>")[1])
    assert set(outside) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in html
    assert "url(" not in html


def test_the_policy_allows_this_style_and_this_script_alone() -> None:
    read = page()
    policy = next(
        meta["content"]
        for meta in read.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        digest = hashlib.sha256(read.contents[tag].encode()).digest()
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
        assert len(read.all(tag)) == 1


def test_all_text_is_escaped() -> None:
    ledger, profile, passport = map(copy.deepcopy, (LEDGER, PROFILE, PASSPORT))
    for row in ledger["rows"]:
        row |= {"stage": EVIL, "verdict": EVIL, "note": EVIL}
        for one in row["quality"]:
            one["recipe"] = EVIL
    for layer in profile["layers"]:
        layer |= {"name": EVIL, "op": EVIL, "module": EVIL}
    profile |= {"machine": {"cpu": EVIL}, "date": EVIL, "engine": EVIL, "runtime": EVIL}
    passport = dict.fromkeys(passport, EVIL) | {"notes": [EVIL]}
    slide = Slide(EVIL, PNG, JPEG, 8, 8, WEBP, EVIL, EVIL, EVIL)
    read = page(
        title=EVIL,
        ledger=ledger,
        profile=profile,
        passport=passport,
        slides=[slide],
        figures=[Figure(EVIL, EVIL, EVIL)],
    )
    assert read.open == []
    assert len(read.all("script")) == 1
    assert not [image for image in read.all("img") if "onerror" in image]
    assert EVIL in read.text


def test_slides_are_data_uris_of_their_own_kind() -> None:
    images = page().all("img")
    kinds = [image["src"].split(";")[0] for image in images]
    assert kinds == ["data:image/png", "data:image/jpeg", "data:image/webp",
                     "data:image/png", "data:image/jpeg"]  # fmt: skip
    assert base64.b64decode(images[2]["src"].split(",")[1]) == WEBP
    assert all(image["alt"] and image["width"] == "1280" for image in images)


def test_every_slide_has_a_labelled_range_and_every_frame_a_button() -> None:
    read = page()
    ranges = [one for one in read.all("input") if one.get("type") == "range"]
    assert [one["aria-label"].split(":")[0] for one in ranges] == ["frame 1", "frame 9"]
    assert [one["data-slide"] for one in read.all("button") if "data-slide" in one] == ["0", "1"]
    assert {one["data-pair"] for one in read.all("button") if "data-pair" in one} == {
        "before",
        "truth",
    }


def test_without_truth_there_is_no_choice_of_pairs() -> None:
    read = page(slides=SLIDES[1:])
    assert not [one for one in read.all("button") if "data-pair" in one]
    assert not [one for one in read.all("button") if "data-slide" in one]


def test_a_picture_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        page(slides=[Slide("x", b"GIF89a", JPEG, 4, 4)])


def test_the_ledger_says_what_each_stage_did() -> None:
    text = page().text.replace("\u202f", " ")
    told = ("trained", "✓ pass", "– skipped", "! allowed", "48 pictures", "24.93", "0.6712",
            "+0.72", "−0.05", "172 k", "3.31 G", "41.3", "1 min 15 s", "bicubic")  # fmt: skip
    for words in told:
        assert words in text, words


def test_the_figures_come_from_the_last_measured_stage() -> None:
    text = page().text.replace("\u202f", " ")
    for words in ("+0.66 dB", "−0.77 dB", "13.7 ms", "0.31 MiB", "73 frames/s"):
        assert words in text, words
    given = page(figures=[Figure("+9.99 dB", "PSNR-Y above bicubic")]).text.replace("\u202f", " ")
    assert "+9.99 dB" in given
    assert "+0.66 dB" not in given


def test_the_machine_the_date_and_the_passport_are_told() -> None:
    text = page().text
    for words in ("Some CPU, 2 cores, x86_64", "2026-11-22 09:00 UTC", "acf-t, x4", "ab" * 32,
                  "acf-edge build a b.safetensors"):  # fmt: skip
        assert words in text, words


def test_nothing_is_needed_but_a_ledger() -> None:
    read = page(passport=None, profile=None, slides=[], ledger={"rows": []})
    assert read.open == []
    assert read.all("svg") == []
    assert read.all("section") == []
    bare = page(passport=None, profile=None, slides=[], ledger={"rows": [{"stage": "trained"}]})
    assert "trained" in bare.text


def test_infinite_and_missing_numbers_are_dashes() -> None:
    row = stage("trained", ms=float("inf"), mib=float("nan"), quality=[quality("r", 1.0, 1.0)])
    row["quality"][0] |= {"psnr_y": None, "bicubic_psnr_y": None}
    text = page(ledger={"rows": [row]}).text
    assert "nan" not in text
    assert "inf" not in text


def shown(ledger: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, force_terminal=False, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(ledger_table(ledger))
    return capture.get().splitlines()


def test_the_terminals_table_fits_into_80_columns() -> None:
    ledger = copy.deepcopy(LEDGER)
    for row in ledger["rows"]:
        if row["quality"]:
            row["quality"].append(quality("webcam", 24.5, 0.65))
    lines = shown(ledger)
    assert not [line for line in lines if "…" in line]
    trained = next(line for line in lines if "trained" in line)
    assert trained.split() == ["✓", "trained", "acf-std", "24.93", "+0.72", "0.6712", "172k",
                               "3.31G", "0.68", "41.3", "1m15s"]  # fmt: skip
    below = lines[lines.index(trained) + 1]
    assert below.split() == ["webcam", "24.50", "+0.29", "0.6500"]
    assert any("allowed" in line for line in lines)


def test_markup_in_a_ledger_is_shown_as_it_is() -> None:
    lines = shown({"rows": [stage("[red]x[/red]", "pass")]})
    assert any("[red]x[/red]" in line for line in lines)


def test_the_votes_are_a_picture_with_its_words() -> None:
    read = page(votes=Sheet(WEBP, EVIL, 40, 30), slides=())
    (image,) = read.all("img")
    assert image["src"].startswith("data:image/webp") and image["alt"] == EVIL
    assert (image["width"], image["height"]) == ("40", "30")
    assert "Votes of the junction" in read.text and EVIL in read.text
    assert "Votes of the junction" not in page().text
    with pytest.raises(ValueError, match="no PNG"):
        page(votes=Sheet(b"GIF89a", "a picture", 1, 1))
