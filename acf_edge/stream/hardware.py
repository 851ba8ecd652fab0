"""Which hardware decoders and encoders really open on this machine, and which to take.

FFmpeg lists what it was built with, not what is there: without a driver it still
names NVDEC and NVENC. So each is tried on a few small pictures, once in a process,
and taken only if it gives them back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import cast

import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

# What PyAV can decode on, best first, and what people call it.
_DEVICES = {"cuda": "NVDEC", "vaapi": "VAAPI"}
# Codec -> the software encoder that makes the pictures to try a decoder on.
_TRIALS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "mjpeg": "mjpeg"}
_ENCODERS = {
    "h264": ("h264_nvenc", "h264_qsv", "h264_amf"),
    "hevc": ("hevc_nvenc", "hevc_qsv", "hevc_amf"),
}
_SOFTWARE = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "mjpeg": "mjpeg"}
_NAMES = {"nvenc": "NVENC", "qsv": "Quick Sync", "amf": "AMF"}
# Every picture leaves at once: a camera's latency counts more than a tenth of the bits.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "nvenc": {"preset": "p4", "tune": "ll", "bf": "0", "delay": "0", "zerolatency": "1"},
    "qsv": {"preset": "veryfast", "bf": "0", "async_depth": "1"},
    "amf": {"usage": "lowlatency", "bf": "0"},
}
# Above the smallest size of every hardware codec.
_WIDTH, _HEIGHT, _FRAMES = 320, 256, 4


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decodes a codec.

    Attributes:
        codec: FFmpeg's name, e.g. ``h264``.
        device: FFmpeg's name of the device, e.g. ``cuda``; empty = software.
        note: what was chosen and why, in words.
    """

    codec: str
    device: str
    note: str

    def hwaccel(self) -> HWAccel | None:
        """For ``av.open(..., hwaccel=...)``; None where software decodes.

        Frames come back in system memory. A stream that the device does not take
        (10 bit, 4:4:4, too large) is decoded in software.
        """
        return HWAccel(self.device, allow_software_fallback=True) if self.device else None


@dataclass(frozen=True, slots=True)
class Encoder:
    """What encodes a codec.

    Attributes:
        codec: FFmpeg's name of the codec, e.g. ``h264``.
        name: FFmpeg's name of the encoder, e.g. ``h264_nvenc``.
        hardware: it is no software.
        pixel_format: what it is fed with.
        options: for low latency.
        note: what was chosen and why, in words.
    """

    codec: str
    name: str
    hardware: bool
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""


def best_decoder(codec: str, *, hardware: bool = True) -> Decoder:
    """Choose what decodes a codec: hardware that was seen to do it, else software.

    Args:
        codec: FFmpeg's name of the codec or of its decoder, e.g. ``h264``.
        hardware: may be used.
    """
    if not hardware:
        return Decoder(codec, "", f"{codec} is decoded in software, as was asked for")
    if codec not in _TRIALS:
        return Decoder(codec, "", f"{codec} is decoded in software: no hardware is tried for it")
    reasons = []
    for device, name in _DEVICES.items():
        reason = decoder_fails(codec, device)
        if not reason:
            return Decoder(codec, device, f"{name} decodes {codec}")
        reasons.append(f"{name}: {reason}")
    return Decoder(codec, "", f"{codec} is decoded in software ({'; '.join(reasons)})")


def best_encoder(codec: str = "h264", *, hardware: bool = True) -> Encoder:
    """Choose what encodes a codec: hardware that was seen to do it, else software.

    Args:
        codec: ``h264``, ``hevc``, ``vp9`` or ``mjpeg``.
        hardware: may be used.

    Raises:
        KeyError: another codec.
    """
    software = _SOFTWARE[codec]
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if not hardware:
        note = f"{software} encodes {codec}, as was asked for"
        return Encoder(codec, software, False, pixel_format, note=note)
    reasons = []
    for name in _ENCODERS.get(codec, ()):
        kind = name.rpartition("_")[2]
        reason = encoder_fails(name)
        if not reason:
            options = MappingProxyType(dict(_OPTIONS[kind]))
            note = f"{_NAMES[kind]} encodes {codec}"
            return Encoder(codec, name, True, "nv12", options, note)
        reasons.append(f"{_NAMES[kind]}: {reason}")
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return Encoder(codec, software, False, pixel_format, note=f"{software} encodes {codec}{why}")


