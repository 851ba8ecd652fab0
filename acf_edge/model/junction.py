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
    channel = torch.sigmoid(channel_logits(features, weight, bias))
    return sum_branches(voted(features, torch.sigmoid(element_logits), channel), branches)


def voted(features: Tensor, element: Tensor, channel: Tensor) -> Tensor:
    """What two votes of 0..1 leave of the features; all of one shape, or broadcast to it."""
    return features * element * channel


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
        passed: ``(N, B, C, H, W)``: the share of each feature that got through as it is. Of a
            gate, the update vote: what goes through V is mixed and is no share of one feature.
        contributed: ``(N, B, C, H, W)``: what each branch put into the junction's result. With
            ``constant`` it adds up to that result, and a branch that can put in nothing has 0.
            Behind V, the linear part that came from the branch, where the ReLU let it through.
        constant: ``(N, C, H, W)``: what no branch put in: V's bias; 0 but for the gate.
    """

    channel: Tensor
    element: Tensor
    passed: Tensor
    contributed: Tensor
    constant: Tensor


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
        if self.voting == "none" or self.silent:
            return None
        n, total, h, w = features.shape
        shape = (n, self.branches, total // self.branches, h, w)
        logits = self.element(features)
        loudness = channel_logits(features, self.channel_weight, self.channel_bias)
        if self.voting == "softmax":
            channel = branch_shares(loudness, self.branches)
            element = branch_shares(logits, self.branches)
            passed = branch_shares(logits + loudness, self.branches)
        else:
            channel, element = torch.sigmoid(loudness), torch.sigmoid(logits)
            passed = element * channel if self.voting == "sigmoid" else channel.expand_as(features)
        if self.voting == "sigmoid":
            contributed = voted(features, element, channel).reshape(shape)
        else:
            contributed = (features * passed).reshape(shape)
        constant = torch.zeros_like(contributed[:, 0])
        if self.voting == "gate":
            parts, constant = self._mixed(features * element, 1 - channel)
            contributed = contributed + parts
        return Votes(
            channel.reshape(shape[:3]),
            element.reshape(shape),
            passed.reshape(shape),
            contributed,
            constant,
        )

    def _mixed(self, filtered: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """The gate's ``share * relu(V(filtered))``, told apart by branches.

        Where the ReLU is open, everything is linear, and each branch's part is its own.

        Returns:
            ``(N, B, C, H, W)`` by branch, and ``(N, C, H, W)`` of V's bias; together they are
            the whole.
        """
        through = share * (self.value(filtered) > 0)
        weights = self.value.weight.chunk(self.branches, dim=1)
        parts = [
            sum_branches(through * functional.conv2d(one, weight), self.branches)
            for one, weight in zip(filtered.chunk(self.branches, dim=1), weights, strict=True)
        ]
        constant = through * _bias(self.value)[:, None, None]
        return torch.stack(parts, dim=1), sum_branches(constant, self.branches)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
