"""The operators in Triton: what a page of Python brings on the same GPU.

Three kernels per operator, as ours: sums over parts of the picture, votes, weighing.
Strides are arguments, so NCHW and NHWC are served by one source; what a block covers is
chosen by the benchmark among :data:`TILES`, the fastest counts.

Run with ``TRITON_INTERPRET=1`` they need no GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# (channels at once, pixels at once): wide rows suit NCHW, many channels NHWC.
TILES = ((1, 1024), (1, 4096), (8, 512), (32, 64), (32, 256))
_PARTS = 256


@triton.jit
def _sums(x, sums, parts, channels, pixels, xn, xc, xp, C: tl.constexpr, P: tl.constexpr):
    n, part, block = tl.program_id(2).to(tl.int64), tl.program_id(1), tl.program_id(0)
    c = block * C + tl.arange(0, C)
    total = tl.zeros((C, P), tl.float32)
    for first in range(part * P, pixels, parts * P):
        p = first + tl.arange(0, P)
        inside = (c[:, None] < channels) & (p[None, :] < pixels)
        at = x + n * xn + c[:, None].to(tl.int64) * xc + p[None, :].to(tl.int64) * xp
        total += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + (n * parts + part) * channels + c, tl.sum(total, 1), mask=c < channels)


@triton.jit
def _votes(
    sums, w1, b1, w2, b2, votes, parts, channels, hidden, pixels,
    C: tl.constexpr, S: tl.constexpr, R: tl.constexpr, TWO: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    c, s = tl.arange(0, C), tl.arange(0, S)
    mean = tl.zeros((C,), tl.float32)
    for first in range(0, parts, R):
        r = first + tl.arange(0, R)
        at = sums + (n * parts + r[:, None]) * channels + c[None, :]
        mean += tl.sum(tl.load(at, mask=(r[:, None] < parts) & (c[None, :] < channels), other=0), 0)
    mean /= pixels
    inside = (s[:, None] < hidden) & (c[None, :] < channels)
    w = tl.load(w1 + s[:, None] * channels + c[None, :], mask=inside, other=0).to(tl.float32)
    vote = tl.sum(w * mean[None, :], 1) + tl.load(b1 + s, mask=s < hidden, other=0).to(tl.float32)
    if TWO:
        vote = tl.maximum(vote, 0.0)
        inside = (c[:, None] < channels) & (s[None, :] < hidden)
        w = tl.load(w2 + c[:, None] * hidden + s[None, :], mask=inside, other=0).to(tl.float32)
        bias = tl.load(b2 + c, mask=c < channels, other=0).to(tl.float32)
        vote = tl.sum(w * vote[None, :], 1) + bias
        tl.store(votes + n * channels + c, tl.sigmoid(vote), mask=c < channels)
    else:
        tl.store(votes + n * hidden + s, tl.sigmoid(vote), mask=s < hidden)


@triton.jit
def _weigh(
    x, e, votes, y, channels, pixels, xn, xc, xp, en, ec, ep, yn, yc, yp,
    B: tl.constexpr, C: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * C + tl.arange(0, C)
    p = tl.program_id(0) * P + tl.arange(0, P)
    inside = (c[:, None] < channels) & (p[None, :] < pixels)
    pl = p[None, :].to(tl.int64)
    total = tl.zeros((C, P), tl.float32)
    for b in tl.static_range(B):
        k = (b * channels + c)[:, None].to(tl.int64)
        value = tl.load(x + n * xn + k * xc + pl * xp, mask=inside, other=0).to(tl.float32)
        logit = tl.load(e + n * en + k * ec + pl * ep, mask=inside, other=0).to(tl.float32)
        vote = tl.load(votes + n * channels * B + b * channels + c, mask=c < channels, other=0)
        total += value * tl.sigmoid(logit) * vote[:, None]
    at = y + n * yn + c[:, None].to(tl.int64) * yc + pl * yp
    tl.store(at, total.to(y.dtype.element_ty), mask=inside)


def _strides(tensor: Tensor) -> tuple[int, int, int]:
    """Of image, channel and pixel; one map for all channels has no step between them."""
    n, c, _, p = tensor.stride()
    return n, 0 if tensor.shape[1] == 1 else c, p


def _parts(channels: int, pixels: int, n: int, tile: tuple[int, int]) -> tuple[int, int]:
    blocks = triton.cdiv(channels, tile[0])
    return blocks, max(1, min(triton.cdiv(pixels, tile[1]), triton.cdiv(_PARTS * 4, blocks * n)))


def _run(
    features: Tensor,
    logits: Tensor,
    weights: tuple[Tensor, ...],
    branches: int,
    output: Tensor,
    tile: tuple[int, int],
) -> Tensor:
    n, total, height, width = features.shape
    pixels, channels = height * width, total // branches
    blocks, parts = _parts(total, pixels, n, tile)
    sums = torch.empty((n, parts, total), device=features.device)
    votes = torch.empty((n, total), device=features.device)
    c, p = tile
    _sums[(blocks, parts, n)](
        features, sums, parts, total, pixels, *_strides(features), C=c, P=p, num_warps=8
    )
    hidden = weights[1].numel()
    wide = triton.next_power_of_2(total)
    narrow = triton.next_power_of_2(hidden)
    _votes[(n,)](
        sums, *weights[:2], *weights[-2:], votes, parts, total, hidden, pixels,
        C=wide, S=narrow, R=max(1, 2048 // wide), TWO=len(weights) == 4, num_warps=8,
    )  # fmt: skip
    _weigh[(triton.cdiv(pixels, p), triton.cdiv(channels, c), n)](
        features, logits, votes, output, channels, pixels,
        *_strides(features), *_strides(logits), *_strides(output),
        B=branches, C=c, P=p, num_warps=8,
    )  # fmt: skip
    return output


def junction_vote(
    features: Tensor,
    element_logits: Tensor,
    weight: Tensor,
    bias: Tensor,
    branches: int,
    output: Tensor,
    tile: tuple[int, int] = TILES[0],
) -> Tensor:
    """``acf::JunctionVote`` in FP16 or FP32, (N, C, H, W) in any memory format, into ``output``."""
    return _run(features, element_logits, (weight, bias), branches, output, tile)


def channel_spatial_attention(
    features: Tensor,
    spatial_logits: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    output: Tensor,
    tile: tuple[int, int] = TILES[0],
) -> Tensor:
    """``acf::ChannelSpatialAttention`` in FP16 or FP32, into ``output``."""
    weights = (squeeze_weight, squeeze_bias, excite_weight, excite_bias)
    return _run(features, spatial_logits, weights, 1, output, tile)
