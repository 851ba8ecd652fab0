"""The benchmark: how fast a bundle is here, with every sample and all that it depends on."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import acf_edge
from acf_edge.engine.bundle import open_bundle
from acf_edge.engine.cores import usable_cores
from acf_edge.errors import InputError
from acf_edge.profile.bench_clip import RATE, check_clip_size
from acf_edge.profile.bench_engine import EngineBench, bench_engines
from acf_edge.profile.bench_file import FileBench, bench_file
from acf_edge.profile.latency import MAX_RUNS
from acf_edge.profile.machine import Machine, describe_machine
from acf_edge.resources import default_bundle

PARTS: Final = ("engine", "file")
MAX_SECONDS: Final = 3600.0
MAX_REPEATS: Final = 100
MAX_THREADS: Final = 1024
_BUSY: Final = 0.5  # load beyond which a machine is not idle


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how often.

    Attributes:
        width, height: of the input in pixels.
        parts: some of :data:`PARTS`.
        runs: rounds of the engine part, 1..1000; None = 30, or as ``seconds`` says.
        seconds: time for the engine part instead of ``runs``, at most an hour.
        threads: of each engine; None = all physical cores.
        clip_seconds: length of the file part's clip, at most an hour.
        repeats: runs of the file part, 1..100.

    Raises:
        InputError: out of range, or not possible together.
    """

    width: int = 320
    height: int = 180
    parts: tuple[str, ...] = PARTS
    runs: int | None = None
    seconds: float | None = None
    threads: int | None = None
    clip_seconds: float = 10.0
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.runs is not None and self.seconds is not None:
            raise InputError("Runs and seconds do not go together.", "Give one of the two.")
        for name, number, most in (
            ("runs", self.runs, MAX_RUNS),
            ("repeats", self.repeats, MAX_REPEATS),
            ("threads", self.threads, MAX_THREADS),
        ):
            if number is not None and not 1 <= number <= most:
                raise InputError(f"{number} {name} are out of range.", f"Give 1 to {most}.")
        for name, seconds in (("of rounds", self.seconds), ("of video", self.clip_seconds)):
            # Not "<= 0 or >": a NaN has to fail, too.
            if seconds is not None and not 0 < seconds <= MAX_SECONDS:
                raise InputError(
                    f"{seconds:g} seconds {name} are out of range.",
                    f"Give more than 0 and at most {MAX_SECONDS:g}.",
                )
        if "file" in self.parts:
            check_clip_size(self.width, self.height)

    @property
    def frames(self) -> int:
        """Of the clip."""
        return max(1, round(self.clip_seconds * RATE))


@dataclass(frozen=True)
class Bench:
    """A benchmark's outcome.

    Attributes:
        command: that repeats it.
        bundle: its name, digest, hash of the weights and time of making.
        options: with ``threads`` filled in.
        scale: up-sampling factor.
        engine: None if that part was left out. ``file``: likewise.
        machine: where. ``date``: when it began, UTC, ISO 8601.
        versions: of what the speed depends on.
        load: processes that wanted to run when it began, on average over a
            minute; None where the system does not tell.
    """

    command: str
    bundle: dict[str, str]
    options: BenchOptions
    scale: int
    engine: EngineBench | None
    file: FileBench | None
    machine: Machine
    date: str
    versions: dict[str, str] = field(default_factory=dict)
    load: float | None = None

    @property
    def busy(self) -> bool:
        """The machine had other work when this began; the figures say little."""
        return self.load is not None and self.load > _BUSY

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "command": self.command,
            "date": self.date,
            "machine": self.machine.to_json(),
            "load_before": self.load,
            "versions": dict(self.versions),
            "bundle": dict(self.bundle),
            "width": self.options.width,
            "height": self.options.height,
            "scale": self.scale,
            "threads": self.options.threads,
            "engine": self.engine.to_json() if self.engine else None,
            "file": self.file.to_json() if self.file else None,
        }

    def dumps(self) -> str:
        """The benchmark as JSON text."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"


def parse_parts(text: str) -> tuple[str, ...]:
    """``"engine,file"`` -> the parts, each once, in the order of :data:`PARTS`.

    Raises:
        InputError: another word, or none.
    """
    asked = {word.strip() for word in text.split(",")}
    unknown = sorted(asked - set(PARTS))
    if unknown:
        raise InputError(
            f"The benchmark has no part '{unknown[0]}'.", f"Choose from: {', '.join(PARTS)}."
        )
    return tuple(part for part in PARTS if part in asked)


def run_bench(
    bundle: Path | str | None = None,
    options: BenchOptions | None = None,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Bench:
    """Measure a bundle.

    Args:
        bundle: the folder; None = the shipped bundle.
        options: None = the defaults.
        progress: called between measurements with the part and the share of it done, 0..1.

    Raises:
        InputError: no bundle, a damaged one, one that cannot be measured here.
        GateError: frames were lost between file and file.
    """
    options = options or BenchOptions()
    opened = open_bundle(default_bundle() if bundle is None else bundle)
    threads = options.threads or usable_cores()
    load, date = _load(), datetime.now(timezone.utc).isoformat(timespec="seconds")
    engine = file = None
    if "engine" in options.parts:
        engine = bench_engines(
            opened,
            options.width,
            options.height,
            threads=threads,
            runs=options.runs,
            seconds=options.seconds,
            progress=_part(progress, "engine"),
        )
    if "file" in options.parts:
        file = bench_file(
            opened,
            options.width,
            options.height,
            threads=threads,
            frames=options.frames,
            repeats=options.repeats,
            progress=_part(progress, "file"),
        )
    known = BenchOptions(**{**vars(options), "threads": threads})
    passport = opened.passport
    return Bench(
        command=_command(bundle, known),
        bundle={
            "name": passport.name,
            "digest": str(passport.to_json()["digest"]),
            "weights_sha256": passport.weights_sha256,
            "created": passport.created,
            "runtime": f"{passport.runtime} {passport.runtime_version}",
            **({"device": passport.device} if passport.device else {}),
        },
        options=known,
        scale=passport.scale,
        engine=engine,
        file=file,
        machine=describe_machine(),
        date=date,
        versions=versions(),
        load=load,
    )


def versions() -> dict[str, str]:
    """Versions of what speed and pictures depend on."""
    import av
    import cv2
    import numpy
    import onnxruntime

    return {
        "acf-edge": acf_edge.__version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions.get("libavcodec", ()))),
        "opencv": str(cv2.__version__),
        "numpy": numpy.__version__,
    }


def _part(
    progress: Callable[[str, float], None] | None, part: str
) -> Callable[[float], None] | None:
    return None if progress is None else lambda share: progress(part, share)


def _load() -> float | None:
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
    return load if math.isfinite(load) else None


def _command(bundle: Path | str | None, options: BenchOptions) -> str:
    words: Sequence[str] = [
        "acf-edge",
        "bench",
        *([] if bundle is None else [str(bundle)]),
        f"--size={options.width}x{options.height}",
        f"--threads={options.threads}",
        f"--what={','.join(options.parts)}",
    ]
    if "engine" in options.parts:
        limit = (
            f"--seconds={options.seconds:g}" if options.seconds else f"--runs={options.runs or 30}"
        )
        words = [*words, limit]
    if "file" in options.parts:
        words = [*words, f"--clip={options.clip_seconds:g}", f"--repeats={options.repeats}"]
    return shlex.join(words)
