"""The pipelines that RTSP serves, as text: which encoder, set for low latency.

Nothing here touches GStreamer; what exists and opens is asked of a predicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from acf_edge.stream.gst.elements import missing
from acf_edge.stream.gst.feeder import appsrc
from acf_edge.stream.gst.pipelines import Have

ENCODER = "acf_encoder"
# Best first. The hardware's own, then software that says matrix and range in the
# stream, then software that does not.
ENCODERS = ("nvv4l2h264enc", "nvh264enc", "x264enc", "openh264enc")
_KEY_SECONDS = 2
# Bits per pixel and frame that are never exceeded; quality decides below that.
_CEILING = 0.2
_QUALITY = 18


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the served pictures are coded.

    Attributes:
        element: the GStreamer encoder.
        text: it, with what must stand before it.
        note: what it does not do; empty if nothing.
    """

    element: str
    text: str
    note: str = ""

    def pipeline(self, live: bool) -> str:
        """The whole pipeline of a medium, as ``GstRtspServer`` wants it."""
        return (
            f"( {appsrc(live)} do-timestamp=false ! {self.text} ! "
            "h264parse config-interval=-1 ! "
            # Parameter sets with every key frame: who comes later can begin there.
            "rtph264pay name=pay0 pt=96 config-interval=-1 mtu=1400 )"
        )


def ceiling(size: tuple[int, int], rate: Fraction) -> int:
    """The highest bit rate that pictures of this size are worth, in kbit/s."""
    return max(2000, round(size[0] * size[1] * float(rate) * _CEILING / 1000))


def choose_encoding(
    size: tuple[int, int],
    rate: Fraction,
    usable: Have,
    bitrate: int | None = None,
    gop: int | None = None,
) -> Encoding:
    """Choose an encoder and set it for pictures that leave as soon as they come.

    Args:
        size: ``(width, height)``.
        rate: nominal frames per second.
        usable: whether an element is there and opens.
        bitrate: constant, in kbit/s; None = good quality below a ceiling.
        gop: frames from key frame to key frame; None = two seconds.

    Raises:
        InputError: there is no encoder.
    """
    keys = gop or max(1, round(_KEY_SECONDS * rate))
    kilobits = bitrate or ceiling(size, rate)
    element = next((name for name in ENCODERS if usable(name)), None)
    if element == "nvv4l2h264enc" and not usable("nvvidconv"):
        element = next((name for name in ENCODERS[1:] if usable(name)), None)
    if element is None:
        raise missing("x264enc", "Serving RTSP")
    named = f"{element} name={ENCODER}"
    if element == "nvv4l2h264enc":
        control = 1 if bitrate else 0  # constant or variable
        return Encoding(
            element,
            "nvvidconv ! video/x-raw(memory:NVMM), format=(string)NV12 ! "
            f"{named} control-rate={control} bitrate={1000 * kilobits} "
            f"iframeinterval={keys} idrinterval={keys} insert-sps-pps=true insert-vui=true "
            "maxperf-enable=true preset-level=1 num-B-Frames=0",
        )
    if element == "nvh264enc":
        mode = "cbr" if bitrate else "vbr"
        return Encoding(
            element,
            f"{named} preset=low-latency-hq zerolatency=true bframes=0 rc-mode={mode} "
            f"bitrate={kilobits} gop-size={keys}",
        )
    if element == "x264enc":
        quality = "pass=cbr" if bitrate else f"pass=qual quantizer={_QUALITY}"
        # Several threads would cut pictures into slices, which FFmpeg's RTSP readers show torn,
        # or, without slices, hold pictures back.
        return Encoding(
            element,
            f"{named} tune=zerolatency threads=1 speed-preset=superfast bframes=0 "
            f"{quality} bitrate={kilobits} key-int-max={keys}",
        )
    return Encoding(
        element,
        f"{named} complexity=low rate-control=bitrate bitrate={1000 * kilobits} gop-size={keys}",
        "openh264enc does not say the colour matrix in the stream: viewers guess it by the size",
    )
