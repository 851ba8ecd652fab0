"""The votes as one sheet: pictures above, maps below them, channels at the bottom."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from acf_edge.errors import InputError
from acf_edge.explain.heard import FloatArray, Heard
from acf_edge.model.config import BRANCHES

Uint8Image = npt.NDArray[np.uint8]

# Told apart by those who see no red or green, too (Okabe and Ito, 2008).
COLOURS = ((230, 159, 0), (0, 114, 178), (0, 158, 115))
_INK, _FAINT, _PAPER, _LINE = (33, 37, 41), (108, 117, 125), (255, 255, 255), (206, 212, 218)
_GAP, _TITLE, _BARS, _FOOT = 20, 52, 110, 34
_PANEL = 420
"""Width of a picture on the sheet in pixels."""
_TALL = 3 * _PANEL
"""What is taller becomes narrower than its panel."""


def sheet_path(image: Path, wanted: Path | None) -> Path:
    """Where the sheet of a picture goes: where it is wanted, or beside the picture.

    Raises:
        InputError: the picture itself would be overwritten.
    """
    target = wanted or image.with_name(f"{image.stem}-votes.png")
    if target.exists() and target.samefile(image):
        raise InputError(f"'{target}' is the input itself.", "Choose another output name.")
    return target


def votes_picture(image: Uint8Image, heard: Heard, title: str = "") -> Uint8Image:
    """Draw the sheet.

    The first row shows the input, the result, and who was loudest where: the branches'
    colours mixed by their shares. The second row shows each branch's share of the voice, on
    one scale for all three. The third shows both votes for each channel of each branch.

    Args:
        image: ``(H, W, 3)`` uint8 RGB: the input of the network.
        heard: of that picture.
        title: what the picture is, for the headline.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    zoom = min(_PANEL / width, _TALL / height)
    size = (max(1, round(zoom * width)), max(1, round(zoom * height)))
    mixed = np.tensordot(heard.voice, np.array(COLOURS, np.float32), axes=(0, 0))
    top = [
        (_fit(image, size, cv2.INTER_NEAREST), "input", f"{width} x {height}"),
        (
            _fit(heard.result, size, cv2.INTER_AREA),
            "result",
            f"{heard.result.shape[1]} x {heard.result.shape[0]}",
        ),
        (_fit(mixed.astype(np.uint8), size, cv2.INTER_NEAREST), "who is heard", "by colour"),
    ]
    most = max(float(heard.voice.max()), 1e-6)
    maps = []
    for b, name in enumerate(BRANCHES):
        share = float(heard.voice[b].mean())
        picture = _fit(_heat(heard.voice[b] / most, COLOURS[b]), size, cv2.INTER_NEAREST)
        maps.append((picture, name, f"{share:.0%} of the voice on average"))
    columns = 3
    sheet_width = columns * _PANEL + (columns + 1) * _GAP
    row = size[1] + _TITLE
    sheet = np.full((56 + 2 * row + _TITLE + _BARS + _FOOT + _GAP, sheet_width, 3), 255, np.uint8)
    headline = f"Votes of the junction, {heard.network}" + (f": {title}" if title else "")
    _text(sheet, headline, (_GAP, 36), 0.75, _INK, bold=True)
    for index, line in enumerate((top, maps)):
        for column, (picture, name, note) in enumerate(line):
            x, y = _GAP + column * (_PANEL + _GAP), 56 + index * row
            colour = COLOURS[column] if index else _INK
            _text(sheet, name, (x, y + 30), 0.62, colour, bold=True)
            _text(sheet, note, (x + 12 + _measure(name, 0.62), y + 30), 0.5, _FAINT)
            sheet[y + 40 : y + 40 + size[1], x : x + size[0]] = picture
    y = 56 + 2 * row
    for b, name in enumerate(BRANCHES):
        x = _GAP + b * (_PANEL + _GAP)
        _text(sheet, f"{name}: votes by channel", (x, y + 30), 0.5, _INK)
        _bars(sheet, (x, y + _TITLE - 8), heard.channel[b], heard.element[b], COLOURS[b])
    foot = "bars: channel vote, 0 (filtered) to 1 (preserved); marks: element vote, mean"
    _text(sheet, foot, (_GAP, y + _TITLE + _BARS + 20), 0.5, _FAINT)
    return sheet


def _fit(picture: Uint8Image, size: tuple[int, int], how: int) -> Uint8Image:
    return np.ascontiguousarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)


def _heat(share: FloatArray, colour: tuple[int, int, int]) -> Uint8Image:
    """White for 0, the branch's colour for 1, nearly black beyond the middle would mislead."""
    weight = np.clip(share, 0.0, 1.0)[..., None]
    mixed = (1 - weight) * np.array(_PAPER, np.float32) + weight * np.array(colour, np.float32)
    return mixed.astype(np.uint8)


def _bars(
    sheet: Uint8Image,
    corner: tuple[int, int],
    votes: FloatArray,
    marks: FloatArray,
    colour: tuple[int, int, int],
) -> None:
    x0, y0 = corner
    cv2.rectangle(sheet, (x0, y0), (x0 + _PANEL - 1, y0 + _BARS), _LINE, 1)
    step = (_PANEL - 4) / len(votes)
    for index, (vote, mark) in enumerate(zip(votes, marks, strict=True)):
        left, right = round(x0 + 2 + index * step), round(x0 + 2 + (index + 1) * step) - 2
        top = y0 + _BARS - round(float(vote) * (_BARS - 2))
        cv2.rectangle(sheet, (left, top), (max(right, left), y0 + _BARS - 1), colour, -1)
        level = y0 + _BARS - round(float(mark) * (_BARS - 2))
        cv2.line(sheet, (left, level), (max(right, left), level), _INK, 2)


def _text(
    sheet: Uint8Image,
    words: str,
    place: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
    bold: bool = False,
) -> None:
    # OpenCV's letters are ASCII.
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(sheet, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1 + bold, cv2.LINE_AA)


def _measure(words: str, size: float) -> int:
    return int(cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 2)[0][0])
