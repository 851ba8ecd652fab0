"""What a launch plan is: which kernels, on how many threads, with which arguments.

A plan depends on shapes alone, never on a device or an address, so it can be
made (and tested) anywhere. ``kernels/acf/plan.h`` makes the same in C++.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Scalar = np.int32 | np.int64 | np.float32


@dataclass(frozen=True)
class Pointer:
    """An argument that is an address: a named buffer, and bytes beyond its start.

    Attributes:
        name: ``"workspace"``, ``"output"`` or the name of one of the operator's inputs.
        offset: bytes, 0 at least.
    """

    name: str
    offset: int = 0


Arg = Pointer | Scalar
Dimensions = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """One kernel.

    Attributes:
        kernel: its ``extern "C"`` name.
        grid: blocks in x, y, z.
        block: threads in x, y, z.
        shared: dynamic shared memory in bytes.
        arguments: one per parameter of the kernel, in its order.
    """

    kernel: str
    grid: Dimensions
    block: Dimensions
    shared: int
    arguments: tuple[Arg, ...]

    def resolve(self, buffers: Mapping[str, int]) -> tuple[int | Scalar, ...]:
        """The arguments with addresses in place of names, as ``Kernels.launch`` takes them.

        Args:
            buffers: name -> device address.

        Raises:
            KeyError: a buffer that the kernel reads or writes is not named.
        """
        return tuple(
            buffers[argument.name] + argument.offset if isinstance(argument, Pointer) else argument
            for argument in self.arguments
        )


@dataclass(frozen=True)
class Plan:
    """Kernels that run one after the other on one stream.

    Attributes:
        workspace: bytes of scratch memory, aligned to 256; its contents need not be set and mean
            nothing afterwards.
        launches: in their order.
    """

    workspace: int
    launches: tuple[Launch, ...]

    @property
    def buffers(self) -> tuple[str, ...]:
        """The names that :meth:`Launch.resolve` needs, each once, sorted."""
        return tuple(
            sorted(
                {
                    argument.name
                    for launch in self.launches
                    for argument in launch.arguments
                    if isinstance(argument, Pointer)
                }
            )
        )
