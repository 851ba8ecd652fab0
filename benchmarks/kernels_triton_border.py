"""The frame border in Triton: NV12 to RGB bytes and back, one kernel each.

Run with ``TRITON_INTERPRET=1`` they need no GPU. Halves are rounded up, not to even.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from acf_edge.cuda.border import Coding

_ROWS, _COLUMNS = 2, 256  # pixels of a block when NV12 is read, pairs when it is written


@triton.jit
def _byte(code):
    return tl.minimum(tl.maximum(tl.floor(code + 0.5), 0.0), 255.0).to(tl.uint8)


@triton.jit
def _read(
    luma, chroma, rgb, height, width, across_before, across_after, down_before, down_after,
    gain, lift, red_v, green_u, green_v, blue_u, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    y = (tl.program_id(1) * R + tl.arange(0, R))[:, None]
    x = (tl.program_id(0) * C + tl.arange(0, C))[None, :]
    inside = (y < height) & (x < width)
    wide, high = (width + 1) // 2, (height + 1) // 2
    row, column = y // 2, x // 2
    near_row = tl.minimum(tl.maximum(row + 2 * (y % 2) - 1, 0), high - 1)
    near_column = tl.minimum(tl.maximum(column + 2 * (x % 2) - 1, 0), wide - 1)
    down = tl.where(y % 2 == 1, down_after, down_before)
    across = tl.where(x % 2 == 1, across_after, across_before)
    pairs = chroma + n * high * wide * 2
    grey = tl.load(luma + n * height * width + y * width + x, mask=inside, other=0)
    grey = gain * grey.to(tl.float32) + lift
    u = _between(pairs, row, near_row, column, near_column, wide, down, across, inside)
    v = _between(pairs + 1, row, near_row, column, near_column, wide, down, across, inside)
    at = rgb + (n * height * width + y * width + x) * 3
    tl.store(at, _byte(grey + red_v * v), mask=inside)
    tl.store(at + 1, _byte(grey + green_u * u + green_v * v), mask=inside)
    tl.store(at + 2, _byte(grey + blue_u * u), mask=inside)


@triton.jit
def _between(pairs, row, near_row, column, near_column, wide, down, across, inside):
    here = tl.load(pairs + (row * wide + column) * 2, mask=inside, other=0).to(tl.float32)
    side = tl.load(pairs + (row * wide + near_column) * 2, mask=inside, other=0).to(tl.float32)
    here += across * (side - here)
    there = tl.load(pairs + (near_row * wide + column) * 2, mask=inside, other=0).to(tl.float32)
    side = tl.load(pairs + (near_row * wide + near_column) * 2, mask=inside, other=0)
    there += across * (side.to(tl.float32) - there)
    return here + down * (there - here) - 128.0


@triton.jit
def _write(
    rgb, luma, chroma, height, width, across_before, across_second, down_before, down_second,
    red, green, blue, gain, lift, u_gain, v_gain, R: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    row = (tl.program_id(1) * R + tl.arange(0, R))[:, None]
    column = (tl.program_id(0) * C + tl.arange(0, C))[None, :]
    wide, high = (width + 1) // 2, (height + 1) // 2
    inside = (row < high) & (column < wide)
    u = tl.zeros((R, C), tl.float32)
    v = tl.zeros((R, C), tl.float32)
    for i in tl.static_range(3):
        for k in tl.static_range(3):
            y = tl.minimum(tl.maximum(2 * row + i - 1, 0), height - 1)
            x = tl.minimum(tl.maximum(2 * column + k - 1, 0), width - 1)
            at = rgb + (n * height * width + y * width + x) * 3
            r = tl.load(at, mask=inside, other=0).to(tl.float32)
            g = tl.load(at + 1, mask=inside, other=0).to(tl.float32)
            b = tl.load(at + 2, mask=inside, other=0).to(tl.float32)
            grey = red * r + green * g + blue * b
            down = down_before if i == 0 else (0.5 if i == 1 else down_second)
            across = across_before if k == 0 else (0.5 if k == 1 else across_second)
            u += down * across * (b - grey)
            v += down * across * (r - grey)
            if i > 0 and k > 0:
                real = inside & (2 * row + i - 1 < height) & (2 * column + k - 1 < width)
                place = luma + n * height * width + y * width + x
                tl.store(place, _byte(gain * grey + lift), mask=real)
    at = chroma + (n * high * wide + row * wide + column) * 2
    tl.store(at, _byte(u_gain * u + 128.0), mask=inside)
    tl.store(at + 1, _byte(v_gain * v + 128.0), mask=inside)


def nv12_to_rgb(luma: Tensor, chroma: Tensor, coding: Coding, rgb: Tensor) -> Tensor:
    """NV12 into ``rgb`` (N, H, W, 3) uint8; all dense.

    Args:
        luma: (N, H, W) uint8.
        chroma: (N, ceil(H/2), ceil(W/2), 2) uint8.
        coding: how to read it.
        rgb: where to.
    """
    n, height, width = luma.shape
    grid = (triton.cdiv(width, _COLUMNS), triton.cdiv(height, _ROWS), n)
    numbers = (*coding.reading(), *coding.to_rgb())
    _read[grid](luma, chroma, rgb, height, width, *numbers, R=_ROWS, C=_COLUMNS)
    return rgb


def rgb_to_nv12(rgb: Tensor, coding: Coding, luma: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor]:
    """``rgb`` into NV12; shapes as :func:`nv12_to_rgb`."""
    n, height, width = luma.shape
    high, wide = (height + 1) // 2, (width + 1) // 2
    grid = (triton.cdiv(wide, _COLUMNS), triton.cdiv(high, _ROWS), n)
    numbers = (*coding.writing(), *coding.to_yuv())
    _write[grid](rgb, luma, chroma, height, width, *numbers, R=_ROWS, C=_COLUMNS)
    return luma, chroma


def empty_nv12(n: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Luma and chroma, dense, contents undefined."""
    shape = (n, (height + 1) // 2, (width + 1) // 2, 2)
    luma = torch.empty((n, height, width), dtype=torch.uint8, device=device)
    return luma, torch.empty(shape, dtype=torch.uint8, device=device)
