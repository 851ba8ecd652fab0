"""The encoder of the enhanced video: which one, and with which options."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour

PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
_LARGEST = {"libx264": 16384, "libvpx-vp9": 65535}
# x264's frame threads bound how far motion may reach, so their number shows in the result.
_REPRODUCIBLE_THREADS = 8


class Timing(Protocol):
    """What an encoder wants to know of the source; a :class:`FileSource` is one."""

    @property
    def rate(self) -> Fraction:
        """Frames per second, nominal."""
        ...

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the frames' timestamps."""
        ...

    @property
    def aspect(self) -> Fraction | None:
        """Pixel aspect ratio; None where square or unknown."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How to write the video.

    Attributes:
        crf: constant quality; 0 is lossless, 18 visually so, 51 the worst.
        preset: x264's trade of time for size, one of :data:`PRESETS`.
        audio: copy the audio streams.
        reproducible: the same packets on every machine, whatever its cores.
    """

    crf: int = 18
    preset: str = "veryfast"
    audio: bool = True
    reproducible: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise InputError(f"--crf {self.crf} is out of range.", "Choose 0 (best) to 51.")
        if self.preset not in PRESETS:
            raise InputError(
                f"Unknown preset '{self.preset}'.", f"There are: {', '.join(PRESETS)}."
            )


def add_video(
    container: OutputContainer,
    format_name: str,
    timing: Timing,
    size: tuple[int, int],
    colour: Colour,
    options: EncoderOptions,
) -> VideoStream:
    """Add the video stream that is written into ``format_name``, its encoder open.

    Args:
        container: where to.
        format_name: FFmpeg's name of the container (:func:`check_video_suffix`).
        timing: of the source.
        size: ``(width, height)`` of the frames to come.
        colour: what they are tagged as.
        options: see :class:`EncoderOptions`.

    Raises:
        InputError: the codec cannot write pictures of that size.
    """
    codec = "libvpx-vp9" if format_name == "webm" else "libx264"
    width, height = size
    if max(size) > _LARGEST[codec]:
        raise InputError(
            f"{width}x{height} is larger than {codec} can write ({_LARGEST[codec]}).",
            "Use an engine with a smaller scale.",
        )
    if codec == "libx264":
        wanted = {"preset": options.preset, "crf": str(options.crf)}
        if options.reproducible:
            wanted["x264-params"] = "cpu-independent=1"
    else:
        wanted = {"crf": str(options.crf), "deadline": "realtime", "cpu-used": "8"}
        wanted["row-mt"] = "1"
    stream = container.add_stream(codec, rate=timing.rate, options=wanted)
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    if options.reproducible:
        context.thread_count = _REPRODUCIBLE_THREADS
    context.width, context.height = width, height
    # 4:2:0 shares a chroma sample between two columns and two rows.
    context.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
    stream.time_base = timing.time_base
    context.time_base = timing.time_base
    context.colorspace = colour.matrix
    context.color_range = colour.range
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    if timing.aspect is not None:
        context.sample_aspect_ratio = timing.aspect
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        raise InputError(
            f"{codec} cannot write {width}x{height} with these options: {error}."
        ) from error
    return stream
