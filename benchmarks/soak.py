"""An RTSP camera that is killed and hung, and a stream that has to survive it.

    python -m benchmarks.soak --minutes 10 --json benchmarks/results/soak.json

The camera is a GStreamer server on localhost in a process of its own. While the stream
runs (the shipped engine, a recording and a counter as sinks), the server is killed five
times and hung twice; each time it comes back after some seconds. Told are the seconds
from its return to the first fresh picture, and memory, threads and file descriptors of
this process. The exit code is 1 if a recovery took more than 3 s, memory grew by more
than 5 %, or threads or descriptors more than they were.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from acf_edge.engine import Engine, load_engine
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.errors import AcfError, InputError
from acf_edge.files import write_text
from acf_edge.profile.bench import versions
from acf_edge.profile.machine import describe_machine
from acf_edge.stream.live.runtime import Lane, StreamRun, StreamSummary
from acf_edge.stream.protocols import Moment
from acf_edge.stream.sinks.null import NullSink
from acf_edge.stream.uri import open_sink, open_source, parse_sink

CAMERA = Path(__file__).with_name("rtsp_camera.py")
WIDTH, HEIGHT, RATE = 320, 180, 25
RECOVERY_SECONDS = 3.0
MEMORY_SHARE = 0.05
# What the first frames allocate, and a recorder's first minute, is no leak.
WARM = 0.2
_PATIENCE = 60.0


@dataclass
class Blow:
    """One time that the server went away.

    Attributes:
        kind: ``"kill"`` or ``"hang"``.
        at: seconds after the beginning.
        away: seconds until the server was back.
        recovered: seconds from its return to the first fresh picture; None = never.
    """

    kind: str
    at: float
    away: float
    recovered: float | None = None


@dataclass
class Sample:
    """This process at one moment."""

    at: float
    rss_mib: float
    threads: int
    descriptors: int
    live: bool


@dataclass
class Soak:
    """What was measured."""

    seconds: float
    blows: list[Blow]
    samples: list[Sample] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def level(self, name: str, begin: float, end: float) -> float:
        """Median of a counter between two shares of the time, while pictures came."""
        times = (begin * self.seconds, end * self.seconds)
        values = [
            getattr(sample, name)
            for sample in self.samples
            if sample.live and times[0] <= sample.at <= times[1]
        ]
        return float(statistics.median(values)) if values else float("nan")

    def growth(self, name: str) -> tuple[float, float]:
        """A counter after the warm-up, and at the end."""
        return self.level(name, WARM, WARM + 0.2), self.level(name, 0.8, 1.0)

    def failures(self) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        for number, blow in enumerate(self.blows):
            if blow.recovered is None or blow.recovered > RECOVERY_SECONDS:
                took = "never" if blow.recovered is None else f"after {blow.recovered:.1f} s"
                found.append(f"{blow.kind} {number + 1}: back {took}")
        early, late = self.growth("rss_mib")
        if not late <= early * (1 + MEMORY_SHARE):
            found.append(f"memory grew from {early:.0f} to {late:.0f} MiB")
        for name in ("threads", "descriptors"):
            early, late = self.growth(name)
            if not late <= early:
                found.append(f"{name} grew from {early:g} to {late:g}")
        return found


class Watch(NullSink):
    """Remembers when the latest fresh picture was captured."""

    def __init__(self) -> None:
        super().__init__(parse_sink("null://"))
        self.fresh = 0.0
        self.news = threading.Condition()

    def write(self, item: Any) -> None:
        super().write(item)
        if isinstance(item, Moment) and not item.held:
            with self.news:
                self.fresh = item.captured
                self.news.notify_all()

    def wait(self, since: float, seconds: float) -> float | None:
        """When the first picture after ``since`` came; None = not within so many seconds."""
        with self.news:
            self.news.wait_for(lambda: self.fresh > since, seconds)
            return time.monotonic() if self.fresh > since else None


class Camera:
    """The server process."""

    def __init__(self, python: str, port: int) -> None:
        self._command = [python, str(CAMERA), *map(str, (port, WIDTH, HEIGHT, RATE))]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        if not ready or self._process.stdout.readline().strip() != "ready":
            self.kill()
            raise InputError(
                f"The RTSP server did not start with {self._command[0]}.",
                "Install GStreamer's RTSP server and python3-gi, or name another --python.",
            )

    def kill(self) -> None:
        """End it the hard way."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def signal(self, number: int) -> None:
        """Hang it (SIGSTOP) or let it go on (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(number)


def take_sample(at: float, live: bool) -> Sample:
    """Memory, threads and file descriptors of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Sample(
        at=round(at, 2),
        rss_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        threads=sum(1 for _ in Path("/proc/self/task").iterdir()),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        live=live,
    )


def plan(seconds: float, kills: int, hangs: int, seed: int = 0) -> list[Blow]:
    """When the server goes away and for how long: evenly spread, in a random order."""
    chance = random.Random(seed)
    kinds = ["kill"] * kills + ["hang"] * hangs
    chance.shuffle(kinds)
    spacing = seconds / (len(kinds) + 1)
    longest = min(10.0, 0.4 * spacing)
    return [
        Blow(kind, (number + 1) * spacing, longest * chance.uniform(0.4, 1.0))
        for number, kind in enumerate(kinds)
    ]


