"""What a network costs: parameters and multiply-accumulates, counted by tracing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from acf_edge.model.config import AcfConfig
from acf_edge.model.network import Anchor
from acf_edge.model.plain import build_network

REFERENCE_HEIGHT, REFERENCE_WIDTH = 180, 320


@dataclass(frozen=True)
class Cost:
    """Counts of one network.

    Attributes:
        params: trained parameters; the fixed anchor has none.
        macs: multiply-accumulates of all convolutions, the anchor's included, for one input of
            the given size. The few of the votes' and attention's matrices are left out.
    """

    params: int
    macs: int


def cost(config: AcfConfig, height: int = REFERENCE_HEIGHT, width: int = REFERENCE_WIDTH) -> Cost:
    """Count for an input of ``height`` x ``width`` pixels; nothing is computed."""
    with torch.device("meta"):
        network = build_network(config)
    macs = 0

    def count(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d | Anchor):
            macs += module.weight[0].numel() * output.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty(1, 3, height, width, device="meta"))
    return Cost(sum(p.numel() for p in network.parameters()), macs)
