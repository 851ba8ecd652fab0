"""A context of TensorRT at one size, and its CUDA graph.

TensorRT asks that a context be left alone once a graph was captured from it. So there is one
context for every size and slot, with its addresses set once; all of them share one working
memory, because they run one after the other on one stream. The graph saves the launches of
some dozens of kernels, most of a small frame's time. It is believed only after it gave the
very bytes that the plain way gives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from acf_edge.cuda.driver import CudaError, Stream
from acf_edge.cuda.graph import Graph
from acf_edge.engine.trt.engine_file import (
    CHANNELS,
    INPUT,
    OUTPUT,
    LoadedEngine,
    last_words,
    sizes_of,
)
from acf_edge.engine.trt.profiles import choose_profile
from acf_edge.engine.trt.rtx import new_context
from acf_edge.errors import AcfError, InputError

if TYPE_CHECKING:
    import tensorrt as trt

Queue = Callable[[Stream], None]
"""Queues work on a stream."""


class Binding:
    """A context that is set to one size.

    Args:
        engine: of which engine.
        size: ``(width, height)`` of the picture that goes in.
        scratch: GPU address of the engine's working memory.
        stream: where all work of the engine runs.
        before, after: work around the engine's (conversions), None = none.

    Attributes:
        runs: frames that were queued.
        graph: replays a frame; None = none yet, or none possible.
        plain: no graph is to be tried.

    Raises:
        InputError: no profile of the engine has this size, or the memory is not enough.
    """

    def __init__(
        self,
        engine: LoadedEngine,
        size: tuple[int, int],
        scratch: int,
        stream: Stream,
        *,
        before: Queue | None = None,
        after: Queue | None = None,
    ) -> None:
        self._engine, self._size = engine, size
        self._before, self._after = before, after
        self.runs = 0
        self.graph: Graph | None = None
        self.plain = False
        width, height = size
        profile = choose_profile(engine.profiles, width, height)
        context = new_context(engine.api, engine.engine, engine.jit)
        if context is None:
            raise InputError(
                f"There is not enough memory on the GPU for {engine.name} at {width}x{height} "
                f"({last_words(engine.api)}).",
                "Close what else uses the GPU, or build for smaller sizes.",
            )
        self._context: trt.IExecutionContext | None = context
        scale = engine.scale
        if engine.memory:
            context.set_device_memory(scratch, engine.memory)
        # Only where there is a choice: asking for it makes the next run set up all layers again.
        if len(engine.profiles) > 1:
            self._expect(context.set_optimization_profile_async(profile, stream.handle))
        self._expect(context.set_input_shape(INPUT, (1, height, width, CHANNELS)))
        try:
            missing = context.infer_shapes()
        except RuntimeError:
            # The bindings raise where TensorRT returns an error.
            missing = [OUTPUT]
        self._expect(not missing)
        found = sizes_of(context.get_tensor_shape(OUTPUT))
        if found != (1, height * scale, width * scale, CHANNELS):
            raise InputError(
                f"The engine {engine.name} makes {found} of a {width}x{height} picture, which is "
                f"not {scale} times as large.",
                "Build the bundle again.",
            )

    @property
    def context(self) -> trt.IExecutionContext:
        """TensorRT's context.

        Raises:
            ValueError: it was given back.
        """
        if self._context is None:
            raise ValueError("this context was given back")
        return self._context

    def bind(self, picture: int, enhanced: int) -> None:
        """Set the GPU addresses of both ends; aligned to 256 bytes."""
        self._expect(self.context.set_tensor_address(INPUT, picture))
        self._expect(self.context.set_tensor_address(OUTPUT, enhanced))

    def queue(self, stream: Stream) -> None:
        """Queue one frame: the graph if there is one, else :meth:`queue_plain`."""
        if self.graph is not None:
            self.runs += 1
            self.graph.launch(stream)
        else:
            self.queue_plain(stream)

    def queue_plain(self, stream: Stream) -> None:
        """Queue one frame, kernel by kernel.

        Raises:
            CudaError: the driver refused, or the context is lost.
            AcfError: TensorRT refused.
        """
        self.runs += 1
        if self._before is not None:
            self._before(stream)
        self._expect(self.context.execute_async_v3(stream.handle))
        if self._after is not None:
            self._after(stream)

    def capture(self, stream: Stream) -> str:
        """Try to capture a graph; nothing runs. Says why there is none, empty if there is.

        Raises:
            CudaError: the context is lost.
        """
        if self._engine.api.features.asks_capturable:
            # Not in the stubs, which are of an older version.
            ask: Callable[[int], bool] = getattr(self.context, "is_stream_capturable")  # noqa: B009
            if not ask(stream.handle):
                return "TensorRT says that it cannot be captured at this size"
        try:
            with Graph.capture(stream) as graph:
                self.queue_plain(stream)
        except CudaError as error:
            if error.sticky:
                raise
            return error.problem
        except AcfError as error:
            return error.problem
        graph.keep.append(self)
        self.graph = graph
        return ""

    def drop_graph(self) -> None:
        """From now on the plain way only. The graph's work is done."""
        self.plain = True
        if self.graph is not None:
            graph, self.graph = self.graph, None
            graph.keep.clear()
            graph.close()

    def close(self) -> None:
        """Give the context back, after its work is done. A second call does nothing."""
        self.drop_graph()
        self._context = None

    def _expect(self, done: bool) -> None:
        if done:
            return
        width, height = self._size
        raise AcfError(
            f"{self._engine.api.text} cannot run {self._engine.name} at {width}x{height}: "
            f"{last_words(self._engine.api)}",
            "Build the bundle again on this machine.",
        )


class BindingCache:
    """The sizes that were used last.

    Args:
        most: sizes that are kept; the one that was not used for the longest goes first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[object, dict[int, Binding]] = OrderedDict()

    def get(
        self, key: object, slot: int, make: Callable[[], Binding], idle: Callable[[], None]
    ) -> Binding:
        """The binding of a size and slot.

        Args:
            key: the size, and whatever else makes a difference.
            slot: number of the slot.
            make: makes one where none is kept.
            idle: waits until nothing runs on the GPU, before one is thrown away.
        """
        bindings = self._kept.get(key)
        if bindings is None:
            while len(self._kept) >= self._most:
                idle()
                _, old = self._kept.popitem(last=False)
                for binding in old.values():
                    binding.close()
            bindings = {}
        if slot not in bindings:
            bindings[slot] = make()
        # Kept only now: a size that does not fit leaves nothing behind.
        self._kept[key] = bindings
        self._kept.move_to_end(key)
        return bindings[slot]

    def __len__(self) -> int:
        return len(self._kept)

    def close(self) -> None:
        """Give all back, after their work is done."""
        while self._kept:
            _, bindings = self._kept.popitem()
            for binding in bindings.values():
                binding.close()
