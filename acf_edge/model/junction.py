"""The junction: dual voting on what each branch has to say.

From the abstract: after the sharing phase, a learnable junction unit with a
*dual voting* mechanism filters or preserves the features of each branch. How
the votes are cast is not public; this is our reading:

* the **channel vote** looks at the whole picture (global average of all
  branches' features) and gives every channel of every branch one number: is
  this kind of feature worth anything for *this picture*?
* the **element vote** looks at one place (a 1x1 convolution over all branches)
  and gives every channel of every branch one number *there*.

Both lie in (0, 1), near 0 filters and near 1 preserves, and a feature passes
with the product. The voted features of the branches are summed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def junction_vote(
    features: Tensor, element_logits: Tensor, weight: Tensor, bias: Tensor, branches: int
) -> Tensor:
    """The operator ``acf::JunctionVote``.

    ``y = sum_b x_b * sigmoid(e_b) * sigmoid(W mean(x) + c)_b``

    Args:
        features: ``(N, B * C, H, W)``, the branches one after the other.
        element_logits: ``(N, B * C, H, W)``.
        weight: ``(B * C, B * C)`` of the channel vote.
        bias: ``(B * C,)`` of the channel vote.
        branches: B.

    Returns:
        ``(N, C, H, W)``.
    """
    mean = features.mean(dim=(2, 3))
    channel = torch.sigmoid(nn.functional.linear(mean, weight, bias))
    voted = features * torch.sigmoid(element_logits) * channel[:, :, None, None]
    n, total, h, w = features.shape
    return voted.reshape(n, branches, total // branches, h, w).sum(dim=1)


class Junction(nn.Module):
    """Dual voting over ``branches`` feature maps of ``width`` channels each."""

    def __init__(self, width: int, branches: int = 3) -> None:
        super().__init__()
        total = width * branches
        self.branches = branches
        self.element = nn.Conv2d(total, total, 1)
        self.channel_weight = nn.Parameter(torch.zeros(total, total))
        self.channel_bias = nn.Parameter(torch.full((total,), 1.0))
        nn.init.normal_(self.channel_weight, std=0.02)
        # At the start everything is rather preserved than filtered.
        nn.init.normal_(self.element.weight, std=0.02)
        nn.init.constant_(_bias(self.element), 1.0)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, B * C, H, W)`` -> ``(N, C, H, W)``."""
        return junction_vote(
            features, self.element(features), self.channel_weight, self.channel_bias, self.branches
        )


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
