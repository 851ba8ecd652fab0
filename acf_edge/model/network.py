"""An ACF-style network: sharing phase, junction, reconstruction phase.

What comes from the abstract (Jin, Xu, Tasaka, Chen, ACM TOMM 2021): three
parallel branches for compression artefacts, motion blur and spatial structure;
a learnable junction with dual voting; channel-wise and spatial attention before
the up-sampling; auxiliary tasks and a curriculum in training. Everything else
is our reading, chosen so that it runs fast: the branches work on a grid of
``fold`` x ``fold`` input pixels per cell, all activations are ReLU, and the
result is a residual on the bicubically up-sampled input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from acf_edge.imaging.resize import resample_matrix
from acf_edge.model.attention import ChannelSpatialAttention
from acf_edge.model.config import AcfConfig
from acf_edge.model.junction import Junction


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Sub-pixel shuffle in ONNX's DCR order: ``(N, f * f * C, H, W)`` -> ``(N, C, f H, f W)``.

    Channel ``(dy * f + dx) * C + c`` goes to row ``dy``, column ``dx``, channel ``c``. In this
    order a channels-last engine writes whole runs of pixels instead of single bytes.
    """
    n, channels, h, w = x.shape
    c = channels // (factor * factor)
    shuffled = x.reshape(n, factor, factor, c, h, w).permute(0, 3, 4, 1, 5, 2)
    return shuffled.reshape(n, c, h * factor, w * factor)


MARGIN = 2
"""Pixels by which the input is padded on each side: what bicubic up-sampling reaches."""


def bicubic_fold_weight(fold: int, scale: int) -> Tensor:
    """Bicubic up-sampling (a = -0.5) written as a convolution on the input's pixels.

    One application covers a grid cell and :data:`MARGIN` pixels around it; output channels
    are in the order of :func:`depth_to_space` with 3 colours and factor ``fold * scale``.

    Returns:
        ``(3 * (fold * scale)**2, 3, fold + 4, fold + 4)`` float32.
    """
    # Up-sample a line that is long enough, then read the rows of its middle cell.
    cells = 9
    full = resample_matrix(cells * fold, cells * fold * scale, "bicubic").astype(np.float64)
    middle = cells // 2
    rows = full[middle * fold * scale : (middle + 1) * fold * scale]
    line = rows[:, middle * fold - MARGIN : (middle + 1) * fold + MARGIN]
    factor, taps = fold * scale, fold + 2 * MARGIN
    weight = np.zeros((factor, factor, 3, 3, taps, taps))
    for colour in range(3):
        weight[:, :, colour, colour] = line[:, None, :, None] * line[None, :, None, :]
    return torch.from_numpy(weight.reshape(-1, 3, taps, taps)).float()


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(x)))``, ReLU after the sum: an input range that fits unsigned INT8."""

    def __init__(self, width: int, interior: int, dilation: int = 1) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, interior, 3, padding=1)
        self.project = nn.Conv2d(interior, width, 3, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.project.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape, >= 0."""
        return torch.relu(x + self.project(torch.relu(self.expand(x))))


def residual_blocks(width: int, interiors: Iterable[int]) -> nn.Sequential:
    """One :class:`ResidualBlock` per interior width."""
    return nn.Sequential(*(ResidualBlock(width, interior) for interior in interiors))


def residual_tail(config: AcfConfig) -> nn.Conv2d:
    """From the trunk to the residual picture on the grid; small at first."""
    tail = nn.Conv2d(config.trunk, 3 * config.factor**2, 1)
    with torch.no_grad():
        tail.weight.mul_(0.1)
        nn.init.zeros_(tail.bias)  # type: ignore[arg-type]
    return tail


def _stem(config: AcfConfig) -> nn.Conv2d:
    """From padded pixels to the grid: space-to-depth and a 3x3 convolution in one."""
    return nn.Conv2d(3, config.branch, config.fold + 2 * MARGIN, stride=config.fold)


class PlainBranch(nn.Module):
    """The artefact branch and the structure branch: residual blocks on the grid."""

    def __init__(self, config: AcfConfig, interiors: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _stem(config)
        self.blocks = residual_blocks(config.branch, interiors)

    def forward(self, padded: Tensor) -> Tensor:
        """Input ``(N, 3, H + 4, W + 4)`` -> features ``(N, C, H / fold, W / fold)``."""
        features: Tensor = self.blocks(torch.relu(self.stem(padded)))
        return features


class DeblurBranch(nn.Module):
    """The motion-blur branch: dilated, so that it sees far; on the grid or at half of it."""

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.stem = _stem(config)
        self.step = config.deblur_step
        self.down = nn.Conv2d(config.branch, config.deblur, 3, stride=self.step, padding=1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(config.deblur, width, d) for width, d in config.deblur_blocks)
        )
        self.up = nn.Conv2d(config.deblur, self.step**2 * config.branch, 1)

    def forward(self, padded: Tensor) -> Tensor:
        """Input ``(N, 3, H + 4, W + 4)`` -> features ``(N, C, H / fold, W / fold)``."""
        features = torch.relu(self.down(torch.relu(self.stem(padded))))
        features = torch.relu(self.up(self.blocks(features)))
        return depth_to_space(features, 2) if self.step == 2 else features


