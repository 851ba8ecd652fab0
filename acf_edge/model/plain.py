"""The yardstick: a plain residual network of the same cost as an ACF network.

One stem, one trunk of residual blocks, the same anchor and the same shuffle;
no branches, no votes, no attention, no auxiliary tasks. What ACF adds must show
against this, trained equally long on the same data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acf_edge.model.config import AcfConfig
from acf_edge.model.network import MARGIN, AcfNetwork, Anchor, residual_blocks, residual_tail


class PlainNetwork(AcfNetwork):
    """Used like :class:`AcfNetwork`; its configuration's ``voting`` is ``"plain"``."""

    def __init__(self, config: AcfConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.stem = nn.Conv2d(3, config.trunk, config.fold + 2 * MARGIN, stride=config.fold)
        self.blocks = residual_blocks(config.trunk, config.trunk_blocks)
        self.tail = residual_tail(config)
        self.anchor = Anchor(config)

    def folded(self, padded: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See :meth:`AcfNetwork.folded`; there are no branches."""
        features = self.blocks(torch.relu(self.stem(padded)))
        return self.anchor(padded) + self.tail(features), ()


def build_network(config: AcfConfig) -> AcfNetwork:
    """The network that a configuration describes, with random weights."""
    return PlainNetwork(config) if config.voting == "plain" else AcfNetwork(config)
