"""The stage that all sources share: takes frames in turns, enhances, hands to the sinks."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.live.feed import Feed, Shot
from acf_edge.stream.live.hold import HeldPicture, interval, patience
from acf_edge.stream.live.mailbox import Closed
from acf_edge.stream.live.pace import Pace, run_engine
from acf_edge.stream.live.steady import SteadyFilter
from acf_edge.stream.protocols import Moment

# What the steady filter took is the median of so many times; while it is left out it is
# believed a little less with every frame, so that the filter is tried again.
_REMEMBERED, _FORGET = 3, 0.998
# Everything that can happen rings the bell; this is only a safety net.
_IDLE = 1.0
_MILLISECOND = Fraction(1, 1000)


class Inference:
    """One thread, one engine at a time, every source in its turn.

    Args:
        feeds: the sources.
        pace: chooses the engine.
        steady: filter the flicker of what the engine adds.
        limit: frames of each source; None = all.
        clock: seconds, monotonic.

    Attributes:
        error: what ended it; None if nothing did.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        pace: Pace,
        *,
        steady: bool,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.error: BaseException | None = None
        self._tracks = [_Track(feed, pace, steady, limit, clock) for feed in feeds]
        self._clock = clock
        self._bell = threading.Event()
        self._turn = 0
        self._quit = False
        self._busy_since: float | None = None

    def busy_seconds(self) -> float:
        """How long the piece of work under way takes by now; 0 if it waits for one."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def ring(self) -> None:
        """Something has changed: look again."""
        self._bell.set()

    def quit(self) -> None:
        """Leave after the frame under way."""
        self._quit = True
        self._bell.set()

    def run(self) -> None:
        """Work until every source has ended; the body of the thread."""
        try:
            while not self._quit and not all(track.feed.finished for track in self._tracks):
                self._bell.clear()
                self._busy_since = self._clock()
                if not self.step():
                    self._busy_since = None
                    self._bell.wait(self._until_next())
        except BaseException as error:
            self.error = error

    def step(self) -> bool:
        """Do one piece of work, of the next source that has some; False if none has."""
        count = len(self._tracks)
        for offset in range(count):
            index = (self._turn + offset) % count
            if self._tracks[index].advance():
                self._turn = (index + 1) % count
                return True
        return False

    def _until_next(self) -> float:
        now = self._clock()
        return min([_IDLE, *(max(0.0, track.due - now) for track in self._tracks)])


class _Track:
    """What the stage keeps for one source: filter, last picture, last time stamp."""

    def __init__(
        self,
        feed: Feed,
        pace: Pace,
        steady: bool,
        limit: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.feed = feed
        self.due = float("inf")
        self._pace = pace
        self._steady = SteadyFilter(pace.scale) if steady else None
        self._filtering: deque[float] = deque(maxlen=_REMEMBERED)
        self._faith = 1.0
        self._limit = limit
        self._clock = clock
        self._last: Moment | None = None
        self._shown: tuple[int, Fraction] | None = None
        self._outage: HeldPicture | None = None

    def advance(self) -> bool:
        """Take one item of the source, or show its last picture again; False if idle."""
        feed = self.feed
        if feed.finished:
            return False
        if not all(outlet.ready for outlet in feed.outlets):
            return False
        try:
            item = feed.inbox.take(0)
        except Closed:
            self._finish()
            return True
        if item is None:
            return self._hold()
        if not isinstance(item, Shot):
            feed.pass_on(item)
        else:
            self._enhance(item)
            if feed.frames == self._limit:
                feed.complete = True
                feed.stop()
                feed.forget_waiting()
        return True

    def _finish(self) -> None:
        self.due = float("inf")
        self.feed.finish()

    def _enhance(self, shot: Shot) -> None:
        feed, pace, frame = self.feed, self._pace, shot.frame
        info = feed.info
        assert info is not None
        start = self._clock()
        # A file's frames wait because they can: only what is live grows old.
        rung = pace.choose(start - shot.captured if feed.live else 0.0)
        engine = pace.engines[rung]
        pixels = run_engine(engine, frame.pixels, f"frame {shot.sequence} of '{feed.source.uri}'")
        if self._steady is not None:
            pixels = self._filter(self._steady, shot, pixels, rung)
        feed.size = (frame.pixels.shape[1], frame.pixels.shape[0])
        done = self._clock()
        enhanced = frame.enhanced(pixels)
        enhanced.pts = self._after(frame.pts, frame.time_base)
        original = frame.pixels if feed.wants_original else None
        moment = Moment(
            enhanced, original, feed.number, shot.sequence, shot.captured, done, engine.name
        )
        feed.wait.add(start - shot.captured)
        feed.infer.add(done - start)
        feed.frames += 1
        feed.holding = False
        self._outage = None
        self._last = moment
        if feed.live:
            self.due = shot.captured + patience(info.rate)
        feed.show(moment)
        pace.report(
            rung,
            done - start,
            (self._clock() if feed.live else done) - (shot.captured if feed.live else start),
        )

    def _filter(
        self, steady: SteadyFilter, shot: Shot, pixels: Uint8Image, rung: int
    ) -> Uint8Image:
        """The picture without flicker; as it is where only that can bring it home in time."""
        feed, pace, low = self.feed, self._pace, shot.frame.pixels
        if (low.shape[1], low.shape[0]) != feed.size or self._outage is not None:
            steady.reset()
        begun = self._clock()
        # Before the last rung there is a faster engine: that is the governor's to choose.
        limited = feed.live and pace.limit is not None and rung == len(pace.engines) - 1
        usual = self._faith * statistics.median(self._filtering) if self._filtering else 0.0
        if limited and begun - shot.captured + usual > (pace.limit or 0.0):
            feed.unsteady += 1
            self._faith *= _FORGET
            steady.reset()
            return pixels
        filtered = steady.apply(low, pixels, pace.engines[rung].name)
        self._filtering.append(self._clock() - begun)
        self._faith = 1.0
        return filtered

    def _hold(self) -> bool:
        """Show the last picture again if its source has been silent for long enough."""
        feed, last, now = self.feed, self._last, self._clock()
        if last is None or feed.stopping or now < self.due:
            return False
        info = feed.info
        assert info is not None
        if self._outage is None:
            self._outage = HeldPicture(last)
        old = last.frame
        elapsed = Fraction(now - last.captured).limit_denominator(1_000_000)
        pts = self._after(old.pts + round(elapsed / old.time_base), old.time_base)
        feed.holding = True
        feed.held += 1
        feed.show(self._outage.moment(now, pts))
        self.due = max(self.due + interval(info.rate), now)
        return True

    def _after(self, pts: int, time_base: Fraction) -> int:
        """``pts``, or one after what was last shown: held pictures took time, too.

        Of a live source it is a millisecond after: Matroska counts in those.
        """
        if self._shown is not None:
            shown, base = self._shown
            step = math.ceil(_MILLISECOND / time_base) if self.feed.live else 1
            if base != time_base:
                shown = int(shown * base / time_base)
            pts = max(pts, shown + step)
        self._shown = (pts, time_base)
        return pts
