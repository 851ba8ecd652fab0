"""The ledger as a table: what each stage of a build did, and at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acf_edge.report.words import (
    NOTHING,
    count,
    duration,
    fixed,
    milliseconds,
    number,
    signed,
    text,
)

if TYPE_CHECKING:
    from rich.table import Table

# verdict -> (sign, colour on a terminal)
_VERDICTS = {
    "pass": ("✓", "green"),
    "fail": ("✕", "bold red"),
    "allowed": ("!", "yellow"),
    "skipped": (NOTHING, "dim"),
}


@dataclass(frozen=True)
class Gain:
    """Quality after a stage on one recipe; None where it was not measured.

    Attributes:
        psnr: PSNR-Y in dB. ``ssim``: SSIM of luma, 0..1.
        bicubic_psnr, bicubic_ssim: the same of bicubic up-sampling.
    """

    psnr: float | None
    ssim: float | None
    bicubic_psnr: float | None
    bicubic_ssim: float | None

    @property
    def psnr_gain(self) -> float | None:
        """dB above bicubic."""
        return (
            None
            if self.psnr is None or self.bicubic_psnr is None
            else self.psnr - self.bicubic_psnr
        )

    @property
    def ssim_gain(self) -> float | None:
        """SSIM above bicubic."""
        return (
            None
            if self.ssim is None or self.bicubic_ssim is None
            else self.ssim - self.bicubic_ssim
        )


def rows_of(ledger: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a ledger's JSON."""
    return list(ledger.get("rows") or ())


def recipes_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The recipes that any row was measured on, in order of first mention."""
    names = [str(one.get("recipe")) for row in rows for one in row.get("quality") or ()]
    return list(dict.fromkeys(names))


def gains_of(row: Mapping[str, Any]) -> dict[str, Gain]:
    """A row's quality by recipe."""
    return {
        str(one.get("recipe")): Gain(
            number(one.get("psnr_y")),
            number(one.get("ssim_y")),
            number(one.get("bicubic_psnr_y")),
            number(one.get("bicubic_ssim_y")),
        )
        for one in row.get("quality") or ()
    }


def bicubic_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Gain]:
    """What bicubic reaches, by recipe: the last row's word counts."""
    found: dict[str, Gain] = {}
    for row in rows:
        for recipe, gain in gains_of(row).items():
            if gain.bicubic_psnr is not None:
                found[recipe] = Gain(gain.bicubic_psnr, gain.bicubic_ssim, None, None)
    return found


