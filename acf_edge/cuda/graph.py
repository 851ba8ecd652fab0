"""Capture what is queued on a stream, and replay it with one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from acf_edge.cuda.driver import CudaError, Stream, binding, call, handle_of, status_of


class Graph:
    """Work that was captured once and is launched often. Addresses are fixed at capture::

        with Graph.capture(stream) as graph:
            ...  # queue on stream, and on streams that wait for it and are waited for
        graph.launch(stream)

    One graph runs once at a time: a launch waits for the one before it, whatever the stream.

    Attributes:
        keep: objects that live as long as the graph (buffers whose addresses it holds).
        nodes: how many pieces of work were captured.
    """

    def __init__(self) -> None:
        self.keep: list[object] = []
        self.nodes = 0
        self._runnable = 0

    @staticmethod
    @contextlib.contextmanager
    def capture(stream: Stream | int) -> Iterator[Graph]:
        """Capture what this thread queues on ``stream`` (nothing of it runs).

        The graph can be launched once the block has ended well. If the block
        raises, the capture is ended and thrown away, and the stream can be used again.

        Raises:
            CudaError: something was called that cannot be captured, or a
                stream that took part was not joined again.
        """
        handle = handle_of(stream)
        graph = Graph()
        # Other threads may allocate meanwhile: engines share the GPU.
        mode = binding().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        call("cuStreamBeginCapture", handle, mode)
        try:
            yield graph
        except BaseException:
            _throw_away(handle)
            raise
        captured = call("cuStreamEndCapture", handle)
        try:
            # The first result is an empty list: no nodes were asked for, only their number.
            _, graph.nodes = call("cuGraphGetNodes", captured, 0)
            graph._runnable = int(call("cuGraphInstantiate", captured, 0))
        finally:
            call("cuGraphDestroy", captured)

    def launch(self, stream: Stream | int) -> None:
        """Queue the whole graph.

        Raises:
            ValueError: the capture did not end well, or the graph is closed.
        """
        if not self._runnable:
            raise ValueError("this graph holds nothing that could be launched")
        call("cuGraphLaunch", self._runnable, handle_of(stream))

    def close(self) -> None:
        """Give the graph back, after its work is done. A second call does nothing."""
        if self._runnable:
            runnable, self._runnable = self._runnable, 0
            self.keep.clear()
            call("cuGraphExecDestroy", runnable)


@contextlib.contextmanager
def beside_captures() -> Iterator[None]:
    """What this thread calls in the block may allocate and load, though it captures meanwhile.

    It becomes no part of the capture. TensorRT captures while it times a plugin.
    """
    kinds = binding().CUstreamCaptureMode
    before = call("cuThreadExchangeStreamCaptureMode", kinds.CU_STREAM_CAPTURE_MODE_RELAXED)
    try:
        yield
    finally:
        call("cuThreadExchangeStreamCaptureMode", before)


def _throw_away(handle: int) -> None:
    """End a capture that failed; what made it fail is what the caller wants to hear."""
    with contextlib.suppress(CudaError):
        word, captured = status_of("cuStreamEndCapture", handle)
        if word == "CUDA_SUCCESS":
            status_of("cuGraphDestroy", captured)
