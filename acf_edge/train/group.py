"""The processes that train one network together, one per GPU (torchrun starts them)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed, nn

from acf_edge.errors import InputError


@dataclass(frozen=True)
class Group:
    """One process' place among ``size``.

    Every process has the same weights and optimizer and its own share of each batch; the
    gradients are averaged, so all take the same step. A batch is drawn alike whatever the
    size, so a run may go on with another number of processes.

    Attributes:
        rank: 0..size - 1; 0 validates, reports and writes.
        size: number of processes.
        device: where this one's tensors lie.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes; nothing happens alone."""
        if self.size == 1:
            return
        # All in one message: small networks have many small tensors.
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for parameter in parameters:
            if parameter.grad is not None:
                count = parameter.grad.numel()
                parameter.grad.copy_(flat[start : start + count].view_as(parameter.grad))
                start += count

    def agree(self, step: int) -> None:
        """Check that all processes begin at the same step; nothing happens alone.

        Raises:
            InputError: they do not, say because the run's folder is not shared.
        """
        if self.size == 1:
            return
        ends = torch.tensor([step, -step], device=self.device)
        distributed.all_reduce(ends, distributed.ReduceOp.MAX)
        if int(ends[0]) != -int(ends[1]):
            raise InputError(
                f"The processes stand at steps {-int(ends[1])} to {int(ends[0])}.",
                "Give all machines the same folder --out.",
            )

    def leave(self) -> None:
        """Part; harmless alone."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


def join_group(device: str, batch: int) -> Group:
    """Join the processes that torchrun started; alone where it did not.

    Args:
        device: ``"cpu"`` or ``"cuda"``; with CUDA, process n of a machine takes GPU n.
        batch: patches per step; must be shareable.

    Raises:
        InputError: the batch cannot be shared equally, or there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group(0, 1, torch.device(device))
    if batch % size:
        raise InputError(
            f"A batch of {batch} cannot be shared by {size} processes.",
            "Change 'batch' in the recipe, or start another number.",
        )
    place = torch.device(device)
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(
                f"Process {local} finds {torch.cuda.device_count()} GPUs here.",
                "Start one process per GPU (torchrun --nproc-per-node).",
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return Group(distributed.get_rank(), size, place)
