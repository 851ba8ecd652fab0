"""What machine this is: the line under every measurement, and the doctor's first question."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from acf_edge.engine.cores import usable_cores, usable_cpus

# /proc/cpuinfo's flag -> what matters of it: the instructions that INT8 and bf16 run on.
_FLAGS: Final = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
_TIMEOUT: Final = 10.0


@dataclass(frozen=True)
class Machine:
    """A machine in a few words.

    Attributes:
        os: e.g. ``"Linux 6.8.0 (Ubuntu 24.04 LTS)"``.
        arch: ``"x86_64"``, ``"aarch64"`` ...
        cpu: the model's name.
        cores: physical cores that this process may use.
        cpus: logical CPUs that it may use.
        flags: instruction sets that matter here, as the kernel names them.
        memory_gib: of the machine; None where it is not told.
        python: version.
        gpus: one line per NVIDIA GPU: name, memory, driver.
        jetson: the board's model, None elsewhere.
        power_mode: of a Jetson, None elsewhere.
    """

    os: str
    arch: str
    cpu: str
    cores: int
    cpus: int
    flags: tuple[str, ...]
    memory_gib: float | None
    python: str
    gpus: tuple[str, ...]
    jetson: str | None
    power_mode: str | None

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"flags": list(self.flags), "gpus": list(self.gpus)}

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} core{'s' if self.cores != 1 else ''}, {self.arch}"


def describe_machine() -> Machine:
    """Describe this machine. Whatever cannot be found out is left out; it never raises."""
    info = _cpuinfo()
    jetson = _text(Path("/proc/device-tree/model")) or None
    if jetson is not None and not any(word in jetson for word in ("Jetson", "NVIDIA")):
        jetson = None
    return Machine(
        os=_os(),
        arch=platform.machine() or "unknown",
        cpu=_cpu(info),
        cores=usable_cores(),
        cpus=len(usable_cpus()),
        flags=tuple(flag for flag in _FLAGS if flag in _flags(info)),
        memory_gib=_memory(),
        python=platform.python_version(),
        gpus=_gpus(),
        jetson=jetson,
        power_mode=_power_mode() if jetson else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _os() -> str:
    name = f"{platform.system()} {platform.release()}".strip() or "unknown"
    with contextlib.suppress(OSError, AttributeError):
        pretty = platform.freedesktop_os_release().get("PRETTY_NAME")
        return f"{name} ({pretty})" if pretty else name
    return name


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields; empty where there is no such file."""
    fields: dict[str, str] = {}
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _cpu(info: dict[str, str]) -> str:
    for name in ("model name", "Model", "Hardware"):
        if info.get(name):
            return info[name]
    if "CPU part" in info:
        return f"CPU part {info['CPU part']} of implementer {info.get('CPU implementer', '?')}"
    return platform.processor() or platform.machine() or "unknown CPU"


def _flags(info: dict[str, str]) -> frozenset[str]:
    return frozenset(f"{info.get('flags', '')} {info.get('Features', '')}".split())


def _memory() -> float | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return round(total / 2**30, 1) if total > 0 else None
    return None


def _ask(*command: str) -> str:
    """The output of a command; empty if it is absent, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""


def _gpus() -> tuple[str, ...]:
    answer = _ask(
        "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"
    )
    return tuple(line.strip() for line in answer.splitlines() if line.strip())


def _power_mode() -> str | None:
    lines = _ask("nvpmodel", "-q").splitlines()
    if lines:
        return " ".join(lines[0].split())
    return _text(Path("/var/lib/nvpmodel/status")) or None
