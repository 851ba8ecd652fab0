"""How old a frame may be when it is done: ``33ms``, ``0.033``, ``2frames``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from acf_edge.errors import InputError

_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|frames?|)")
_SHORTEST, _LONGEST = 1e-3, 10.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A limit of a frame's age, in seconds or in frames of its source.

    Attributes:
        amount: > 0.
        unit: ``"seconds"`` or ``"frames"``.
    """

    amount: float
    unit: str = "seconds"

    def seconds(self, rate: Fraction) -> float:
        """The limit for a source of this rate."""
        return self.amount / float(rate) if self.unit == "frames" else self.amount


def parse_deadline(text: str) -> Deadline:
    """Read what ``--deadline`` was given.

    Raises:
        InputError: not of this form, or outside 1 ms to 10 s.
    """
    remedy = "Write '33ms', '0.033' (seconds) or '2frames'."
    found = _FORM.fullmatch(text.strip().lower())
    if not found:
        raise InputError(f"--deadline '{text}' is no time.", remedy)
    amount, unit = float(found[1]), found[2]
    if unit.startswith("frame"):
        if not 0 < amount <= 1000:
            raise InputError(f"--deadline '{text}' is out of range.", "Allowed: up to 1000frames.")
        return Deadline(amount, "frames")
    seconds = amount / 1000 if unit == "ms" else amount
    if not _SHORTEST <= seconds <= _LONGEST:
        raise InputError(f"--deadline '{text}' is out of range (1ms to 10s).", remedy)
    return Deadline(seconds)
