"""One step: forward, backward, the optimizer, the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from acf_edge.model.network import depth_to_space
from acf_edge.train.data import Batch, Uint8Image
from acf_edge.train.group import Group
from acf_edge.train.losses import charbonnier, guard_loss, luma_gradient, picture_loss
from acf_edge.train.recipe import Stage
from acf_edge.train.state import Run

Forward = Callable[[Tensor], Any]
"""``AcfNetwork.run_padded``, compiled or not."""


class NotFinite(Exception):
    """The loss or its gradient is NaN or infinite; raised before any weight is touched."""


def gradients(
    run: Run, forward: Forward, batch: Batch, stage: Stage, done: float, group: Group
) -> float:
    """Forward and backward; changes no weight.

    Args:
        run: its network and heads get gradients, the mean over all processes.
        forward: of the run's network.
        batch: this process' share.
        stage: gives loss and weights.
        done: how far the stage has got, 0..1.
        group: the processes that train together.

    Returns:
        The loss of this process' share.

    Raises:
        NotFinite: in any of the processes.
    """
    device = group.device
    image, truth = _tensor(batch.degraded, device), _tensor(batch.truth, device)
    weight = stage.weight(stage.auxiliary, done)
    structure = stage.weight(stage.gradient, done)
    junction = getattr(run.network, "junction", None)  # a plain network has none
    if junction is not None:
        junction.silent = not stage.junction
    padded = run.network.pad(image)
    with torch.autocast(device.type, torch.bfloat16):
        output, branches = forward(padded)
        auxiliary = run.heads(image, branches) if weight > 0 or structure > 0 else None
    output = output.float()
    loss = picture_loss(stage.loss, output, truth)
    if stage.guard > 0 and batch.clean.any():
        with torch.no_grad():
            bicubic = depth_to_space(run.network.anchor(padded), run.network.config.factor)
        clean = torch.from_numpy(batch.clean).to(device)
        loss = loss + stage.guard * guard_loss(output, bicubic, truth, clean)
    if auxiliary is not None:
        side = charbonnier(auxiliary.artefact.float(), _tensor(batch.blurred, device))
        side = side + charbonnier(auxiliary.deblur.float(), _tensor(batch.sharp, device))
        loss = loss + weight * side
        loss = loss + structure * charbonnier(auxiliary.gradient.float(), luma_gradient(truth))
    value = float(loss.detach())
    # Alone, the loss says it first; together, all must meet once more to part as one.
    if group.size == 1 and not math.isfinite(value):
        raise NotFinite("loss")
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    group.average([*run.network.parameters(), *run.heads.parameters()])
    # One odd batch must not throw the network back by more than a step's worth.
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    others = [p.grad for p in run.heads.parameters() if p.grad is not None]
    # Checked here: a state with NaN in its weights must never replace the last good one.
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (norm, *others)):
        raise NotFinite("gradient")
    return value


def advance(run: Run, rate: float, decay: float) -> None:
    """Apply the gradients, follow with the moving average, count the step."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    _average(run.average, run.network, decay, run.step)
    run.step += 1


def _tensor(pixels: Uint8Image, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(pixels).to(device, non_blocking=True)
    return tensor.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def _average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    # A short memory at first (a ninth of the way so far), or the random start would linger
    # for thousands of steps.
    keep = min(decay, (step + 1) / (step + 10))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - keep)
