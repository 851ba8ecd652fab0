"""How the board feels: power mode, temperature and throttling of a Jetson.

The package ``jtop`` (jetson-stats) tells it, where it is installed and its service runs.
Nothing is imported, and no thread started, anywhere else.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HOT: Final = 90.0
"""Degrees Celsius at which a board counts as hot: Orin begins to throttle at 99."""
COOL: Final = 84.0
"""Degrees Celsius below which it counts as cool again."""
_HOLD = 10
"""Readings for which a throttling is remembered."""
_COUNTERS = "sys/class/hwmon/hwmon*/oc*_event_cnt"


@dataclass(frozen=True)
class BoardState:
    """What is known of the board.

    Attributes:
        power_mode: e.g. ``"15W"``; empty where unknown.
        temperature: of the hottest sensor, degrees Celsius; None where unknown.
        hot: too warm, or throttled by its own protection.
    """

    power_mode: str
    temperature: float | None
    hot: bool


class BoardJudge:
    """Turns readings into states; being hot ends later than it begins.

    Args:
        hot: degrees Celsius from which on it is hot.
        cool: degrees Celsius below which it no longer is.
    """

    def __init__(self, hot: float = HOT, cool: float = COOL) -> None:
        self._hot_at, self._cool_at = hot, cool
        self._warm = False
        self._events: int | None = None
        self._throttled = 0

    def judge(self, power_mode: str, temperatures: Iterable[float], events: int) -> BoardState:
        """The state after one more reading.

        Args:
            power_mode: as the board names it.
            temperatures: of all sensors, degrees Celsius.
            events: over-current and throttling events since the board was started.
        """
        hottest = max(temperatures, default=None)
        if hottest is not None:
            self._warm = hottest >= (self._cool_at if self._warm else self._hot_at)
        if self._events is not None and events > self._events:
            self._throttled = _HOLD
        else:
            self._throttled = max(0, self._throttled - 1)
        self._events = events
        return BoardState(power_mode, hottest, self._warm or self._throttled > 0)


class BoardSensor:
    """Reads the board in a thread of its own; call it for the latest state.

    Use :func:`open_board`, which gives None where there is nothing to read.

    Args:
        service: a started ``jtop.jtop``.
        root: where ``sys`` lies.
        period: seconds between two readings.
    """

    def __init__(self, service: Any, root: Path = Path("/"), period: float = 1.0) -> None:
        self._service = service
        self._root = root
        self._period = period
        self._judge = BoardJudge()
        self._state: BoardState | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="acf-board", daemon=True)
        self._thread.start()

    def __call__(self) -> BoardState | None:
        """The latest state; None before the first reading and after the service went away."""
        return self._state

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        with contextlib.suppress(Exception):
            self._service.close()

    def _read(self) -> None:
        # jtop's service may be stopped or updated at any time; the stream goes on without it.
        with contextlib.suppress(Exception):
            while not self._closed.wait(self._period) and self._service.ok(spin=True):
                mode = _mode(self._service.nvpmodel)
                degrees = list(_degrees(self._service.temperature))
                self._state = self._judge.judge(mode, degrees, throttle_events(self._root))
        self._state = None


def open_board() -> BoardSensor | None:
    """Begin to watch the board; None where jtop is not installed or its service is not there."""
    # Its exceptions derive from Exception alone, and its service may be of another version.
    with contextlib.suppress(Exception):
        if importlib.util.find_spec("jtop") is None:
            return None
        service = importlib.import_module("jtop").jtop()
        service.start()
        return BoardSensor(service)
    return None


def throttle_events(root: Path) -> int:
    """Over-current and throttling events since the start, from the kernel; 0 where unknown."""
    total = 0
    for counter in root.glob(_COUNTERS):
        with contextlib.suppress(OSError, ValueError):
            total += int(counter.read_text(encoding="ascii"))
    return total


def _mode(model: Any) -> str:
    """The name of a power mode: a text, or an object of jtop that knows it."""
    return str(getattr(model, "name", None) or getattr(model, "mode", None) or model or "")


def _degrees(table: Any) -> Iterable[float]:
    """jtop 4 gives a table per sensor, jtop 3 a number."""
    if not isinstance(table, Mapping):
        return
    for value in table.values():
        if isinstance(value, Mapping):
            if value.get("online") is False:
                continue
            value = value.get("temp")
        # Sensors that are switched off report -256.
        if isinstance(value, int | float) and -50 < value < 200:
            yield float(value)
