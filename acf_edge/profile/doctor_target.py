"""What one target needs to be built for, compiled for and run, and what of it is missing here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from acf_edge.cuda.driver import Device
from acf_edge.engine.trt.api import NAMES
from acf_edge.engine.trt.portability import covers
from acf_edge.engine.trt.targets import AUTO, Target, find_target, target_of
from acf_edge.errors import InputError
from acf_edge.profile.doctor_gpu import GpuState

CPU: Final = "cpu"
_WORKSHOP: Final = ("torch", "onnx", "onnxscript", "safetensors")
_ORIN: Final = "87"
_BUILD: Final = "acf-edge build CHECKPOINT -o BUNDLE --target"
_COMPILE: Final = "acf-edge build BUNDLE -o NEW_BUNDLE --target auto"


@dataclass(frozen=True)
class Step:
    """One thing that a target needs.

    Attributes:
        name: e.g. ``"compile the engine"``.
        ok: it can be done on this machine.
        detail: what was found.
        remedy: the command that brings what is missing, or does it where it can be done.
    """

    name: str
    ok: bool
    detail: str
    remedy: str


@dataclass(frozen=True)
class Advice:
    """What a target needs.

    Attributes:
        target: its name.
        title: for people.
        needs: facts of it: compute capability, library, precisions ...
        steps: from the bundle to the running engine; the last one is running.
    """

    target: str
    title: str
    needs: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def runs(self) -> bool:
        """Whether its engines run on this machine."""
        return self.steps[-1].ok

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "target": self.target,
            "title": self.title,
            "runs": self.runs,
            "needs": list(self.needs),
            "steps": [vars(step) for step in self.steps],
        }


def examine_target(name: str, state: GpuState, core: bool) -> Advice:
    """Say what a target needs.

    Args:
        name: ``"cpu"``, or what :func:`acf_edge.engine.trt.targets.find_target` knows.
        state: of this machine.
        core: the core works.

    Raises:
        InputError: no such target, one that engines cannot be built for, or ``auto`` without a
            GPU.
    """
    if name == CPU:
        state_of_core = "ONNX Runtime" if core else "the core does not work"
        run = Step("run it", core, state_of_core, "" if core else "acf-edge doctor")
        steps = (_write(CPU), run)
        return Advice(CPU, "this machine's CPU", ("ONNX Runtime", "int8 or fp32"), steps)
    target = _here(state) if name.strip().lower() == AUTO else find_target(name)
    backend = target.backend
    return Advice(
        target.name,
        target.title,
        _needs(target),
        (_write(target.name), _compile(target, backend, state), _run(target, backend, state)),
    )


def _here(state: GpuState) -> Target:
    if not state.devices:
        raise InputError(
            state.cuda.problem or "No NVIDIA GPU can be used here.",
            state.cuda.remedy or "Name a target, or take 'cpu'.",
        )
    first = state.devices[0]
    wanted = ("ordinal", "name", "sm", "integrated", "memory", "driver")
    return target_of(Device(**{field: first[field] for field in wanted}))


def _needs(target: Target) -> tuple[str, ...]:
    libraries = {"tensorrt": "TensorRT 10.3 or newer", "tensorrt_rtx": "TensorRT-RTX"}
    needs = [
        f"SM {target.sm}" + (", memory shared with the CPU" if target.integrated else ""),
        " or ".join(libraries[backend] for backend in target.backends),
        f"precisions, the best first: {', '.join(target.precisions())}",
        f"workspace {target.workspace >> 20} MiB",
    ]
    if target.dla_cores:
        needs.append(f"{target.dla_cores} deep-learning accelerator(s), with --dla")
    return tuple(needs)


def _write(target: str) -> Step:
    missing = [name for name in _WORKSHOP if not _there(name)]
    name = "write the bundle"
    if missing:
        detail = f"missing: {', '.join(missing)}"
        return Step(name, False, detail, "pip install 'acf-edge[build]'")
    return Step(name, True, f"{_BUILD} {target}", "")


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _compile(target: Target, backend: str, state: GpuState) -> Step:
    name, loaded = "compile the engine", state.library(backend)
    ahead = target.ahead_of_time(backend)
    if not ahead and not _mine(target, state):
        where = f"{_seen(state)}; {NAMES[backend]} compiles on the {target.title} itself"
        return Step(name, False, where, f"There: {_COMPILE}")
    if loaded.facts is None:
        return Step(name, False, loaded.problem, loaded.remedy or _install(target, backend))
    text = str(loaded.facts["text"])
    return Step(name, True, f"{text}, for any such GPU" if ahead else f"{text}, on this GPU", "")


def _run(target: Target, backend: str, state: GpuState) -> Step:
    name = "run it"
    if not _mine(target, state):
        remedy = state.cuda.remedy if state.present and not state.devices else ""
        return Step(
            name,
            False,
            _seen(state),
            remedy or f"On the {target.title}: {_install(target, backend)}",
        )
    loaded = next(
        (state.library(one) for one in target.backends if state.library(one).facts),
        state.library(backend),
    )
    if loaded.facts is None:
        return Step(name, False, loaded.problem, loaded.remedy or _install(target, backend))
    return Step(name, True, f"{loaded.facts['text']} on {state.devices[0]['name']}", "")


def _mine(target: Target, state: GpuState) -> bool:
    return any(covers(target.sm, device["sm"]) for device in state.devices)


def _seen(state: GpuState) -> str:
    if not state.devices:
        return "no GPU can be used here" if state.present else "no GPU here"
    names = (f"{device['name']} (SM {device['sm']})" for device in state.devices)
    return f"the GPU here is {', '.join(names)}"


def _install(target: Target, backend: str) -> str:
    if backend == "tensorrt_rtx":
        return "pip install 'acf-edge[rtx]'"
    if not target.integrated:
        return "pip install 'acf-edge[tensorrt]', with NVIDIA's TensorRT library"
    # JetPack 6 has CUDA 12.6: newer bindings ask for libraries that are not there.
    bound = " 'cuda-bindings<13'" if target.sm == _ORIN else ""
    return (
        "sudo apt-get install python3-libnvinfer; python3 -m venv --system-site-packages acf; "
        f"acf/bin/pip install 'acf-edge[tensorrt]'{bound}"
    )


def target_table(advice: Advice) -> Table:
    """The advice on a terminal."""
    table = Table(
        title=f"for {advice.target} ({advice.title}): {'; '.join(advice.needs)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    table.add_column("step", no_wrap=True)
    table.add_column("found", overflow="fold")
    for step in advice.steps:
        table.add_row(
            Text("ok", "green") if step.ok else Text("not here", "yellow"),
            Text(step.name),
            Text.assemble(step.detail, (f"\n{step.remedy}" if step.remedy else "", "bold")),
        )
    return table
