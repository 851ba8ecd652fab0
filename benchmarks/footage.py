"""Real footage before and after: a sheet of crops, nothing degraded by us.

    python -m benchmarks.footage clip.mp4 other.avi --out sheet.png
    python -m benchmarks.footage --pair blurred.webp sharp.webp --out pair.png

Each row is one frame from the middle of a clip (``--at`` names another second): the whole frame,
then the same crop enlarged by nearest neighbour, by bicubic and by the engine. With ``--pair`` the
blurred picture is made smaller by the engine's scale first, and the sharp one is shown beside the
result with the PSNR-Y of both, which is printed, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console

from acf_edge.engine import Engine
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.errors import AcfError, InputError
from acf_edge.evaluate.engines import choose_engine
from acf_edge.imaging import read_image, write_image
from acf_edge.imaging.metrics import quality
from acf_edge.imaging.resize import resize_bicubic, to_uint8
from acf_edge.stream.frame import Frame
from acf_edge.stream.source_file import FileSource

Uint8Image = npt.NDArray[np.uint8]

SIDE: Final = 96
"""Pixels of the crop in the low-resolution picture."""
PANEL: Final = 384
_GAP, _LINE, _PAPER, _INK = 8, 24, 255, (33, 37, 41)


def frame_of(clip: Path, second: float | None) -> Uint8Image:
    """One frame of a clip, ``(H, W, 3)`` uint8 RGB; None = from its middle.

    One frame is held at a time, however long the clip is.

    Raises:
        InputError: it cannot be read, or is shorter than that.
    """
    if not clip.is_file():
        raise InputError(f"There is no clip '{clip}'.", "Check the path.")
    if second is None:
        return _middle(clip)
    with FileSource(clip) as source:
        for frame in _frames(source):
            if float(frame.seconds) >= second:
                return frame.pixels
    raise InputError(f"'{clip}' ends before {second:g} s.", "Give an earlier --at.")


def _middle(clip: Path) -> Uint8Image:
    with FileSource(clip) as source:
        count = source.expected_frames
    while True:
        seen = 0
        with FileSource(clip) as source:
            for frame in _frames(source):
                if count is not None and seen == count // 2:
                    return frame.pixels
                seen += 1
        if not seen:
            raise InputError(f"'{clip}' has no frame.", "Give another clip.")
        # Nothing was announced, or too much; now they are counted.
        count = seen


def _frames(source: FileSource) -> Iterator[Frame]:
    return (item for item in source.items() if isinstance(item, Frame))


def busiest(picture: Uint8Image, side: int) -> tuple[int, int]:
    """Upper left corner ``(x, y)`` of the square with the most detail: where help is needed."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    energy = cv2.boxFilter(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), -1, (side, side))
    half = side // 2
    inside = energy[half : energy.shape[0] - half or None, half : energy.shape[1] - half or None]
    if inside.size == 0:
        return 0, 0
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(x), int(y)


def row_of(name: str, low: Uint8Image, engine: Engine) -> list[tuple[str, Uint8Image]]:
    """The panels of a frame: title and picture."""
    side = min(SIDE, *low.shape[:2])
    x, y = busiest(low, side)
    scale = engine.scale
    bicubic, ours = BicubicEngine(scale).run(low), engine.run(low)

    def crop(picture: Uint8Image, factor: int) -> Uint8Image:
        return picture[y * factor : (y + side) * factor, x * factor : (x + side) * factor]

    whole = low.copy()
    cv2.rectangle(whole, (x, y), (x + side - 1, y + side - 1), (255, 80, 0), 1)
    return [
        (f"{name}, {low.shape[1]} x {low.shape[0]}", whole),
        ("as it is", crop(low, 1)),
        ("bicubic", crop(bicubic, scale)),
        (engine.name, crop(ours, scale)),
    ]


def pair_row(
    blurred: Path, sharp: Path, engine: Engine
) -> tuple[list[tuple[str, Uint8Image]], list[tuple[str, float]]]:
    """A true pair, made smaller by the engine's scale.

    Returns:
        The panels, and the PSNR-Y in dB of bicubic and of the engine after their names; it
        stands in the titles, too.

    Raises:
        InputError: the two differ in size, or cannot be read.
    """
    poor, truth = read_image(blurred), read_image(sharp)
    if poor.shape != truth.shape:
        raise InputError("The two pictures differ in size.", "Give a blurred and a sharp one.")
    scale = engine.scale
    height, width = poor.shape[0] // scale, poor.shape[1] // scale
    truth = truth[: height * scale, : width * scale]
    small = resize_bicubic(poor[: height * scale, : width * scale], height, width)
    low = to_uint8(small)
    panels = row_of(blurred.stem, low, engine)
    side = min(SIDE, *low.shape[:2])
    x, y = busiest(low, side)
    span = np.s_[y * scale : (y + side) * scale, x * scale : (x + side) * scale]
    titles = [title for title, _ in panels]
    figures = []
    for index, one in ((2, BicubicEngine(scale)), (3, engine)):
        psnr_y = quality(one.run(low), truth, scale).psnr_y
        figures.append((titles[index], psnr_y))
        titles[index] += f", {psnr_y:.2f} dB"
    named = [(title, picture) for title, (_, picture) in zip(titles, panels, strict=True)]
    return [*named, ("sharp", np.ascontiguousarray(truth[span]))], figures


def sheet(rows: Sequence[Sequence[tuple[str, Uint8Image]]]) -> Uint8Image:
    """All rows as one picture, ``(H, W, 3)`` uint8 RGB; crops by nearest neighbour."""
    columns = max(len(row) for row in rows)
    high = PANEL + _LINE + _GAP
    shape = (len(rows) * high + _GAP, columns * (PANEL + _GAP) + _GAP, 3)
    paper = np.full(shape, _PAPER, np.uint8)
    for r, row in enumerate(rows):
        for c, (title, picture) in enumerate(row):
            x, y = _GAP + c * (PANEL + _GAP), _GAP + r * high
            cv2.putText(
                paper, title, (x, y + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA
            )
            ratio = PANEL / max(picture.shape[:2])
            size = (
                max(1, round(picture.shape[1] * ratio)),
                max(1, round(picture.shape[0] * ratio)),
            )
            way = cv2.INTER_AREA if ratio < 1 else cv2.INTER_NEAREST
            fitted = cv2.resize(picture, size, interpolation=way)
            paper[y + _LINE : y + _LINE + size[1], x : x + size[0]] = fitted
    return paper


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.footage", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP")
    parser.add_argument("--at", type=float, metavar="S", help="second of each clip")
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("BLURRED", "SHARP"))
    parser.add_argument("--engine", metavar="BUNDLE", help="default: the shipped one")
    parser.add_argument("--checkpoint", metavar="F", help="instead: a checkpoint, run by torch")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    args = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        if not args.clips and not args.pair:
            raise InputError("Nothing is named to show.", "Give clips, or --pair.")
        with closing(choose_engine(args.engine, args.checkpoint)) as engine:
            rows, figures = [], list[tuple[str, float]]()
            if args.pair:
                panels, figures = pair_row(args.pair[0], args.pair[1], engine)
                rows.append(panels)
            for clip in args.clips:
                console.print(f"{clip.name}", markup=False)
                rows.append(row_of(clip.stem, frame_of(clip, args.at), engine))
        write_image(args.out, sheet(rows))
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    for name, psnr_y in figures:
        Console().print(f"{name}: {psnr_y:.2f} dB (Y)", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
