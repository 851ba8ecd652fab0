"""Flicker where nothing moves: bicubic, the network frame by frame, and the steady filter.

    python -m benchmarks.steady CLIP [CLIP ...] --json benchmarks/results/steady.json

Flicker is the mean difference from one frame to the next, in code values, over what
stands still. What stands still is told by the input alone and without the filter's own
judgement: the smoothed brightness stays within four code values for nine frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from acf_edge.engine import Engine, load_engine, open_bundle
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import AcfError, InputError
from acf_edge.files import atomic_path
from acf_edge.imaging.files import list_images, read_image, write_image
from acf_edge.resources import default_bundle
from acf_edge.stream.frame import Frame
from acf_edge.stream.live.steady import STRENGTH, SteadyFilter
from acf_edge.stream.source_file import FileSource
from benchmarks.report import bundle_facts, report_head

Mask = npt.NDArray[np.bool_]
WAYS = ("bicubic", "network", "residual alone", "steady")
_AROUND = 4
"""Frames before and after in which a static pixel must not change."""
_STILL = 4.0
"""Code values within which it must stay."""
_LOUD = 8
"""Factor by which differences are shown."""


@dataclass
class Row:
    """One clip.

    Attributes:
        clip: its file's name.
        size: ``(width, height)`` of the input.
        frames: how many.
        static: share of the pixels that stand still.
        flicker: way -> code values per frame.
        filter_ms: processor time of the steady filter for one frame, median.
    """

    clip: str
    size: tuple[int, int]
    frames: int
    static: float
    flicker: dict[str, float]
    filter_ms: float


@dataclass
class _Way:
    """One way of making pictures, and what it flickers."""

    make: Callable[[Uint8Image, Uint8Image], Uint8Image]
    last: Uint8Image | None = None
    total: float = 0.0
    pixels: int = 0
    shown: list[Uint8Image] = field(default_factory=list)

    def take(self, low: Uint8Image, high: Uint8Image, still: Mask) -> None:
        now = self.make(low, high)
        if self.last is not None:
            change = cv2.absdiff(now, self.last)
            self.total += float(change[still].sum(dtype=np.int64))
            self.pixels += 3 * int(np.count_nonzero(still))
            loud = cv2.convertScaleAbs(change, alpha=_LOUD)
            self.shown = [now, np.asarray(loud, dtype=np.uint8)]
        self.last = now.copy()


class _Timed:
    """The steady filter with a stopwatch."""

    def __init__(self, scale: int, strength: float) -> None:
        self._filter = SteadyFilter(scale, strength)
        self.seconds: list[float] = []

    def make(self, low: Uint8Image, high: Uint8Image) -> Uint8Image:
        begun = time.process_time()
        result = self._filter.apply(low, high, "network")
        self.seconds.append(time.process_time() - begun)
        return result


class _ResidualAlone:
    """The same filter on the residual, added to this frame's up-sampled input again."""

    def __init__(self, engine: Engine, strength: float) -> None:
        self._bicubic = BicubicEngine(engine.scale)
        self._filter = SteadyFilter(engine.scale, strength)

    def make(self, low: Uint8Image, high: Uint8Image) -> Uint8Image:
        base = self._bicubic.run(low).astype(np.int16)
        residual = np.clip(high - base + 128, 0, 255).astype(np.uint8)
        kept = self._filter.apply(low, residual, "network").astype(np.int16) - 128
        result: Uint8Image = np.clip(base + kept, 0, 255).astype(np.uint8)
        return result


def read_clip(path: Path, count: int, crop: tuple[int, int], noise: float) -> list[Uint8Image]:
    """The first frames of a video, or of a folder of pictures, cut to their middle.

    Args:
        path: of the video or folder.
        count: at most so many frames.
        crop: ``(width, height)``, at most.
        noise: standard deviation of noise to add, code values.

    Raises:
        InputError: it cannot be read, or has fewer than ten frames.
    """
    random = np.random.default_rng(0)
    frames = []
    for pixels in islice(_pictures(path), count):
        height, width = pixels.shape[:2]
        w, h = min(crop[0], width), min(crop[1], height)
        top, left = (height - h) // 2, (width - w) // 2
        frame = pixels[top : top + h, left : left + w]
        if noise:
            loud = frame + random.normal(0.0, noise, frame.shape)
            frame = np.clip(np.rint(loud), 0, 255).astype(np.uint8)
        frames.append(np.ascontiguousarray(frame))
    if len(frames) < 10:
        raise InputError(f"'{path}' has {len(frames)} frames.", "Give a clip of ten at least.")
    return frames


