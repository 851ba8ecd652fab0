"""From a passport and the bytes of an engine to frames that can run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acf_edge.cuda.driver import CudaError, Device, open_device
from acf_edge.cuda.kernels import Kernels, load_kernels
from acf_edge.cuda.sources import kernel_hash
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.api import TrtApi, load_api
from acf_edge.engine.trt.buffers import SharedSlot
from acf_edge.engine.trt.engine_file import LoadedEngine, load_plan
from acf_edge.engine.trt.log import make_profiler
from acf_edge.engine.trt.pipeline import Pipeline
from acf_edge.engine.trt.portability import check_portable, describe_here
from acf_edge.engine.trt.profiler import LayerClock, layer_kinds
from acf_edge.files import cache_folder

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class Options:
    """How an engine runs.

    Attributes:
        ordinal: CUDA's number of the GPU.
        slots: frames that may be under way at once.
        graphs: replay frames as CUDA graphs.
        mapped: the GPU reads and writes the host's memory itself; None = where it is the same.
        spin: waiting burns a core and wakes sooner.
    """

    ordinal: int = 0
    slots: int = 2
    graphs: bool = True
    mapped: bool | None = None
    spin: bool = False


def open_plan(
    data: bytes | memoryview,
    passport: Passport,
    what: str,
    options: Options,
    *,
    shared: Sequence[SharedSlot] | None = None,
    profiled: bool = False,
) -> OpenEngine:
    """Check that an engine fits this machine, and get it ready.

    Args:
        data: bytes of the engine, whose hash is the passport's.
        passport: of the bundle.
        what: the bundle, for messages.
        options: how it runs.
        shared: memory for the frames of each slot, in and out; None = our own.
        profiled: record every layer.

    Raises:
        InputError: no GPU, no TensorRT, another GPU or TensorRT than the engine was built for,
            too little memory; says the way out.
        CudaError: the GPU failed.
    """
    device = open_device(options.ordinal)
    api = load_api(passport.backend)
    notes = _check(passport, api, device, what)
    if passport.plugin_hash is not None:
        from acf_edge.engine.trt.plugin import register

        register(api)
    digest = hashlib.sha256(data).hexdigest()
    jit_file = cache_folder() / "jit" / f"{digest[:32]}-sm{device.sm}" if api.is_rtx else None
    engine = load_plan(api, data, passport.name, passport.scale, jit_file)
    clock: LayerClock | None = None
    profiler: trt.IProfiler | None = None
    if profiled:
        clock = LayerClock(layer_kinds(engine))
        profiler = make_profiler(api.module, clock.add)
    pipeline = Pipeline(
        device,
        engine,
        slots=options.slots,
        shared=shared,
        mapped=options.mapped,
        graphs=options.graphs,
        spin=options.spin,
        profiler=profiler,
    )
    pipeline.notes += notes
    return OpenEngine(device, engine, pipeline, clock)


@dataclass
class OpenEngine:
    """What :func:`open_plan` gives.

    Attributes:
        device: the GPU.
        engine: TensorRT's engine.
        pipeline: what frames go through.
        clock: the layers' times; None where they are not recorded.
    """

    device: Device
    engine: LoadedEngine
    pipeline: Pipeline
    clock: LayerClock | None
    _kernels: Kernels | None = None

    def kernels(self) -> Kernels:
        """Our own kernels on this GPU; compiled and loaded at the first call.

        Raises:
            InputError: they cannot be compiled here; says why.
        """
        if self._kernels is None:
            self.device.make_current()
            self._kernels = load_kernels(self.device)
        return self._kernels

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        if self.engine.jit is not None:
            self.engine.jit.save()
        self.pipeline.close()
        if self._kernels is not None:
            with contextlib.suppress(CudaError):
                self._kernels.close()
            self._kernels = None


def _check(passport: Passport, api: TrtApi, device: Device, what: str) -> list[str]:
    plugin: str | None = None
    if passport.plugin_hash is not None:
        from acf_edge.engine.trt.plugin_fields import plugin_hash

        plugin = plugin_hash()
    machine = describe_here(
        api.kind,
        api.module.__version__,
        device,
        plugin_hash=plugin,
        kernel_hash=kernel_hash() if passport.kernel_hash is not None else None,
    )
    return [str(one) for one in check_portable(passport, machine, what)]
