"""From the bytes of a compiled engine to one that can be asked for contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acf_edge.engine.trt.api import TrtApi, create_runtime
from acf_edge.engine.trt.profiles import SizeProfile
from acf_edge.engine.trt.rtx import JitCache
from acf_edge.errors import AcfError, InputError

if TYPE_CHECKING:
    import tensorrt as trt

    from acf_edge.engine.trt.names import Module

INPUT: Final = "image"
OUTPUT: Final = "enhanced"
CHANNELS: Final = 3
_REBUILD: Final = "Build the bundle again with 'acf-edge build' on this machine."


@dataclass(frozen=True)
class LoadedEngine:
    """An engine that TensorRT has accepted.

    Attributes:
        api: what loaded it.
        runtime: TensorRT's runtime; outlives the engine.
        engine: TensorRT's engine.
        name: for messages.
        scale: up-sampling factor.
        profiles: sizes that it runs, in the order of TensorRT's optimization profiles.
        memory: bytes of working memory that a context needs, whatever the size.
        jit: what TensorRT-RTX made on this machine; None with TensorRT.
    """

    api: TrtApi
    runtime: trt.Runtime
    engine: trt.ICudaEngine
    name: str
    scale: int
    profiles: tuple[SizeProfile, ...]
    memory: int
    jit: JitCache | None = None

    @property
    def in_size(self) -> int:
        """Bytes of the largest frame that goes in."""
        return frame_room(self.profiles, 1)

    @property
    def out_size(self) -> int:
        """Bytes of the largest frame that comes out."""
        return frame_room(self.profiles, self.scale)


def frame_room(profiles: Sequence[SizeProfile], scale: int) -> int:
    """Bytes that the largest frame takes, ``scale`` times enlarged: as RGB, or as NV12, which
    is larger where a side is one pixel."""
    sizes = [(one.maximum[0] * scale, one.maximum[1] * scale) for one in profiles]
    return max(
        max(CHANNELS * width * height, (width + width % 2) * (height + (height + 1) // 2))
        for width, height in sizes
    )


def load_plan(
    api: TrtApi, data: bytes | memoryview, name: str, scale: int, jit_file: Path | None = None
) -> LoadedEngine:
    """Deserialize an engine. The CUDA context is current, plugins are registered.

    Args:
        api: TensorRT or TensorRT-RTX.
        data: bytes of the engine, verified: TensorRT does not check them.
        name: of the network, for messages.
        scale: up-sampling factor that the passport tells.
        jit_file: where TensorRT-RTX keeps what it makes on this machine; None = nowhere.

    Raises:
        InputError: TensorRT does not accept it, or its ends are not those of our engines.
    """
    try:
        runtime = create_runtime(api)
        engine = runtime.deserialize_cuda_engine(data)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{api.text} cannot load {name}: {error}", _REBUILD) from error
    if engine is None:
        raise InputError(f"{api.text} cannot load {name}: {last_words(api)}", _REBUILD)
    profiles = _check_ends(api.module, engine, name)
    memory = max(0, int(engine.device_memory_size_v2))
    jit = JitCache(engine, jit_file) if api.is_rtx else None
    return LoadedEngine(api, runtime, engine, name, scale, profiles, memory, jit)


def sizes_of(dims: trt.Dims) -> tuple[int, ...]:
    """TensorRT's sizes as plain numbers."""
    return tuple(int(dims[index]) for index in range(len(dims)))


def last_words(api: TrtApi) -> str:
    """What TensorRT said last of what went wrong, on one line."""
    return api.last_error() or "it does not say why"


def _check_ends(module: Module, engine: trt.ICudaEngine, name: str) -> tuple[SizeProfile, ...]:
    modes = module.TensorIOMode
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    ends = [(one, engine.get_tensor_mode(one), engine.get_tensor_dtype(one)) for one in names]
    byte = module.DataType.UINT8
    if sorted(names) != [OUTPUT, INPUT]:
        raise InputError(
            f"The engine {name} has the inputs and outputs {', '.join(names)}; ours have "
            f"'{INPUT}' and '{OUTPUT}'.",
            _REBUILD,
        )
    for one, mode, kind in ends:
        if kind != byte or mode != (modes.INPUT if one == INPUT else modes.OUTPUT):
            raise InputError(
                f"The engine {name} has '{one}' as {mode} of {kind}; an engine takes and gives "
                "uint8.",
                _REBUILD,
            )
    found = []
    for index in range(max(1, engine.num_optimization_profiles)):
        shapes = [sizes_of(shape) for shape in engine.get_tensor_profile_shape(INPUT, index)]
        if any(len(shape) != 4 or shape[3] != CHANNELS for shape in shapes) or len(shapes) != 3:
            raise InputError(
                f"The engine {name} has the input shapes {shapes}; ours have (N, H, W, 3).",
                _REBUILD,
            )
        if shapes[0][0] > 1:
            raise AcfError(f"The engine {name} takes no fewer than {shapes[0][0]} pictures.")
        low, best, high = ((shape[2], shape[1]) for shape in shapes)
        found.append(SizeProfile(low, best, high))
    return tuple(found)
