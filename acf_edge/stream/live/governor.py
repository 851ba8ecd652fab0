"""Which engine may take the next frame, so that frames arrive before their deadline.

Stepping down is quick, stepping up is careful: down after three misses among eight
frames (or twelve among two hundred), up only where the time that the rung above took
fits with a margin. What a rung took long ago may no longer be true, so now and then one
frame is spent on finding out; a rung that fails again is asked at growing intervals. A
steady load therefore leads to one rung and stays there.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from acf_edge.stream.live.board import BoardState

MARGIN: Final = 0.85
"""Share of the deadline that a frame on a higher rung may need for a step up."""
_BURST, _BURST_OF = 3, 8
_DRIFT, _DRIFT_OF = 12, 200
_MEMORY = 32
_FEW = 8
_SETTLE = 1.0
"""Seconds on a rung before a step up is thought of."""
_CALM = 8
"""Frames in time, one after the other, before a step up is thought of."""
_PROBES = 3
"""Frames on a higher rung that must fit, where it did not fit before."""
_FIRST_WAIT, _LAST_WAIT = 4.0, 60.0
_PROVEN = 30.0
"""Seconds after which a step up counts as right."""
_HOT_STEP = 10.0
"""Seconds between two steps down on a hot board."""


@dataclass(frozen=True)
class GovernorState:
    """What the governor has done so far.

    Attributes:
        rung: index on the ladder, 0 = best.
        name: of the rung.
        frames: name of each rung, best first -> frames that it made.
        in_time, late: frames that arrived before their deadline, or after. Without a
            deadline every frame is in time.
        steps_down, steps_up: changes of the rung, without probes.
        probes: single frames spent on learning what a higher rung takes now.
        deadline: seconds from capture to delivery; None = none.
        held: the rung was chosen by hand.
        reason: why it is this rung, in words.
    """

    rung: int
    name: str
    frames: Mapping[str, int]
    in_time: int
    late: int
    steps_down: int
    steps_up: int
    probes: int
    deadline: float | None
    held: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; the deadline in milliseconds."""
        deadline = None if self.deadline is None else 1000 * self.deadline
        return {
            "rung": self.rung,
            "name": self.name,
            "frames": dict(self.frames),
            "in_time": self.in_time,
            "late": self.late,
            "steps_down": self.steps_down,
            "steps_up": self.steps_up,
            "probes": self.probes,
            "deadline_ms": deadline,
            "held": self.held,
            "reason": self.reason,
        }


