"""Channel-wise and spatial attention of the reconstruction phase.

From the abstract: the reconstruction phase uses channel-wise and spatial
attention. Our reading: squeeze-and-excitation (Hu et al. 2018) on the channels,
one map from a 1x1 convolution on the places, both as factors in (0, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def channel_spatial_attention(
    features: Tensor,
    spatial_logits: Tensor,
    squeeze_weight: Tensor,
    squeeze_bias: Tensor,
    excite_weight: Tensor,
    excite_bias: Tensor,
) -> Tensor:
    """The operator ``acf::ChannelSpatialAttention``.

    ``y = x * sigmoid(W2 relu(W1 mean(x) + b1) + b2) * sigmoid(s)``

    Args:
        features: ``(N, C, H, W)``.
        spatial_logits: ``(N, K, H, W)``, K = 1 (one map for all channels) or C.
        squeeze_weight: ``(S, C)``.
        squeeze_bias: ``(S,)``.
        excite_weight: ``(C, S)``.
        excite_bias: ``(C,)``.

    Returns:
        ``(N, C, H, W)``.
    """
    mean = features.mean(dim=(2, 3))
    hidden = torch.relu(nn.functional.linear(mean, squeeze_weight, squeeze_bias))
    channel = torch.sigmoid(nn.functional.linear(hidden, excite_weight, excite_bias))
    return features * channel[:, :, None, None] * torch.sigmoid(spatial_logits)


class ChannelSpatialAttention(nn.Module):
    """Attention over ``width`` channels and over all places."""

    def __init__(self, width: int, squeeze: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, 1, 1)
        first, second = nn.Linear(width, squeeze), nn.Linear(squeeze, width)
        self.squeeze_weight = nn.Parameter(first.weight.detach().clone())
        self.squeeze_bias = nn.Parameter(torch.zeros(squeeze))
        self.excite_weight = nn.Parameter(second.weight.detach().clone())
        self.excite_bias = nn.Parameter(torch.full((width,), 1.0))
        assert self.spatial.bias is not None
        nn.init.constant_(self.spatial.bias, 1.0)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        return channel_spatial_attention(
            features,
            self.spatial(features),
            self.squeeze_weight,
            self.squeeze_bias,
            self.excite_weight,
            self.excite_bias,
        )
