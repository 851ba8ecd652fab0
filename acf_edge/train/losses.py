"""What the trainer minimises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LOSSES = ("charbonnier", "mse", "psnr")
# Rec. 601 luma and colour differences of full-range RGB (as JPEG has them).
_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
CHROMA_WEIGHT = 0.3
"""Of a squared error in Cb or Cr beside one in luma: the eye, and every table, look at luma."""
SMOOTH = 0.03
"""Where the Charbonnier loss turns from squares to L1, RGB in 0..1. Pure L1 asks for the median,
which is "change nothing" for most pixels: branches obeyed and died behind their ReLUs."""
EASY = 5e-4
"""Mean squared error (33 dB) below which a patch stops to weigh more in the ``psnr`` loss.
Without it the flattest patches, where there is nothing to win, would rule."""
_TINY = 1e-6


def picture_loss(kind: str, output: Tensor, truth: Tensor) -> Tensor:
    """How far the result is from the truth.

    Args:
        kind: ``"charbonnier"`` or ``"mse"`` on RGB; ``"psnr"``: the mean over the pictures of
            ``log(e + EASY)`` with e the squared error in luma and, less, in chroma. It is
            what an average of decibels asks for: a per cent of error counts alike in easy and
            in hard pictures.
        output: ``(N, 3, H, W)`` float, RGB 0..1.
        truth: of the same shape.

    Returns:
        One number. ``psnr`` is scaled so that its gradient is about that of ``charbonnier``.
    """
    if kind == "charbonnier":
        return charbonnier(output, truth)
    if kind == "mse":
        return functional.mse_loss(output, truth)
    return 0.01 * torch.log(_error(output, truth) + EASY).mean()


def charbonnier(output: Tensor, truth: Tensor) -> Tensor:
    """``mean(sqrt(d^2 + SMOOTH^2) - SMOOTH)``: L1 for large, squares for small differences d."""
    return ((output - truth).square() + SMOOTH**2).sqrt().mean() - SMOOTH


def _error(output: Tensor, truth: Tensor) -> Tensor:
    """``(N,)``: squared error per picture, luma in full, chroma at :data:`CHROMA_WEIGHT`."""
    matrix = output.new_tensor(_YCC)
    difference = torch.einsum("kc,nchw->nkhw", matrix, output - truth).square().mean(dim=(2, 3))
    return difference[:, 0] + CHROMA_WEIGHT * (difference[:, 1] + difference[:, 2])


def guard_loss(output: Tensor, bicubic: Tensor, truth: Tensor, clean: Tensor) -> Tensor:
    """How much worse than bicubic the network makes pictures that were not degraded.

    Relative, because soft pictures have small errors that count for nothing in any mean and
    yet show: ``log(e / e_bicubic)`` of those above 0.

    Args:
        output: ``(N, 3, H, W)`` float, RGB 0..1.
        bicubic: up-sampled input, of the same shape.
        truth: of the same shape.
        clean: ``(N,)`` bool: which pictures were down-sampled and nothing else.
    """
    ours, theirs = _error(output, truth), _error(bicubic, truth)
    excess = torch.relu(torch.log(ours + _TINY) - torch.log(theirs + _TINY))
    return (excess * clean).sum() / max(output.shape[0], 1)


def luma_gradient(picture: Tensor) -> Tensor:
    """Differences of luma to the right and downwards, 0 at the last column and row.

    Args:
        picture: ``(N, 3, H, W)`` float, RGB.

    Returns:
        ``(N, 2, H, W)``.
    """
    luma = (picture * picture.new_tensor(_YCC[0])[:, None, None]).sum(dim=1, keepdim=True)
    right = functional.pad(luma[..., 1:] - luma[..., :-1], (0, 1))
    down = functional.pad(luma[..., 1:, :] - luma[..., :-1, :], (0, 0, 0, 1))
    return torch.cat((right, down), dim=1)
