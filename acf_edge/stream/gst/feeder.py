"""Pictures into an appsrc: as YUV, with caps that say which."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from acf_edge.engine.protocol import Uint8Image
from acf_edge.stream.colour import YuvWriter, output_colour
from acf_edge.stream.frame import Frame
from acf_edge.stream.gst.caps import FORMATS, raw_caps
from acf_edge.stream.gst.load import Gstreamer
from acf_edge.stream.gst.pixels import Layout, Packer
from acf_edge.stream.gst.samples import video_info
from acf_edge.stream.protocols import StreamInfo
from acf_edge.stream.sinks.fit import letterbox

SOURCE = "acf_src"
_NANO = 1_000_000_000


def appsrc(live: bool) -> str:
    """The element that pipelines of sinks begin with."""
    return f"appsrc name={SOURCE} format=time is-live={'true' if live else 'false'} max-bytes=0"


class Feeder:
    """Makes buffers of one size and colour for one stream.

    Args:
        gstreamer: loaded.
        info: of the source.
        size: ``(width, height)`` of the pictures; others are fitted into it.
        even: repeat the last column or row where a side is odd, for encoders that
            know 4:2:0 alone; otherwise such pictures become 4:4:4.

    Attributes:
        size: of the buffers.
        rate: nominal frames per second.
        caps: as text.
    """

    def __init__(
        self, gstreamer: Gstreamer, info: StreamInfo, size: tuple[int, int], *, even: bool = False
    ) -> None:
        self._gst = gstreamer.Gst
        self._inner = size
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2) if even else size
        odd = self.size[0] % 2 or self.size[1] % 2
        pixel_format = FORMATS["Y444" if odd else "I420"]
        colour = output_colour(info.tags, info.colour, *size)
        self.rate = info.rate
        self.caps = raw_caps(pixel_format.gst, self.size, info.rate, colour, info.aspect)
        self._caps = self._gst.Caps.from_string(self.caps)
        described = video_info(gstreamer, self._caps)
        layout = Layout.of(described, int(described.size))
        self._bytes = layout.size
        self._packer = Packer(pixel_format, layout)
        self._writer = YuvWriter(*self.size, colour, pixel_format.av)
        self._nominal = round(_NANO / info.rate)

    def attach(self, source: Any) -> None:
        """Tell an appsrc what it will get."""
        source.set_property("caps", self._caps)

    def room(self, source: Any, frames: int) -> bool:
        """Whether fewer than ``frames`` pictures wait in an appsrc."""
        return int(source.get_current_level_bytes()) < frames * self._bytes

    def buffer(self, frame: Frame, stamp: int) -> Any:
        """A ``GstBuffer`` of the frame's pixels.

        Args:
            frame: of any size.
            stamp: its running time in nanoseconds.
        """
        data = self._packer.pack(self._writer.convert(self._fitted(frame)))
        buffer = self._gst.Buffer.new_wrapped(data)
        buffer.pts = buffer.dts = stamp
        length = round(frame.duration * frame.time_base * _NANO)
        buffer.duration = length or self._nominal
        return buffer

    def _fitted(self, frame: Frame) -> Uint8Image:
        pixels = frame.pixels
        if frame.rotation % 360:
            pixels = np.ascontiguousarray(np.rot90(pixels, -frame.rotation // 90))
        pixels = letterbox(pixels, *self._inner)
        if self.size == self._inner:
            return pixels
        right, below = self.size[0] - self._inner[0], self.size[1] - self._inner[1]
        return np.asarray(
            cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8
        )


def running_time(element: Any) -> int:
    """The pipeline's running time in nanoseconds; 0 where it does not play yet."""
    clock = element.get_clock()
    base = element.get_base_time()
    if clock is None or not base:
        return 0
    now = int(clock.get_time()) - int(base)
    return now if 0 <= now < 1 << 62 else 0
