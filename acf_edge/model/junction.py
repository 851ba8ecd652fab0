"""The junction: dual voting on what each branch has to say.

From the abstract: after the sharing phase, a learnable junction unit with a
*dual voting* mechanism filters or preserves the features of each branch. How
the votes are cast is not public; these are our readings, all of two votes:

* the **channel vote** ``c`` looks at the whole picture (global average of all
  branches' features) and gives every channel of every branch one number: is
  this kind of feature worth anything for *this picture*?
* the **element vote** ``e`` looks at one place (a 1x1 convolution over all
  branches) and gives every channel of every branch one number *there*.

======== ==================================================================
voting   what becomes of the branches' features ``x_b``
======== ==================================================================
sigmoid  ``sum_b x_b * sigmoid(e_b) * sigmoid(c_b)``: each is heard or not
softmax  ``sum_b x_b * softmax_b(e + c)``: they compete, the votes sum to 1
gate     ``sum_b u_b * x_b + (1 - u_b) * relu(V(r * x))_b`` with the reset
         ``r = sigmoid(e)`` that filters and the update ``u = sigmoid(c)``
         that preserves (after the gated recurrent unit)
none     ``sum_b e_b``: no vote, the 1x1 convolution mixes; the ablation
======== ==================================================================
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

OPEN = 0.53
"""What an untrained vote lets pass: sigmoid(1)**2."""


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
    return sum_branches(voted, branches)


def sum_branches(features: Tensor, branches: int) -> Tensor:
    """``(N, B * C, H, W)`` -> ``(N, C, H, W)``: the branches added up."""
    n, total, h, w = features.shape
    return features.reshape(n, branches, total // branches, h, w).sum(dim=1)


def channel_logits(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What the whole picture says of each channel: ``(N, C, H, W)`` -> ``(N, C, 1, 1)``."""
    return functional.linear(features.mean(dim=(2, 3)), weight, bias)[:, :, None, None]


def branch_shares(logits: Tensor, branches: int) -> Tensor:
    """The softmax over the branches, of the shape of its input ``(N, B * C, H, W)``."""
    n, total, h, w = logits.shape
    shares = torch.softmax(logits.reshape(n, branches, total // branches, h, w), dim=1)
    return shares.reshape(n, total, h, w)


class Votes(NamedTuple):
    """How loudly each branch was heard; 0 is filtered out, 1 is preserved.

    Attributes:
        channel: ``(N, B, C)``.
        element: ``(N, B, C, H, W)``.
        passed: ``(N, B, C, H, W)``: both together, the share of each feature that got through.
    """

    channel: Tensor
    element: Tensor
    passed: Tensor


class Junction(nn.Module):
    """Dual voting over ``branches`` feature maps of ``width`` channels each.

    Args:
        width: C.
        voting: one of :data:`acf_edge.model.config.VOTINGS` (see the table above).
        branches: B.

    Attributes:
        silent: every feature passes at :data:`OPEN` and nobody votes: the curriculum's stages
            before the junction. Never set in a network that is exported.
    """

    def __init__(self, width: int, voting: str = "sigmoid", branches: int = 3) -> None:
        super().__init__()
        total = width * branches
        self.branches = branches
        self.voting = voting
        self.silent = False
        self.element = nn.Conv2d(total, total, 1)
        # At the start everything is rather preserved than filtered.
        nn.init.normal_(self.element.weight, std=0.02)
        nn.init.constant_(_bias(self.element), 1.0)
        if voting == "none":
            # Starts as the sum that the votings start as.
            with torch.no_grad():
                self.element.weight.add_(OPEN * torch.eye(total)[:, :, None, None])
            nn.init.zeros_(_bias(self.element))
            return
        self.channel_weight = nn.Parameter(torch.zeros(total, total))
        self.channel_bias = nn.Parameter(torch.full((total,), 1.0))
        nn.init.normal_(self.channel_weight, std=0.02)
        if voting == "gate":
            self.value = nn.Conv2d(total, total, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, B * C, H, W)`` -> ``(N, C, H, W)``."""
        if self.silent:
            return sum_branches(features, self.branches) * OPEN
        logits = self.element(features)
        if self.voting == "sigmoid":
            return junction_vote(
                features, logits, self.channel_weight, self.channel_bias, self.branches
            )
        if self.voting == "none":
            return sum_branches(logits, self.branches)
        channel = channel_logits(features, self.channel_weight, self.channel_bias)
        if self.voting == "softmax":
            shares = branch_shares(logits + channel, self.branches)
            return sum_branches(features * shares, self.branches)
        value = torch.relu(self.value(features * torch.sigmoid(logits)))
        update = torch.sigmoid(channel)
        return sum_branches(value + update * (features - value), self.branches)

    def votes(self, features: Tensor) -> Votes | None:
        """The votes on ``(N, B * C, H, W)``, for pictures of them; None where nobody votes."""
        if self.voting == "none":
            return None
        n, total, h, w = features.shape
        shape = (n, self.branches, total // self.branches, h, w)
        logits = self.element(features).reshape(shape)
        channel = channel_logits(features, self.channel_weight, self.channel_bias)
        channel = channel.reshape(shape[:3])
        if self.voting == "softmax":
            passed = torch.softmax(logits + channel[..., None, None], dim=1)
            return Votes(torch.softmax(channel, dim=1), torch.softmax(logits, dim=1), passed)
        element, gate = torch.sigmoid(logits), torch.sigmoid(channel)
        wide = gate[..., None, None]
        passed = element * wide if self.voting == "sigmoid" else wide + (1 - wide) * element
        return Votes(gate, element, passed)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
