"""What a run carries from step to step, and its file ``state.pth``."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acf_edge.errors import InputError
from acf_edge.files import atomic_path
from acf_edge.model.checkpoint import Checkpoint
from acf_edge.model.network import AuxiliaryHeads
from acf_edge.model.plain import build_network
from acf_edge.train.recipe import TrainRecipe


class Run:
    """Networks, optimizer and step: everything that goes on after an interruption.

    Attributes:
        network: what the optimizer works on.
        heads: of the auxiliary tasks.
        average: moving average of the network's weights; what is kept in the end.
        optimizer: Adam over network and heads.
        step: steps done.
        seconds: spent in steps, over all sittings of the run.
        origin: the checkpoint that it began with (``network``, ``sha256``, ``tensors`` taken
            over); empty where it began with random weights.

    Args:
        recipe: gives network, seed and rate.
        device: where the tensors lie.
        data: digest of the pictures, see :func:`acf_edge.train.data.data_digest`.
    """

    def __init__(self, recipe: TrainRecipe, device: torch.device, data: str = "") -> None:
        self.recipe, self.data = recipe, data
        self.origin: dict[str, Any] = {}
        # Drawn on the CPU whatever the device, and without touching the caller's generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network, heads = build_network(recipe.config), AuxiliaryHeads(recipe.config)
            self.average = build_network(recipe.config).to(device)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.heads = heads.to(device)
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=recipe.rate, betas=(0.9, 0.99))
        self.step = 0
        self.seconds = 0.0

    def begin_with(self, checkpoint: Checkpoint) -> None:
        """Take over the weights that fit in name and shape, say from another scale.

        Raises:
            InputError: none fits.
        """
        network = checkpoint.network
        own, given = self.network.state_dict(), network.state_dict()
        fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise InputError(
                f"No weight of '{network.config.title}' fits '{self.network.config.title}'.",
                "Start from a network of the same family.",
            )
        self.network.load_state_dict({**own, **fitting})
        self.average.load_state_dict(self.network.state_dict())
        self.origin = {
            "network": network.config.title,
            "sha256": checkpoint.sha256,
            "tensors": len(fitting),
        }

    def save(self, path: Path) -> None:
        """Write everything to ``path``, whole or not at all.

        Raises:
            InputError: the place cannot be written, or the disk is full.
        """
        state = {
            "network": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "config": self.recipe.config.to_json(),
            "recipe": json.dumps(_compared(self.recipe.to_json())),
            "data": self.data,
            "origin": json.dumps(self.origin),
        }
        # Through memory: torch's own writer reports a full disk as a bug of torch.
        content = io.BytesIO()
        torch.save(state, content)
        with atomic_path(path, durable=True) as temporary:
            temporary.write_bytes(content.getbuffer())

    def restore(self, path: Path, device: torch.device) -> None:
        """Go on from what :meth:`save` wrote.

        Only the learning rate of the recipe may have changed: lowering it is the way out of a
        loss that became infinite. Everything else would make a run that no recipe describes.

        Raises:
            InputError: the file is damaged, of another network, recipe or data, or past the
                recipe's last step.
        """
        state, recipe = _read(path, device), self.recipe
        if _plain(state["config"]) != _plain(recipe.config.to_json()):
            raise InputError(f"'{path}' is of another network than the recipe's.", _ANOTHER)
        self._compare(path, state)
        try:
            self.network.load_state_dict(state["network"])
            self.heads.load_state_dict(state["heads"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.origin = json.loads(state.get("origin", "{}"))
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError):
            # torch's texts list every tensor; that something is missing is all that matters.
            raise _damaged(path, "it lacks a part") from None
        modules: tuple[nn.Module, ...] = (self.network, self.heads, self.average)
        if not all(torch.isfinite(p).all() for module in modules for p in module.parameters()):
            raise _damaged(path, "it holds NaN or infinity")
        if self.step > recipe.steps:
            raise InputError(
                f"'{path}' is at step {self.step}, the recipe ends at {recipe.steps}.", _ANOTHER
            )

    def _compare(self, path: Path, state: Mapping[str, Any]) -> None:
        try:
            begun = json.loads(state.get("recipe", "{}"))
            data = str(state.get("data", ""))
            differing = [
                k for k, v in _compared(self.recipe.to_json()).items() if begun.get(k) != v
            ]
        except (ValueError, TypeError, AttributeError):
            raise _damaged(path, "its recipe cannot be read") from None
        # States from before recipe and data were noted are taken on trust.
        if begun and differing:
            raise InputError(
                f"'{path}' was begun with another recipe: '{differing[0]}' differs.", _ANOTHER
            )
        if data and self.data and data != self.data:
            raise InputError(
                f"'{path}' was begun with other pictures than those of --data.",
                "Give the same folder, unchanged, or another --out.",
            )


_ANOTHER = (
    "Give the recipe that the run began with, or another --out "
    "(there, --start CHECKPOINT takes over weights)."
)


def _compared(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what may change."""
    return {key: value for key, value in recipe.items() if key not in ("name", "rate")}


def _read(path: Path, device: torch.device) -> Mapping[str, Any]:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # torch raises many kinds here, and its text repeats advice to load unsafely.
        raise _damaged(path, f"it cannot be read ({type(error).__name__})") from None
    if not isinstance(state, dict) or not isinstance(state.get("config"), dict):
        raise _damaged(path, "it is no state of a run")
    return state


def _damaged(path: Path, defect: str) -> InputError:
    return InputError(
        f"'{path}' is damaged: {defect}.", "Move it away to begin anew, or give another --out."
    )


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in table.items()}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, then let it come as KeyboardInterrupt.

    Outside the main thread it does nothing: Python delivers no signal there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        # None: a handler that Python did not install and cannot name.
        signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)
    # Who ignores Ctrl-C, or gave it another meaning, gets just that.
    if held and callable(previous):
        previous(signal.SIGINT, None)
