"""How long a picture takes from the camera's side of the glass to the viewer's."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from acf_edge.engine.protocol import Engine
from acf_edge.errors import GateError, InputError
from acf_edge.stream.clock.code import now
from acf_edge.stream.clock.readers import FileReader, NetworkReader, NullReader, Reader
from acf_edge.stream.clock.sightings import Sighting
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.live.stats import RunStats
from acf_edge.stream.uri import open_source

SINKS = ("null", "file", "rtsp", "web")
# Until the first picture is seen: an encoder, a server and a browser have to start.
_PATIENCE = 60.0
_POLL = 0.05
# The first pictures wait for what is loaded on demand.
_WARM_UP = 1.0
# After the last picture that counts, so that it can arrive: this, and as long as the
# slowest took so far.
_DRAIN = 0.5


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """What was measured.

    Attributes:
        sink: ``"null"``, ``"file"``, ``"rtsp"`` or ``"web"``.
        how: what lies between the painting and the reading, in words.
        engine: its name.
        source: the URI of the clock.
        seconds: for how long was measured.
        painted: frames painted in that time, about.
        dropped: of these, frames that newer ones replaced on their way to the engine
            or to the sink.
        read: frames whose time was read at the other end.
        unreadable: pictures seen there without a whole code.
        p50_ms, p95_ms, p99_ms: of the time from painting to reading.
        fastest_ms, slowest_ms: the extremes.
        stages_ms: the runtime's own percentiles since the beginning, per stage.
    """

    sink: str
    how: str
    engine: str
    source: str
    seconds: float
    painted: int
    dropped: int
    read: int
    unreadable: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    fastest_ms: float
    slowest_ms: float
    stages_ms: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def measure(
    sink: str,
    engine: Engine,
    *,
    seconds: float = 10.0,
    size: tuple[int, int] = (320, 180),
    rate: Fraction = Fraction(30),
    client: str = "av",
) -> LatencyReport:
    """Send a painted clock through the runtime to a sink and read it at the other end.

    Both ends read the same wall clock, so the whole way lies on this machine.

    Args:
        sink: one of :data:`SINKS`.
        engine: not closed.
        seconds: for how long, after a warm-up of a second.
        size: ``(width, height)`` of the clock, at least 128x64.
        rate: frames per second.
        client: who reads RTSP: ``"av"`` or ``"gst"``.

    Raises:
        InputError: an unknown sink; what the sink or its reader needs is not there.
        GateError: no picture, or none that can be read, arrived.
    """
    if not 0 < seconds <= 86400:
        raise InputError(f"{seconds:g} seconds are no time to measure.", "Give 1 or more.")
    uri = f"test://clock?width={size[0]}&height={size[1]}&fps={rate}"
    with _reader(sink, client) as reader:
        run = StreamRun([Lane(open_source(uri), [reader.sink()])], [engine])
        before, after, begin, end = _run(run, reader, seconds)
        seen, unreadable = reader.sightings.between(begin, end)
        if not seen:
            raise GateError(
                f"No picture that was painted could be read at the other end ({unreadable} "
                f"unreadable).{_full_stop(reader.failure)}"
            )
        return _report(sink, reader.how, uri, before, after, (end - begin) / 1e6, seen, unreadable)


@contextlib.contextmanager
def _reader(sink: str, client: str) -> Iterator[Reader]:
    with contextlib.ExitStack() as stack:
        reader: Reader
        if sink == "null":
            reader = NullReader()
        elif sink == "file":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="acf-edge-latency-"))
            reader = FileReader(Path(folder))
        elif sink == "rtsp":
            reader = NetworkReader(_free_port(), client)
        elif sink == "web":
            from acf_edge.stream.clock.browser import BrowserReader

            reader = BrowserReader(_free_port())
        else:
            raise InputError(
                f"The latency to '{sink}' cannot be measured.",
                f"Choose one of: {', '.join(SINKS)}.",
            )
        stack.callback(reader.stop)
        yield reader


def _run(run: StreamRun, reader: Reader, seconds: float) -> tuple[RunStats, RunStats, int, int]:
    """Run until all is measured; the counters and the time at both ends of the measurement."""
    cancel = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            run.run(cancel)
        except BaseException as error:
            failures.append(error)

    def wait(limit: float, until_seen: bool = False) -> None:
        end = time.monotonic() + limit
        while thread.is_alive() and not reader.failure and time.monotonic() < end:
            if reader.sightings.wait(0) and until_seen:
                return
            time.sleep(min(_POLL, max(0.0, end - time.monotonic())))

    thread = threading.Thread(target=work, name="acf-latency", daemon=True)
    thread.start()
    try:
        reader.start()
        wait(_PATIENCE, until_seen=True)
        working = reader.sightings.wait(0)
        wait(_WARM_UP if working else 0.0)
        before, begin = run.stats(), now()
        wait(seconds if working else 0.0)
        after, end = run.stats(), now()
        wait(_DRAIN + reader.sightings.slowest if working else 0.0)
    finally:
        cancel.set()
        thread.join()
        reader.stop()
    if failures:
        raise failures[0]
    return before, after, begin, end


def _report(
    sink: str,
    how: str,
    uri: str,
    before: RunStats,
    after: RunStats,
    seconds: float,
    seen: list[Sighting],
    unreadable: int,
) -> LatencyReport:
    times = np.array([each.milliseconds for each in seen])
    p50, p95, p99 = (round(float(p), 2) for p in np.percentile(times, [50, 95, 99]))
    return LatencyReport(
        sink=sink,
        how=how,
        engine=after.engine,
        source=uri,
        seconds=round(seconds, 3),
        painted=_count(after) - _count(before),
        dropped=_dropped(after) - _dropped(before),
        read=len(seen),
        unreadable=unreadable,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        fastest_ms=round(float(times.min()), 2),
        slowest_ms=round(float(times.max()), 2),
        stages_ms=after.sources[0].latency_total_ms,
    )


def _count(stats: RunStats) -> int:
    return sum(source.captured for source in stats.sources)


def _dropped(stats: RunStats) -> int:
    return sum(source.dropped for source in stats.sources) + sum(
        sink.dropped for sink in stats.sinks
    )


def _full_stop(text: str) -> str:
    return f" {text.rstrip('.')}." if text else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
