"""What a run carries from step to step, and its file ``state.pth``."""

from __future__ import annotations

import io
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
from acf_edge.model.network import AcfNetwork, AuxiliaryHeads
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
        seconds: spent in steps, over all sessions of the run.

    Args:
        recipe: gives network, seed and rate.
        device: where the tensors lie.
    """

    def __init__(self, recipe: TrainRecipe, device: torch.device) -> None:
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

    def begin_with(self, network: AcfNetwork) -> None:
        """Take over the weights that fit in name and shape, say from another scale.

        Raises:
            InputError: none fits.
        """
        own = self.network.state_dict()
        given = network.state_dict()
        fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise InputError(
                f"No weight of '{network.config.title}' fits '{self.network.config.title}'.",
                "Start from a network of the same family.",
            )
        self.network.load_state_dict({**own, **fitting})
        self.average.load_state_dict(self.network.state_dict())

    def save(self, path: Path, recipe: TrainRecipe) -> None:
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
            "config": recipe.config.to_json(),
        }
        # Through memory: torch's own writer reports a full disk as a bug of torch.
        content = io.BytesIO()
        torch.save(state, content)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def restore(self, path: Path, recipe: TrainRecipe, device: torch.device) -> None:
        """Go on from what :meth:`save` wrote.

        Raises:
            InputError: the file is damaged, of another network, or past the recipe's last step.
        """
        state = _read(path, device)
        if _plain(state["config"]) != _plain(recipe.config.to_json()):
            raise InputError(
                f"'{path}' is of another network than the recipe's.",
                "Give another --out, or the recipe that the run began with.",
            )
        try:
            self.network.load_state_dict(state["network"])
            self.heads.load_state_dict(state["heads"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError):
            # torch's texts list every tensor; that something is missing is all that matters.
            raise _damaged(path, "it lacks a part") from None
        modules: tuple[nn.Module, ...] = (self.network, self.heads, self.average)
        if not all(torch.isfinite(p).all() for module in modules for p in module.parameters()):
            raise _damaged(path, "it holds NaN or infinity")
        if self.step > recipe.steps:
            raise InputError(
                f"'{path}' is at step {self.step}, the recipe ends at {recipe.steps}.",
                "Give another --out, or the recipe that the run began with.",
            )


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
