"""Builds for GPUs that are made up: what the tests of the builder share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from small_networks import small_network, write_checkpoint
from trt_rig import Rig, rig

from acf_edge.builder.chain import build_bundle
from acf_edge.builder.options import BuildOptions, GpuOptions
from acf_edge.engine import Bundle
from acf_edge.imaging.files import write_image
from acf_edge.imaging.scenes import dead_leaves

SIZE = "32x32:48x32:64x64"


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """A checkpoint and a folder of pictures."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for seed in range(6):
        write_image(photos / f"{seed}.png", dead_leaves(160, 192, seed))
    return write_checkpoint(folder / "small.safetensors", small_network(width=32)), photos


def build(checkpoint: Path, photos: Path, out: Path, **changes: object) -> Bundle:
    """A bundle for an Orin Nano, unless ``changes`` say otherwise."""
    gpu = GpuOptions(sizes=(SIZE,), **changes.pop("gpu", {}))  # type: ignore[arg-type]
    values = {
        "checkpoint": checkpoint,
        "out": out,
        "source": str(photos),
        "recipes": ("acf-std",),
        "target": "orin-nano",
        "allow_drop": 1.0,
        "threads": 1,
        "command": ("acf-edge", "build", "small.safetensors"),
        "gpu": gpu,
    }
    return build_bundle(BuildOptions(**{**values, **changes})).bundle  # type: ignore[arg-type]


@contextlib.contextmanager
def board(**gpu: Any) -> Iterator[Rig]:
    """A made-up Orin whose engines repeat pixels four times."""
    with rig(**gpu) as found:
        found.world.scale, found.world.network = 4, None
        yield found
