"""The votes on one picture, read out of a float network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from acf_edge.errors import InputError
from acf_edge.model.config import BRANCHES
from acf_edge.model.network import AcfNetwork

Uint8Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

LARGEST = 2**21
"""Pixels of a picture that is explained, a little more than 1920 x 1080: the network is for
small pictures, and its features of larger ones do not fit into the memory of many computers."""

_SILENT = 1e-9
"""Mean magnitude of features below which nobody speaks."""


@dataclass(frozen=True)
class Heard:
    """How loudly each branch was heard; B branches of C channels on a grid of h x w cells.

    Attributes:
        network: name and scale.
        channel: ``(B, C)``: the channel vote, 0 (filtered) .. 1 (preserved).
        element: ``(B, C)``: the element vote, averaged over the picture, 0..1.
        passed: ``(B, h, w)``: the share of the features that got through as they are,
            averaged over the channels, 0..1.
        voice: ``(B, h, w)``: each branch's share, 0..1, of what reached the reconstruction:
            the mean magnitude of what it contributed to the junction's result (see
            :class:`acf_edge.model.junction.Votes`); sums to 1 over B.
        result: ``(H * scale, W * scale, 3)`` uint8 RGB: what the network made of the picture.
    """

    network: str
    channel: FloatArray
    element: FloatArray
    passed: FloatArray
    voice: FloatArray
    result: Uint8Image

    def to_json(self) -> dict[str, Any]:
        """Figures without the maps; plain types."""
        return {
            "network": self.network,
            "branches": {
                name: {
                    "voice": round(float(self.voice[b].mean()), 4),
                    "passed": round(float(self.passed[b].mean()), 4),
                    "channel_vote": [round(float(v), 4) for v in self.channel[b]],
                    "element_vote": [round(float(v), 4) for v in self.element[b]],
                }
                for b, name in enumerate(BRANCHES)
            },
        }


def listen(network: AcfNetwork, image: Uint8Image) -> Heard:
    """Run the network and note the votes.

    Args:
        network: in evaluation mode.
        image: ``(H, W, 3)`` uint8 RGB, up to :data:`LARGEST` pixels.

    Raises:
        InputError: the picture is too large, or the network has no votes (a plain one, or one
            without a junction).
    """
    height, width = image.shape[:2]
    check_size(height, width)
    junction, scale = getattr(network, "junction", None), network.config.scale
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 255.0
        output, branches = network.run_padded(network.pad(tensor))
        votes = junction.votes(torch.cat(branches, dim=1)) if junction is not None else None
        if votes is None:
            raise InputError(
                f"'{network.config.title}' (voting '{network.config.voting}') casts no votes.",
                "Explain a network with a junction.",
            )
        voice = _shares(votes.contributed.abs().mean(dim=2)[0])
        result = output[0, :, : height * scale, : width * scale].permute(1, 2, 0)
        pixels = (result * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
    return Heard(
        network=network.config.title,
        channel=votes.channel[0].numpy(),
        element=votes.element[0].mean(dim=(2, 3)).numpy(),
        passed=votes.passed[0].mean(dim=1).numpy(),
        voice=voice.numpy(),
        result=np.ascontiguousarray(pixels),
    )


def check_size(height: int, width: int) -> None:
    """Refuse what has more than :data:`LARGEST` pixels.

    Raises:
        InputError: says to which size the picture can be brought.
    """
    if height * width <= LARGEST:
        return
    shrink = math.sqrt(LARGEST / (height * width))
    size = f"{max(1, int(width * shrink))} x {max(1, int(height * shrink))}"
    raise InputError(
        f"The picture has {width} x {height} pixels; votes are shown on small ones, "
        "up to about 1920 x 1080.",
        f"Crop it, or shrink it to {size}.",
    )


def _shares(loud: torch.Tensor) -> torch.Tensor:
    """``(B, h, w)`` >= 0 -> the same shape, sums to 1 over B.

    Where all are silent, the shares are those of the whole picture: a branch that is never
    heard gets none there either. Where the whole picture is silent, all are alike.
    """
    total = loud.sum(dim=0)
    overall = loud.sum(dim=(1, 2))
    alike = torch.full_like(overall, 1 / len(loud))
    overall = overall / overall.sum() if overall.sum() > _SILENT * total.numel() else alike
    voice = loud / total.clamp_min(_SILENT)
    return torch.where(total > _SILENT, voice, overall[:, None, None])
