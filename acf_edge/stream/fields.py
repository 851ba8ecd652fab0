"""Whole pictures out of interlaced ones."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.error import BlockingIOError as TryAgain
from av.error import EOFError as EndOfGraph
from av.filter.graph import Graph
from av.video.frame import VideoFrame

OFF, ON, AUTO = "off", "on", "auto"
REBUILT = "the video is interlaced; whole pictures were rebuilt from its fields"


class Deinterlacer:
    """Rebuilds pictures from their fields (FFmpeg's bwdif), as many as there were.

    It holds back one picture, since it looks at the neighbours in time.

    Args:
        mode: ``"off"``; ``"on"`` takes every picture for interlaced; ``"auto"`` those
            that are marked so, from the first of them on.

    Attributes:
        used: pictures went through the filter.
    """

    def __init__(self, mode: str) -> None:
        self.used = False
        self._mode = mode
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str, Fraction | None] | None = None

    def push(self, picture: VideoFrame) -> Iterator[VideoFrame]:
        """Give one picture, get those that are ready."""
        if self._mode == OFF:
            yield picture
            return
        if self._graph is None and self._mode == AUTO and not picture.interlaced_frame:
            yield picture
            return
        shape = (picture.width, picture.height, picture.format.name, picture.time_base)
        if self._shape != shape:
            yield from self.flush()
            self._graph = self._build(shape)
            self._shape = shape
        self.used = True
        assert self._graph is not None
        self._graph.vpush(picture)
        yield from self._pull()

    def flush(self) -> Iterator[VideoFrame]:
        """What was held back, at the end."""
        if self._graph is None:
            return
        self._graph.vpush(None)
        yield from self._pull()
        self._graph = self._shape = None

    def _build(self, shape: tuple[int, int, str, Fraction | None]) -> Graph:
        width, height, name, time_base = shape
        graph = Graph()
        source = graph.add(
            "buffer",
            video_size=f"{width}x{height}",
            pix_fmt=name,
            time_base=str(time_base or Fraction(1, 90000)),
        )
        which = "interlaced" if self._mode == AUTO else "all"
        whole = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
        graph.link_nodes(source, whole, graph.add("buffersink")).configure()
        return graph

    def _pull(self) -> Iterator[VideoFrame]:
        assert self._graph is not None and self._shape is not None
        unit = self._shape[3]
        while True:
            try:
                picture = self._graph.vpull()
            except (TryAgain, EndOfGraph):
                return
            # The filter counts in half units, so that it could put a picture between two.
            if picture.pts is not None and picture.time_base and unit:
                share = picture.time_base / unit
                picture.pts = round(picture.pts * share)
                picture.duration = round((picture.duration or 0) * share)
                picture.time_base = unit
            yield picture
