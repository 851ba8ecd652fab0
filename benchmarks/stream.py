"""What the streaming runtime costs and keeps: latency, deadline, overhead, throughput.

    python -m benchmarks.stream --json benchmarks/results/stream.json

latency     an engine that takes 80 ms on a source of 30 frames/s: is it flat?
deadline    the shipped engine and its ladder as 'acf-edge stream' runs them, with
            --deadline 33ms: which share comes in time?
overhead    an H.264 file of 1280x720 at its own 30 frames/s to null:// with an engine
            that does nothing: how much of one core does all the rest take?
throughput  file to file, beside the engine alone and the codecs alone

Name one or several to run these only. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np

from acf_edge.engine import Engine, load_engine
from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import AcfError
from acf_edge.files import write_text
from acf_edge.profile.bench import versions
from acf_edge.profile.machine import describe_machine
from acf_edge.stream.frame import Frame
from acf_edge.stream.live.ladder import build_ladder
from acf_edge.stream.live.runtime import Lane, StreamRun
from acf_edge.stream.live.stats import RunStats
from acf_edge.stream.uri import open_sink, open_source


class Idle:
    """An engine of scale 1 that takes its time and does nothing in it.

    Args:
        seconds: that one frame takes, without using the processor.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.name = f"idle {1000 * seconds:.0f} ms"
        self.scale = 1
        self._seconds = seconds

    def run(self, frame: Uint8Image) -> Uint8Image:
        """The frame itself."""
        if self._seconds:
            time.sleep(self._seconds)
        return frame

    def close(self) -> None:
        """Nothing to release."""


