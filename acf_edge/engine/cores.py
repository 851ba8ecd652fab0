"""How many processor cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


def usable_cores() -> int:
    """Physical cores that this process may use; >= 1.

    Honours CPU affinity and a container's CPU quota. Two hardware threads of
    one core count once: convolutions saturate a core with one thread.
    """
    cpus = usable_cpus()
    cores = {_siblings(cpu) for cpu in cpus}
    return max(1, min(len(cores), math.ceil(_quota(len(cores)))))


def usable_cpus() -> frozenset[int]:
    """Numbers of the logical CPUs that this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):
            return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    """A name for the physical core of ``cpu``; the number itself where none is told."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip() or str(cpu)
    except (OSError, ValueError):
        return str(cpu)


def _quota(otherwise: float) -> float:
    """CPUs' worth of time that the control group grants."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if limit != "max":
            return int(limit) / int(period)
        return otherwise
    with contextlib.suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup/cpu")
        limit = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        if int(limit) > 0:
            return int(limit) / int(period)
    return otherwise
