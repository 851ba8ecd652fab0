"""The encoder of a recording: which one, with options that lose little in a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from av.codec.context import CodecContext
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.encoder import PRESETS

# Seconds between the places that a player can jump to.
_KEY_SECONDS = 2
_LARGEST = {"libx264": 16384, "libvpx-vp9": 65535}
# What every hardware encoder of H.264 takes.
_HARDWARE_SIZES = range(160, 4097)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pictures of a recording are coded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        options: the encoder's options.
        pixel_format: what it is fed with.
        note: what is special about it, in words; empty if nothing.
    """

    codec: str
    options: Mapping[str, str]
    pixel_format: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a recording asks of its encoder.

    Attributes:
        suffix: of the file, e.g. ``".mp4"``.
        encoder: one of :data:`~acf_edge.stream.sinks.options.ENCODERS`.
        crf: quality, 0 best (without loss) to 51.
        preset: one of x264's.
        size: ``(width, height)``.
        rate: frames per second, nominal.
        live: the source does not wait.
    """

    suffix: str
    encoder: str
    crf: int
    preset: str
    size: tuple[int, int]
    rate: Fraction
    live: bool = False


def choose_encoding(wish: Wish) -> Encoding:
    """Choose an encoder and its options.

    No picture waits for a later one (no B-frames): times come out as they went in,
    and a crash loses next to nothing. Of an odd side, 4:2:0 cannot hold the last
    column or row; such pictures are written as 4:4:4.

    ``auto`` takes hardware that works for live sources, where it relieves the
    processor; files can wait, and x264 makes more of every bit.

    Raises:
        InputError: an unknown preset, an encoder that is not there or cannot do this.
    """
    if wish.preset not in PRESETS:
        raise InputError(f"Unknown preset '{wish.preset}'.", f"There are: {', '.join(PRESETS)}.")
    if wish.suffix == ".webm":
        if wish.encoder != "auto":
            raise InputError(
                f"A .webm file cannot hold what the encoder '{wish.encoder}' makes.",
                "Choose .mkv, or leave the encoder out.",
            )
        return _vp9(wish)
    if wish.encoder == "auto" and wish.live:
        encoding = _hardware(wish, None)
        if isinstance(encoding, Encoding):
            return encoding
    elif wish.encoder not in ("auto", "x264"):
        encoding = _hardware(wish, wish.encoder)
        if isinstance(encoding, Encoding):
            return encoding
        raise InputError(
            f"The encoder '{wish.encoder}' cannot be used: {encoding}.", "Choose encoder=auto."
        )
    return _x264(wish)


def _odd(wish: Wish) -> bool:
    return bool(wish.size[0] % 2 or wish.size[1] % 2)


def _software(wish: Wish, codec: str, options: Mapping[str, str]) -> Encoding:
    width, height = wish.size
    if max(wish.size) > _LARGEST[codec]:
        raise InputError(
            f"{width}x{height} is larger than {codec} can write ({_LARGEST[codec]}).",
            "Use an engine with a smaller scale.",
        )
    if _odd(wish):
        note = "odd size: written as 4:4:4, which some players do not show"
        return Encoding(codec, {**options, **_keys(wish)}, "yuv444p", note)
    return Encoding(codec, {**options, **_keys(wish)}, "yuv420p")


def _keys(wish: Wish) -> dict[str, str]:
    return {"g": str(max(1, min(600, round(_KEY_SECONDS * wish.rate))))}


def _x264(wish: Wish) -> Encoding:
    options = {"preset": wish.preset, "crf": str(wish.crf), "bf": "0", "rc-lookahead": "10"}
    return _software(wish, "libx264", options)


def _vp9(wish: Wish) -> Encoding:
    fast = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0"}
    return _software(wish, "libvpx-vp9", {"crf": str(wish.crf), "b:v": "0", **fast})


def _hardware(wish: Wish, kind: str | None) -> Encoding | str:
    """An encoding in hardware, of this kind or of any; or why there is none."""
    if _odd(wish) or any(side not in _HARDWARE_SIZES for side in wish.size):
        return f"it does not take {wish.size[0]}x{wish.size[1]}"
    if not wish.crf:
        return "it cannot write without loss (crf=0)"
    from acf_edge.stream import hardware

    encoder = hardware.best_encoder("h264")
    if not encoder.hardware or (kind is not None and not encoder.name.endswith(kind)):
        return encoder.note
    quality = {
        "h264_nvenc": {"rc": "constqp", "qp": str(wish.crf)},
        "h264_qsv": {"global_quality": str(wish.crf)},
        "h264_amf": {"rc": "cqp", "qp_i": str(wish.crf), "qp_p": str(wish.crf)},
    }.get(encoder.name, {"crf": str(wish.crf)})
    encoding = Encoding(
        encoder.name,
        {**encoder.options, **quality, **_keys(wish)},
        encoder.pixel_format,
        f"{encoder.note}; encoder=x264 makes smaller files",
    )
    trouble = _does_not_open(encoding, wish)
    return trouble or encoding


def _does_not_open(encoding: Encoding, wish: Wish) -> str:
    """Why an encoder does not take this stream, found by trying; empty if it does."""
    context = CodecContext.create(encoding.codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = wish.size
    context.pix_fmt = encoding.pixel_format
    context.time_base, context.framerate = 1 / wish.rate, wish.rate
    context.options = dict(encoding.options)
    try:
        context.open()
    except (FFmpegError, ValueError, RuntimeError) as error:
        return f"{encoding.codec} does not open ({error})"
    return ""


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