@lru_cache(maxsize=64)
def decoder_fails(codec: str, device: str) -> str:
    """Why a device does not decode a codec, found by trying; empty if it does.

    Args:
        codec: one of those that pictures can be made of here.
        device: FFmpeg's name, e.g. ``cuda``.
    """
    if device not in hwdevices_available():
        return "not in this build of PyAV"
    missing = _missing_library(device, "decode")
    if missing:
        return missing
    try:
        packets, wanted = _trial(codec)
        made = CodecContext.create(codec, "r", hwaccel=HWAccel(device))
        context = cast(VideoCodecContext, made)
        frames: list[VideoFrame] = []
        for packet in (*packets, None):
            frames += context.decode(packet)
        if not context.is_hwaccel:
            return f"it does not take {codec}"
    # PyAV says some of it as RuntimeError or NotImplementedError, which is one.
    except (FFmpegError, RuntimeError, ValueError, TypeError) as error:
        return _words(error)
    if len(frames) != len(wanted):
        return f"it gave {len(frames)} of {len(wanted)} pictures"
    far = max(
        float(np.abs(_grey(a) - _grey(b)).mean()) for a, b in zip(frames, wanted, strict=True)
    )
    return "" if far < 2 else "it gave other pictures than software does"


@lru_cache(maxsize=64)
def encoder_fails(name: str) -> str:
    """Why an encoder does not encode, found by trying; empty if it does.

    Args:
        name: FFmpeg's, e.g. ``h264_nvenc``.
    """
    kind = name.rpartition("_")[2]
    missing = _missing_library(kind, "encode")
    if missing:
        return missing
    try:
        packets = _encode(name, "nv12", dict(_OPTIONS[kind]))
    except UnknownCodecError:
        return "not in this build of PyAV"
    except (FFmpegError, RuntimeError, ValueError, TypeError) as error:
        return _words(error)
    return "" if len(packets) == _FRAMES else f"it gave {len(packets)} of {_FRAMES} pictures"


def _words(error: Exception) -> str:
    text = error.strerror if isinstance(error, FFmpegError) else str(error)
    if text == "Unknown error occurred":  # an encoder's library without its driver
        return "its driver does not start"
    return " ".join(str(text or type(error).__name__).split()).rstrip(".")


# What FFmpeg loads at run time; its own message is "Operation not permitted".
_LIBRARIES = {
    ("cuda", "decode"): ("libcuda.so.1", "libnvcuvid.so.1"),
    ("nvenc", "encode"): ("libcuda.so.1", "libnvidia-encode.so.1"),
}


def _missing_library(kind: str, task: str) -> str:
    for name in _LIBRARIES.get((kind, task), ()):
        try:
            ctypes.CDLL(name)
        except OSError:
            if name == "libcuda.so.1":
                return "no NVIDIA driver"
            return f"the driver's {name} is missing"
    return ""


def _pictures(pixel_format: str) -> list[VideoFrame]:
    frames = []
    for number in range(_FRAMES):
        ramp = np.add.outer(np.arange(_HEIGHT), 2 * np.arange(_WIDTH)) // 4 + 20 * number
        rgb = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1).astype(np.uint8)
        frame = VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
        frame.pts = number
        frames.append(frame)
    return frames


def _encode(name: str, pixel_format: str, options: dict[str, str]) -> list[Packet[Stream]]:
    context = CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = _WIDTH, _HEIGHT, pixel_format
    context.time_base = Fraction(1, 30)
    context.framerate = Fraction(30)
    context.options = options
    packets: list[Packet[Stream]] = []
    for frame in (*_pictures(pixel_format), None):
        packets += context.encode(frame)
    return packets


def _trial(codec: str) -> tuple[Sequence[Packet[Stream]], Sequence[VideoFrame]]:
    """A few coded pictures, and what software makes of them."""
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"bf": "0"}}
    encoder = _TRIALS[codec]
    packets = _encode(encoder, pixel_format, options.get(encoder, {}))
    context = CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    frames: list[VideoFrame] = []
    for packet in (*packets, None):
        frames += context.decode(packet)
    return packets, frames


def _grey(frame: VideoFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height]
    return rows.reshape(frame.height, -1)[:, : frame.width].astype(np.float64)


def describe() -> list[tuple[str, str, str]]:
    """What hardware decodes and encodes here, for the doctor.

    Returns:
        Two rows ``(what, state, remedy)``; the remedy is empty where it works, or
        where nothing that can be installed would help.
    """
    working = {
        name: [codec for codec in _TRIALS if not decoder_fails(codec, device)]
        for device, name in _DEVICES.items()
    }
    found = [f"{name}: {', '.join(codecs)}" for name, codecs in working.items() if codecs]
    decode = "; ".join(found) or f"none ({_first_reason(decoder_fails('h264', 'cuda'))})"
    chosen = [best_encoder(codec) for codec in _ENCODERS]
    names = [encoder.name for encoder in chosen if encoder.hardware]
    encode = ", ".join(names) or f"none ({_first_reason(encoder_fails('h264_nvenc'))})"
    return [
        ("decode video in hardware", decode, _remedy(decode)),
        ("encode video in hardware", encode, _remedy(encode)),
    ]


def _first_reason(reason: str) -> str:
    return f"{reason}: software does it"


def _remedy(state: str) -> str:
    # A container is given compute alone unless it asks for video, too.
    return "NVIDIA_DRIVER_CAPABILITIES=all" if "is missing" in state else ""
