"""A float network behind the interface of an engine: for evaluation before any export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from acf_edge.errors import InputError
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.network import AcfNetwork

Uint8Image = npt.NDArray[np.uint8]


def run_network(network: AcfNetwork, image: Uint8Image) -> Uint8Image:
    """One picture through a float network: ``(H, W, 3)`` uint8 RGB in and out."""
    device = next(network.parameters()).device
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(device)
        result = network(tensor.permute(2, 0, 1)[None].float() / 255.0)
        pixels = (result[0] * 255.0).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())


class TorchEngine:
    """A checkpoint as an engine (float32, CPU).

    Args:
        checkpoint: see :func:`acf_edge.model.checkpoint.load_checkpoint`.

    Raises:
        InputError: the checkpoint cannot be used.
    """

    def __init__(self, checkpoint: Path | str) -> None:
        self._network: AcfNetwork | None = load_checkpoint(checkpoint).network
        self._config = self._network.config

    @property
    def name(self) -> str:
        """E.g. ``"acf-t-x4 torch"``."""
        return f"{self._config.title} torch"

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._config.scale

    def run(self, frame: Uint8Image) -> Uint8Image:
        """``(H, W, 3)`` uint8 RGB -> ``(scale H, scale W, 3)``."""
        if self._network is None:
            raise InputError("The engine has been closed.", "Load it again.")
        return run_network(self._network, frame)

    def close(self) -> None:
        """Let go of the weights."""
        self._network = None
