"""A GPU for the kernel benchmark: buffers by name, our launches as graphs, times by events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.cuda import (
    DeviceBuffer,
    Event,
    Graph,
    HostBuffer,
    Stream,
    copy_device,
    copy_in,
    copy_out,
    fill,
    load_kernels,
    open_device,
)
from acf_edge.cuda.driver import binding, call
from acf_edge.cuda.plan import Plan
from benchmarks.kernels_subjects import Subject

Array = npt.NDArray[Any]
_L2_CACHE_SIZE = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
_CHUNK = 64 << 20
_NOISE = 0xFF  # NaN in FP16 and FP32: what nobody wrote shows


@dataclass(frozen=True)
class Loaded:
    """A subject on the GPU.

    Attributes:
        subject: what it is.
        addresses: of every buffer of its plan, by name.
    """

    subject: Subject
    addresses: Mapping[str, int]


class Board:
    """The GPU, its kernels and one stream.

    Args:
        ordinal: which GPU.

    Raises:
        InputError: no driver, no GPU, no compiler; says the way out.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.device = open_device(ordinal)
        self.kernels = load_kernels(self.device)
        self.stream = Stream()
        kind = binding().CUdevice_attribute(_L2_CACHE_SIZE)
        self.cache = int(call("cuDeviceGetAttribute", kind, ordinal))
        self._held: list[DeviceBuffer] = []
        self._graphs: list[Graph] = []

    def load(self, subject: Subject) -> Loaded:
        """Place a subject's inputs; outputs and workspace hold noise."""
        addresses = {}
        for name, array in subject.inputs.items():
            addresses[name] = self._new(array.nbytes)
            self._put(addresses[name], np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        sizes = dict(subject.outputs)
        if subject.plan.workspace:
            sizes["workspace"] = subject.plan.workspace
        for name, size in sizes.items():
            addresses[name] = self._new(size)
            fill(addresses[name], _NOISE, size, self.stream)
        return Loaded(subject, addresses)

    def launch(self, loaded: Loaded) -> None:
        """Queue our kernels."""
        plan: Plan = loaded.subject.plan
        for step in plan.launches:
            arguments = step.resolve(loaded.addresses)
            self.kernels.launch(
                step.kernel, step.grid, step.block, arguments, step.shared, self.stream
            )

    def results(self, loaded: Loaded) -> dict[str, Array]:
        """The bytes of the outputs, once everything that was queued is done."""
        return {
            name: self._get(loaded.addresses[name], size)
            for name, size in loaded.subject.outputs.items()
        }

    def captured(self, loaded: list[Loaded], calls: int) -> Callable[[], None]:
        """Our launches for ``calls`` calls, one set of buffers after the other, as one graph."""
        with Graph.capture(self.stream) as graph:
            for index in range(calls):
                self.launch(loaded[index % len(loaded)])
        self._graphs.append(graph)
        return lambda: graph.launch(self.stream)

    def clear(self) -> None:
        """Give back all buffers and graphs, after what is queued."""
        self.stream.synchronize()
        for graph in self._graphs:
            graph.close()
        self._graphs.clear()
        for buffer in self._held:
            buffer.close()
        self._held.clear()

    def close(self) -> None:
        """Give everything back."""
        self.clear()
        self.kernels.close()
        self.stream.close()

    def times(
        self, bodies: Mapping[str, Callable[[], None]], rounds: int, warm_up: int = 3
    ) -> dict[str, list[float]]:
        """Milliseconds of each body in each round; they take turns, and begin in turns.

        Args:
            bodies: name -> queues its work on the board's stream.
            rounds: how often each is timed.
            warm_up: rounds before that are not counted.
        """
        names = list(bodies)
        samples: dict[str, list[float]] = {name: [] for name in names}
        start, stop = Event(timing=True), Event(timing=True)
        for number in range(-warm_up, rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                start.record(self.stream)
                bodies[name]()
                stop.record(self.stream)
                stop.synchronize()
                if number >= 0:
                    samples[name].append(stop.elapsed_ms(start))
        start.close()
        stop.close()
        return samples

    def copy_bandwidth(self, rounds: int = 20) -> float:
        """Bytes per second, read and written, of the driver's own copy between two buffers."""
        # Far beyond the cache, and not more than a fourth of what is free.
        size = max(1 << 20, min(max(16 * self.cache, 256 << 20), self.device.free_memory() // 4))
        source, target = self._new(size), self._new(size)
        fill(source, 1, size, self.stream)
        times = self.times({"copy": lambda: copy_device(target, source, size, self.stream)}, rounds)
        self.clear()
        return 2 * size / (float(np.median(times["copy"])) / 1000)

    def _new(self, size: int) -> int:
        self._held.append(DeviceBuffer(max(1, size)))
        return self._held[-1].pointer

    def _put(self, address: int, values: Array) -> None:
        host = HostBuffer(max(1, min(_CHUNK, values.size)))
        for first in range(0, values.size, _CHUNK):
            part = values[first : first + _CHUNK]
            host.array[: part.size] = part
            copy_in(address + first, host, part.size, self.stream)
            self.stream.synchronize()
        host.close()

    def _get(self, address: int, size: int) -> Array:
        values = np.empty(size, np.uint8)
        host = HostBuffer(max(1, min(_CHUNK, size)))
        for first in range(0, size, _CHUNK):
            count = min(_CHUNK, size - first)
            copy_out(host, address + first, count, self.stream)
            self.stream.synchronize()
            values[first : first + count] = host.array[:count]
        host.close()
        return values
