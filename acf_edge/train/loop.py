"""The trainer: one process, CPU or CUDA, resumable at every checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acf_edge.degrade import degrade_image, load_recipe
from acf_edge.errors import AcfError, InputError
from acf_edge.files import atomic_path
from acf_edge.imaging.metrics import Quality, quality
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.model.checkpoint import save_checkpoint
from acf_edge.model.network import AcfNetwork, AuxiliaryHeads
from acf_edge.model.runner import run_network
from acf_edge.train.data import Batch, Patches, Uint8Image, load_pictures
from acf_edge.train.recipe import Stage, TrainRecipe

CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Validation:
    """Mean quality over the validation split under one recipe, and bicubic's."""

    ours: Quality
    bicubic: Quality

    @property
    def gain(self) -> float:
        """PSNR-Y above bicubic in dB."""
        return self.ours.psnr_y - self.bicubic.psnr_y


def mean_quality(rows: list[Quality]) -> Quality:
    """Plain mean of each figure."""
    columns = [[getattr(row, name) for row in rows] for name in Quality.__dataclass_fields__]
    return Quality(*(float(np.mean(column)) for column in columns))


def validate(
    network: AcfNetwork, pictures: list[Uint8Image], recipe_name: str, side: int = 512
) -> Validation:
    """Measure a network on centre crops of ``side`` pixels, degraded with fixed seeds."""
    recipe, scale = load_recipe(recipe_name), network.config.scale
    ours, baseline = [], []
    for index, picture in enumerate(pictures):
        top, left = (max((n - side) // 2, 0) for n in picture.shape[:2])
        truth = picture[top : top + side, left : left + side]
        truth = truth[: truth.shape[0] // scale * scale, : truth.shape[1] // scale * scale]
        low = degrade_image(truth, recipe, scale, seed=index)
        ours.append(quality(run_network(network, low), truth, scale))
        baseline.append(quality(upscale_bicubic(low, scale), truth, scale))
    return Validation(mean_quality(ours), mean_quality(baseline))


@dataclass(frozen=True)
class Progress:
    """What the trainer tells while it runs."""

    step: int
    steps: int
    stage: str
    loss: float
    rate: float
    steps_per_second: float
    validation: Validation | None


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)
    return recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


class _Run:
    """Everything that a checkpoint holds."""

    def __init__(self, recipe: TrainRecipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.network = AcfNetwork(recipe.config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.heads = AuxiliaryHeads(recipe.config).to(device)
        self.average = AcfNetwork(recipe.config).to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=recipe.rate, betas=(0.9, 0.99))
        self.step = 0
        self.seconds = 0.0

    def state(self, recipe: TrainRecipe) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "config": recipe.config.to_json(),
        }

    def restore(self, state: Mapping[str, Any], recipe: TrainRecipe, path: Path) -> None:
        saved = {k: list(v) if isinstance(v, tuple) else v for k, v in state["config"].items()}
        wanted = {
            k: list(v) if isinstance(v, tuple) else v for k, v in recipe.config.to_json().items()
        }
        if saved != wanted:
            raise InputError(
                f"'{path}' is of another network than the recipe's.",
                "Give another --out, or the recipe that the run began with.",
            )
        self.network.load_state_dict(state["network"])
        self.heads.load_state_dict(state["heads"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])


def train(
    recipe: TrainRecipe,
    data: Path,
    out: Path,
    *,
    device: str = "cpu",
    compile_network: bool = False,
    validate_every: int = 1000,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train until the recipe's last step; go on from ``out/state.pth`` if it is there.

    Args:
        recipe: the curriculum.
        data: folder of sharp pictures; those named ``cid22v_*`` are the validation split.
        out: folder of the run; ``state.pth`` while it runs, ``<network>-x<scale>.safetensors``.
        device: ``"cpu"`` or ``"cuda"``.
        compile_network: use ``torch.compile`` (needs a C++ compiler on a CPU).
        validate_every: steps between validations.
        on_progress: called about every two seconds and after each validation.

    Returns:
        The path of the finished checkpoint.

    Raises:
        InputError: unusable data or a state of another network.
        AcfError: the loss is no longer finite; the last good state stays as it is.
    """
    place = torch.device(device)
    run, state_path = _Run(recipe, place), out / "state.pth"
    if state_path.is_file():
        state = torch.load(state_path, map_location=place, weights_only=True)
        run.restore(state, recipe, state_path)
    held_out = load_pictures(data, recipe.scale, recipe.patch, held_out=True)
    forward: Callable[[Tensor], Any] = run.network.run_padded
    if compile_network:
        forward = torch.compile(forward)
    with Patches(data, recipe) as patches:
        last_saved = last_told = time.monotonic()
        told_step, loss = run.step, float("nan")
        while run.step < recipe.steps:
            begun = time.monotonic()
            stage, done = recipe.at(run.step)
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(recipe, run.step)
            loss = _step(run, forward, patches.batch(run.step), stage, done, place)
            if not math.isfinite(loss):
                raise AcfError(
                    f"The loss became {loss} at step {run.step}.",
                    f"Lower 'rate' and run again: it goes on from '{state_path}'.",
                )
            _average(run.average, run.network, recipe.ema, run.step)
            run.step += 1
            now = time.monotonic()
            run.seconds += now - begun
            checked = None
            if run.step % validate_every == 0 or run.step == recipe.steps:
                checked = validate(run.average, held_out, "acf-std")
            if now - last_saved > CHECKPOINT_SECONDS or run.step == recipe.steps:
                with atomic_path(state_path) as temporary:
                    torch.save(run.state(recipe), temporary)
                last_saved = time.monotonic()
            if on_progress and (checked or now - last_told > 2.0):
                speed = (run.step - told_step) / max(now - last_told, 1e-9)
                rate = learning_rate(recipe, run.step - 1)
                on_progress(
                    Progress(run.step, recipe.steps, stage.name, loss, rate, speed, checked)
                )
                last_told, told_step = time.monotonic(), run.step
    result = out / f"{recipe.config.title}.safetensors"
    save_checkpoint(result, run.average.eval(), provenance(recipe, run.step, run.seconds))
    return result


def provenance(recipe: TrainRecipe, steps: int, seconds: float) -> dict[str, Any]:
    """What a checkpoint says of its own making."""
    return {
        "recipe": recipe.to_json(),
        "steps": steps,
        "train_seconds": round(seconds),
        "seed": recipe.seed,
        "torch": torch.__version__,
    }


def _step(
    run: _Run,
    forward: Callable[[Tensor], Any],
    batch: Batch,
    stage: Stage,
    done: float,
    device: torch.device,
) -> float:
    image = _tensor(batch.degraded, device)
    weight = stage.auxiliary[0] + (stage.auxiliary[1] - stage.auxiliary[0]) * done
    measure = nn.functional.mse_loss if stage.loss == "mse" else nn.functional.l1_loss
    with torch.autocast(device.type, torch.bfloat16):
        output, branches = forward(run.network.pad(image))
        auxiliary = run.heads(image, branches) if weight > 0 else None
    loss = measure(output.float(), _tensor(batch.truth, device))
    if auxiliary is not None:
        l1 = nn.functional.l1_loss
        side = l1(auxiliary.artefact.float(), _tensor(batch.blurred, device))
        side = side + l1(auxiliary.deblur.float(), _tensor(batch.sharp, device))
        loss = loss + weight * side
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimizer.step()
    return float(loss.detach())


def _tensor(pixels: Uint8Image, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(pixels).to(device, non_blocking=True)
    return tensor.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def _average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    # A short memory at first, or the random start would linger for thousands of steps.
    keep = min(decay, (step + 1) / (step + 10))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1.0 - keep)
