"""Numbers as people read them, and text that is safe inside HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from html import escape
from typing import Any

NOTHING = "–"
MINUS = "−"  # the sign, not the hyphen


def text(value: object) -> str:
    """``value`` escaped for HTML, between tags and inside attributes."""
    return escape(str(value), quote=True)


def number(value: object) -> float | None:
    """``value`` as a float; None if it is absent or no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def fixed(value: object, digits: int, unit: str = "") -> str:
    """``12.345`` -> ``"12.3 ms"``; a dash if there is no number."""
    found = number(value)
    if found is None:
        return NOTHING
    return f"{found:.{digits}f}".replace("-", MINUS) + (f"\u202f{unit}" if unit else "")


def signed(value: float, digits: int) -> str:
    """``0.5`` -> ``"+0.50"``; what rounds to zero has the sign of zero: ``"±0.00"``."""
    rounded = round(value, digits)
    sign = "±" if rounded == 0 else "+" if rounded > 0 else MINUS
    return f"{sign}{abs(rounded):.{digits}f}"


def milliseconds(value: object) -> str:
    """Three significant digits, as far as the thousandth."""
    found = number(value)
    if found is None:
        return NOTHING
    size = abs(found)
    return fixed(found, 0 if size >= 99.5 else 1 if size >= 9.95 else 2 if size >= 0.095 else 3)


def count(value: object) -> str:
    """``172345`` -> ``"172\u202fk"``, ``3.1e9`` -> ``"3.10\u202fG"``."""
    found = number(value)
    if found is None:
        return NOTHING
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(found) >= size * 0.9995:
            scaled = found / size
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f}\u202f{sign}"
    return f"{found:.0f}"


def duration(seconds: object) -> str:
    """``75.2`` -> ``"1 min 15 s"``."""
    found = number(seconds)
    if found is None:
        return NOTHING
    if found < 9.95:
        return f"{found:.1f}\u202fs"
    whole = round(found)
    if whole < 60:
        return f"{whole}\u202fs"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest}\u202fs" if rest else f"{minutes}\u202fmin"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u202fh {minutes}\u202fmin" if minutes else f"{hours}\u202fh"


def when(date: object) -> str:
    """An ISO 8601 date to the minute: ``"2026-11-23 10:12 UTC"``; other text as it is."""
    try:
        parsed = datetime.fromisoformat(str(date or "").replace("Z", "+00:00"))
    except ValueError:
        return str(date or "")
    if parsed.tzinfo is None:
        return f"{parsed:%Y-%m-%d %H:%M}"
    return f"{parsed.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def shorten(value: str, limit: int) -> str:
    """At most ``limit`` characters; what is cut is cut from the middle."""
    if len(value) <= limit:
        return value
    head = (limit - 1) * 2 // 5
    return f"{value[:head]}…{value[len(value) - (limit - 1 - head) :]}"


def machine_words(machine: object) -> str:
    """A machine in one line: from the profile's fields, or from whatever it holds."""
    if not isinstance(machine, Mapping):
        return str(machine) if machine else ""
    parts: list[Any] = [machine.get(name) for name in ("jetson", "power_mode", "cpu")]
    cores = number(machine.get("cores"))
    if cores is not None:
        parts.append(f"{cores:.0f} core{'' if cores == 1 else 's'}")
    parts.append(machine.get("arch"))
    words = [str(part) for part in parts if part]
    return ", ".join(words or [str(value) for value in machine.values() if value])
