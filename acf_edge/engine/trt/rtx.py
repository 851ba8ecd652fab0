"""Contexts of TensorRT, and what TensorRT-RTX wants besides.

TensorRT-RTX finishes its kernels on the machine that runs them, when a size is first seen.
What it makes is kept in a cache of its own, which we keep in a file from run to run: a hint,
which TensorRT-RTX checks against machine and version, and we against damage.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acf_edge.errors import InputError
from acf_edge.files import atomic_path

if TYPE_CHECKING:
    import tensorrt as trt

    from acf_edge.engine.trt.api import TrtApi

_DIGEST: Final = 32
_LARGEST: Final = 256 << 20


class JitCache:
    """The kernels that TensorRT-RTX made for one engine.

    Args:
        engine: TensorRT's engine.
        file: where they are kept; None = nowhere. Not being able to read or write it costs
            time at the next start, nothing else.
    """

    def __init__(self, engine: Any, file: Path | None) -> None:
        self._file = file
        self._digest = b""
        self.cache: Any = engine.create_runtime_config().create_runtime_cache()
        with contextlib.suppress(OSError):
            if file is not None and file.stat().st_size <= _LARGEST:
                kept = file.read_bytes()
                digest, blob = kept[:_DIGEST], kept[_DIGEST:]
                if hashlib.sha256(blob).digest() == digest and self.cache.deserialize(blob):
                    self._digest = digest

    def save(self) -> None:
        """Write the file if anything came to it."""
        if self._file is None:
            return
        blob = self.cache.serialize()
        if blob is None:
            return
        content = bytes(blob)
        digest = hashlib.sha256(content).digest()
        if digest == self._digest or len(content) > _LARGEST:
            return
        with contextlib.suppress(InputError), atomic_path(self._file) as temporary:
            temporary.write_bytes(digest + content)
            self._digest = digest


def new_context(
    api: TrtApi, engine: trt.ICudaEngine, jit: JitCache | None
) -> trt.IExecutionContext | None:
    """A context of TensorRT whose working memory we give; None if there is no memory for it."""
    ours = api.module.ExecutionContextAllocationStrategy.USER_MANAGED
    if not api.is_rtx:
        return engine.create_execution_context(ours)
    # The stubs are of the classic module: what TensorRT-RTX has besides is not in them.
    module: Any = api.module
    rtx: Any = engine
    config: Any = rtx.create_runtime_config()
    config.set_execution_context_allocation_strategy(ours)
    # A kernel that is exchanged in the background later would make a captured graph another
    # one than what was compared; we would rather wait at the first frame of a size.
    config.dynamic_shapes_kernel_specialization_strategy = (
        module.DynamicShapesKernelSpecializationStrategy.EAGER
    )
    config.cuda_graph_strategy = module.CudaGraphStrategy.DISABLED
    if jit is not None:
        config.set_runtime_cache(jit.cache)
    made: trt.IExecutionContext | None = rtx.create_execution_context(config)
    return made
