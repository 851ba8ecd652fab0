"""How long one frame takes: the bundle, its network in float, and bicubic, in turns.

A machine drifts: it warms up, its neighbours come and go. So the engines take
turns on the same frame, and a ratio is formed within each turn; what slows a
whole turn down cancels out.

ONNX Runtime's threads wait busily for some 30 ms after a run, which would take
a core from whoever comes next. Each measurement therefore begins when the
process has gone quiet, and after one run that is not counted, so that it finds
its own threads awake, as in a stream.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.engine.bundle import MODEL_FILE, NETWORK_FILE, Bundle
from acf_edge.engine.load import load_engine
from acf_edge.engine.ort import OrtEngine
from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.imaging.scenes import dead_leaves

LEAST_ROUNDS: Final = 3
_SMALLEST_SCENE: Final = 16
_QUIET: Final = 0.2  # of one core
_LOOK: Final = 0.005  # seconds
_PATIENCE: Final = 0.5  # seconds

Progress = Callable[[float], None]
"""Called between measurements with the share done, 0..1."""


@dataclass(frozen=True)
class Timing:
    """One engine's times.

    Attributes:
        role: ``"bundle"``, ``"float"`` or ``"bicubic"``.
        name: the engine's.
        samples_ms: wall milliseconds of one frame, one per round.
    """

    role: str
    name: str
    samples_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples_ms)

    @property
    def p95_ms(self) -> float:
        """95th percentile, interpolated between samples."""
        return float(np.percentile(self.samples_ms, 95))

    @property
    def fps(self) -> float:
        """Frames per second at the median."""
        return 1e3 / self.median_ms

    def to_json(self) -> dict[str, Any]:
        """The fields and what follows from them."""
        return {
            "role": self.role,
            "name": self.name,
            "median_ms": self.median_ms,
            "p95_ms": self.p95_ms,
            "min_ms": min(self.samples_ms),
            "max_ms": max(self.samples_ms),
            "fps": self.fps,
            "samples_ms": list(self.samples_ms),
        }


@dataclass(frozen=True)
class Ratio:
    """How many times as long one role takes as another.

    Attributes:
        of: the role above the line. ``to``: the one below it.
        samples: one quotient per round.
    """

    of: str
    to: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the quotients (not the quotient of medians)."""
        return statistics.median(self.samples)

    def to_json(self) -> dict[str, Any]:
        """The fields and what follows from them."""
        return {
            "of": self.of,
            "to": self.to,
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
        }


@dataclass(frozen=True)
class EngineBench:
    """Times of one frame.

    Attributes:
        timings: the bundle, its network in float, bicubic; equally many samples each.
        warmup: runs of each before the first round.
    """

    timings: tuple[Timing, ...]
    warmup: int

    @property
    def rounds(self) -> int:
        """Samples of each engine."""
        return len(self.timings[0].samples_ms)

    @property
    def ratios(self) -> tuple[Ratio, ...]:
        """Every other role over the bundle, round by round."""
        bundle, *others = self.timings
        return tuple(
            Ratio(
                other.role,
                bundle.role,
                tuple(a / b for a, b in zip(other.samples_ms, bundle.samples_ms, strict=True)),
            )
            for other in others
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and what follows from them."""
        return {
            "rounds": self.rounds,
            "warmup": self.warmup,
            "timings": [timing.to_json() for timing in self.timings],
            "ratios": [ratio.to_json() for ratio in self.ratios],
        }


def bench_engines(
    bundle: Bundle,
    width: int,
    height: int,
    *,
    threads: int,
    runs: int | None = None,
    seconds: float | None = None,
    warmup: int = 3,
    progress: Progress | None = None,
) -> EngineBench:
    """Time the bundle's engine, its ``network.onnx`` in float, and bicubic on one frame.

    Args:
        bundle: of any backend; its ``network.onnx`` and bicubic run on the CPU all the same.
        width: of the frame in pixels. ``height``: likewise.
        threads: of each engine.
        runs: rounds, >= 1.
        seconds: instead of ``runs``: rounds until this time is over, and at
            least three. With neither, 30 rounds.
        warmup: uncounted runs of each engine at the start, >= 0.
        progress: see :data:`Progress`.

    Raises:
        InputError: a model that cannot be loaded or run.
    """
    passport = bundle.passport
    stem = passport.name.rpartition(" ")[0] or passport.name
    roles: list[tuple[str, Engine]] = []
    try:

        def on_cpu(file: str, name: str) -> Engine:
            content = bundle.read(file)
            return OrtEngine(content, name=name, scale=passport.scale, threads=threads)

        if passport.backend == "onnxruntime":
            roles.append(("bundle", on_cpu(MODEL_FILE, passport.name)))
            roles.append(("float", on_cpu(NETWORK_FILE, f"{stem} float")))
        else:
            roles.append(("bundle", load_engine(bundle, spin=True)))
            roles.append(("float", on_cpu(NETWORK_FILE, f"{stem} float, CPU")))
        roles.append(("bicubic", BicubicEngine(passport.scale)))
        with _opencv_threads(threads):
            samples = _in_turns(
                [engine for _, engine in roles],
                camera_frame(width, height),
                runs=30 if runs is None and seconds is None else runs,
                seconds=seconds,
                warmup=warmup,
                progress=progress,
            )
    finally:
        for _, engine in roles:
            engine.close()
    timings = (
        Timing(role, engine.name, tuple(times))
        for (role, engine), times in zip(roles, samples, strict=True)
    )
    return EngineBench(tuple(timings), warmup)


def camera_frame(width: int, height: int) -> Uint8Image:
    """A ``(height, width, 3)`` uint8 RGB scene, the same every time."""
    scene = dead_leaves(max(height, _SMALLEST_SCENE), max(width, _SMALLEST_SCENE), seed=0)
    return np.ascontiguousarray(scene[:height, :width])


def settle() -> None:
    """Wait until no thread of this process is busy, half a second at most."""
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        wall, busy = time.perf_counter(), time.process_time()
        time.sleep(_LOOK)
        if time.process_time() - busy < _QUIET * (time.perf_counter() - wall):
            return


def _in_turns(
    engines: Sequence[Engine],
    frame: Uint8Image,
    *,
    runs: int | None,
    seconds: float | None,
    warmup: int,
    progress: Progress | None,
) -> list[list[float]]:
    """Wall milliseconds of each engine, one list each."""
    for engine in engines:
        for _ in range(warmup):
            engine.run(frame)
    samples: list[list[float]] = [[] for _ in engines]
    begun = time.perf_counter()
    done = 0.0
    while done < 1:
        for engine, times in zip(engines, samples, strict=True):
            settle()
            engine.run(frame)
            start = time.perf_counter()
            engine.run(frame)
            times.append((time.perf_counter() - start) * 1e3)
        rounds = len(samples[0])
        if seconds is not None:
            spent = (time.perf_counter() - begun) / seconds
            done = min(spent, rounds / LEAST_ROUNDS)
        else:
            done = rounds / (runs or 1)
        if progress is not None:
            progress(min(1.0, done))
    return samples


@contextmanager
def _opencv_threads(threads: int) -> Iterator[None]:
    """Let OpenCV use as many threads as the engines; its setting is the process' own."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