@dataclass
class _Rung:
    """What is remembered of one rung; times in seconds."""

    name: str
    frames: int = 0
    services: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    wait: float = _FIRST_WAIT
    retry: float = -math.inf

    @property
    def usual(self) -> float | None:
        """What nine of ten frames stay below; None before anything is known.

        Of a few samples the lower median, since the first one after a pause is often slow.
        """
        count = len(self.services)
        if not count:
            return None
        ranked = sorted(self.services)
        return ranked[(count - 1) // 2 if count < _FEW else math.ceil(0.9 * count) - 1]

    def postpone(self, now: float) -> None:
        """It failed again: ask it later, and next time later still."""
        self.retry = now + self.wait
        self.wait = min(2 * self.wait, _LAST_WAIT)


class Governor:
    """Chooses a rung of the ladder for every frame. Thread-safe.

    Args:
        deadline: seconds from capture to delivery; None = always the best rung.
        rungs: names of the engines, best first, each once.
        clock: seconds that only grow.
        board: tells how the board feels, or None where nobody knows; asked at most once
            a second. A hot board steps down, one rung in ten seconds, and never up.

    Raises:
        ValueError: no rungs, two of one name, or a deadline that is not positive.
    """

    def __init__(
        self,
        deadline: float | None,
        rungs: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        board: Callable[[], BoardState | None] | None = None,
    ) -> None:
        if not rungs or len(set(rungs)) != len(rungs):
            raise ValueError("a ladder has rungs, each with a name of its own")
        if deadline is not None and not deadline > 0:
            raise ValueError("a deadline is a positive number of seconds")
        self._deadline = deadline
        self._rungs = [_Rung(name) for name in rungs]
        self._clock = clock
        self._board = board
        self._lock = threading.Lock()
        self._level = 0
        self._held: int | None = None
        self._misses: deque[bool] = deque(maxlen=_DRIFT_OF)
        self._since = clock()
        self._risen = -math.inf
        self._probe: int | None = None
        self._probe_fits = 0
        self._excused = False
        self._age = 0.0
        self._tail = 0.0
        self._overhead = 0.0
        self._in_time = self._late = self._down = self._up = self._probes = 0
        self._reason = "the best there is"
        self._hot = False
        self._asked = self._cooled = -math.inf
        self._mode = ""

    def expect(self, rung: int, service: float) -> None:
        """Tell a service time, in seconds, that was measured before the stream began.

        The stream then starts on the best rung that fits.
        """
        with self._lock:
            self._rungs[rung].services.extend((service, service))
            if self._deadline is None or self._held is not None or self._in_time + self._late:
                return
            self._level = self._fitting(0, MARGIN)
            if self._level:
                self._reason = "the engines above are too slow for the deadline"

    def choose(self, age: float) -> int:
        """The rung for the next frame.

        Args:
            age: seconds since the frame was captured.

        Returns:
            Index of the rung. It may be lower than the usual one where the frame has
            waited so long that only a faster engine can bring it home in time.
        """
        with self._lock:
            now = self._clock()
            self._age = age
            if self._held is not None or self._deadline is None:
                return self._held or 0
            self._ask_board(now)
            if self._probe is None and not self._hot:
                self._climb(now)
            if self._probe is not None:
                return self._probe
            return self._rescue(age, now)

    def report(self, rung: int, service: float, latency: float) -> None:
        """What became of a frame.

        Args:
            rung: that made it.
            service: seconds that the engine took.
            latency: seconds from its capture to its delivery.
        """
        with self._lock:
            now = self._clock()
            state = self._rungs[rung]
            state.frames += 1
            late = self._deadline is not None and latency > self._deadline
            self._late += late
            self._in_time += not late
            rest = max(0.0, latency - service)
            self._overhead += 0.1 * (rest - self._overhead)
            self._tail += 0.1 * (max(0.0, rest - self._age) - self._tail)
            if rung == self._probe:
                self._judge_probe(service, now)
                return
            state.services.append(service)
            if self._deadline is None or self._held is not None:
                return
            if rung == self._level:
                self._excused = late
                self._note(late, now)

    def hold(self, rung: int | None) -> None:
        """Use this rung from now on; None = choose again, beginning there."""
        with self._lock:
            if rung is not None:
                self._move(rung, self._clock(), "chosen by hand")
            elif self._held is not None:
                self._reason = "chosen by hand before"
            self._held = rung
            self._probe = None

    def snapshot(self) -> GovernorState:
        """The state now."""
        with self._lock:
            return GovernorState(
                rung=self._level,
                name=self._rungs[self._level].name,
                frames={rung.name: rung.frames for rung in self._rungs},
                in_time=self._in_time,
                late=self._late,
                steps_down=self._down,
                steps_up=self._up,
                probes=self._probes,
                deadline=self._deadline,
                held=self._held is not None,
                reason=self._reason,
            )

    def _fits(self, rung: _Rung, margin: float, before: float) -> bool | None:
        """Whether a frame that has spent ``before`` seconds elsewhere fits; None = unknown."""
        assert self._deadline is not None
        usual = rung.usual
        return None if usual is None else before + usual <= margin * self._deadline

    def _fitting(self, start: int, margin: float) -> int:
        """The first rung from ``start`` on that is not known to be too slow, else the last."""
        for index in range(start, len(self._rungs)):
            if self._fits(self._rungs[index], margin, self._overhead) is not False:
                return index
        return len(self._rungs) - 1

    def _rescue(self, age: float, now: float) -> int:
        """The rung that brings a frame of this age home in time; the last if none does."""
        level, last = self._level, len(self._rungs) - 1
        known = len(self._rungs[level].services) > 1
        if level == last or not known:
            return level
        if self._fits(self._rungs[level], 1.0, age + self._tail):
            return level
        # A frame that the rung cannot save is a miss of that rung: if it goes on like
        # this the rung is wrong, and must not alternate with a lower one for ever. Only
        # the first frame after a late one is excused: it waited for that one.
        if self._excused:
            self._excused = False
        else:
            self._note(True, now)
        for index in range(level + 1, last):
            if self._fits(self._rungs[index], 1.0, age + self._tail):
                return index
        return last

    def _note(self, miss: bool, now: float) -> None:
        """Remember how the present rung did, and step down if it did badly."""
        self._misses.append(miss)
        if now - self._risen > _PROVEN:
            self._rungs[self._level].wait = _FIRST_WAIT
        if not miss or self._level == len(self._rungs) - 1:
            return
        burst = sum(islice(reversed(self._misses), _BURST_OF))
        total = sum(self._misses)
        if burst >= _BURST:
            reason = f"{burst} of {min(_BURST_OF, len(self._misses))} frames missed the deadline"
        elif total >= _DRIFT:
            reason = f"{total} of {len(self._misses)} frames missed the deadline"
        else:
            return
        rung = self._rungs[self._level]
        # The times from before it went wrong would call it back.
        while len(rung.services) > _BURST:
            rung.services.popleft()
        rung.postpone(now)
        self._down += 1
        self._move(self._fitting(self._level + 1, 1.0), now, reason)

    def _move(self, level: int, now: float, reason: str) -> None:
        self._level = level
        self._since = now
        self._misses.clear()
        self._reason = reason

    def _climb(self, now: float) -> None:
        """Step up, or begin to probe, if the present rung has been calm for a while."""
        if self._level == 0 or now - self._since < _SETTLE:
            return
        recent = list(islice(reversed(self._misses), _CALM))
        if len(recent) < _CALM or any(recent):
            return
        fastest = math.inf
        for index in range(self._level - 1, -1, -1):
            rung = self._rungs[index]
            usual = rung.usual
            # Past a rung that does not fit, only one that is known to be faster can.
            if usual is not None and usual >= fastest:
                continue
            if now >= rung.retry:
                if self._fits(rung, MARGIN, self._overhead):
                    self._rise(index, now)
                else:
                    self._probe, self._probe_fits = index, 0
                return
            if usual is None:
                return
            fastest = usual

    def _rise(self, index: int, now: float) -> None:
        usual = self._rungs[index].usual or 0.0
        self._up += 1
        self._risen = now
        self._move(index, now, f"there is room: it takes {1000 * usual:.0f} ms")

    def _judge_probe(self, service: float, now: float) -> None:
        assert self._probe is not None and self._deadline is not None
        rung = self._rungs[self._probe]
        if not self._probe_fits:
            # What it took before is out of date either way.
            rung.services.clear()
        rung.services.append(service)
        self._probes += 1
        if self._overhead + service > MARGIN * self._deadline:
            rung.postpone(now)
            self._probe = None
            return
        self._probe_fits += 1
        if self._probe_fits == _PROBES:
            index, self._probe = self._probe, None
            self._rise(index, now)

    def _ask_board(self, now: float) -> None:
        if self._board is None or now - self._asked < 1.0:
            return
        self._asked = now
        state = self._board()
        if state is None:
            return
        if state.power_mode != self._mode:
            if self._mode:
                self._forget()
            self._mode = state.power_mode
        self._hot = state.hot
        if self._hot:
            self._probe = None
        if self._hot and self._level < len(self._rungs) - 1 and now - self._cooled >= _HOT_STEP:
            self._cooled = now
            self._rungs[self._level].postpone(now)
            self._down += 1
            warm = "" if state.temperature is None else f" ({state.temperature:.0f} °C)"
            self._move(self._level + 1, now, f"the board is hot{warm}")

    def _forget(self) -> None:
        """Another power mode: every engine takes another time now."""
        for rung in self._rungs:
            rung.services.clear()
            rung.wait, rung.retry = _FIRST_WAIT, -math.inf