def make_clip(path: Path, width: int, height: int, frames: int, rate: int = 30) -> None:
    """An H.264 clip that moves: a picture larger than the frame, panned, with a little noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    large = np.kron(coarse, np.ones((12, 12, 1), np.uint8))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            x, y = number * 2 % (width // 3), number % (height // 3)
            part = large[y : y + height, x : x + width].astype(np.int16)
            part = part + random.integers(-4, 5, (height, width, 1), dtype=np.int16)
            picture = av.VideoFrame.from_ndarray(part.clip(0, 255).astype(np.uint8), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def stream(
    source: str, sink: str, engines: Sequence[Engine], **options: Any
) -> tuple[RunStats, float]:
    """Run one lane; the counters at the end, and the processor seconds of this process."""
    before = time.process_time()
    options.setdefault("steady", False)
    lane = Lane(open_source(source), [open_sink(sink)])
    summary = StreamRun([lane], engines, **options).run()
    if summary.exit_code:
        raise AcfError(f"The stream failed: {summary.to_json()}")
    return summary.stats, time.process_time() - before


def latency(seconds: float, folder: Path) -> dict[str, Any]:
    """80 ms on 30 frames/s: the percentiles of the whole, and of the last seconds."""
    stats, _ = stream("test://clock?fps=30", "null://", [Idle(0.08)], seconds=seconds)
    source = stats.sources[0]
    return {
        "seconds": seconds,
        "captured": source.captured,
        "frames": source.frames,
        "dropped": source.dropped,
        "end_to_end_ms": source.latency_total_ms["end_to_end"],
        "end_to_end_ms_of_the_last_5_s": source.latency_ms["end_to_end"],
    }


def deadline(seconds: float, folder: Path) -> dict[str, Any]:
    """The shipped ladder on sizes from easy to hopeless, 33 ms."""
    rows = []
    engines = build_ladder(None, threads=None, spin=False)
    try:
        for width, height in ((160, 90), (320, 180), (640, 360), (960, 540)):
            source = f"test://noise?width={width}&height={height}&fps=30"
            stats, _ = stream(
                source, "null://", engines, deadline=0.033, seconds=seconds, steady=True
            )
            governor = stats.governor or {}
            seen = governor["in_time"] + governor["late"]
            rows.append(
                {
                    "size": f"{width}x{height}",
                    "share_in_time": round(governor["in_time"] / max(1, seen), 4),
                    "frames": governor["frames"],
                    "dropped": stats.sources[0].dropped,
                    "end_to_end_ms": stats.sources[0].latency_total_ms["end_to_end"],
                }
            )
    finally:
        for engine in engines:
            engine.close()
    return {"seconds": seconds, "deadline_ms": 33, "rows": rows}


def overhead(seconds: float, folder: Path) -> dict[str, Any]:
    """Processor time of everything but the engine, as a share of one core."""
    clip = folder / "720p.mp4"
    make_clip(clip, 1280, 720, round(30 * seconds))
    rows = {}
    # The first run loads what the others find loaded.
    stream(str(clip), "null://", [Idle()], frames=30)
    for name, options in (("", {}), (" with the steady filter", {"steady": True})):
        stats, busy = stream(f"{clip}?realtime=1", "null://", [Idle()], **options)
        rows[f"at its own pace{name}"] = {
            "share_of_one_core": round(busy / stats.seconds, 4),
            "ms_per_frame": round(1000 * busy / stats.sources[0].captured, 3),
            "frames": stats.frames,
            "dropped": stats.sources[0].dropped,
        }
    stats, busy = stream(str(clip), "null://", [Idle()])
    rows["as fast as it goes"] = {
        "share_of_one_core_at_30_fps": round(30 * busy / stats.frames, 4),
        "ms_per_frame": round(1000 * busy / stats.frames, 3),
        "frames": stats.frames,
        "fps": round(stats.frames / stats.seconds, 1),
    }
    return {"seconds": seconds, "clip": "1280x720, H.264, 30 frames/s", **rows}


def throughput(seconds: float, folder: Path) -> dict[str, Any]:
    """File to file against its parts, each by itself."""
    clip, frames = folder / "small.mp4", round(10 * seconds)
    make_clip(clip, 320, 180, frames)
    engine = load_engine(spin=False)
    try:
        pictures = [
            item.pixels for item in _read(str(clip)) if isinstance(item, Frame)
        ]  # 17 MB a hundred
        begun = time.perf_counter()
        for pixels in pictures:
            engine.run(pixels)
        engine_alone = frames / (time.perf_counter() - begun)
        large = [engine.run(pixels) for pixels in pictures[:30]]
        codec_alone = _codec(clip, folder / "codec.mp4", large, engine.scale, frames)
        del large
        stats, busy = stream(str(clip), str(folder / "out.mp4"), [engine])
    finally:
        engine.close()
    together = stats.frames / stats.seconds
    slower = min(engine_alone, codec_alone)
    return {
        "clip": f"320x180, {frames} frames",
        "engine_alone_fps": round(engine_alone, 2),
        "codec_alone_fps": round(codec_alone, 2),
        "file_to_file_fps": round(together, 2),
        "of_the_slower": round(together / slower, 3),
        "of_one_after_the_other": round(together * (1 / engine_alone + 1 / codec_alone), 3),
        "cores_busy": round(busy / stats.seconds, 2),
    }


class Prepared:
    """An engine that hands out pictures made before, in turns."""

    name = "prepared"

    def __init__(self, pictures: Sequence[Uint8Image], scale: int) -> None:
        self.scale = scale
        self._pictures = pictures
        self._next = 0

    def run(self, frame: Uint8Image) -> Uint8Image:
        """The next picture."""
        self._next += 1
        return self._pictures[self._next % len(self._pictures)]

    def close(self) -> None:
        """Nothing to release."""


def _codec(
    source: Path, target: Path, large: Sequence[Uint8Image], scale: int, frames: int
) -> float:
    """Frames per second of decoding and encoding alone, side by side as in the stream."""
    stats, _ = stream(str(source), str(target), [Prepared(large, scale)])
    return frames / stats.seconds


def _read(text: str) -> list[Any]:
    source = open_source(text)
    source.open()
    try:
        return list(source.items())
    finally:
        source.close()


MEASURES: dict[str, Callable[[float, Path], dict[str, Any]]] = {
    "latency": latency,
    "deadline": deadline,
    "overhead": overhead,
    "throughput": throughput,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for each part")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything there")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    unknown = set(args.measures) - set(MEASURES)
    if unknown:
        parser.error(f"no measure {', '.join(sorted(unknown))}; there are: {', '.join(MEASURES)}")
    found: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.stream", *arguments]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine().to_json(),
        "versions": versions(),
    }
    try:
        with tempfile.TemporaryDirectory(prefix="acf-edge-stream-") as folder:
            for name in args.measures or MEASURES:
                found[name] = MEASURES[name](args.seconds, Path(folder))
                print(f"{name}: {json.dumps(found[name], indent=1)}", flush=True)
        if args.json:
            write_text(args.json, json.dumps(found, indent=1) + "\n")
    except AcfError as error:
        print(f"stream: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
