"""What a cubin holds: its kernels, what each takes, and what each costs.

A cubin is an ELF file. Registers, stack frames and parameters stand in its
``.nv.info`` sections; spills stand nowhere but in ptxas' log, so both are read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

# Attributes of .nv.info, as cuobjdump -elf names them: EIATTR_...
_FRAME_SIZE = 0x11
_PARAMETER = 0x17
_REGISTERS = 0x2F
_SIZED = 4  # the format whose payload follows the length; all others are four bytes long


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

    @property
    def spills(self) -> bool:
        """Whether registers ran out."""
        return self.spill_stores > 0 or self.spill_loads > 0


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


class BadCubinError(ValueError):
    """The bytes are no cubin, or are cut off."""


def read_kernels(image: bytes) -> dict[str, Resources]:
    """The kernels of a cubin, from the ELF alone.

    Spills are 0: the file does not tell them. ``shared`` includes what the
    system reserves on SM 90 and later (1 KiB).

    Raises:
        BadCubinError: ``image`` is not a whole cubin.
    """
    try:
        return _read(image)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise BadCubinError(f"no cubin, or a damaged one: {error}") from error


def _read(image: bytes) -> dict[str, Resources]:
    if image[:5] != b"\x7fELF\x02":
        raise BadCubinError("not a 64-bit ELF file")
    sections = list(_sections(image))
    named = {name: (kind, offset, size) for name, kind, offset, size in sections}
    symbols = _symbols(image, named)
    registers: dict[str, int] = {}
    frames: dict[str, int] = {}
    for attribute, payload in _attributes(image, named.get(".nv.info")):
        if attribute in (_REGISTERS, _FRAME_SIZE):
            symbol, value = struct.unpack("<II", payload)
            (registers if attribute == _REGISTERS else frames)[symbols[symbol]] = value
    found = {}
    for name in named:
        if not name.startswith(".nv.info."):
            continue
        kernel = name[len(".nv.info.") :]
        parameters: dict[int, int] = {}
        for attribute, payload in _attributes(image, named[name]):
            if attribute == _PARAMETER:
                _, ordinal, _, packed = struct.unpack("<IHHI", payload)
                parameters[ordinal] = packed >> 18
        found[kernel] = Resources(
            registers=registers.get(kernel, 0),
            shared=named.get(f".nv.shared.{kernel}", (0, 0, 0))[2],
            local=frames.get(kernel, 0),
            spill_stores=0,
            spill_loads=0,
            parameters=tuple(size for _, size in sorted(parameters.items())),
        )
    return found


def _sections(image: bytes) -> Iterator[tuple[str, int, int, int]]:
    (table,) = struct.unpack_from("<Q", image, 40)
    count, names_at = struct.unpack_from("<HH", image, 60)
    rows = [struct.unpack_from("<IIQQQQIIQQ", image, table + 64 * row) for row in range(count)]
    names = rows[names_at][4]
    for row in rows:
        kind, offset, size = row[1], row[4], row[5]
        if kind != 8 and offset + size > len(image):  # 8: takes no place in the file
            raise BadCubinError("cut off")
        yield _text(image, names + row[0]), kind, offset, size


def _symbols(image: bytes, named: Mapping[str, tuple[int, int, int]]) -> list[str]:
    _, offset, size = named.get(".symtab", (0, 0, 0))
    strings = named.get(".strtab", (0, 0, 0))[1]
    starts = range(offset, offset + size, 24)
    return [_text(image, strings + struct.unpack_from("<I", image, at)[0]) for at in starts]


def _attributes(image: bytes, section: tuple[int, int, int] | None) -> Iterator[tuple[int, bytes]]:
    if section is None:
        return
    _, at, size = section
    end = at + size
    while at < end:
        form, attribute, length = struct.unpack_from("<BBH", image, at)
        at += 4
        if form == _SIZED:
            yield attribute, image[at : at + length]
            at += length


def _text(image: bytes, at: int) -> str:
    return image[at : image.index(b"\0", at)].decode()


_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+)(?:\+\d+)? bytes smem")


def with_log(kernels: Mapping[str, Resources], log: str) -> dict[str, Resources]:
    """Complete what :func:`read_kernels` read by what ``ptxas -v`` printed.

    What functions that were not inlined spill is counted to the kernel that
    ptxas compiled them with.

    Raises:
        ValueError: the log does not speak of one of the kernels.
    """
    complete = {}
    for part in re.split(r"(?=Compiling entry function ')", log):
        entry = _ENTRY.search(part)
        if entry is None or entry[1] not in kernels:
            continue
        frames = [tuple(map(int, found)) for found in _SPILLS.findall(part)]
        used = _USED.search(part)
        if not frames or used is None:
            raise ValueError(f"ptxas does not say what '{entry[1]}' costs: {part!r}")
        shared = _SHARED.search(part)
        complete[entry[1]] = replace(
            kernels[entry[1]],
            registers=int(used[1]),
            shared=int(shared[1]) if shared else 0,
            local=max(kernels[entry[1]].local, sum(frame[0] for frame in frames)),
            spill_stores=sum(frame[1] for frame in frames),
            spill_loads=sum(frame[2] for frame in frames),
        )
    missing = sorted(set(kernels) - set(complete))
    if missing:
        raise ValueError(f"ptxas' log lacks {', '.join(missing)}")
    return {name: complete[name] for name in sorted(complete)}
