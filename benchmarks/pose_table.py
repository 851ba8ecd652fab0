"""From samples to means with intervals, and those to tables for a terminal and for Markdown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich import box
from rich.table import Table

from benchmarks.pose_metrics import Interval, mean_interval
from benchmarks.pose_run import BICUBIC, LOW, MEASURES, ORIGINAL, Sample

ALL: Final = "all"
TITLES: Final = {
    "found": "Found: annotated persons for whom the model finds anybody, %",
    "detected": "Detected: found, and it is the annotated person (OKS >= 0.5), %",
    "pck": "PCK: annotated joints found within half a head or a fifth of a torso, %",
    "oks": "OKS x 100: similarity to the annotation, 0 for a person who is not found",
    "agreement": "Agreement: the original's joints found in the same place, %",
}
_SIGN: Final = "*"
CAPTION: Final = (
    f"Differences with 95 % bootstrap intervals over persons; {_SIGN} = the interval excludes 0, "
    "as one in twenty does by chance."
)


@dataclass(frozen=True)
class Cell:
    """One measure under one recipe at one size, or over all of them.

    Attributes:
        measure: one of :data:`MEASURES`.
        recipe: its name, or ``"all"``.
        height: in pixels, or ``"all"``: then each person counts once, with their mean.
        means: of each input, 0..1.
        differences: (of, against) -> paired difference of the means: each engine against
            bicubic, the low-resolution picture and the first engine; bicubic against that
            picture; the original against bicubic.
    """

    measure: str
    recipe: str
    height: int | str
    means: Mapping[str, Interval]
    differences: Mapping[tuple[str, str], Interval]

    @property
    def persons(self) -> int:
        """How many stand behind each mean."""
        return next(iter(self.means.values())).persons

    def to_json(self) -> dict[str, Any]:
        """Plain values; a difference carries its verdict."""
        return {
            "measure": self.measure,
            "recipe": self.recipe,
            "height": self.height,
            "persons": self.persons,
            "means": {name: _plain(interval) for name, interval in self.means.items()},
            "differences": [
                {"of": one, "against": other, **_plain(interval), "verdict": interval.verdict}
                for (one, other), interval in self.differences.items()
            ],
        }


def cells(samples: Sequence[Sample]) -> list[Cell]:
    """Every measure under every recipe at every size, each recipe as a whole, and everything.

    In the order of :data:`MEASURES`, then as the samples come; sizes from the largest.
    """
    recipes = list(dict.fromkeys(sample.recipe for sample in samples))
    heights = sorted({sample.height for sample in samples}, reverse=True)
    result = []
    for measure in MEASURES:
        for recipe in recipes:
            own = [sample for sample in samples if sample.recipe == recipe]
            groups: list[tuple[int | str, list[Sample]]] = [
                (height, [sample for sample in own if sample.height == height])
                for height in heights
            ]
            if len(heights) > 1:
                groups.append((ALL, own))
            result += [_cell(measure, recipe, height, group) for height, group in groups]
        if len(recipes) > 1:
            result.append(_cell(measure, ALL, ALL, samples))
    return [cell for cell in result if cell is not None]


def _cell(measure: str, recipe: str, height: int | str, samples: Sequence[Sample]) -> Cell | None:
    by_person: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for sample in samples:
        values = {name: score.get(measure) for name, score in sample.scores.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) == len(values):
            by_person[sample.subject].append(known)
    if not by_person:
        return None
    names = list(samples[0].scores)
    people = [
        {name: math.fsum(one[name] for one in ones) / len(ones) for name in names}
        for ones in by_person.values()
    ]
    word = f"{measure} {recipe} {height}"
    means = {name: mean_interval([one[name] for one in people], word) for name in names}
    engines = [name for name in names if name not in (ORIGINAL, LOW, BICUBIC)]
    pairs = [(one, other) for one in engines for other in (BICUBIC, LOW)]
    pairs += [(one, engines[0]) for one in engines[1:]]
    pairs += [(BICUBIC, LOW), (ORIGINAL, BICUBIC)]
    differences = {
        (one, other): mean_interval([person[one] - person[other] for person in people], word)
        for one, other in pairs
    }
    return Cell(measure, recipe, height, means, differences)


@dataclass(frozen=True)
class Grid:
    """A table before it has a form: a title, the columns' titles, the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grids(found: Sequence[Cell]) -> list[Grid]:
    """A table for each measure, with as many columns as there are inputs and engines."""
    result = []
    for measure in MEASURES:
        own = [cell for cell in found if cell.measure == measure]
        if not own:
            continue
        # The original agrees with itself.
        names = [n for n in own[0].means if measure != "agreement" or n != ORIGINAL]
        engines = [n for n in names if n not in (ORIGINAL, LOW, BICUBIC)]
        columns = ("recipe", "px", "persons", *names, *(f"{n} − bicubic" for n in engines))
        rows = tuple(
            (
                cell.recipe,
                str(cell.height),
                str(cell.persons),
                *(f"{100 * cell.means[name].mean:.1f}" for name in names),
                *(spell(cell.differences[name, BICUBIC]) for name in engines),
            )
            for cell in own
        )
        result.append(Grid(TITLES[measure], columns, rows))
    return result


