"""The encoder of a recording: which one, with options that lose little in a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.encoder import PRESETS

# Seconds between the places that a player can jump to.
_KEY_SECONDS = 2
_LARGEST = {"libx264": 16384, "libvpx-vp9": 65535, "h264_nvenc": 4096}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pictures of a recording are coded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        options: the encoder's options.
        pixel_format: what it is fed with.
    """

    codec: str
    options: Mapping[str, str]
    pixel_format: str


def choose_encoding(
    suffix: str, encoder: str, crf: int, preset: str, size: tuple[int, int], rate: Fraction
) -> Encoding:
    """Choose an encoder and its options.

    No picture waits for a later one (no B-frames): times come out as they went in,
    and a crash loses next to nothing. Of an odd side, 4:2:0 cannot hold the last
    column or row; such pictures are written as 4:4:4.

    Args:
        suffix: of the file, e.g. ``".mp4"``.
        encoder: one of :data:`~acf_edge.stream.sinks.options.ENCODERS`.
        crf: quality, 0 best to 51.
        preset: one of x264's.
        size: ``(width, height)``.
        rate: frames per second, nominal.

    Raises:
        InputError: an unknown preset, an encoder that is not there or cannot do this.
    """
    if preset not in PRESETS:
        raise InputError(f"Unknown preset '{preset}'.", f"There are: {', '.join(PRESETS)}.")
    odd = bool(size[0] % 2 or size[1] % 2)
    pixel_format = "yuv444p" if odd else "yuv420p"
    keys = {"g": str(max(1, min(600, round(_KEY_SECONDS * rate))))}
    codec = _codec(suffix, encoder, size, odd)
    if max(size) > _LARGEST[codec]:
        raise InputError(
            f"{size[0]}x{size[1]} is larger than {codec} can write ({_LARGEST[codec]}).",
            "Use an engine with a smaller scale.",
        )
    if codec == "libvpx-vp9":
        fast = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0"}
        return Encoding(codec, {"crf": str(crf), "b:v": "0", **fast, **keys}, pixel_format)
    if codec == "h264_nvenc":
        quality = {"rc": "constqp", "qp": str(crf)} if crf else {"tune": "lossless"}
        return Encoding(codec, {**quality, "bf": "0", "delay": "0", **keys}, pixel_format)
    plain = {"preset": preset, "crf": str(crf), "bf": "0", "rc-lookahead": "10"}
    return Encoding(codec, {**plain, **keys}, pixel_format)


def _codec(suffix: str, encoder: str, size: tuple[int, int], odd: bool) -> str:
    if suffix == ".webm":
        if encoder != "auto":
            raise InputError(
                f"A .webm file cannot hold what the encoder '{encoder}' makes.",
                "Choose .mkv, or leave the encoder out.",
            )
        return "libvpx-vp9"
    return "libx264"


def add_stream(
    container: OutputContainer,
    encoding: Encoding,
    size: tuple[int, int],
    rate: Fraction,
    time_base: Fraction,
    colour: Colour,
    aspect: Fraction | None,
) -> VideoStream:
    """Add the stream of pictures to a container and open its encoder.

    Args:
        container: where to.
        encoding: see :func:`choose_encoding`.
        size: ``(width, height)``.
        rate: frames per second, nominal.
        time_base: seconds per unit of the frames' timestamps.
        colour: what it is tagged as.
        aspect: pixel aspect ratio; None = square.

    Raises:
        InputError: the encoder refuses.
    """
    stream = container.add_stream(encoding.codec, rate=rate, options=dict(encoding.options))
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height = size
    context.pix_fmt = encoding.pixel_format
    stream.time_base = time_base
    context.time_base = time_base
    context.colorspace = colour.matrix
    context.color_range = colour.range
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    if aspect is not None:
        context.sample_aspect_ratio = aspect
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        raise InputError(
            f"{encoding.codec} cannot write {size[0]}x{size[1]} with these options: {error}."
        ) from error
    return stream
