"""The operators and the frame border in plain PyTorch: what eager runs and torch.compile fuses.

Written as somebody would who has PyTorch and no kernel of their own: in the type of
the tensors, with the averages in FP32. A tensor in channels_last stands for NHWC.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from acf_edge.cuda.border import Coding

Scales = tuple[float, float, float]


def _mean(features: Tensor) -> Tensor:
    return features.mean((2, 3), dtype=torch.float32)


def _opened(values: Tensor, scale: float) -> Tensor:
    return values.half() * scale if scale else values


def _closed(values: Tensor, scale: float) -> Tensor:
    if not scale:
        return values
    return (values.float() / scale).round().clamp(-128, 127).to(torch.int8)


def junction_vote(
    features: Tensor,
    element_logits: Tensor,
    weight: Tensor,
    bias: Tensor,
    branches: int,
    scales: Scales = (0.0, 0.0, 0.0),
) -> Tensor:
    """``acf::JunctionVote`` (``acf_edge/ops/reference.py``); INT8 where there are scales."""
    x, logits = _opened(features, scales[0]), _opened(element_logits, scales[1])
    vote = torch.sigmoid(_mean(x) @ weight.float().T + bias.float())
    passed = x * torch.sigmoid(logits) * vote.to(x.dtype)[:, :, None, None]
    joined = sum(passed.chunk(branches, 1)[1:], passed.chunk(branches, 1)[0])
    return _closed(joined, scales[2])


def channel_spatial_attention(
    features: Tensor,
    spatial_logits: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
    scales: Scales = (0.0, 0.0, 0.0),
) -> Tensor:
    """``acf::ChannelSpatialAttention``; INT8 where there are scales."""
    x, logits = _opened(features, scales[0]), _opened(spatial_logits, scales[1])
    hidden = torch.relu(_mean(x) @ squeeze_weight.float().T + squeeze_bias.float())
    gate = torch.sigmoid(hidden @ excite_weight.float().T + excite_bias.float())
    gated = x * gate.to(x.dtype)[:, :, None, None] * torch.sigmoid(logits)
    return _closed(gated, scales[2])


def _taps(size: int, before: float, after: float, device: torch.device) -> tuple[Tensor, ...]:
    """Which chroma sample every luma sample stands beside, which is its neighbour, and how much."""
    at = torch.arange(size, device=device)
    here, second = at // 2, at % 2
    last = (size + 1) // 2 - 1
    other = (here + 2 * second - 1).clamp(0, last)
    return here, other, torch.where(second == 1, after, before)


def nv12_to_planar(luma: Tensor, chroma: Tensor, coding: Coding, dtype: torch.dtype) -> Tensor:
    """NV12 -> (N, 3, H, W) of 0..1.

    Args:
        luma: (N, H, W) uint8.
        chroma: (N, ceil(H/2), ceil(W/2), 2) uint8.
        coding: how to read it.
        dtype: of the result.
    """
    return (_rgb(luma, chroma, coding) / 255).to(dtype)


def nv12_to_rgb(luma: Tensor, chroma: Tensor, coding: Coding) -> Tensor:
    """NV12 -> (N, H, W, 3) uint8; arguments as :func:`nv12_to_planar`."""
    return _rgb(luma, chroma, coding).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _rgb(luma: Tensor, chroma: Tensor, coding: Coding) -> Tensor:
    height, width = luma.shape[1:]
    across_before, across_after, down_before, down_after = coding.reading()
    wide = chroma.float() - 128
    here, other, share = _taps(height, down_before, down_after, luma.device)
    wide = torch.lerp(wide[:, here], wide[:, other], share[None, :, None, None])
    here, other, share = _taps(width, across_before, across_after, luma.device)
    wide = torch.lerp(wide[:, :, here], wide[:, :, other], share[None, None, :, None])
    gain, lift, red_v, green_u, green_v, blue_u = coding.to_rgb()
    grey, u, v = luma.float() * gain + lift, wide[..., 0], wide[..., 1]
    planes = (grey + red_v * v, grey + green_u * u + green_v * v, grey + blue_u * u)
    return torch.stack(planes, 1).clamp(0, 255)


def rgb_to_planar(rgb: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) of 0..1."""
    return (rgb.permute(0, 3, 1, 2).float() / 255).to(dtype).contiguous()


def planar_to_rgb(planes: Tensor) -> Tensor:
    """(N, 3, H, W) of 0..1 -> (N, H, W, 3) uint8."""
    codes = (planes.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return codes.permute(0, 2, 3, 1).contiguous()


def planar_to_nv12(planes: Tensor, coding: Coding) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) of 0..1 -> luma (N, H, W) and chroma (N, ceil(H/2), ceil(W/2), 2), uint8."""
    return _nv12(planes.float() * 255, coding)


def rgb_to_nv12(rgb: Tensor, coding: Coding) -> tuple[Tensor, Tensor]:
    """(N, H, W, 3) uint8 -> as :func:`planar_to_nv12`."""
    return _nv12(rgb.permute(0, 3, 1, 2).float(), coding)


def _nv12(codes: Tensor, coding: Coding) -> tuple[Tensor, Tensor]:
    codes = codes.clamp(0, 255)
    red, green, blue, gain, lift, u, v = coding.to_yuv()
    grey = red * codes[:, 0] + green * codes[:, 1] + blue * codes[:, 2]
    pairs = torch.stack((u * (codes[:, 2] - grey), v * (codes[:, 0] - grey)), 1)
    height, width = grey.shape[1:]
    # One sample before, and one behind where the side is odd.
    pairs = functional.pad(pairs, (1, width % 2, 1, height % 2), mode="replicate")
    across_before, across_second, down_before, down_second = coding.writing()
    pairs = (
        across_before * pairs[..., 0:-2:2]
        + 0.5 * pairs[..., 1:-1:2]
        + across_second * pairs[..., 2::2]
    )
    pairs = (
        down_before * pairs[..., 0:-2:2, :]
        + 0.5 * pairs[..., 1:-1:2, :]
        + down_second * pairs[..., 2::2, :]
    )
    luma = (gain * grey + lift).round().clamp(0, 255).to(torch.uint8)
    chroma = (pairs + 128).round().clamp(0, 255).to(torch.uint8)
    return luma, chroma.permute(0, 2, 3, 1).contiguous()
