"""A training run of a few steps: pictures from nothing and a recipe of two short stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acf_edge.imaging.files import write_image
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.checkpoint import load_checkpoint

STEPS = 7
RECIPE = """
network = "acf-t"
scale = 4
seed = 3
patch = 16
batch = 2
rate = 1e-3
warmup = 2
ema = 0.9
refresh = 3

[[stages]]
name = "mild"
steps = 3
mix = { acf-train = 0.8, clean = 0.2 }
difficulty = [0.3, 1.0]
auxiliary = [0.2, 0.1]

[[stages]]
name = "square"
steps = 4
mix = { acf-train = 1 }
loss = "mse"
"""


def write_recipe(folder: Path, old: str = "", new: str = "") -> Path:
    """The toy recipe as a file, one piece of its text exchanged for another."""
    assert old in RECIPE
    path = folder / "toy.toml"
    path.write_text(RECIPE.replace(old, new, 1) if old else RECIPE, encoding="utf-8")
    return path


def write_pictures(folder: Path) -> Path:
    """Three pictures to train on and one to validate with."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(("a.png", "b.png", "c.png", "cid22v_d.png")):
        write_image(folder / name, dead_leaves(80 + 8 * index, 104, index))
    return folder


def weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint."""
    return load_checkpoint(path).network.state_dict()


def identical(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two tables of tensors agree to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def state_step(out: Path) -> int:
    """The step at which a run's saved state stands; all its weights must be finite."""
    state = torch.load(out / "state.pth", weights_only=True)
    for part in ("network", "heads", "average"):
        assert all(np.isfinite(value.numpy()).all() for value in state[part].values())
    return int(state["step"])
