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
    """What values an activation takes: ``low <= 0 <= high``, and a width that 8 bits can carry.

    Raises:
        InputError: not finite, without zero, or narrower than 1e-9 or wider than 1e9.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InputError("A calibrated range is not finite.", "Check the checkpoint.")
        if not self.low <= 0.0 <= self.high or not 1e-9 <= self.high - self.low <= 1e9:
            raise InputError(
                f"A calibrated range is {self.low}..{self.high}.",
                "It must hold zero and be 1e-9 to 1e9 wide.",
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
        store = _store(table)
    except RecursionError:
        raise InputError(f"'{path}' is no scale store.", "Calibrate again.") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, InputError) as error:
        words = error.problem if isinstance(error, InputError) else " ".join(str(error).split())
        raise InputError(
            f"'{path}' is no scale store: {words[:160].rstrip('.')}.", "Calibrate again."
        ) from None
    if weights_sha256 is not None and store.weights_sha256 != weights_sha256:
        raise InputError(
            f"The scale store '{path}' was calibrated for other weights.", "Calibrate again."
        )
    return store


def _store(table: Any) -> ScaleStore:
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise ValueError(f"it does not say {FORMAT}")
    texts = [table[key] for key in ("method", "source", "weights_sha256")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(table["ranges"], dict):
        raise TypeError("a field has a wrong type")
    ranges = {}
    for name, ends in table["ranges"].items():
        if not isinstance(ends, list) or len(ends) != 2:
            raise ValueError(f"the range of '{name}' is no pair")
        ranges[name] = Range(float(ends[0]), float(ends[1]))
    return ScaleStore(ranges, texts[0], texts[1], int(table["pictures"]), texts[2])
