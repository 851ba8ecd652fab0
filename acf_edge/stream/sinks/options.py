"""What may stand in the query of the sinks of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acf_edge.stream.uri_types import Option

ENCODERS = ("auto", "x264", "nvenc", "qsv", "amf")

_OVERWRITE = Option("overwrite", "bool", False, "replace what is there once the new one is whole")
_HELD = Option(
    "held",
    "choice",
    "keep",
    "pictures repeated while the source is away",
    ("keep", "skip"),
)

RECORDING_OPTIONS: tuple[Option, ...] = (
    Option("crf", "int", 18, "quality, 0 best to 51", low=0, high=51),
    Option("preset", "text", "veryfast", "x264's trade of time for size"),
    Option(
        "encoder",
        "choice",
        "auto",
        "auto takes hardware for live sources",
        ENCODERS,
    ),
    Option("audio", "bool", True, "copy the audio"),
    _HELD,
    _OVERWRITE,
)

FOLDER_OPTIONS: tuple[Option, ...] = (
    Option("format", "choice", "png", "of the pictures", ("png", "jpg", "webp")),
    Option("every", "int", 1, "write one picture in so many", low=1),
    _HELD,
    _OVERWRITE,
)


def with_defaults(options: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, and the defaults of what was not."""
    return {option.name: option.default for option in options} | dict(given)
