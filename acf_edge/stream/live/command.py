"""From the words of ``acf-edge stream`` to the lanes of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acf_edge.errors import InputError
from acf_edge.imaging.files import IMAGE_SUFFIXES
from acf_edge.stream.live.lanes import Lane
from acf_edge.stream.uri import open_sink, open_source, parse_sink, parse_source
from acf_edge.stream.uri_table import video_suffixes
from acf_edge.stream.uri_types import Option, Uri

SEPARATOR = "+"
_HOW = "Write: acf-edge stream SOURCE SINK [SINK ...] [+ SOURCE SINK ...]"
_WRITES = ("file", "folder")
# As many of them as one likes go to the same place.
_ANYWHERE = ("null", "display", "gst")
_LONGEST = 366 * 86400
_TILES = (32, 16384)


@dataclass(frozen=True)
class LaneWords:
    """One source and its sinks, as the user named them."""

    source: str
    sinks: tuple[str, ...]


def split_lanes(words: Sequence[str]) -> list[LaneWords]:
    """Split ``SOURCE SINK SINK + SOURCE SINK`` at the plus signs.

    Raises:
        InputError: a source without a sink; a sink that is named twice, or is a source.
    """
    groups: list[list[str]] = [[]]
    for word in words:
        if word == SEPARATOR:
            groups.append([])
        else:
            groups[-1].append(word)
    lanes = []
    for group in groups:
        if not group:
            raise InputError(f"A source is missing beside '{SEPARATOR}'.", _HOW)
        if len(group) == 1:
            shown = parse_source(group[0]).shown
            raise InputError(f"The source '{shown}' has no sink.", f"Name one, or null://. {_HOW}")
        lanes.append(LaneWords(group[0], tuple(group[1:])))
    _check_places(lanes)
    return lanes


def _check_places(lanes: Sequence[LaneWords]) -> None:
    read = {_place(uri) for uri in (parse_source(lane.source) for lane in lanes)}
    taken: set[tuple[str, str]] = set()
    for text in (text for lane in lanes for text in lane.sinks):
        uri = parse_sink(text)
        place = _place(uri)
        if uri.scheme in _WRITES and place in read:
            raise InputError(
                f"'{uri.shown}' is a source and a sink at once.", "Choose another output name."
            )
        if uri.scheme not in _ANYWHERE and place in taken:
            raise InputError(f"Two sinks go to '{uri.shown}'.", "Give each a place of its own.")
        taken.add(place)


def check_stats(path: Path, words: Sequence[LaneWords]) -> None:
    """See that the counters overwrite nothing that the run reads or writes.

    Args:
        path: what ``--stats`` names.
        words: the sources and sinks of the run.

    Raises:
        InputError: it is a source or a sink of the run, or has the name of a video or a picture.
    """
    place = "path", str(path.resolve())
    for uri in (
        *(parse_source(lane.source) for lane in words),
        *(parse_sink(text) for lane in words for text in lane.sinks),
    ):
        if _place(uri) == place:
            raise InputError(
                f"--stats would overwrite '{uri.shown}'.", "Choose another name, such as run.json."
            )
    if path.suffix.lower() in {*video_suffixes(), *IMAGE_SUFFIXES}:
        raise InputError(
            f"--stats '{path}' has the name of a video or a picture.",
            "The counters are JSON: choose a name such as run.json.",
        )


def _place(uri: Uri) -> tuple[str, str]:
    if uri.scheme in _WRITES:
        # Links and '..' lead to the same place.
        return "path", str(Path(uri.rest).resolve())
    return uri.scheme, uri.rest


def open_lanes(lanes: Sequence[LaneWords]) -> list[Lane]:
    """Make the sources and sinks; nothing is connected yet.

    Raises:
        InputError: see :func:`acf_edge.stream.uri.open_source`.
    """
    return [
        Lane(open_source(lane.source), [open_sink(text) for text in lane.sinks]) for lane in lanes
    ]


def read_duration(text: str) -> float:
    """Read ``--duration``: ``90``, ``90s``, ``500ms``, ``2min``, ``1:30``; in seconds.

    Raises:
        InputError: not of this form, or not positive.
    """
    option = Option("duration", "seconds", None, "")
    try:
        seconds = float(option.read(text))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise InputError(f"--duration '{text}' is no time.", f"Give {option.expected}.")
    return seconds


def read_tile(text: str) -> tuple[int, int]:
    """Read ``--tile``: ``WxH`` in pixels of the source.

    Raises:
        InputError: not of this form, or too small or too large.
    """
    option = Option("tile", "size", None, "")
    low, high = _TILES
    try:
        width, height = option.read(text)
    except ValueError:
        width = height = 0
    if not (low <= width <= high and low <= height <= high):
        raise InputError(f"--tile '{text}' is no size of a tile.", f"Give {option.expected}.")
    return width, height


def read_count(name: str, value: int | None) -> int | None:
    """Check an option that counts something.

    Raises:
        InputError: below 1.
    """
    if value is not None and value < 1:
        raise InputError(f"{name} {value} is out of range.", "Give 1 or more.")
    return value
