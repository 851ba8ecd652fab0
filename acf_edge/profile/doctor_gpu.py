"""What the doctor says of GPU, TensorRT, kernels and plugins. Nothing here is loaded in-process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from acf_edge.children import python_command
from acf_edge.profile.clocks import Clock, gpu_clocks, l4t_release

_TIMEOUT: Final = 30.0
_SIGNS: Final = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/proc/driver/nvidia/version")
_PACKAGE: Final = Path(__file__).resolve().parent.parent.parent
Row = tuple[str, str, str]
"""(what, state, remedy); the remedy is empty where it works, or nothing would help."""


@dataclass(frozen=True)
class Answer:
    """What a probe found.

    Attributes:
        facts: None where it did not work.
        problem, remedy: why, and what helps.
    """

    facts: Mapping[str, Any] | None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class GpuState:
    """All about GPUs.

    Attributes:
        present: there are signs of an NVIDIA GPU, whether it can be used or not.
        cuda, nvrtc, tensorrt, tensorrt_rtx: answers of the probes.
        driver: the kernel driver, in its own words; None without.
        l4t: Jetson Linux.
        clocks: of a Jetson's GPU.
        cached: the kernels of the first GPU are compiled already.
        libraries: the C++ plugin libraries that were found, in words.
    """

    present: bool
    cuda: Answer
    nvrtc: Answer
    tensorrt: Answer
    tensorrt_rtx: Answer
    driver: str | None
    l4t: str | None
    clocks: tuple[Clock, ...]
    cached: bool
    libraries: tuple[str, ...]

    @property
    def devices(self) -> list[dict[str, Any]]:
        """The GPUs as :func:`acf_edge.profile.gpu_probe.probe_cuda` tells them."""
        return list(self.cuda.facts["devices"]) if self.cuda.facts else []

    def library(self, backend: str) -> Answer:
        """The answer of ``"tensorrt"`` or ``"tensorrt_rtx"``."""
        return self.tensorrt if backend == "tensorrt" else self.tensorrt_rtx

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"clocks": [asdict(clock) for clock in self.clocks]}


def examine_gpu(board: bool = False) -> GpuState:
    """Look at GPU and libraries, all at once, in processes of their own. It never raises.

    Args:
        board: this is a Jetson.
    """
    answers = ask("cuda", "nvrtc", "tensorrt", "tensorrt_rtx")
    devices = (answers["cuda"].facts or {}).get("devices", [])
    sm = devices[0]["sm"] if devices else None
    return GpuState(
        present=board or bool(devices) or any(Path(sign).exists() for sign in _SIGNS),
        **answers,
        driver=_first_line(Path("/proc/driver/nvidia/version")),
        l4t=l4t_release(),
        clocks=gpu_clocks() if board else (),
        cached=sm is not None and _cached(sm),
        libraries=_libraries(),
    )


def ask(*questions: str, timeout: float = _TIMEOUT) -> dict[str, Answer]:
    """Ask the probes, side by side; one that hangs, dies or babbles is told so."""
    environment = dict(os.environ)
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{_PACKAGE}{os.pathsep}{known}" if known else str(_PACKAGE)
    started: dict[str, subprocess.Popen[bytes] | OSError] = {}
    for what in questions:
        command = [*python_command("acf_edge.profile.gpu_probe"), what]
        try:
            started[what] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            started[what] = error
    return {what: _listen(process, timeout) for what, process in started.items()}


def _listen(process: subprocess.Popen[bytes] | OSError, timeout: float) -> Answer:
    if isinstance(process, OSError):
        return Answer(None, f"Python cannot be started for it: {process}.")
    try:
        told, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A process that waits for a dead driver cannot even be killed.
            process.communicate(timeout=1)
        return Answer(
            None,
            f"Loading it did not end within {timeout:g} s.",
            "Reboot: a driver that hangs does not recover.",
        )
    for line in reversed(told.decode("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):
            facts = json.loads(line)
            if isinstance(facts, dict):
                if "problem" in facts:
                    return Answer(None, str(facts["problem"]), str(facts.get("remedy", "")))
                return Answer(facts)
    last = (errors.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:300]
    return Answer(
        None,
        f"Loading it ended the process{_how(process.returncode)}. {last}".strip(),
        "Install driver and libraries of the same version anew.",
    )


def _how(code: int) -> str:
    if code >= 0:
        return f" (exit code {code})"
    with contextlib.suppress(ValueError):
        return f" ({signal.Signals(-code).name})"
    return f" (signal {-code})"


def _first_line(file: Path) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return " ".join(lines[0].split()) if lines else None


def _cached(sm: str) -> bool:
    """Whether the user's cache has kernels of these sources for an SM."""
    try:
        from acf_edge.cuda.sources import kernel_hash
        from acf_edge.cuda.store import cache_folder

        return any(cache_folder().glob(f"sm{sm}-{kernel_hash()[:16]}-*.cubin"))
    except Exception:  # a home that cannot be read, sources that are missing
        return False


