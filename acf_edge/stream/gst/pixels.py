"""Between GStreamer's buffers and our frames: rows are copied, never computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import Colour, blank_left_sited, decode_rgb
from acf_edge.stream.gst.caps import PixelFormat

Rows = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the planes of a picture lie in a buffer.

    Attributes:
        size: of the whole buffer in bytes.
        offsets: of the planes' first bytes.
        strides: bytes from row to row.
    """

    size: int
    offsets: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, described: Any, size: int) -> Layout:
        """Read a ``GstVideoInfo`` or a ``GstVideoMeta``."""
        return cls(size, tuple(described.offset), tuple(described.stride))


def _planes(
    pixel_format: PixelFormat, frame: VideoFrame, data: Any, layout: Layout
) -> Iterator[tuple[Rows, Rows]]:
    """Each plane twice: as rows of the frame and as rows of the buffer."""
    for index, shape in enumerate(pixel_format.planes):
        row, rows = shape.extent(frame.width, frame.height)
        plane = frame.planes[index]
        inside: Rows = np.ndarray(
            (rows, row), np.uint8, memoryview(plane), strides=(plane.line_size, 1)
        )
        outside: Rows = np.ndarray(
            (rows, row), np.uint8, data, layout.offsets[index], (layout.strides[index], 1)
        )
        yield inside, outside


class Unpacker:
    """Turns buffers of one format and size into RGB.

    Args:
        pixel_format: of the buffers.
        size: ``(width, height)``.
        centred: chroma lies between the columns (JPEG) and not on them (H.264).
    """

    def __init__(self, pixel_format: PixelFormat, size: tuple[int, int], centred: bool) -> None:
        self._format = pixel_format
        self._reformatter = VideoReformatter()
        if pixel_format.subsampled and not centred:
            self._canvas = blank_left_sited(*size, pixel_format.av)
        else:
            self._canvas = VideoFrame(*size, pixel_format.av)

    def rgb(self, data: bytes, layout: Layout, colour: Colour) -> Uint8Image:
        """Decode one buffer.

        Args:
            data: the whole buffer.
            layout: where its planes lie.
            colour: how to read it; nothing in it may be untagged.

        Returns:
            ``(H, W, 3)`` uint8 RGB, full range, C-contiguous, a copy.

        Raises:
            ValueError: the buffer is too short for the picture.
        """
        try:
            for inside, outside in _planes(self._format, self._canvas, data, layout):
                if self._format.av == "rgb24":
                    return outside.reshape(self._canvas.height, -1, 3).copy()
                inside[:] = outside
        except TypeError as error:  # what NumPy says of a short buffer
            raise ValueError("a buffer is too short for its picture") from error
        return decode_rgb(self._reformatter, self._canvas, colour)


class Packer:
    """Lays out frames of one format and size as GStreamer expects them.

    Args:
        pixel_format: of the frames.
        layout: where their planes shall lie.
    """

    def __init__(self, pixel_format: PixelFormat, layout: Layout) -> None:
        self._format = pixel_format
        self._layout = layout
        self._data = bytearray(layout.size)

    def pack(self, frame: VideoFrame) -> bytes:
        """Return the bytes of a buffer."""
        for inside, outside in _planes(self._format, frame, self._data, self._layout):
            outside[:] = inside
        return bytes(self._data)
