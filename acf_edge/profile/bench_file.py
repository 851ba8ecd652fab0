"""Frames per second from file to file, and of each stage alone.

The stages of a file run in three threads and share the cores, so the whole may
be slower than its slowest stage: what the cores can do for all three together
is told beside it. Every stage is made of what
``enhance`` itself uses: decoding is :class:`FileSource` (with the conversion to
RGB), encoding is :class:`FileSink` (with the conversion to YUV).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from acf_edge.engine.bundle import Bundle
from acf_edge.engine.cores import usable_cores
from acf_edge.engine.load import load_engine
from acf_edge.engine.protocol import Engine, Uint8Image
from acf_edge.errors import GateError
from acf_edge.profile.bench_clip import RATE, write_clip
from acf_edge.profile.bench_engine import Progress, settle
from acf_edge.stream.colour import output_colour
from acf_edge.stream.enhance import enhance_file
from acf_edge.stream.frame import Frame
from acf_edge.stream.sink_file import EncoderOptions, FileSink
from acf_edge.stream.source_file import FileSource

FILE: Final = "file"
STAGES: Final = ("decode", "engine", "encode")
_HELD_BYTES: Final = 256 << 20


@dataclass(frozen=True)
class Throughput:
    """How fast something went through the clip.

    Attributes:
        what: ``"file"`` (file to file), or ``"decode"``, ``"engine"``, ``"encode"`` alone.
        frames: in each run.
        seconds: wall time of each run.
        cpu_seconds: processor time of this process in each run, all threads together.
    """

    what: str
    frames: int
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]

    @property
    def samples_fps(self) -> tuple[float, ...]:
        """Frames per second of each run."""
        return tuple(self.frames / seconds for seconds in self.seconds)

    @property
    def fps(self) -> float:
        """Median of the runs."""
        return statistics.median(self.samples_fps)

    @property
    def cores_busy(self) -> float:
        """Cores kept busy: processor time over wall time, median of the runs.

        Engine threads that wait busily count, too.
        """
        pairs = zip(self.cpu_seconds, self.seconds, strict=True)
        return statistics.median(cpu / wall for cpu, wall in pairs)

    def to_json(self) -> dict[str, Any]:
        """The fields and what follows from them."""
        return {
            "what": self.what,
            "frames": self.frames,
            "fps": self.fps,
            "fps_min": min(self.samples_fps),
            "fps_max": max(self.samples_fps),
            "cores_busy": self.cores_busy,
            "seconds": list(self.seconds),
            "cpu_seconds": list(self.cpu_seconds),
        }


@dataclass(frozen=True)
class FileBench:
    """File to file.

    Attributes:
        frames: of the clip. ``rate``: its frames per second.
        kbit_s: its bit rate.
        crf, preset: what the output is encoded with.
        spin: the engine's idle threads wait busily.
        cores: physical cores that this process may use.
        throughputs: file to file, then each stage alone.
        busy_seconds: for each run from file to file, the seconds that each stage
            was busy while all three ran: ``decode``, ``infer``, ``encode``.
    """

    frames: int
    rate: int
    kbit_s: float
    crf: int
    preset: str
    spin: bool
    cores: int
    throughputs: tuple[Throughput, ...]
    busy_seconds: tuple[dict[str, float], ...]

    @property
    def whole(self) -> Throughput:
        """File to file."""
        return self.throughputs[0]

    @property
    def slowest(self) -> Throughput:
        """The stage that is slowest on its own."""
        return min(self.throughputs[1:], key=lambda one: one.fps)

    @property
    def cores_fps(self) -> float:
        """Frames per second if the three stages shared the cores without loss.

        From the processor time that a frame takes in each stage alone.
        """
        return self.cores / sum(one.cores_busy / one.fps for one in self.throughputs[1:])

    @property
    def bound(self) -> str:
        """What limits the whole: ``"cores"``, or the stage that is slower than that."""
        return "cores" if self.cores_fps < self.slowest.fps else self.slowest.what

    def to_json(self) -> dict[str, Any]:
        """The fields and what follows from them."""
        return {
            "clip": {
                "codec": "h264",
                "frames": self.frames,
                "rate": self.rate,
                "seconds": self.frames / self.rate,
                "kbit_s": self.kbit_s,
            },
            "encoder": {"codec": "libx264", "crf": self.crf, "preset": self.preset},
            "spin": self.spin,
            "repeats": len(self.busy_seconds),
            "throughputs": [one.to_json() for one in self.throughputs],
            "slowest_stage": self.slowest.what,
            "cores": self.cores,
            "cores_fps": self.cores_fps,
            "bound": self.bound,
            "busy_seconds": [dict(busy) for busy in self.busy_seconds],
        }


def bench_file(
    bundle: Bundle,
    width: int,
    height: int,
    *,
    threads: int,
    frames: int = 10 * RATE,
    repeats: int = 3,
    spin: bool = True,
    progress: Progress | None = None,
) -> FileBench:
    """Make a clip, enhance it file to file, and time each stage alone.

    The four take turns, ``repeats`` times, each from the moment the process is quiet.

    Args:
        bundle: whose engine enhances.
        width: of the clip in pixels, even. ``height``: likewise.
        threads: of the engine; codecs choose theirs as they do in ``enhance``.
        frames: of the clip, >= 1.
        repeats: runs of each, >= 1.
        spin: see :class:`acf_edge.engine.ort.OrtEngine`.
        progress: see :data:`Progress`.

    Raises:
        InputError: the engine cannot be loaded, or the temporary folder not be written.
        GateError: frames were lost on the way.
    """
    options = EncoderOptions()
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in (FILE, *STAGES)}
    busy: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="acf-edge-") as name,
        closing(load_engine(bundle, threads=threads, spin=spin)) as engine,
    ):
        clip, target = Path(name) / "clip.mp4", Path(name) / "enhanced.mp4"
        write_clip(clip, width, height, frames)
        material = _Material(clip, engine)  # its making warms the engine up

        def enhance() -> int:
            summary = enhance_file(
                clip, target, engine, crf=options.crf, preset=options.preset, audio=options.audio
            )
            busy.append(summary.stage_seconds)
            return summary.frames

        tasks: dict[str, Callable[[], int]] = {
            FILE: enhance,
            "decode": lambda: _decode(clip),
            "engine": lambda: _infer(engine, material),
            "encode": lambda: _encode(clip, target, material, options),
        }
        steps = repeats * len(tasks)
        for step in range(steps):
            what, task = list(tasks.items())[step % len(tasks)]
            settle()
            wall, cpu = time.perf_counter(), time.process_time()
            done = task()
            taken[what].append((time.perf_counter() - wall, time.process_time() - cpu))
            if done != frames:
                raise GateError(f"{done} frames came out of '{what}' where {frames} went in.")
            if progress is not None:
                progress((step + 1) / steps)
        kbit_s = clip.stat().st_size * 8 / 1e3 / (frames / RATE)
    throughputs = (
        Throughput(what, frames, tuple(wall for wall, _ in pairs), tuple(cpu for _, cpu in pairs))
        for what, pairs in taken.items()
    )
    return FileBench(
        frames=frames,
        rate=RATE,
        kbit_s=kbit_s,
        crf=options.crf,
        preset=options.preset,
        spin=spin,
        cores=usable_cores(),
        throughputs=tuple(throughputs),
        busy_seconds=tuple(busy),
    )


class _Material:
    """Decoded and enhanced pictures for the stages alone, as many as fit into 256 MiB.

    A longer clip goes through them forth and back, so that the motion stays smooth.
    """

    def __init__(self, clip: Path, engine: Engine) -> None:
        self.moments: list[Frame] = []
        self.low: list[Uint8Image] = []
        with FileSource(clip) as source:
            room = max(1, _HELD_BYTES // (source.first.pixels.nbytes * engine.scale**2))
            for item in source.items():
                if isinstance(item, Frame):
                    if len(self.low) < room:
                        self.low.append(item.pixels)
                    self.moments.append(item.enhanced(self.low[0]))
        self.high = [engine.run(pixels) for pixels in self.low]

    def picture(self, held: Sequence[Uint8Image], index: int) -> Uint8Image:
        """The picture for frame ``index``."""
        last = len(held) - 1
        place = index % max(1, 2 * last)
        return held[place if place <= last else 2 * last - place]


def _decode(clip: Path) -> int:
    with FileSource(clip) as source:
        return sum(isinstance(item, Frame) for item in source.items())


def _infer(engine: Engine, material: _Material) -> int:
    for index in range(len(material.moments)):
        engine.run(material.picture(material.low, index))
    return len(material.moments)


def _encode(clip: Path, target: Path, material: _Material, options: EncoderOptions) -> int:
    height, width = material.high[0].shape[:2]
    with FileSource(clip) as source:
        colour = output_colour(source.tags, source.first.colour, width, height)
        sink = FileSink(target, target, source, (width, height), colour, options)
        try:
            for index, moment in enumerate(material.moments):
                sink.write(moment.enhanced(material.picture(material.high, index)))
            sink.finish()
        except BaseException:
            sink.abandon()
            raise
        return sink.frames