def ledger_table(ledger: Mapping[str, Any]) -> Table:
    """The ledger for a terminal: a line per stage, bicubic first.

    Args:
        ledger: what ``ledger.json`` holds: ``rows``, each with ``stage``,
            ``verdict``, ``seconds`` and, where measured, ``params``, ``macs``,
            ``mib``, ``ms`` and ``quality`` (a list of PSNR and SSIM by recipe).
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = rows_of(ledger)
    recipes = recipes_of(rows)
    several = len(recipes) > 1
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    if several:
        table.add_column("recipe", no_wrap=True)
    for heading in ("PSNR-Y gain", "SSIM", "params", "MACs", "MiB", "ms", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for place, (recipe, gain) in enumerate(bicubic_of(rows).items()):
        cells = ["" if place else "bicubic", *([recipe] if several else [])]
        table.add_row(*map(Text, cells), *_terminal_quality(gain), style="dim")
    for row in rows:
        sign, style = _verdict(row)
        verdict = str(row.get("verdict", ""))
        gains = gains_of(row)
        measured = [recipe for recipe in recipes if recipe in gains] or [""]
        names = [Text.assemble((sign, style), f" {row.get('stage', '')}")]
        if verdict in ("fail", "allowed"):
            names.append(Text(f"  {verdict}", style))
        for place in range(max(len(measured), len(names))):
            name = names[place] if place < len(names) else Text()
            recipe = measured[place] if place < len(measured) else ""
            quality = _terminal_quality(gains[recipe]) if recipe else ("", "")
            if not place and not recipe:
                quality = ("skipped", "") if verdict == "skipped" else (NOTHING, NOTHING)
            costs = [""] * 5 if place or verdict == "skipped" else _terminal_costs(row)
            recipe_cell = [Text(recipe)] if several else []
            table.add_row(
                name, *recipe_cell, *quality, *costs, style="dim" if verdict == "skipped" else ""
            )
    if len(recipes) == 1:
        table.caption = f"quality on {recipes[0]}"
    return table


def _terminal_quality(gain: Gain) -> tuple[str, str]:
    more = "" if gain.psnr_gain is None else f" {signed(gain.psnr_gain, 2)}"
    return f"{fixed(gain.psnr, 2)}{more}", fixed(gain.ssim, 4)


def _terminal_costs(row: Mapping[str, Any]) -> list[str]:
    """The costs without spaces, so that a ledger fits into 80 columns."""
    return [cost.replace("\u202f", "").replace(" ", "").replace("min", "m") for cost in _costs(row)]


def _costs(row: Mapping[str, Any]) -> list[str]:
    skipped = row.get("verdict") == "skipped"
    return [
        count(row.get("params")),
        count(row.get("macs")),
        fixed(row.get("mib"), 2),
        milliseconds(row.get("ms")),
        NOTHING if skipped else duration(row.get("seconds")),
    ]


def _verdict(row: Mapping[str, Any]) -> tuple[str, str]:
    return _VERDICTS.get(str(row.get("verdict")), ("?", "dim"))


def ledger_html(ledger: Mapping[str, Any]) -> str:
    """The ledger as an HTML table; empty without rows."""
    rows = rows_of(ledger)
    if not rows:
        return ""
    recipes = recipes_of(rows)
    groups = "".join(f'<th colspan="2" scope="colgroup">{text(recipe)}</th>' for recipe in recipes)
    names = "".join('<th scope="col">PSNR-Y, dB</th><th scope="col">SSIM</th>' for _ in recipes)
    costs = "".join(
        f'<th scope="col" rowspan="2">{name}</th>'
        for name in ("parameters", "MACs", "MiB", "ms", "time spent")
    )
    bicubic = bicubic_of(rows)
    body = []
    if bicubic:
        cells = "".join(_html_quality(bicubic.get(recipe)) for recipe in recipes)
        body.append(
            '<tr class="baseline"><th scope="row"><b>bicubic</b></th>'
            f"{cells}{f'<td>{NOTHING}</td>' * 5}</tr>"
        )
    for row in rows:
        gains = gains_of(row)
        cells = "".join(_html_quality(gains.get(recipe)) for recipe in recipes)
        cells += "".join(f"<td>{text(cost)}</td>" for cost in _costs(row))
        body.append(f"<tr>{_html_stage(row)}{cells}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Ledger"><table class="ledger">'
        f'<thead><tr><th scope="col" rowspan="2">stage</th>{groups}{costs}</tr>'
        f"<tr>{names}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _html_stage(row: Mapping[str, Any]) -> str:
    sign, _ = _verdict(row)
    verdict = str(row.get("verdict", ""))
    known = verdict if verdict in _VERDICTS else "unknown"
    note = f"<small>{text(row['note'])}</small>" if row.get("note") else ""
    return (
        f'<th scope="row"><b>{text(row.get("stage", ""))}</b> '
        f'<span class="chip {known}">{sign} {text(verdict)}</span>{note}</th>'
    )


def _html_quality(gain: Gain | None) -> str:
    if gain is None:
        return f"<td>{NOTHING}</td><td>{NOTHING}</td>"
    return (
        f"<td>{fixed(gain.psnr, 2)}{_html_gain(gain.psnr_gain, 2)}</td>"
        f"<td>{fixed(gain.ssim, 4)}{_html_gain(gain.ssim_gain, 4)}</td>"
    )


def _html_gain(gain: float | None, digits: int) -> str:
    if gain is None:
        return ""
    kind = "up" if gain > 0 else "down" if gain < 0 else "level"
    return f'<small class="{kind}">{signed(gain, digits)}</small>'
