"""One source at work: a thread that captures, a mailbox before the engine, counters."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.frame import Frame
from acf_edge.stream.live.mailbox import Closed, Mailbox
from acf_edge.stream.live.outlet import Outlet
from acf_edge.stream.live.stats import STAGES, Latency, SourceStats, percentiles
from acf_edge.stream.live.words import reason_of
from acf_edge.stream.protocols import Moment, Source, StreamInfo
from acf_edge.stream.sources.reconnect import Reconnecting

# Frames of a file that may wait for the engine.
_AHEAD = 3


@dataclass(slots=True)
class Shot:
    """A captured frame.

    Attributes:
        frame: as the source gave it.
        sequence: counts the source's frames, from 0.
        captured: ``time.monotonic()`` when its pixels were there.
    """

    frame: Frame
    sequence: int
    captured: float


class Feed:
    """Opens and reads one source in a thread of its own. A live one comes back.

    Args:
        number: of the source, 0-based.
        source: what to read.
        wake: called when there is something to do for the engine.
        changed: called when the state has changed.
        on_open: called in the capturing thread once the source is open, before
            its first frame is taken.
        clock: seconds, monotonic.

    Attributes:
        info: of the source; None until it is open.
        inbox: what was captured and waits for the engine.
        size: ``(width, height)`` of the latest frame; zeros until it is open.
        outlets: the sinks that show it.
        error: what made it fail; None if nothing did.
        frames: frames that went through the engine.
        held: how often the last picture was shown again.
        unsteady: frames that had no time for the steady filter.
        holding: it is away, and its last picture is shown.
        finished: the engine has done with it; the sinks were told.
        complete: it came to its end by itself.
    """

    def __init__(
        self,
        number: int,
        source: Source,
        wake: Callable[[], None],
        changed: Callable[[], None],
        on_open: Callable[[Feed], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self.live = source.live
        self.source: Source = source
        if source.live and not isinstance(source, Reconnecting):
            self.source = Reconnecting(source, on_state=lambda state, reason: changed())
        self.info: StreamInfo | None = None
        self.size = (0, 0)
        self.outlets: tuple[Outlet, ...] = ()
        self.error: BaseException | None = None
        self.frames = self.held = self.captured = self.unsteady = 0
        self.holding = self.finished = self.complete = False
        self.wait, self.infer = Latency(clock), Latency(clock)
        self.inbox: Mailbox[Shot | Packet[Stream]] = Mailbox(1, waits=False)
        self._unwanted = 0
        self._wake = wake
        self._capture = Latency(clock)
        self._changed = changed
        self._on_open = on_open
        self._clock = clock
        self._stop = threading.Event()
        self._stopped_at: float | None = None
        self._closing_at: float | None = None
        self._wanted: dict[int, Sequence[Stream]] = {}
        self._lock = threading.Lock()
        self._closer: threading.Thread | None = None
        self._thread = threading.Thread(
            target=self._work, name=f"acf-capture-{number}", daemon=True
        )

    def start(self) -> None:
        """Begin to open the source."""
        self._thread.start()

    def begin(self, info: StreamInfo) -> bool:
        """Make the inbox for the frames to come; False if it was stopped meanwhile."""
        with self._lock:
            if self.stopping:
                return False
            # Some sources learn whether they are live only when they connect.
            self.live = info.live
            capacity = 1 if info.live else _AHEAD
            self.inbox = Mailbox(capacity, waits=not info.live, on_change=self._wake)
            self.size = (info.width, info.height)
            self.info = info
            return True

    def stop(self) -> None:
        """Take no further frame; those under way go on to the sinks."""
        if self._stopped_at is None:
            self._stopped_at = self._clock()
        with self._lock:
            self._stop.set()
        self.inbox.close()

    def forget_waiting(self) -> None:
        """Throw away what waits for the engine: it was read ahead, and nobody wants it."""
        self._unwanted += self.inbox.abandon()

    @property
    def stopping(self) -> bool:
        """:meth:`stop` was called."""
        return self._stop.is_set()

    def stopped_for(self) -> float:
        """Seconds since :meth:`stop`; 0 before."""
        return 0.0 if self._stopped_at is None else self._clock() - self._stopped_at

    def closing_for(self) -> float:
        """Seconds since :meth:`let_go`; 0 before."""
        return 0.0 if self._closing_at is None else self._clock() - self._closing_at

    @property
    def reading(self) -> bool:
        """Its thread still runs."""
        return self._thread.is_alive()

    def let_go(self) -> None:
        """Close the source, in a thread of its own: a dead server can hold it up."""
        if self._closer is None:
            self._closing_at = self._clock()
            self._closer = threading.Thread(
                target=self._close, name=f"acf-close-{self.number}", daemon=True
            )
            self._closer.start()

    @property
    def closed(self) -> bool:
        """The source is closed, and nobody reads it."""
        closer = self._closer
        return closer is not None and not closer.is_alive() and not self._thread.is_alive()

    def want(self, sink: int, streams: Sequence[Stream]) -> None:
        """Have the packets of some streams passed along for a sink."""
        with self._lock:
            self._wanted[sink] = tuple(streams)
            union = {stream.index: stream for wish in self._wanted.values() for stream in wish}
            self.source.pass_along(tuple(union.values()))

    @property
    def wants_original(self) -> bool:
        """Whether a sink shows the captured pixels, too."""
        return any(outlet.sink.wants_original for outlet in self.outlets)

    def show(self, moment: Moment) -> None:
        """Hand a moment to all sinks."""
        for outlet in self.outlets:
            outlet.offer(moment)

    def pass_on(self, packet: Packet[Stream]) -> None:
        """Hand a packet to the sinks that asked for its stream; they share it."""
        for outlet in self.outlets:
            if outlet.wants(packet.stream_index):
                outlet.offer(packet)

    def add(self, outlet: Outlet) -> bool:
        """Show it in this sink, too; False if the source has ended."""
        with self._lock:
            if self.finished:
                return False
            self.outlets = (*self.outlets, outlet)
            return True

    def remove(self, outlet: Outlet) -> None:
        """Show it no longer in this sink."""
        with self._lock:
            self.outlets = tuple(other for other in self.outlets if other is not outlet)
            self._wanted.pop(outlet.number, None)

    def finish(self) -> None:
        """The engine has done with it: let the sinks finish."""
        with self._lock:
            self.finished = True
            self.holding = False
        for outlet in self.outlets:
            outlet.finish()
        self._changed()

    @property
    def state(self) -> str:
        """``opening``, ``live``, ``held``, ``ended`` or ``failed``."""
        if self.error is not None:
            return "failed"
        if self.finished or self.complete or self.stopping:
            return "ended"
        if self.info is None:
            return "opening"
        return "held" if self.holding else "live"

    @property
    def reason(self) -> str:
        """Why it is not live."""
        if self.error is not None:
            return reason_of(self.error)
        if self.stopping or self.complete or not isinstance(self.source, Reconnecting):
            return ""
        return self.source.reason if self.source.state in ("opening", "lost") else ""

    def notes(self) -> tuple[str, ...]:
        """What is special about the source, in words."""
        told: Callable[[], Sequence[str]] | None = getattr(self.source, "notes", None)
        if told is not None:
            return tuple(told())
        return () if self.info is None else self.info.notes

    def stats(self) -> SourceStats:
        """The counters now."""
        parts = {
            "capture": [self._capture],
            "wait": [self.wait],
            "infer": [self.infer],
            "deliver": [outlet.deliver for outlet in self.outlets],
            "end_to_end": [outlet.end_to_end for outlet in self.outlets],
        }
        return SourceStats(
            uri=self.source.uri,
            state=self.state,
            width=self.size[0],
            height=self.size[1],
            fps=self.infer.rate(),
            captured=self.captured - self._unwanted,
            frames=self.frames,
            dropped=self.inbox.dropped,
            held=self.held,
            unsteady=self.unsteady,
            reconnects=self.source.recoveries if isinstance(self.source, Reconnecting) else 0,
            queue=len(self.inbox),
            reason=self.reason,
            latency_ms={name: percentiles(parts[name], window=True) for name in STAGES},
            latency_total_ms={name: percentiles(parts[name], window=False) for name in STAGES},
        )

    def _work(self) -> None:
        try:
            info = self.source.open()
            if self.begin(info):
                self._on_open(self)
                self._pump()
        except Closed:
            pass
        except BaseException as error:
            # What a source says while it is being closed is of no interest.
            if not self.stopping:
                self.error = error
        self.inbox.close()
        self._changed()

    def _pump(self) -> None:
        # The thread's own time: waiting for a camera is no work.
        busy = time.thread_time()
        for item in self.source.items():
            now = self._clock()
            if self.stopping:
                return
            if isinstance(item, Frame):
                self._capture.add(time.thread_time() - busy)
                self.inbox.put(Shot(item, self.captured, now))
                self.captured += 1
            else:
                self.inbox.put(item, 0)
            busy = time.thread_time()
        self.complete = not self.stopping

    def _close(self) -> None:
        with contextlib.suppress(Exception):
            self.source.close()
        self._changed()
