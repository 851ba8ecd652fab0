"""Capture what is queued on a stream, and replay it with one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from acf_edge.cuda.driver import Stream


class Graph:
    """Work that was captured once and is launched often. Addresses are fixed at capture.

        with Graph.capture(stream) as graph:
            ...queue work on stream, and on streams that wait for it and are waited for...
        graph.launch(stream)

    Attributes:
        keep: objects that live as long as the graph (buffers whose addresses it holds).
    """

    def __init__(self) -> None:
        self.keep: list[object] = []

    @staticmethod
    @contextlib.contextmanager
    def capture(stream: Stream) -> Iterator[Graph]:
        """Capture what this thread queues on ``stream`` (nothing of it runs).

        The graph can be launched once the block has ended well. If the block
        raises, the capture is ended and thrown away.

        Raises:
            CudaError: something was called that cannot be captured, or a
                stream that took part was not joined again.
        """
        raise NotImplementedError
        yield Graph()

    def launch(self, stream: Stream | int) -> None:
        """Queue the whole graph."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the graph back, after its work is done. A second call does nothing."""
        raise NotImplementedError
