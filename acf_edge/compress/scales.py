"""The scale store: one table of ranges, from which every backend's INT8 graph is written.

Keys are value names of the plain network with its operators inlined
(:func:`acf_edge.export.model.inline_operators`); they follow the modules' paths,
so a range can also be found by eye. How a range becomes scale and zero point is
the business of the dialect that is written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acf_edge.errors import InputError
from acf_edge.files import write_text

FORMAT = "acf-edge-scales-1"


@dataclass(frozen=True)
class Range:
    """What values an activation takes: ``low <= 0 <= high``, ``low < high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InputError("A calibrated range is not finite.", "Check the checkpoint.")
        if not self.low <= 0.0 <= self.high or self.low == self.high:
            raise InputError(
                f"A calibrated range is {self.low}..{self.high}.", "It must hold zero and more."
            )


@dataclass(frozen=True)
class ScaleStore:
    """Ranges and where they come from.

    Attributes:
        ranges: value name -> range.
        method: ``"max"``, ``"percentile"`` or ``"mse"``.
        source: what was looked at, in words.
        pictures: how many.
        weights_sha256: of the checkpoint that was calibrated; a store fits no other.
    """

    ranges: Mapping[str, Range]
    method: str
    source: str
    pictures: int
    weights_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Plain types only."""
        return {
            "format": FORMAT,
            "method": self.method,
            "source": self.source,
            "pictures": self.pictures,
            "weights_sha256": self.weights_sha256,
            "ranges": {name: [r.low, r.high] for name, r in sorted(self.ranges.items())},
        }

    @property
    def sha256(self) -> str:
        """Of the canonical JSON, lower-case hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path | str) -> None:
        """Write as JSON, whole or not at all."""
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


def load_scales(path: Path | str, weights_sha256: str | None = None) -> ScaleStore:
    """Read a store.

    Args:
        path: a file that :meth:`ScaleStore.save` wrote.
        weights_sha256: if given, the store must be of these weights.

    Raises:
        InputError: unreadable, malformed, or of other weights (a stale calibration cache).
    """
    path = Path(path)
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}")
        store = ScaleStore(
            {str(k): Range(float(v[0]), float(v[1])) for k, v in table["ranges"].items()},
            str(table["method"]),
            str(table["source"]),
            int(table["pictures"]),
            str(table["weights_sha256"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"'{path}' is no scale store: {error}.", "Calibrate again.") from None
    if weights_sha256 is not None and store.weights_sha256 != weights_sha256:
        raise InputError(
            f"The scale store '{path}' was calibrated for other weights.", "Calibrate again."
        )
    return store