def _libraries() -> tuple[str, ...]:
    try:
        from acf_edge.cuda.sources import kernel_hash
        from acf_edge.engine.trt.plugin_library import find_libraries

        own, words = kernel_hash(), []
        for library in find_libraries():
            about = f"{library.path}"
            if library.major is not None:
                about += f" (TensorRT {library.major})"
            words.append(about if library.kernel_hash == own else f"{about}, of other kernels")
        return tuple(words)
    except Exception:
        return ()


def gpu_rows(state: GpuState, power_mode: str | None = None) -> list[Row]:
    """Rows for the doctor's table, the GPU first."""
    rows = [_gpu_row(state)]
    rows += [_library_row(state, kind) for kind in ("tensorrt", "tensorrt_rtx")]
    rows += [_kernel_row(state)]
    if state.tensorrt.facts is not None or state.libraries:
        rows.append(_plugin_row(state))
    if state.l4t or state.clocks:
        words = [state.l4t or "", power_mode or "power mode unknown", *map(str, state.clocks)]
        rows.append(("power mode and clocks", "; ".join(word for word in words if word), ""))
    return rows


def _gpu_row(state: GpuState) -> Row:
    what = "NVIDIA GPU"
    if not state.devices:
        if not state.present:
            return what, "none here; engines for the CPU need none", ""
        return what, state.cuda.problem, state.cuda.remedy or "nvidia-smi"
    words = []
    for device in state.devices:
        shared = ", shared with the CPU" if device["integrated"] else ""
        words.append(
            f"{device['name']}, SM {device['sm']}, {device['memory'] / 2**30:.1f} GiB{shared}, "
            f"{device['free'] / 2**30:.1f} free; the driver serves CUDA {device['driver']}"
        )
    return what, "; ".join(words), ""


def _library_row(state: GpuState, kind: str) -> Row:
    what = "load TensorRT" if kind == "tensorrt" else "load TensorRT-RTX"
    found = state.library(kind)
    if found.facts:
        return what, str(found.facts["text"]), ""
    extra = "tensorrt" if kind == "tensorrt" else "rtx"
    return what, found.problem, found.remedy or f"pip install --force-reinstall 'acf-edge[{extra}]'"


def _kernel_row(state: GpuState) -> Row:
    what = "compile the kernels"
    sm = state.devices[0]["sm"] if state.devices else None
    if state.nvrtc.facts is None:
        if state.cached:
            return what, f"no NVRTC ({state.nvrtc.problem}), but kernels for SM {sm} are kept", ""
        return what, state.nvrtc.problem, state.nvrtc.remedy or "pip install 'acf-edge[tensorrt]'"
    version = str(state.nvrtc.facts["version"])
    if sm is None:
        return what, f"NVRTC {version}, for SM {', '.join(state.nvrtc.facts['sms'])}", ""
    newest = str(state.devices[0]["driver"]).partition(".")[0]
    if int(version.partition(".")[0]) > int(newest) and not state.cached:
        return (
            what,
            f"NVRTC {version} makes code that a driver of CUDA {newest} does not load",
            f"pip install 'cuda-bindings=={newest}.*'",
        )
    if sm not in state.nvrtc.facts["sms"] and not state.cached:
        return (
            what,
            f"NVRTC {version} makes no code for SM {sm}",
            "pip install -U 'acf-edge[tensorrt]'",
        )
    kept = "kept in the cache" if state.cached else "compiled when they are first used"
    return what, f"NVRTC {version}; kernels for SM {sm} are {kept}", ""


def _plugin_row(state: GpuState) -> Row:
    what = "plugins for TensorRT"
    in_c = f"; C++ library {', '.join(state.libraries)}" if state.libraries else ""
    if state.tensorrt.facts is None:
        return what, f"C++ library {', '.join(state.libraries)}; nothing loads it here", ""
    bodies = state.tensorrt.facts.get("plugins") or {}
    if bodies:
        kinds = sorted(set(bodies.values()))
        return what, f"{', '.join(bodies)}: {' and '.join(kinds)}{in_c}", ""
    problem = state.tensorrt.facts.get("plugin_problem", "they do not register")
    return what, f"{problem}{in_c}", "pip install --force-reinstall 'acf-edge[tensorrt]'"
