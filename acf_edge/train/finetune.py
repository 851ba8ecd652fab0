"""Short fine-tuning after pruning: the smaller network learns from truth and from its teacher."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from acf_edge.errors import AcfError, InputError
from acf_edge.model.network import AcfNetwork
from acf_edge.train.data import degrade_chunk, draw_batch
from acf_edge.train.recipe import Stage, TrainRecipe

Uint8Image = npt.NDArray[np.uint8]
REFRESH = 200
"""Steps after which the pictures are degraded anew: a chunk takes about as long as these."""
SMALLEST_PATCH = 8
"""Low-resolution pixels a side: one block of the codecs that the network is to undo."""


def finetune_recipe(
    network: AcfNetwork, pictures: list[Uint8Image], mix: tuple[tuple[str, float], ...], steps: int
) -> TrainRecipe:
    """The recipe of a fine-tuning: fixed seed, gentle rate, patches that fit the pictures.

    Args:
        network: what is to be tuned; gives size and scale.
        pictures: ``(H, W, 3)`` uint8 RGB, sharp.
        mix: degradation recipes and their shares, see :class:`Stage`.
        steps: optimizer steps, >= 0.

    Raises:
        InputError: no pictures, or too small for any patch.
    """
    config = network.config
    if not pictures:
        raise InputError("There are no pictures to fine-tune on.", "Give a few dozen.")
    smallest = min(min(p.shape[:2]) for p in pictures) // config.scale
    patch = min(64, smallest // config.alignment * config.alignment)
    if patch < SMALLEST_PATCH:
        raise InputError(
            f"The pictures to fine-tune on are too small for x{config.scale}.",
            f"Give pictures of at least {SMALLEST_PATCH * config.scale} pixels a side.",
        )
    stage = Stage("fine-tune", steps, mix)
    return TrainRecipe(
        name="fine-tune",
        network=config.name,
        scale=config.scale,
        seed=7,
        patch=patch,
        batch=8,
        rate=4e-4,
        warmup=min(20, steps),
        ema=0.99,
        refresh=REFRESH,
        stages=(stage,),
    )


def batches(
    pictures: list[Uint8Image], recipe: TrainRecipe, steps: int
) -> list[tuple[Tensor, Tensor]]:
    """The first ``steps`` batches of the first chunk.

    Returns:
        Pairs (input, truth): float32 ``(N, 3, patch, patch)`` and
        ``(N, 3, patch * scale, patch * scale)``, RGB in 0..1.
    """
    chunk = degrade_chunk(pictures, recipe, 0)
    rows = [draw_batch(pictures, chunk, recipe, step) for step in range(steps)]
    return [(_tensor(row.degraded), _tensor(row.truth)) for row in rows]


def finetune(
    student: AcfNetwork,
    teacher: AcfNetwork,
    pictures: list[Uint8Image],
    recipe: TrainRecipe,
    on_progress: Callable[[int, int], None] | None = None,
) -> AcfNetwork:
    """Train ``student`` in place and return it in evaluation mode.

    Args:
        student: the smaller network.
        teacher: the unpruned one; left in evaluation mode, its gradients switched off.
        pictures: ``(H, W, 3)`` uint8 RGB, sharp.
        recipe: see :func:`finetune_recipe`.
        on_progress: called with (steps done, steps in all) after each step.

    The loss is L1 to the truth plus L1 to the unpruned network's output: with the few
    pictures of a calibration set, truth alone would be learnt by heart.

    Raises:
        AcfError: the loss or its gradient is no longer finite.
    """
    optimizer = torch.optim.Adam(student.parameters(), lr=recipe.rate, betas=(0.9, 0.99))
    teacher.eval().requires_grad_(False)
    student.train()
    chunk = degrade_chunk(pictures, recipe, 0)
    l1 = torch.nn.functional.l1_loss
    for step in range(recipe.steps):
        if step and step % recipe.refresh == 0:
            chunk = degrade_chunk(pictures, recipe, step // recipe.refresh)
        row = draw_batch(pictures, chunk, recipe, step)
        image, truth = _tensor(row.degraded), _tensor(row.truth)
        ramp = min((step + 1) / max(recipe.warmup, 1), 1.0)
        # A cosine down to a fiftieth: short as it is, the run has to come to rest.
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * ramp * cosine
        with torch.no_grad():
            taught = teacher(image)
        output = student(image)
        loss = l1(output, truth) + l1(output, taught)
        if not torch.isfinite(loss):
            raise AcfError("Fine-tuning diverged: the loss is not finite.", "Prune less.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise AcfError("Fine-tuning diverged: a gradient is not finite.", "Prune less.")
        optimizer.step()
        if on_progress:
            on_progress(step + 1, recipe.steps)
    return student.eval().requires_grad_(True)


def _tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).float().div_(255.0)