def _pictures(path: Path) -> Iterator[Uint8Image]:
    if path.is_dir():
        yield from map(read_image, list_images(path))
        return
    if not path.is_file():
        raise InputError(f"'{path}' does not exist.", "Give a video or a folder of pictures.")
    with closing(FileSource(path)) as source:
        for item in source.items():
            if isinstance(item, Frame):
                yield item.pixels


def still_masks(frames: Sequence[Uint8Image], scale: int) -> Iterator[Mask]:
    """For each frame what stands still in it, at output size."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    smooth = [cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in grey]
    for index in range(len(frames)):
        around = np.stack(smooth[max(0, index - _AROUND) : index + _AROUND + 1])
        still = (np.ptp(around, axis=0) < _STILL).astype(np.uint8)
        # The network looks a few pixels around.
        still = cv2.erode(still, np.ones((7, 7), np.uint8))
        yield np.kron(still, np.ones((scale, scale), np.uint8)).astype(bool)


def measure(
    engine: Engine, path: Path, frames: Sequence[Uint8Image], strength: float
) -> tuple[Row, Uint8Image]:
    """Flicker of one clip in all ways, and a picture of it.

    Returns:
        The row, and ``(2 H, 2 W, 3)``: above the network's last frame and the steady one,
        below the difference of each to the frame before, eight times as strong.
    """
    timed = _Timed(engine.scale, strength)
    bicubic = BicubicEngine(engine.scale)
    ways = {
        "bicubic": _Way(lambda low, _: bicubic.run(low)),
        "network": _Way(lambda _, high: high),
        "residual alone": _Way(_ResidualAlone(engine, strength).make),
        "steady": _Way(timed.make),
    }
    static = deque[float]()
    for low, still in zip(frames, still_masks(frames, engine.scale), strict=True):
        high = engine.run(low)
        static.append(float(still.mean()))
        for way in ways.values():
            way.take(low, high, still)
    network, steady = ways["network"].shown, ways["steady"].shown
    sheet = np.concatenate(
        [np.concatenate(pair, axis=1) for pair in zip(network, steady, strict=True)]
    )
    row = Row(
        path.name,
        (frames[0].shape[1], frames[0].shape[0]),
        len(frames),
        float(np.mean(static)),
        {name: way.total / max(1, way.pixels) for name, way in ways.items()},
        1000 * float(np.median(timed.seconds)),
    )
    return row, sheet


def show(rows: Sequence[Row], engine: str) -> Table:
    """Flicker as a table."""
    table = Table(
        title=f"{engine}: flicker of what stands still, code values per frame",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("clip", no_wrap=True, overflow="ellipsis", max_width=24)
    for title in ("n", "static", "bicubic", "network", "residual\nalone", "steady", "filter\nms"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        figures = [f"{row.flicker[name]:.3f}" for name in WAYS]
        table.add_row(
            row.clip, str(row.frames), f"{row.static:.0%}", *figures, f"{row.filter_ms:.2f}"
        )
    return table


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if width < 16 or height < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 320x180")
    return width, height


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.steady", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="video or folder")
    parser.add_argument("--bundle", metavar="B", help="engine bundle (default: the shipped one)")
    parser.add_argument("--frames", type=int, default=120, metavar="N", help="default: 120")
    parser.add_argument(
        "--crop", type=_size, default=(320, 180), metavar="WxH", help="default: 320x180"
    )
    parser.add_argument("--noise", type=float, default=0.0, metavar="S", help="noise to add")
    parser.add_argument(
        "--strength", type=float, default=STRENGTH, metavar="S", help="of the filter"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all physical cores")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write sheets to look at")
    parser.add_argument("--json", metavar="F", help="write everything")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    rows = []
    try:
        with ExitStack() as stack:
            # Opened first: what cannot be written is found out before the time is spent.
            target = stack.enter_context(atomic_path(args.json)) if args.json else None
            if args.pictures:
                args.pictures.mkdir(parents=True, exist_ok=True)
            bundle = open_bundle(args.bundle or default_bundle())
            engine = stack.enter_context(closing(load_engine(bundle, threads=args.threads)))
            for path in args.clips:
                frames = read_clip(path, args.frames, args.crop, args.noise)
                row, sheet = measure(engine, path, frames, args.strength)
                rows.append(row)
                console.print(f"{row.clip}: {row.flicker['steady']:.3f}", markup=False)
                if args.pictures:
                    write_image(args.pictures / f"{path.stem}.png", sheet)
            if target is not None:
                report = report_head("steady", arguments)
                report["bundle"] = bundle_facts(bundle)
                report["clips"] = [asdict(row) for row in rows]
                text = json.dumps(report, indent=1, allow_nan=False)
                target.write_text(f"{text}\n", encoding="utf-8")
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    # Piped output has no width of its own, and cut-off figures are no figures.
    Console(width=None if sys.stdout.isatty() else 110).print(show(rows, bundle.passport.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
