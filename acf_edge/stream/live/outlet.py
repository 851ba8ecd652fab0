"""One sink at work: a thread, a bounded mailbox before it, counters."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.frame import Frame
from acf_edge.stream.live.mailbox import Closed, Mailbox
from acf_edge.stream.live.stats import Latency, SinkStats, percentiles
from acf_edge.stream.live.words import reason_of
from acf_edge.stream.protocols import Moment, Sink, SinkFailed, Source, StreamInfo

# What may wait for a recording: enough for a hiccup of the disk, not more memory than this.
_RECORDING_BYTES = 256 << 20
_RECORDING_FRAMES = (2, 24)
# Seconds that one call to a sink may take before the sink is given up: to open it or
# hand it a frame; to close a recording, which may have to be rewritten; to end a
# sink that has nothing to lose.
PATIENCE = 30.0
_TO_CLOSE = 300.0
_TO_END = 3.0
# A file can wait, so little needs to lie between it and the recording.
_HANDOVER_FRAMES = 3


class Outlet:
    """Opens, feeds and closes one sink in a thread of its own.

    Args:
        number: of the sink.
        sink: what to feed.
        source: number of the source that it shows.
        wake: called when the mailbox has changed.
        changed: called when the sink's state has.
        patience: seconds that one call to the sink may take.
        clock: seconds, monotonic.

    Attributes:
        opened: set once the sink is open, or has failed to.
        over: set once the sink is closed, or was given up.
        error: what made it fail; None if nothing did.
        notes: what the sink said when it was closed.
    """

    def __init__(
        self,
        number: int,
        sink: Sink,
        source: int,
        wake: Callable[[], None],
        changed: Callable[[], None],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self.sink = sink
        self.source = source
        self.opened = threading.Event()
        self.over = threading.Event()
        self.error: BaseException | None = None
        self.notes: tuple[str, ...] = ()
        self.state = "opening"
        self.frames = 0
        self.deliver = Latency(clock)
        self.end_to_end = Latency(clock)
        self._wanted: frozenset[int] = frozenset()
        self._wake = wake
        self._changed = changed
        self._clock = clock
        self._patience = patience
        self._busy_since: float | None = None
        self._closing = self._ending = False
        self._lock = threading.Lock()
        self._box: Mailbox[Moment | Packet[Stream]] = Mailbox(1, waits=False)
        self._thread: threading.Thread | None = None

    def start(
        self,
        info: StreamInfo,
        size: tuple[int, int],
        source: Source,
        want: Callable[[int, Sequence[Stream]], None],
    ) -> None:
        """Open the sink in its thread, and feed it from then on.

        Args:
            info: of the source.
            size: ``(width, height)`` of the enhanced frames.
            source: what the sink may ask for streams to copy.
            want: told ``(number, streams)`` when it does.
        """
        waits = self.sink.lossless and not info.live
        capacity = 1
        if waits:
            capacity = _HANDOVER_FRAMES
        elif self.sink.lossless and not getattr(self.sink, "newest", False):
            least, most = _RECORDING_FRAMES
            capacity = max(least, min(most, _RECORDING_BYTES // max(1, 3 * size[0] * size[1])))

        def asked(streams: Sequence[Stream]) -> None:
            self._wanted = frozenset(stream.index for stream in streams)
            want(self.number, streams)

        thread = threading.Thread(
            target=self._work,
            args=(info, size, SourceView(source, asked)),
            name=f"acf-sink-{self.number}",
            daemon=True,
        )
        with self._lock:
            if self._ending:
                return
            self._box = Mailbox(capacity, waits=waits, on_change=self._wake)
            self._thread = thread
        thread.start()

    @property
    def ready(self) -> bool:
        """Whether it takes an item at once."""
        return self._box.has_room

    @property
    def dead(self) -> bool:
        """It failed, or is closed."""
        return self.state in ("failed", "closed")

    def wants(self, stream: int) -> bool:
        """Whether it asked for the packets of the stream of this index."""
        return stream in self._wanted

    def offer(self, item: Moment | Packet[Stream]) -> None:
        """Put an item into its mailbox. A dead sink takes everything and does nothing."""
        with contextlib.suppress(Closed):
            self._box.put(item, int(isinstance(item, Moment)))

    def finish(self) -> None:
        """Nothing more comes: what waits is written, then the sink is closed."""
        with self._lock:
            self._ending = True
            begun = self._thread is not None
        self._box.close()
        if not begun:  # its source never opened, so it never did
            self._end("closed")

    def hurry(self) -> None:
        """Close the sink as soon as the call under way returns; what waits is thrown away."""
        self._box.abandon()
        self.finish()

    def abandon(self, reason: str) -> None:
        """Give it up: its thread may hang for good."""
        self._fail(SinkFailed(reason))
        self._box.abandon()
        self._end("failed")

    def overdue(self) -> str:
        """Why it should be given up, its call under way taking too long; empty if it need not."""
        since = self._busy_since
        if since is None or self.over.is_set():
            return ""
        limit = self._patience
        if self._ending and not self.sink.lossless:
            limit = min(limit, _TO_END)
        elif self._closing:
            limit = max(limit, _TO_CLOSE)
        if self._clock() - since <= limit:
            return ""
        what = "finish" if self._closing else "open" if self.state == "opening" else "take a frame"
        return f"it did not {what} within {limit:g} s"

    def owns_current_thread(self) -> bool:
        """Whether the caller runs in this sink's own thread."""
        return threading.current_thread() is self._thread

    def stats(self) -> SinkStats:
        """The counters now."""
        return SinkStats(
            number=self.number,
            uri=self.sink.uri,
            source=self.source,
            state=self.state,
            frames=self.frames,
            dropped=self._box.dropped,
            queue=len(self._box),
            reason="" if self.error is None else reason_of(self.error),
            latency_ms={
                "deliver": percentiles([self.deliver], window=True),
                "end_to_end": percentiles([self.end_to_end], window=True),
            },
        )

    def _work(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        try:
            self._busy_since = self._clock()
            self.sink.open(info, size, source)
            self._busy_since = None
            with self._lock:
                if self.state == "opening":
                    self.state = "open"
            self.opened.set()
            self._changed()
            self._pump()
        except BaseException as error:
            self._fail(error)
        self.opened.set()
        # What is left can no longer be written; whoever waits for room goes on.
        self._box.abandon()
        self._closing = True
        self._busy_since = self._clock()
        try:
            self.notes = tuple(self.sink.close() or ())
        except BaseException as error:
            self._fail(error)
        self._busy_since = None
        self._end("closed")

    def _pump(self) -> None:
        while True:
            try:
                item = self._box.take()
            except Closed:
                return
            assert item is not None
            self._busy_since = self._clock()
            self.sink.write(item)
            now = self._clock()
            self._busy_since = None
            if isinstance(item, Moment):
                self.frames += 1
                if not item.held:
                    self.deliver.add(now - item.inferred)
                    self.end_to_end.add(now - item.captured)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self.state in ("opening", "open"):
                self.state, self.error = "failed", error
        self._changed()

    def _end(self, state: str) -> None:
        with self._lock:
            if self.state in ("opening", "open"):
                self.state = state
        self.opened.set()
        self.over.set()
        self._changed()


class SourceView:
    """A source as a sink may see it: what it asks for is its own, and it cannot close it."""

    def __init__(self, source: Source, asked: Callable[[Sequence[Stream]], None]) -> None:
        self._source = source
        self._asked = asked

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._source.uri

    @property
    def live(self) -> bool:
        """A camera or a network stream."""
        return self._source.live

    def copyable(self) -> Sequence[Stream]:
        """Streams whose packets a sink may copy."""
        return self._source.copyable()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets this sink wants."""
        self._asked(streams)

    def open(self) -> StreamInfo:
        """Not for a sink."""
        raise RuntimeError("a sink does not open the source")

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Not for a sink."""
        raise RuntimeError("a sink does not read the source")

    def close(self) -> None:
        """Not for a sink."""
        raise RuntimeError("a sink does not close the source")