def soak(seconds: float, kills: int, hangs: int, engine: Engine, python: str) -> Soak:
    """Run the stream through all blows.

    Args:
        seconds: for how long.
        kills, hangs: how often the server is killed, and stopped and continued.
        engine: not closed.
        python: an interpreter with GStreamer's bindings.

    Raises:
        InputError: the server does not start; the stream cannot.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    camera, watch = Camera(python, port), Watch()
    camera.start()
    result = Soak(seconds, plan(seconds, kills, hangs))
    ended: list[StreamSummary | BaseException] = []
    cancel = threading.Event()
    with tempfile.TemporaryDirectory(prefix="acf-edge-soak-") as folder:
        recording = open_sink(str(Path(folder) / "soak.mkv"))
        run = StreamRun(
            [Lane(open_source(f"rtsp://127.0.0.1:{port}/live"), [watch, recording])],
            [engine],
            stats_path=Path(folder) / "stats.json",
        )

        def work() -> None:
            try:
                ended.append(run.run(cancel))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            if watch.wait(0.0, _PATIENCE) is None:
                raise InputError("No picture came from the RTSP server.", "Is the machine busy?")
            _strike(result, camera, watch, run, thread)
        finally:
            cancel.set()
            thread.join(_PATIENCE)
            camera.kill()
        end = ended[0] if ended else None
        if isinstance(end, BaseException):
            raise end
        result.summary = {"state": "hangs"} if end is None else end.to_json()
    return result


def _strike(
    result: Soak, camera: Camera, watch: Watch, run: StreamRun, thread: threading.Thread
) -> None:
    """Let the blows fall at their times, and take a sample every second."""
    begun = time.monotonic()
    blows = list(result.blows)
    console = Console(stderr=True)
    next_sample = 0.0
    while (at := time.monotonic() - begun) < result.seconds and thread.is_alive():
        if at >= next_sample:
            next_sample += 1.0
            live = run.stats().sources[0].state == "live"
            result.samples.append(take_sample(at, live))
        if blows and at >= blows[0].at:
            blow = blows.pop(0)
            returned = _hit(camera, blow)
            back = watch.wait(returned, 30.0)
            blow.recovered = None if back is None else round(back - returned, 3)
            console.print(f"{at:6.1f} s  {blow.kind}, away {blow.away:.1f} s, back: ", end="")
            console.print("never" if blow.recovered is None else f"{blow.recovered:.2f} s")
        time.sleep(0.05)


def _hit(camera: Camera, blow: Blow) -> float:
    """Take the server away and bring it back; returns when it was back."""
    if blow.kind == "hang":
        camera.signal(signal.SIGSTOP)
        time.sleep(blow.away)
        camera.signal(signal.SIGCONT)
        return time.monotonic()
    camera.kill()
    time.sleep(blow.away)
    camera.start()
    return time.monotonic()


def report(result: Soak, command: Sequence[str], engine: str) -> dict[str, Any]:
    """All that was measured as JSON types."""
    return {
        "command": "python -m benchmarks.soak " + " ".join(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine().to_json(),
        "versions": versions(),
        "engine": engine,
        "camera": f"{WIDTH}x{HEIGHT}, {RATE} frames/s, RTSP over TCP on localhost",
        "seconds": result.seconds,
        "blows": [asdict(blow) for blow in result.blows],
        "early_and_late": {
            name: [round(value, 2) for value in result.growth(name)]
            for name in ("rss_mib", "threads", "descriptors")
        },
        "failures": result.failures(),
        "summary": result.summary,
        "samples": [asdict(sample) for sample in result.samples],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M")
    parser.add_argument("--kills", type=int, default=5, metavar="N")
    parser.add_argument("--hangs", type=int, default=2, metavar="N")
    parser.add_argument("--engine", metavar="B", help="a bundle, or 'bicubic'")
    parser.add_argument("--python", default="/usr/bin/python3", help="has GStreamer's bindings")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything there")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    try:
        engine: Engine
        if args.engine == "bicubic":
            engine = BicubicEngine(4)
        else:
            engine = load_engine(args.engine, spin=False)
        result = soak(args.minutes * 60, args.kills, args.hangs, engine, args.python)
        found = report(result, arguments, engine.name)
        if args.json:
            write_text(args.json, json.dumps(found, indent=1) + "\n")
    except AcfError as error:
        print(f"soak: error: {error}", file=sys.stderr)
        return error.exit_code
    with suppress(BrokenPipeError):
        times = [f"{blow.recovered}" for blow in result.blows]
        print(f"recoveries, s: {', '.join(times)}")
        for name, (early, late) in found["early_and_late"].items():
            print(f"{name}: {early:g} early, {late:g} late")
        for failure in found["failures"]:
            print(f"FAILED: {failure}")
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