class Sharing(nn.Module):
    """The sharing phase: three branches side by side."""

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.artefact = PlainBranch(config, config.artefact)
        self.deblur = DeblurBranch(config)
        self.structure = PlainBranch(config, config.structure)

    def forward(self, padded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the artefact, the deblur and the structure branch."""
        return self.artefact(padded), self.deblur(padded), self.structure(padded)


class Reconstruction(nn.Module):
    """The reconstruction phase: residual blocks, attention, the residual picture."""

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.entry = nn.Conv2d(config.branch, config.trunk, 3, padding=1)
        self.blocks = residual_blocks(config.trunk, config.trunk_blocks)
        self.attention = ChannelSpatialAttention(config.trunk, config.squeeze)
        self.tail = residual_tail(config)

    def forward(self, joined: Tensor) -> Tensor:
        """``(N, branch, h, w)`` -> residual ``(N, 3 factor^2, h, w)`` before the shuffle."""
        features = self.blocks(torch.relu(self.entry(joined)))
        residual: Tensor = self.tail(self.attention(features))
        return residual


class Anchor(nn.Module):
    """Bicubic up-sampling of the input as one convolution; its weights are never trained."""

    weight: Tensor

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.fold = config.fold
        weight = bicubic_fold_weight(config.fold, config.scale)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, padded: Tensor) -> Tensor:
        """``(N, 3, H + 4, W + 4)`` -> ``(N, 3 factor^2, h, w)``."""
        return functional.conv2d(padded, self.weight, stride=self.fold)


class Auxiliary(NamedTuple):
    """What the auxiliary heads see, in the input's range and size; training only.

    Attributes:
        artefact: ``(N, 3, H, W)``; target: the blurred input before compression.
        deblur: ``(N, 3, H, W)``; target: the sharp low-resolution picture.
        gradient: ``(N, 2, scale H, scale W)``; target: the result's luma, differences to the
            right and downwards.
    """

    artefact: Tensor
    deblur: Tensor
    gradient: Tensor


class AcfNetwork(nn.Module):
    """The whole network. Pictures are float, RGB, 0..1, ``(N, 3, H, W)``."""

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.config = config
        self.sharing = Sharing(config)
        self.junction = Junction(config.branch, config.voting)
        self.reconstruction = Reconstruction(config)
        self.anchor = Anchor(config)

    def forward(self, image: Tensor) -> Tensor:
        """``(N, 3, H, W)`` -> ``(N, 3, scale H, scale W)``; any H, W >= 1; not clipped."""
        height, width = image.shape[2], image.shape[3]
        output, _ = self.run_padded(self.pad(image))
        return output[:, :, : height * self.config.scale, : width * self.config.scale]

    def pad(self, image: Tensor) -> Tensor:
        """Repeat the edge: to multiples of the alignment, and by :data:`MARGIN` all around."""
        align = self.config.alignment
        bottom, right = -image.shape[2] % align, -image.shape[3] % align
        border = (MARGIN, MARGIN + right, MARGIN, MARGIN + bottom)
        return functional.pad(image, border, mode="replicate")

    def run_padded(self, padded: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The network after :meth:`pad`: the picture before cropping, the branches' features."""
        folded, branches = self.folded(padded)
        return depth_to_space(folded, self.config.factor), branches

    def folded(self, padded: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Like :meth:`run_padded`, before the shuffle: ``(N, 3 factor^2, h, w)`` on the grid."""
        branches = self.sharing(padded)
        joined = self.junction(torch.cat(branches, dim=1))
        return self.anchor(padded) + self.reconstruction(joined), branches


QUIET = 0.1
"""What the auxiliary heads say is this loud: the corrections are small, and features that have
to be small, too, are not heard beside those of the structure branch."""


class AuxiliaryHeads(nn.Module):
    """One 3x3 convolution per auxiliary task; lives in the trainer, never in a checkpoint."""

    def __init__(self, config: AcfConfig) -> None:
        super().__init__()
        self.fold, self.factor = config.fold, config.factor
        self.artefact = nn.Conv2d(config.branch, 3 * config.fold**2, 3, padding=1)
        self.deblur = nn.Conv2d(config.branch, 3 * config.fold**2, 3, padding=1)
        self.gradient = nn.Conv2d(config.branch, 2 * config.factor**2, 3, padding=1)
        # They begin by saying nothing. Random heads would be corrected the quick way, by
        # shrinking the features to zero, and behind a ReLU nothing comes back from there.
        for head in (self.artefact, self.deblur, self.gradient):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, branches: tuple[Tensor, ...]) -> Auxiliary:
        """``image`` is the ``(N, 3, H, W)`` input; sides are multiples of the alignment."""
        return Auxiliary(
            image + QUIET * depth_to_space(self.artefact(branches[0]), self.fold),
            image + QUIET * depth_to_space(self.deblur(branches[1]), self.fold),
            depth_to_space(self.gradient(branches[2]), self.factor),
        )