def spell(difference: Interval) -> str:
    """In hundredths: ``"+1.2 [−0.4, +2.9]"``; a star if the interval excludes 0."""
    text = _signed(difference.mean)
    if difference.low is None or difference.high is None:
        return text
    text = f"{text} [{_signed(difference.low)}, {_signed(difference.high)}]"
    return text if difference.verdict == "within noise" else f"{text} {_SIGN}"


def to_rich(grid: Grid) -> Table:
    """For the terminal."""
    table = Table(
        title=grid.title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    # Titles may break, figures may not.
    for index, (column, width) in enumerate(zip(grid.columns, _widths(grid), strict=True)):
        table.add_column(column, justify="left" if index == 0 else "right", min_width=width)
    previous = grid.rows[0][0] if grid.rows else ""
    for row in grid.rows:
        if row[0] != previous:
            table.add_section()
        previous = row[0]
        table.add_row(*row)
    return table


def least_width(grid: Grid) -> int:
    """Columns of a terminal that the table needs, gaps included."""
    return sum(_widths(grid)) + 3 * len(grid.columns)


def to_markdown(tables: Sequence[Grid], lines: Sequence[str]) -> str:
    """For a page: the verdicts, then every table."""
    parts = ["\n".join(f"- {line}" for line in lines)] if lines else []
    for grid in tables:
        ruler = ["---", *("---:" for _ in grid.columns[1:])]
        rows = [grid.columns, ruler, *grid.rows]
        body = "\n".join(f"| {' | '.join(_escape(word) for word in row)} |" for row in rows)
        parts.append(f"**{grid.title}**\n\n{body}")
    return "\n\n".join([*parts, CAPTION]) + "\n"


def verdicts(found: Sequence[Cell]) -> list[str]:
    """For each measure and engine: the difference over everything, and a count of settings.

    Against bicubic, the low-resolution picture as it is, and the first engine.
    """
    result = []
    for measure in MEASURES:
        own = [cell for cell in found if cell.measure == measure]
        if not own:
            continue
        single = [cell for cell in own if cell.height != ALL] or own
        for one, other in own[-1].differences:
            if one in (ORIGINAL, BICUBIC):
                continue
            whole = own[-1].differences[one, other]
            words = [cell.differences[one, other].verdict for cell in single]
            result.append(
                f"{measure}, {one} against {other}: {spell(whole)} over {whole.persons} persons, "
                f"{whole.verdict}; of {len(words)} settings {words.count('better')} better, "
                f"{words.count('worse')} worse, {words.count('within noise')} within noise"
            )
    return result


def _widths(grid: Grid) -> list[int]:
    titles = [max(map(len, column.split())) for column in grid.columns]
    return [max(pair) for pair in zip(titles, *map(_lengths, grid.rows), strict=True)]


def _lengths(row: Sequence[str]) -> list[int]:
    return [len(word) for word in row]


def _signed(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _escape(word: str) -> str:
    return word.replace("|", "\\|").replace("*", "\\*")


def _plain(interval: Interval) -> dict[str, float | None]:
    return {
        name: None if value is None else round(value, 5)
        for name, value in asdict(interval).items()
        if name != "persons"
    }
