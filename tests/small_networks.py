"""Networks that are small enough for a test and of the same make as the shipped ones."""

from __future__ import annotations

from pathlib import Path

import torch

from acf_edge.model.checkpoint import save_checkpoint
from acf_edge.model.config import AcfConfig
from acf_edge.model.network import AcfNetwork


def small_config(scale: int = 4, width: int = 16, **changes: object) -> AcfConfig:
    """The shape of ``acf-t`` at ``width`` channels everywhere."""
    values: dict[str, object] = {
        "name": "acf-small",
        "scale": scale,
        "fold": 2,
        "branch": width,
        "artefact": (width,),
        "structure": (width,),
        "deblur": width,
        "deblur_blocks": ((width, 2),),
        "trunk": width,
        "trunk_blocks": (width,),
        "squeeze": 16,
    }
    return AcfConfig(**{**values, **changes})  # type: ignore[arg-type]


def small_network(seed: int = 0, **changes: object) -> AcfNetwork:
    """Random weights whose residual is small, as after training."""
    torch.manual_seed(seed)
    return AcfNetwork(small_config(**changes)).eval()  # type: ignore[arg-type]


def write_checkpoint(path: Path, network: AcfNetwork) -> Path:
    """Save ``network`` with a line of provenance."""
    save_checkpoint(path, network, {"train_seconds": 60})
    return path
