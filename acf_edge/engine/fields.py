"""Reading JSON that somebody else may have written: every field by name and type."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from acf_edge.errors import InputError

_SPECIAL: Final = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


class Fields:
    """One JSON object, read field by field.

    Args:
        data: what ``json.loads`` gave.
        what: what the object is, for messages, e.g. ``"The passport"``.
        remedy: what the user should do about a bad one.

    Raises:
        InputError: ``data`` is not an object. Every method raises it for a
            field that is missing or of the wrong type, and names the field.
    """

    def __init__(self, data: object, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        if not isinstance(data, dict):
            raise self.bad("is not a JSON object")
        self._data: dict[str, Any] = data

    def bad(self, problem: str) -> InputError:
        """The error that this object earns for ``problem``."""
        return InputError(f"{self.what} {problem}.", self.remedy)

    def raw(self, name: str) -> Any:
        """The field as it stands."""
        if name not in self._data:
            raise self.bad(f"lacks the field '{name}'")
        return self._data[name]

    def text(self, name: str) -> str:
        """A string of printable characters (a message built from it stays one line)."""
        value = self.raw(name)
        if not isinstance(value, str) or not value.isprintable():
            raise self.bad(f"has no printable text in the field '{name}'")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string or null."""
        return None if self.raw(name) is None else self.text(name)

    def integer(self, name: str, low: int = 0) -> int:
        """An integer >= ``low``."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.bad(f"has no whole number >= {low} in the field '{name}'")
        return value

    def optional_integer(self, name: str, low: int = 0) -> int | None:
        """An integer >= ``low`` or null."""
        return None if self.raw(name) is None else self.integer(name, low)

    def number(self, name: str) -> float:
        """A float; the strings ``inf``, ``-inf`` and ``nan`` stand for themselves."""
        value = self.raw(name)
        if isinstance(value, str) and value in _SPECIAL:
            return _SPECIAL[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(f"has no number in the field '{name}'")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        """A float or null."""
        return None if self.raw(name) is None else self.number(name)

    def items(self, name: str) -> list[Any]:
        """A list."""
        value = self.raw(name)
        if not isinstance(value, list):
            raise self.bad(f"has no list in the field '{name}'")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of printable strings."""
        values = self.items(name)
        if not all(isinstance(value, str) and value.isprintable() for value in values):
            raise self.bad(f"has something other than printable text in the field '{name}'")
        return tuple(values)

    def table(self, name: str) -> dict[str, Any]:
        """An object with string keys."""
        value = self.raw(name)
        if not isinstance(value, dict):
            raise self.bad(f"has no table in the field '{name}'")
        return value


def json_number(value: float | None) -> float | str | None:
    """A float as JSON can hold it: infinities and NaN become strings."""
    if value is None or math.isfinite(value):
        return value
    return str(float(value))


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The one byte string for ``value``: sorted keys, no spaces, ASCII, finite numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")
