"""A GPU with TensorRT, all of it made up: the stand-ins of both, tied together."""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_tensorrt
import numpy as np
from fake_cuda import Machine, installed
from fake_cuda_base import Refused
from fake_tensorrt import World
from fake_tensorrt_build import MAGIC
from toy_bundles import toy_ledger, toy_passport

from acf_edge.engine import Bundle, write_bundle
from acf_edge.engine.passport import InputProfile

VERSION = "10.3.0"
SCALE = 2
SMALL = InputProfile((4, 4), (16, 8), (32, 16))
LARGE = InputProfile((24, 12), (48, 24), (64, 32))


class PinningMachine(Machine):
    """Pins memory that exists already, too."""

    def cuMemHostRegister(self, address: int, size: int, flags: int) -> None:
        if size < 1 or flags & ~7:
            raise Refused("CUDA_ERROR_INVALID_VALUE")
        if self.memory.pinned(int(address), size) is not None:
            raise Refused("CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED")
        view = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        self.memory._pinned[int(address)] = view
        if flags & 2:
            self.memory.map(int(address))

    def cuMemHostUnregister(self, address: int) -> None:
        if self.memory._pinned.pop(int(address), None) is None:
            raise Refused("CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED")
        pointer = self.memory._mapped.pop(int(address), None)
        if pointer is not None:
            del self.memory._device[pointer]
            self.memory._starts.remove(pointer)


@dataclass
class Rig:
    """What a test may turn."""

    machine: PinningMachine
    world: World
    module: Any


def network(picture: np.ndarray) -> np.ndarray:
    """What the engine of the tests does: ``(N, H, W, 3)`` to twice the size, all pixels matter."""
    large = picture.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    rows = np.arange(large.shape[1], dtype=np.uint8)[None, :, None, None]
    return large ^ (rows * 7 + np.uint8(picture.astype(np.uint64).sum() % 251))


def expected(frame: np.ndarray) -> np.ndarray:
    """The enhanced picture of ``(H, W, 3)``."""
    return network(frame[None])[0]


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Noise, ``(H, W, 3)`` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def plan_bytes(
    profiles: tuple[InputProfile, ...] = (SMALL,),
    *,
    version: str = VERSION,
    rtx: bool = False,
    dtype: str = "UINT8",
    names: tuple[str, str] = ("image", "enhanced"),
    sm: str = "87",
    plugins: Sequence[dict[str, Any]] = (),
) -> bytes:
    """An engine as the stand-in writes it."""

    def shape(size: tuple[int, int]) -> list[int]:
        return [1, size[1], size[0], 3]

    triples = [[shape(p.minimum), shape(p.optimum), shape(p.maximum)] for p in profiles]
    content = {
        "rtx": rtx,
        "version": version,
        "sms": [sm],
        "compatible": 0,
        "flags": 2,
        "tensors": [
            {"name": names[0], "dtype": dtype, "shape": [-1, -1, -1, 3], "input": True},
            {"name": names[1], "dtype": dtype, "shape": [-1, -1, -1, 3], "input": False},
        ],
        "profiles": [{names[0]: triple} for triple in triples],
        "layers": [{"Name": "stem/Conv", "LayerType": "CaskConvolution"}, "junction"],
        "plugins": list(plugins),
    }
    return MAGIC + json.dumps(content).encode()


def write_trt_bundle(
    folder: Path,
    profiles: tuple[InputProfile, ...] = (SMALL,),
    plan: bytes | None = None,
    models: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Bundle:
    """A bundle for TensorRT around such an engine, with more files if there shall be any."""
    fields: dict[str, Any] = {
        "scale": SCALE,
        "precision": "fp16",
        "backend": "tensorrt",
        "target": "orin-nano",
        "sm": "87",
        "tensorrt_version": VERSION,
        "runtime": "tensorrt",
        "runtime_version": VERSION,
        "input_profiles": profiles,
        **changes,
    }
    data = plan_bytes(profiles) if plan is None else plan
    return write_bundle(
        folder, {"engine.plan": data, **(models or {})}, toy_passport(**fields), toy_ledger()
    )


@contextlib.contextmanager
def rig(
    order: str = "lazy", seed: int = 0, *, rtx: bool = False, version: str = VERSION, **gpu: Any
) -> Iterator[Rig]:
    """Install the stand-ins for the block."""
    machine = PinningMachine(order=order, seed=seed, **{"sm": "87", **gpu})
    world = World(sm="87", scale=SCALE, network=network)
    world.memory = machine.memory.view
    world.enqueue = lambda stream, work: machine.enqueue(stream, lambda memory: work(), "engine")
    world.capturing = lambda stream: machine._stream(stream).capture is not None
    module = fake_tensorrt.make(version, world, rtx=rtx)
    name = "tensorrt_rtx" if rtx else "tensorrt"
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with installed(machine):
            yield Rig(machine, world, module)
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
