"""Sources in, one engine, sinks out: the streaming runtime."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from acf_edge.engine.protocol import Engine
from acf_edge.errors import AcfError, InputError
from acf_edge.stream.live.controls import RunControls
from acf_edge.stream.live.deadline import Deadline
from acf_edge.stream.live.feed import Feed
from acf_edge.stream.live.inference import Inference
from acf_edge.stream.live.lanes import Lane
from acf_edge.stream.live.outlet import PATIENCE
from acf_edge.stream.live.pace import Pace
from acf_edge.stream.live.sinks import SinkBoard
from acf_edge.stream.live.stats import RunStats
from acf_edge.stream.live.stats_file import StatsFile
from acf_edge.stream.live.summary import StreamSummary
from acf_edge.stream.protocols import Controls, Sink, SourceLost

__all__ = ["Deadline", "Lane", "StreamRun", "StreamSummary"]

# How often the calling thread looks after the others, and calls tick; seconds.
_INTERVAL = 0.1
_TICK = 0.25
# A source that has been told to stop gets this long before it is closed under its
# reader, and then this long before it is left to itself.
_GRACE = 0.3
_LET_GO = 2.5


class StreamRun:
    """Run frames from sources through one engine to sinks until all sources end.

    Example:
        >>> lane = Lane(open_source("rtsp://camera/live"), [open_sink("out.mkv")])  # doctest: +SKIP
        >>> summary = StreamRun([lane], [load_engine()]).run()                      # doctest: +SKIP

    Args:
        lanes: sources with their sinks; at least one lane, each with a sink.
        engines: the ladder, best first, of one scale; not closed.
        deadline: how old a frame may be when it is done, in seconds or as a
            :class:`Deadline`; None = no limit.
        steady: filter the flicker of what the engine adds.
        stats_path: counters are written there once a second, and at the end.
        seconds: end after this many; None = when the sources do.
        frames: end each source after this many frames; None = no limit.
        tick: called in the calling thread four times a second.
        patience: seconds after which a sink that takes no frame is given up.
        clock: seconds, monotonic.

    Raises:
        InputError: no lane, no sink, no engine, engines of different scales.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        engines: Sequence[Engine],
        *,
        deadline: float | Deadline | None = None,
        steady: bool = True,
        stats_path: Path | None = None,
        seconds: float | None = None,
        frames: int | None = None,
        tick: Callable[[RunStats], None] | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not lanes or any(not lane.sinks for lane in lanes):
            raise InputError("A source without a sink goes nowhere.", "Name a sink, or null://.")
        if isinstance(deadline, (int, float)):
            deadline = Deadline(float(deadline))
        self._clock = clock
        self._patience = patience
        self._seconds = seconds
        self._tick = tick
        self._next_tick = 0.0
        self._pace = Pace(engines, deadline, clock)
        self._file = None if stats_path is None else StatsFile(stats_path, clock)
        self._event = threading.Event()
        self._board = SinkBoard(
            self._pace.scale, patience, self._wake, self._changed, self.controls, clock
        )
        self._feeds = [
            Feed(number, lane.source, self._wake, self._changed, self._open, clock=clock)
            for number, lane in enumerate(lanes)
        ]
        self._inference = Inference(
            self._feeds, self._pace, steady=steady, limit=frames, clock=clock
        )
        self._thread = threading.Thread(target=self._infer, name="acf-infer", daemon=True)
        self._began: float | None = None
        self._ended: float | None = None
        self._failure: BaseException | None = None
        self._notes: list[str] = []
        for feed, lane in zip(self._feeds, lanes, strict=True):
            for sink in lane.sinks:
                feed.add(self._board.new(feed, sink))

    def run(self, cancel: threading.Event | None = None) -> StreamSummary:
        """Run to the end of the sources, or of the time, or until ``cancel`` is set.

        Frames under way are finished then, and files become whole. A source or a
        sink that fails while others work is told in the summary.

        Args:
            cancel: a polite request to stop. Any exception in the calling thread
                (a second Ctrl-C) ends all at once and leaves within seconds.

        Raises:
            InputError: a source or a sink cannot be opened and nothing was
                delivered yet; the engine has too little memory.
            AcfError: the engine failed.
        """
        if self._began is not None:
            raise RuntimeError("a run runs once")
        self._began = self._clock()
        if self._file is not None:
            self._file.begin(self.stats())
        for feed in self._feeds:
            feed.start()
        self._thread.start()
        interrupted = False
        try:
            while not self._look_after():
                self._event.wait(_INTERVAL)
                self._event.clear()
                if cancel is not None and cancel.is_set():
                    interrupted |= any(
                        not (feed.live or feed.complete or feed.stopping) for feed in self._feeds
                    )
                    self._stop()
        except BaseException:
            self._break_off()
            raise
        finally:
            self._ended = self._clock()
            self._pace.close()
        stats = self.stats()
        if self._file is not None:
            self._file.write(stats)
            self._notes += self._file.notes
        if self._failure is not None:
            raise self._failure
        for outlet in self._board.all():
            self._notes += [f"{outlet.sink.uri}: {note}" for note in outlet.notes]
        for feed in self._feeds:
            self._notes += [f"{feed.source.uri}: {note}" for note in feed.notes()]
        return StreamSummary(stats, interrupted, tuple(self._notes))

    def stats(self) -> RunStats:
        """The counters now; from any thread."""
        now = self._clock() if self._ended is None else self._ended
        sources = tuple(feed.stats() for feed in self._feeds)
        return RunStats(
            seconds=0.0 if self._began is None else now - self._began,
            engine=self._pace.names[0],
            fps=sum(source.fps for source in sources),
            frames=sum(source.frames for source in sources),
            sources=sources,
            sinks=tuple(outlet.stats() for outlet in self._board.all()),
            governor=self._pace.to_json(),
        )

    def controls(self, source: int = 0) -> Controls:
        """The controls as a sink of the source of this number gets them; thread-safe."""
        return RunControls(
            stats=lambda: self.stats().to_json(),
            rungs=self._pace.names,
            hold=self._pace.hold,
            attach=lambda sink: self.attach(sink, source),
            detach=self.detach,
        )

    def attach(self, sink: Sink, source: int = 0) -> int:
        """Show a running source in another sink, and return the sink's number; thread-safe.

        Raises:
            InputError: the source is not running, or the sink cannot be opened.
        """
        return self._board.attach(self._feeds[source], sink)

    def detach(self, number: int) -> Sequence[str]:
        """Finish a sink that was attached; returns its notes. Thread-safe.

        Raises:
            InputError: there is none of this number, or the run began with it.
        """
        return self._board.detach(self._feeds, number)

    def _wake(self) -> None:
        self._inference.ring()

    def _changed(self) -> None:
        self._event.set()

    def _open(self, feed: Feed) -> None:
        """A source is open: get ready for its first frame, in its capturing thread."""
        assert feed.info is not None
        self._pace.begin(feed.info, live=feed.live)
        self._board.open_all(feed)

    def _infer(self) -> None:
        self._inference.run()
        for feed in self._feeds:
            if not feed.finished:
                feed.stop()
                feed.forget_waiting()
                feed.finish()
        self._event.set()

    def _stop(self) -> None:
        for feed in self._feeds:
            feed.stop()

    def _look_after(self) -> bool:
        """What the calling thread does ten times a second; True once all is done."""
        assert self._began is not None
        now = self._clock()
        if self._seconds is not None and now - self._began >= self._seconds:
            self._stop()
        self._look_for_failures()
        for outlet in self._board.all():
            self._board.give_up_if_overdue(outlet)
        done = [self._wind_up(feed) for feed in self._feeds]
        if self._tick is not None and self._failure is None and now >= self._next_tick:
            self._next_tick = now + _TICK
            self._tick(self.stats())
        if self._file is not None and self._file.due():
            self._file.write(self.stats())
        return all(done)

    def _look_for_failures(self) -> None:
        failure = self._inference.error
        if failure is None and not any(feed.frames for feed in self._feeds):
            # Nothing was delivered yet: what cannot be opened is the user's to mend.
            errors = [feed.error for feed in self._feeds if not feed.captured]
            errors += [o.error for o in self._board.all() if isinstance(o.error, AcfError)]
            failure = next((error for error in errors if error is not None), None)
            if isinstance(failure, SourceLost):
                failure = InputError(f"A source cannot be read: {failure.reason}.")
        if failure is not None and self._failure is None:
            self._failure = failure
            self._stop()
            if self._inference.error is None:
                # What is under way must not leave a file behind that stands in the way of
                # the next try.
                self._inference.quit()
                for outlet in self._board.all():
                    outlet.hurry()

    def _wind_up(self, feed: Feed) -> bool:
        """See to it that a source ends when it should; True once it and its sinks are closed."""
        outlets = self._board.of(feed)
        over = all(outlet.over.is_set() for outlet in outlets)
        if not feed.stopping and all(outlet.dead for outlet in outlets):
            feed.stop()  # nobody is left to see it
        stuck = self._inference.busy_seconds() > self._patience
        if feed.stopping and not feed.finished and stuck and feed.stopped_for() > self._patience:
            self._failure = self._failure or AcfError(
                f"The engine did not return within {self._patience:g} s."
            )
            feed.finish()
        if feed.reading:
            if feed.stopping and feed.stopped_for() > _GRACE:
                feed.let_go()
        elif feed.finished and over:
            feed.let_go()
        if not feed.closed and feed.closing_for() > _LET_GO and feed.finished and over:
            self._note(f"{feed.source.uri}: it did not let go within {_GRACE + _LET_GO:.0f} s")
            return True
        return feed.finished and over and feed.closed

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _break_off(self) -> None:
        """End at once: whatever does not within the time that a source gets is left behind."""
        self._inference.quit()
        self._stop()
        for feed in self._feeds:
            feed.forget_waiting()
            feed.let_go()
        limit = time.monotonic() + _LET_GO
        for outlet in self._board.all():
            outlet.hurry()
        for outlet in self._board.all():
            outlet.over.wait(max(0.0, limit - time.monotonic()))
        self._thread.join(max(0.0, limit - time.monotonic()))
        while time.monotonic() < limit and not all(feed.closed for feed in self._feeds):
            time.sleep(0.01)
