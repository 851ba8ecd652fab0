"""What a cubin holds: its kernels, what each takes, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What one thread (or one block) of a kernel costs.

    Args:
        registers: 32-bit registers of one thread.
        shared: static shared memory of one block, in bytes.
        local: stack frame of one thread, in bytes (spills, and arrays that are
            indexed at run time).
        spill_stores: bytes that one thread stores because registers ran out.
        spill_loads: bytes that one thread loads back.
        parameters: sizes of the kernel's parameters in bytes, in their order.
    """

    registers: int
    shared: int
    local: int
    spill_stores: int
    spill_loads: int
    parameters: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cubin:
    """Machine code for one SM.

    Args:
        sm: compute capability without its dot, e.g. ``"87"``.
        image: the ELF file that the driver loads.
        kernels: name -> what it costs.
        compiler: e.g. ``"NVRTC 13.5"``.
    """

    sm: str
    image: bytes
    kernels: Mapping[str, Resources]
    compiler: str
