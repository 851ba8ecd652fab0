"""The votes on one picture, read out of a float network."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Heard:
    """How loudly each branch was heard; B branches of C channels on a grid of h x w cells.

    Attributes:
        network: name and scale.
        channel: ``(B, C)``: the channel vote, 0 (filtered) .. 1 (preserved).
        element: ``(B, C)``: the element vote, averaged over the picture, 0..1.
        passed: ``(B, h, w)``: both votes, averaged over the channels, 0..1.
        voice: ``(B, h, w)``: each branch's share, 0..1, of what reached the reconstruction
            (mean magnitude after the votes); sums to 1 over B.
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
        image: ``(H, W, 3)`` uint8 RGB.

    Raises:
        InputError: the network has no votes (a plain one, or one without a junction).
    """
    junction = getattr(network, "junction", None)
    with torch.no_grad():
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 255.0
        padded = network.pad(tensor)
        _, branches = network.run_padded(padded)
        features = torch.cat(branches, dim=1) if branches else torch.empty(0)
        votes = junction.votes(features) if junction is not None else None
        if votes is None:
            raise InputError(
                f"'{network.config.title}' (voting '{network.config.voting}') casts no votes.",
                "Explain a network with a junction.",
            )
        shape = votes.passed.shape
        loud = (features.reshape(shape) * votes.passed).abs().mean(dim=2)[0]
        voice = loud / loud.sum(dim=0, keepdim=True).clamp_min(1e-9)
        # Where all are silent nobody is louder than the others.
        voice = torch.where(loud.sum(dim=0) > 1e-9, voice, torch.full_like(voice, 1 / shape[1]))
        result = network(tensor)[0].permute(1, 2, 0)
        pixels = (result * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
    return Heard(
        network=network.config.title,
        channel=votes.channel[0].numpy(),
        element=votes.element[0].mean(dim=(2, 3)).numpy(),
        passed=votes.passed[0].mean(dim=1).numpy(),
        voice=voice.numpy(),
        result=np.ascontiguousarray(pixels),
    )
