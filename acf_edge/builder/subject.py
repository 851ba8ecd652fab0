"""What a build works on: a float network, of acf-edge or of others, behind one interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from acf_edge.export.model import export_network, inline_operators
from acf_edge.foreign.checkpoint import is_foreign
from acf_edge.foreign.network import export_foreign, load_foreign
from acf_edge.model.checkpoint import Checkpoint, load_checkpoint
from acf_edge.model.cost import REFERENCE_HEIGHT, REFERENCE_WIDTH, Cost, cost
from acf_edge.model.network import AcfNetwork
from acf_edge.model.runner import run_network

Uint8Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """A float network on its way into a bundle.

    Attributes:
        network: for the passport, e.g. ``"acf-t"`` or ``"compact-64nf-32nc"``.
        scale: up-sampling factor.
        sha256: of the checkpoint.
        story: where it comes from, for the ledger's first row.
        written: how its ONNX came to be, for the ledger.
        notes: for the passport.
        counts: parameters and multiply-accumulates.
        run: one picture through it in torch, uint8 ``(H, W, 3)`` in and out.
        plain: the float32 ONNX model.
        prunable: the network itself where it can be pruned; None for those of others.
    """

    network: str
    scale: int
    sha256: str
    story: str
    written: str
    notes: tuple[str, ...]
    counts: Cost
    run: Callable[[Uint8Image], Uint8Image]
    plain: onnx.ModelProto
    prunable: AcfNetwork | None

    @property
    def title(self) -> str:
        """E.g. ``"acf-t-x4"``."""
        return f"{self.network}-x{self.scale}"

    @cached_property
    def inlined(self) -> onnx.ModelProto:
        """:attr:`plain` without functions: what is calibrated and quantized."""
        return inline_operators(self.plain)


def load_subject(path: Path) -> Subject:
    """Read a checkpoint, whoever wrote it.

    Raises:
        InputError: it cannot be read, or its network cannot be exported.
        MissingExtraError: it is of others, and spandrel is not installed.
    """
    if not is_foreign(path):
        checkpoint = load_checkpoint(path)
        return _ours(checkpoint.network, checkpoint.sha256, _story(checkpoint))
    foreign = load_foreign(path)
    written = export_foreign(foreign)
    macs = round(written.macs * REFERENCE_HEIGHT * REFERENCE_WIDTH)
    return Subject(
        network=foreign.network,
        scale=foreign.scale,
        sha256=foreign.sha256,
        story=f"{foreign.architecture}, read by {foreign.library} from '{path.name}', "
        f"licence unknown to acf-edge",
        written="ONNX opset 20, recorded from a run in torch",
        notes=foreign.notes,
        counts=Cost(written.params, macs),
        run=foreign.run,
        plain=written.model,
        prunable=None,
    )


def with_network(subject: Subject, network: AcfNetwork) -> Subject:
    """The same subject after pruning or fine-tuning."""
    return _ours(network, subject.sha256, subject.story)


def _ours(network: AcfNetwork, sha256: str, story: str) -> Subject:
    config = network.config
    sizes = f"any size; sides that are no multiple of {config.alignment} are padded in the graph"
    return Subject(
        network=config.name,
        scale=config.scale,
        sha256=sha256,
        story=story,
        written="ONNX opset 20, operators as functions of the domain acf",
        notes=(sizes,),
        counts=cost(config),
        run=lambda image: run_network(network, image),
        plain=export_network(network),
        prunable=network,
    )


def _story(checkpoint: Checkpoint) -> str:
    """The training time of a checkpoint in words; a stranger's provenance may hold anything."""
    seconds = checkpoint.provenance.get("train_seconds")
    time = "training time unknown"
    if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0:
        time = f"trained for {seconds / 60:.0f} minutes"
    return f"{checkpoint.config.title}, {time}"
