"""A build as one page: a single HTML file that loads nothing and asks no server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acf_edge.report.latency import latency_svg, read_layers
from acf_edge.report.ledger import Gain, gains_of, ledger_html, rows_of
from acf_edge.report.slides import Sheet, Slide, sheet_html, slides_html
from acf_edge.report.words import (
    NOTHING,
    count,
    fixed,
    machine_words,
    milliseconds,
    number,
    signed,
    text,
    when,
)

_ASSETS = Path(__file__).resolve().parent / "assets"
_FIGURES = 6  # that fit into one line of a wide page
_WIDE, _NARROW = 1000, 340  # widths of the latency picture in CSS pixels


@dataclass(frozen=True)
class Figure:
    """One figure on top of the page.

    Attributes:
        value: e.g. ``"+0.71 dB"``.
        label: what it is, e.g. ``"PSNR-Y above bicubic"``.
        note: what it was measured on; may be empty.
    """

    value: str
    label: str
    note: str = ""


def render_report(
    *,
    title: str,
    ledger: Mapping[str, Any],
    passport: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
    slides: Sequence[Slide] = (),
    figures: Sequence[Figure] = (),
    votes: Sheet | None = None,
) -> str:
    """Render the report of a build.

    The page works from a file, with no network: pictures are data URIs, and
    its policy forbids everything else. All text is escaped.

    Args:
        title: heading of the page.
        ledger: what ``ledger.json`` holds.
        passport: what ``passport.json`` holds, if there is one.
        profile: the JSON of a latency profile, if there is one.
        slides: frames before and after.
        figures: shown on top, before those that the ledger gives, up to six; a
            figure of the ledger with the same label gives way.
        votes: which branch of the network was heard where.

    Returns:
        the whole document.

    Raises:
        ValueError: a picture is no PNG, JPEG or WebP.
    """
    style = (_ASSETS / "style.css").read_text(encoding="utf-8")
    script = (_ASSETS / "script.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    sections = [
        _section("Before and after", slides_html(slides)),
        _section("Ledger", ledger_html(ledger), "What each stage did, bicubic beside it."),
        _section("Latency per layer", _latency_html(profile)),
        _section("Votes of the junction", sheet_html(votes)),
        _section("Passport", _passport_html(passport)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body><main>"
        f"{_header_html(title, passport, profile)}{_figures_html(ledger, figures)}"
        f"{''.join(sections)}</main><script>{script}</script></body></html>\n"
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _section(title: str, body: str, lead: str = "") -> str:
    if not body:
        return ""
    return (
        f"<section><h2>{text(title)}</h2>{f'<p>{text(lead)}</p>' if lead else ''}{body}</section>"
    )


def _header_html(
    title: str, passport: Mapping[str, Any] | None, profile: Mapping[str, Any] | None
) -> str:
    passport, profile = passport or {}, profile or {}
    words = [
        machine_words(profile.get("machine")),
        when(passport.get("created") or profile.get("date")),
    ]
    version = passport.get("acf_edge_version")
    name = f"ACF Edge {version}" if version else "ACF Edge"
    under = " · ".join(word for word in words if word)
    return (
        f'<header><p class="brand"><span aria-hidden="true"></span>{text(name)}</p>'
        f"<h1>{text(title)}</h1>{f'<p>{text(under)}</p>' if under else ''}</header>"
    )


def _figures_html(ledger: Mapping[str, Any], given: Sequence[Figure]) -> str:
    named = {figure.label for figure in given}
    figures = list(given) + [one for one in ledger_figures(ledger) if one.label not in named]
    figures = figures[: max(len(given), _FIGURES)]
    cards = "".join(
        f"<li><b>{text(figure.value)}</b><span>{text(figure.label)}</span>"
        f"{f'<small>{text(figure.note)}</small>' if figure.note else ''}</li>"
        for figure in figures
    )
    return f'<ul class="figures">{cards}</ul>' if cards else ""


def ledger_figures(ledger: Mapping[str, Any]) -> list[Figure]:
    """What a ledger says in a few figures: gain, price of INT8, time, size."""
    rows = rows_of(ledger)
    figures: list[Figure] = []
    measured = [(row, gains_of(row)) for row in rows if row.get("quality")]
    if measured:
        recipe, gain = next(iter(measured[-1][1].items()))
        if gain.psnr_gain is not None:
            note = f"{recipe}, after '{measured[-1][0].get('stage', '')}'"
            figures.append(
                Figure(f"{signed(gain.psnr_gain, 2)}\u202fdB", "PSNR-Y above bicubic", note)
            )
            figures.append(
                Figure(
                    fixed(gain.ssim, 3), "SSIM", f"{recipe}, bicubic {fixed(gain.bicubic_ssim, 3)}"
                )
            )
        figures += _price_of_int8(measured, recipe)
    times = [row for row in rows if number(row.get("ms"))]
    if times:
        ms = number(times[-1]["ms"]) or 0.0
        figures.append(
            Figure(
                f"{milliseconds(ms)}\u202fms",
                "for one frame",
                f"{1000 / ms:.0f} frames/s, the network alone",
            )
        )
    sizes = [row for row in rows if number(row.get("mib"))]
    if sizes:
        parameters = next((row["params"] for row in reversed(rows) if row.get("params")), None)
        macs = next((row["macs"] for row in reversed(rows) if row.get("macs")), None)
        note = f"{count(parameters)} parameters, {count(macs)} MACs" if parameters and macs else ""
        figures.append(Figure(fixed(sizes[-1]["mib"], 2, "MiB"), "model file", note))
    return figures


def _price_of_int8(
    measured: Sequence[tuple[Mapping[str, Any], Mapping[str, Gain]]], recipe: str
) -> list[Figure]:
    for place, (row, gains) in enumerate(measured):
        if row.get("stage") != "quantized" or not place:
            continue
        before, after = measured[place - 1][1].get(recipe), gains.get(recipe)
        if before and after and before.psnr is not None and after.psnr is not None:
            change = f"{signed(after.psnr - before.psnr, 2)}\u202fdB"
            return [Figure(change, "INT8 against FP32", f"PSNR-Y, {recipe}")]
    return []


def _latency_html(profile: Mapping[str, Any] | None) -> str:
    layers = read_layers(profile) if profile else []
    if not profile or not layers:
        return ""
    total = number(profile.get("total_ms")) or sum(layer.ms for layer in layers) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{text(layer.name)}</th><td>{text(layer.op or NOTHING)}</td>'
        f"<td>{text(layer.module)}</td><td>{layer.ms:.3f}</td><td>{layer.ms / total:.1%}</td></tr>"
        for layer in layers
    )
    return (
        f'<div class="wide">{latency_svg(profile, width=_WIDE)}</div>'
        f'<div class="narrow">{latency_svg(profile, width=_NARROW)}</div>'
        "<details><summary>All layers as a table</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="All layers">'
        '<table class="layers"><thead><tr><th scope="col">layer</th><th scope="col">operator</th>'
        '<th scope="col">module</th><th scope="col">ms</th><th scope="col">share</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _passport_html(passport: Mapping[str, Any] | None) -> str:
    if not passport:
        return ""
    scale = passport.get("scale")
    runtime = " ".join(str(passport.get(name) or "") for name in ("runtime", "runtime_version"))
    command = passport.get("source_command")
    if isinstance(command, (list, tuple)):
        command = " ".join(str(word) for word in command)
    facts = {
        "network": f"{passport.get('network', '')}{f', x{scale}' if scale else ''}",
        "precision": passport.get("precision"),
        "target": passport.get("target"),
        "device": passport.get("device"),
        "runtime": runtime.strip(),
        "built": when(passport.get("created")),
    }
    codes = {
        "weights": passport.get("weights_sha256"),
        "calibration": passport.get("calibration_sha256"),
        "built by": command,
    }
    entries = [(name, text(value)) for name, value in facts.items() if value]
    entries += [(name, f"<code>{text(value)}</code>") for name, value in codes.items() if value]
    notes = passport.get("notes")
    if isinstance(notes, (list, tuple)) and notes:
        entries.append(("notes", "<br>".join(text(note) for note in notes)))
    listed = "".join(f"<dt>{text(name)}</dt><dd>{value}</dd>" for name, value in entries)
    return f"<dl>{listed}</dl>"
