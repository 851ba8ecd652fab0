"""The trainer: CPU or CUDA, one process or one per GPU, resumable at every checkpoint."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acf_edge.degrade import degrade_image, load_recipe, mod_crop
from acf_edge.errors import AcfError, InputError
from acf_edge.imaging.metrics import Quality, mean_quality, quality
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from acf_edge.model.network import AcfNetwork
from acf_edge.model.runner import run_network
from acf_edge.train.data import Patches, Uint8Image, data_digest, load_pictures
from acf_edge.train.group import join_group
from acf_edge.train.recipe import TrainRecipe
from acf_edge.train.state import Run, uninterrupted
from acf_edge.train.step import NotFinite, advance, gradients

CHECKPOINT_SECONDS = 120.0
"""Between two writings of the state: what a power cut costs at most."""
REPORT_SECONDS = 2.0
"""Between two reports of progress."""
VALIDATION_RECIPE = "acf-std"
"""The yardstick of every figure that the trainer reports."""


class TrainingStopped(AcfError):
    """Ctrl-C: the state is saved, the same command goes on. Exit code 130 (128 + SIGINT)."""

    exit_code = 130


@dataclass(frozen=True)
class Validation:
    """Mean quality over the validation split under one recipe.

    Attributes:
        ours: the network's.
        bicubic: of plain bicubic up-sampling of the same pictures.
        alive: per branch, the share of its channels that say anything about the first picture,
            0..1. A branch whose ReLUs have all closed never comes back.
    """

    ours: Quality
    bicubic: Quality
    alive: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        """PSNR-Y above bicubic in dB."""
        return self.ours.psnr_y - self.bicubic.psnr_y


def validate(
    network: AcfNetwork, pictures: list[Uint8Image], recipe_name: str, side: int = 512
) -> Validation:
    """Measure a network on centre crops, degraded with fixed seeds.

    Args:
        network: on any device.
        pictures: ``(H, W, 3)`` uint8 RGB, sharp.
        recipe_name: of the degradation, see :func:`acf_edge.degrade.load_recipe`.
        side: of the crops at full resolution, in pixels; smaller pictures are taken whole.

    Returns:
        Means over the pictures, with a border of ``scale`` pixels left out.
    """
    recipe, scale = load_recipe(recipe_name), network.config.scale
    ours, baseline, first = [], [], pictures[0]
    for index, picture in enumerate(pictures):
        top, left = (max((n - side) // 2, 0) for n in picture.shape[:2])
        truth = picture[top : top + side, left : left + side]
        truth = mod_crop(truth, scale)
        low = degrade_image(truth, recipe, scale, seed=index)
        first = low if index == 0 else first
        ours.append(quality(run_network(network, low), truth, scale))
        baseline.append(quality(upscale_bicubic(low, scale), truth, scale))
    return Validation(mean_quality(ours), mean_quality(baseline), alive_channels(network, first))


def alive_channels(network: AcfNetwork, image: Uint8Image) -> tuple[float, ...]:
    """Per branch, the share of channels that are above 0 anywhere; empty without branches."""
    device = next(network.parameters()).device
    with torch.no_grad():
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None]
        _, branches = network.run_padded(network.pad(pixels / 255.0))
        return tuple(float((b.amax(dim=(0, 2, 3)) > 0).float().mean()) for b in branches)


@dataclass(frozen=True)
class Progress:
    """What the trainer tells while it runs.

    Attributes:
        step: steps done, of ``steps`` in all.
        steps: of the whole recipe.
        stage: the name of the curriculum's stage.
        loss: of the last batch, RGB in 0..1, with the weighted auxiliary tasks.
        rate: learning rate of the last step.
        steps_per_second: since the last report.
        validation: if this step was one to validate at.
    """

    step: int
    steps: int
    stage: str
    loss: float
    rate: float
    steps_per_second: float
    validation: Validation | None


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak; ``step`` counts from 0."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)
    return recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def train(
    recipe: TrainRecipe,
    data: Path,
    out: Path,
    *,
    device: str = "cpu",
    compile_network: bool = False,
    validate_every: int = 1000,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    on_progress: Callable[[Progress], None] | None = None,
    start: Checkpoint | None = None,
    workers: int = 1,
    half: bool = False,
) -> Path:
    """Train until the recipe's last step; go on from ``out/state.pth`` if it is there.

    A run that was killed and goes on ends with the very weights of one that was not,
    on the same machine with the same number of threads.

    Args:
        recipe: the curriculum.
        data: folder of sharp pictures; those named ``cid22v_*`` are the validation split.
        out: folder of the run; ``state.pth`` while it runs, ``<network>-x<scale>.safetensors``.
        device: ``"cpu"`` or ``"cuda"``.
        compile_network: use ``torch.compile`` (needs a C++ compiler on a CPU).
        validate_every: steps between validations, >= 1.
        checkpoint_seconds: between two writings of ``state.pth``; 0 writes after every step.
        on_progress: called about every two seconds and after each validation, always
            after a state that is due has been written.
        start: a run that begins anew takes those of its weights that fit in name and shape;
            None takes the recipe's own, if it names one.
        workers: processes that degrade pictures, each with all of them in memory; >= 1.
        half: store the finished checkpoint as float16.

    Several processes, started by torchrun, share each batch; the first of them writes,
    validates and reports.

    Returns:
        The path of the finished checkpoint.

    Raises:
        InputError: unusable data or device, a state that is damaged or of another run, a
            folder that cannot be written (found before the first step).
        TrainingStopped: Ctrl-C during the training; the state has been saved.
        AcfError: the loss is no longer finite; the last good state stays as it is.
    """
    if validate_every < 1:
        raise InputError(f"Validating every {validate_every} steps cannot be.", "Give 1 or more.")
    if workers < 1:
        raise InputError(f"{workers} workers cannot be.", "Give 1 or more.")
    group = join_group(_device(device, compile_network), recipe.batch)
    run, state_path = Run(recipe, group.device, data_digest(data)), out / "state.pth"
    if start is None and recipe.start:
        start = load_checkpoint(recipe.start)
    if state_path.is_file():
        run.restore(state_path, group.device)
        if start is not None and run.origin.get("sha256") != start.sha256:
            raise InputError(
                f"'{state_path}' began with other weights than those to start with.",
                "Give another --out.",
            )
    elif start is not None:
        run.begin_with(start)
    group.agree(run.step)
    held_out = load_pictures(data, recipe.scale, recipe.patch, held_out=True)
    forward: Callable[[Tensor], Any] = run.network.run_padded
    if compile_network:
        forward = torch.compile(forward)
    with Patches(data, recipe, workers) as patches:
        # Whether there is room and leave to write is better known now than two minutes on.
        if group.leads:
            for left in out.glob(".state-*.pth"):  # of a run that was killed while it wrote
                left.unlink(missing_ok=True)
            run.save(state_path)
        last_saved = last_told = time.monotonic()
        told_step = run.step
        try:
            while run.step < recipe.steps:
                begun = time.monotonic()
                stage, done = recipe.at(run.step)
                rate = learning_rate(recipe, run.step)
                batch = patches.batch(run.step).share(group.rank, group.size)
                loss = gradients(run, forward, batch, stage, done, group)
                with uninterrupted():
                    advance(run, rate, recipe.ema)
                    now = time.monotonic()
                    run.seconds += now - begun
                if not group.leads:
                    continue
                checked = None
                if run.step % validate_every == 0 or run.step == recipe.steps:
                    checked = validate(run.average, held_out, VALIDATION_RECIPE)
                if now - last_saved >= checkpoint_seconds or run.step == recipe.steps:
                    run.save(state_path)
                    last_saved = time.monotonic()
                if on_progress and (checked or now - last_told > REPORT_SECONDS):
                    speed = (run.step - told_step) / max(now - last_told, 1e-9)
                    on_progress(
                        Progress(run.step, recipe.steps, stage.name, loss, rate, speed, checked)
                    )
                    last_told, told_step = time.monotonic(), run.step
        except NotFinite as error:
            raise AcfError(
                f"The {error} became infinite or NaN at step {run.step}.",
                f"Lower 'rate' and run again: it goes on from '{state_path}'.",
            ) from None
        except KeyboardInterrupt:
            if group.leads:
                with uninterrupted():
                    run.save(state_path)
            raise TrainingStopped(
                f"Stopped at step {run.step} of {recipe.steps}; '{state_path}' holds it.",
                "The same command goes on from there.",
            ) from None
        finally:
            group.leave()
    result = out / f"{recipe.config.title}.safetensors"
    if group.leads:
        save_checkpoint(result, run.average.eval(), provenance(run), half)
    return result


def _device(name: str, compile_network: bool) -> str:
    if name not in ("cpu", "cuda"):
        raise InputError(f"There is no device '{name}'.", "Give cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "There is no CUDA device that this PyTorch can use.",
            "Give --device cpu, or see 'acf-edge doctor'.",
        )
    # torch.compile looks for it in the same way, but fails with pages of text.
    compiler = os.environ.get("CXX", "g++")
    if compile_network and name == "cpu" and shutil.which(compiler) is None:
        raise InputError(
            f"torch.compile needs a C++ compiler; there is no '{compiler}'.",
            "Install one (apt-get install g++), or leave out --compile.",
        )
    return name


def provenance(run: Run) -> dict[str, Any]:
    """What a checkpoint says of its own making; plain JSON types."""
    return {
        "recipe": run.recipe.to_json(),
        "start": run.origin,
        "steps": run.step,
        "train_seconds": round(run.seconds),
        "seed": run.recipe.seed,
        "torch": torch.__version__,
    }
