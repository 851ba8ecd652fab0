"""Run the very ``kernels/*.cu`` on the host: blocks, threads, barriers, shuffles, shared memory.

    kernels = build_kernels(("channel_means.cu", "junction_vote.cu"))
    with Buffers(kernels) as buffers:
        features = buffers.put("features", array)
        output = buffers.new("output", shape, np.float16)
        kernels.run(plan, buffers)
    output.array

Every access outside a buffer, every misaligned one, a barrier that not all threads reach, and every
byte written beside a buffer raises :class:`HostError`.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from acf_edge.cuda.plan import Launch, Plan
from acf_edge.resources import data_folder

Array = npt.NDArray[Any]

FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-ffp-contract=off",
    # No library of a sanitizer: an instruction that traps, and the launch says so.
    "-fsanitize=alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero",
    "-fsanitize-undefined-trap-on-error",
)
KERNEL = re.compile(r'extern\s+"C"\s+__attribute__\(\(used\)\)\s+void\s+(\w+)\s*\(')


class HostError(AssertionError):
    """A kernel did what no kernel may do."""


@dataclass(frozen=True)
class Traffic:
    """What 16-byte accesses moved. ``asked``: bytes; ``moved``: bytes of the 32-byte sectors
    that each warp's requests touched."""

    read_asked: int
    read_moved: int
    write_asked: int
    write_moved: int

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.read_asked + other.read_asked,
            self.read_moved + other.read_moved,
            self.write_asked + other.write_asked,
            self.write_moved + other.write_moved,
        )


class HostKernels:
    """Kernels compiled for the host.

    Attributes:
        names: of the kernels, sorted.
    """

    def __init__(self, library: Path, names: tuple[str, ...]) -> None:
        self.names = names
        self.library = ctypes.CDLL(str(library))
        self.library.acf_host_take.restype = ctypes.c_void_p
        self.library.acf_host_spoilt.restype = ctypes.c_longlong

    def launch(
        self,
        launch: Launch,
        buffers: Buffers,
        order: int = 0,
        only: tuple[int, int, int] | None = None,
    ) -> Traffic:
        """Run one kernel over buffers.

        Args:
            order: in which threads and blocks run: 0 up, 1 down, others are seeds; but for 0,
                one warp of each block lags behind as far as barriers allow.
            only: the one block that runs, of a grid too large for a host.

        Raises:
            HostError: see the module.
        """
        arguments = launch.resolve(buffers.addresses)
        values = [
            np.array(argument, np.uint64 if isinstance(argument, int) else argument.dtype)
            for argument in arguments
        ]
        count = len(values)
        text = ctypes.create_string_buffer(600)
        failed = self.library.acf_host_launch_block(
            launch.kernel.encode(),
            (ctypes.c_uint * 3)(*launch.grid),
            (ctypes.c_uint * 3)(*launch.block),
            None if only is None else (ctypes.c_uint * 3)(*only),
            (ctypes.c_void_p * count)(*[value.ctypes.data for value in values]),
            (ctypes.c_int * count)(*[value.itemsize for value in values]),
            count,
            launch.shared,
            order,
            text,
            len(text),
        )
        if failed:
            raise HostError(text.value.decode())
        buffers.check(launch.kernel)
        four = (ctypes.c_ulonglong * 4)()
        self.library.acf_host_traffic(four)
        return Traffic(*four)

    def run(self, plan: Plan, buffers: Buffers, order: int = 0) -> list[Traffic]:
        """Run a plan; a workspace of its size is made, full of rubbish."""
        buffers.new("workspace", (plan.workspace,), np.uint8)
        return [self.launch(launch, buffers, order) for launch in plan.launches]


@dataclass
class Buffer:
    """Memory between two pages that nobody may touch."""

    array: Array
    address: int
    base: int
    whole: int


class Buffers:
    """Named buffers.

    Args:
        front: the guarded page lies before the data instead of behind it.
        skew: bytes by which every buffer (but the workspace) is off a border of 16.
    """

    def __init__(self, kernels: HostKernels, front: bool = False, skew: int = 0) -> None:
        self._library = kernels.library
        self._front = front
        self._skew = skew
        self._taken: dict[str, Buffer] = {}
        self._lent: dict[str, int] = {}

    @property
    def addresses(self) -> dict[str, int]:
        return {**self._lent, **{name: taken.address for name, taken in self._taken.items()}}

    def new(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> Buffer:
        """A buffer of rubbish (a NaN where the dtype has one)."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        skew = 0 if name == "workspace" else self._skew
        base, whole = ctypes.c_void_p(), ctypes.c_longlong()
        address = self._library.acf_host_take(
            ctypes.c_longlong(size), skew, int(self._front), ctypes.byref(base), ctypes.byref(whole)
        )
        assert address and base.value
        memory = (ctypes.c_ubyte * size).from_address(address)
        array: Array = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self._taken[name] = Buffer(array, address, base.value, whole.value)
        return self._taken[name]

    def lend(self, name: str, address: int) -> None:
        """A buffer that is somebody else's: nobody guards it."""
        self._lent[name] = address

    def put(self, name: str, values: Array) -> Buffer:
        """A buffer with these values, in their order in memory."""
        buffer = self.new(name, values.shape, values.dtype)
        buffer.array[...] = values
        return buffer

    def check(self, who: str) -> None:
        """Raise where somebody wrote beside a buffer."""
        for name, buffer in self._taken.items():
            spoilt = self._library.acf_host_spoilt(
                ctypes.c_void_p(buffer.base),
                ctypes.c_longlong(buffer.whole),
                ctypes.c_void_p(buffer.address),
                ctypes.c_longlong(buffer.array.nbytes),
            )
            if spoilt:
                raise HostError(f"{who}: {spoilt} bytes beside '{name}' were overwritten")

    def __enter__(self) -> Buffers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for buffer in self._taken.values():
            buffer.array = buffer.array.copy()
            self._library.acf_host_give_back(
                ctypes.c_void_p(buffer.base), ctypes.c_longlong(buffer.whole)
            )


@functools.cache
def build_kernels(files: tuple[str, ...], source: str = "") -> HostKernels:
    """Compile these of ``kernels/`` (and ``source`` after them) for the host.

    Once per process. Skips the test where there is no g++ or no Linux.
    """
    compiler = shutil.which("g++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("runs the kernels on the host: needs g++ and Linux")
    folder = data_folder("kernels")
    text = "".join(f'#include "{name}"\n' for name in files) + source
    unit = f'#include "host/cuda.h"\n{text}\n'
    command = [compiler, "-std=c++17", "-I", str(folder), "-x", "c++", "-"]
    plain = _run([*command, "-E", "-P"], unit)
    names = tuple(sorted(set(KERNEL.findall(plain))))
    rows = "".join(f"ACF_HOST_KERNEL({name}),\n" for name in names)
    unit += f"const acf::host::Kernel acf::host::kernels[] = {{\n{rows}}};\n"
    unit += f"const int acf::host::kernel_count = {len(names)};\n"
    unit += '#include "host/emulate.cpp"\n'
    folder_made = tempfile.mkdtemp(prefix="acf-host-kernels-")
    atexit.register(shutil.rmtree, folder_made, ignore_errors=True)
    library = Path(folder_made) / "kernels.so"
    _run([compiler, *FLAGS, "-I", str(folder), "-x", "c++", "-", "-o", str(library)], unit)
    return HostKernels(library, names)


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
