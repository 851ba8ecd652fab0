"""The pipelines of the source, as text: one class reads them all.

Nothing here touches GStreamer. What exists is asked of a predicate, so what a
Jetson would run can be read on any machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from acf_edge.errors import InputError
from acf_edge.stream.gst.caps import accepted_caps
from acf_edge.stream.gst.elements import missing
from acf_edge.stream.uri_types import Uri

Have = Callable[[str], bool]

SINK, RTSP = "acf_sink", "acf_rtsp"
HARDWARE = frozenset({"nvv4l2decoder", "nvvidconv", "nvjpegdec", "nvh264dec", "nvh265dec"})

# Frames that wait between GStreamer's thread and ours. Of a camera two: one to
# hand over while the next arrives; the older one goes when a third comes.
LIVE_FRAMES, FILE_FRAMES = 2, 4
_LIVE_ELEMENTS = re.compile(
    r"\b(rtspsrc|v4l2src|nvarguscamerasrc|nvv4l2camerasrc|libcamerasrc|udpsrc|srtsrc|rtmp2?src|"
    r"ximagesrc|pipewiresrc|decklinkvideosrc|aravissrc|shmsrc|tcpserversrc|webrtcsrc|ndisrc)\b"
    r"|\bis-live\s*=\s*(?:\(\w+\)\s*)?(?:true|1|yes)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SourcePlan:
    """A pipeline that ends in an appsink called :data:`SINK`.

    Attributes:
        text: for ``Gst.parse_launch``. It holds nothing that must be quoted.
        live: frames come when they come.
        feature: who needs the elements, for messages.
        settings: element name -> property -> value, set once it is built: addresses,
            names and passwords.
        silence: seconds without a frame after which a live source counts as lost.
        branches: it has no decoder yet; :func:`rtsp_branch` makes it once the
            codec is known.
        guessed: ``live`` is a guess, by the names of elements.
    """

    text: str
    live: bool
    feature: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    silence: float = 2.0
    branches: bool = False
    guessed: bool = False


def ending(live: bool, deinterlace: str = "off") -> str:
    """The last elements of every source: the fields to frames, then into our hands."""
    frames = LIVE_FRAMES if live else FILE_FRAMES
    sink = (
        f"appsink name={SINK} sync=false enable-last-sample=false max-buffers={frames} "
        f'drop={"true" if live else "false"} caps="{accepted_caps()}"'
    )
    if deinterlace == "off":
        return sink
    mode = "interlaced" if deinterlace == "on" else "auto"
    # One frame for two fields: the rate stays.
    return f"deinterlace mode={mode} fields=top method=greedyh ! {sink}"


def source_plan(uri: Uri, have: Have) -> SourcePlan:
    """The pipeline that reads a URI.

    Args:
        uri: of the scheme ``gst``, ``csi``, ``v4l2``, ``rtsp`` or ``rtsps``.
        have: whether an element may be used.

    Raises:
        InputError: an element that it cannot do without is missing.
    """
    if uri.scheme == "gst":
        return user_plan(uri.rest)
    if uri.scheme == "csi":
        return csi_plan(uri, have)
    if uri.scheme == "v4l2":
        return v4l2_plan(uri, have)
    return rtsp_plan(uri)


def user_plan(pipeline: str) -> SourcePlan:
    """A pipeline of the user's; an appsink is put at its end unless it has one."""
    text = pipeline.strip().rstrip("!").rstrip()
    live = bool(_LIVE_ELEMENTS.search(text))
    if not re.search(r"\bappsink\b", text):
        text = f"{text} ! {ending(live)}"
    return SourcePlan(text, live, "This pipeline", silence=5.0, guessed=True)


def _fields(options: Mapping[str, Any]) -> str:
    rate: Fraction | None = options.get("fps")
    parts = [f"{name}=(int){options[name]}" for name in ("width", "height") if options.get(name)]
    if rate:
        parts.append(f"framerate=(fraction){rate.numerator}/{rate.denominator}")
    return "".join(f", {part}" for part in parts)


def csi_plan(uri: Uri, have: Have) -> SourcePlan:
    """A CSI camera of a Jetson: Argus, its ISP, the VIC, then system memory."""
    number = uri.rest.strip("/") or "0"
    if not number.isdigit():
        raise InputError(
            f"'{uri.shown}' names no camera.", "Write csi://0 for the first one, csi://1 ..."
        )
    for element in ("nvarguscamerasrc", "nvvidconv"):
        if not have(element):
            raise missing(element, "csi://")
    mode = uri.options.get("mode")
    flip = uri.options.get("flip") or 0
    text = " ! ".join(
        (
            f"nvarguscamerasrc sensor-id={number}"
            + (f" sensor-mode={mode}" if mode is not None else ""),
            f"video/x-raw(memory:NVMM), format=(string)NV12{_fields(uri.options)}",
            f"nvvidconv flip-method={flip}",
            "video/x-raw, format=(string)NV12",
            ending(live=True),
        )
    )
    return SourcePlan(text, True, "csi://")


_V4L2_RAW = {
    "yuyv422": "YUY2",
    "uyvy422": "UYVY",
    "nv12": "NV12",
    "yuv420p": "I420",
    "rgb24": "RGB",
}


def v4l2_plan(uri: Uri, have: Have) -> SourcePlan:
    """A camera of this machine: raw, motion JPEG or H.26x, decoded in hardware where it is."""
    wanted = _fields(uri.options)
    chosen = uri.options.get("format", "auto")
    if chosen in _V4L2_RAW:
        middle = f"video/x-raw, format=(string){_V4L2_RAW[chosen]}{wanted}"
    elif chosen == "mjpeg":
        middle = f"image/jpeg{wanted} ! {_decoder('JPEG', have)}"
    elif chosen in ("h264", "hevc"):
        encoding = "H264" if chosen == "h264" else "H265"
        media = f"video/x-{encoding.lower()}{wanted}"
        middle = f"{media} ! {_CODECS[encoding].parser} ! {_decoder(encoding, have)}"
    else:
        # A caps filter of alternatives needs quotes; decodebin takes whichever comes.
        middle = f'capsfilter caps="video/x-raw{wanted}; image/jpeg{wanted}" ! decodebin'
        if have("nvvidconv"):
            middle = f"{middle} ! {_TO_SYSTEM}"
    end = ending(True, uri.options.get("deinterlace", "off"))
    return SourcePlan(
        f"v4l2src name=acf_camera ! {middle} ! {end}",
        True,
        "v4l2:// with backend=gst",
        {"acf_camera": {"device": uri.rest}},
        uri.options.get("timeout", 2.0),
    )


def rtsp_plan(uri: Uri) -> SourcePlan:
    """A network camera; what decodes it is linked when the server has said what it sends."""
    options = uri.options
    transport = {"udp_multicast": "udp-mcast"}.get(options["transport"], options["transport"])
    if uri.scheme == "rtsps":
        transport = f"tls+{transport}"
    silence = float(options.get("timeout", 2.0))
    login = {"user-id": uri.user, "user-pw": uri.password} if uri.user else {}
    return SourcePlan(
        f"rtspsrc name={RTSP} protocols={transport} latency={round(1000 * options['latency'])} "
        f"drop-on-latency=true udp-buffer-size=2097152 tcp-timeout={round(1e6 * max(silence, 3))}",
        True,
        "rtsp:// with backend=gst",
        {RTSP: {"location": uri.address_without_user, **login}},
        silence,
        True,
    )


@dataclass(frozen=True)
class _Codec:
    depayloader: str
    parser: str
    jetson: str
    others: tuple[str, ...]


_JETSON = "nvv4l2decoder enable-max-performance=true"
_TO_SYSTEM = "nvvidconv ! video/x-raw, format=(string){ NV12, I420, P010_10LE }"
# By the name that SDP gives them.
_CODECS = {
    "H264": _Codec(
        "rtph264depay", "h264parse", _JETSON, ("nvh264dec", "avdec_h264", "openh264dec")
    ),
    "H265": _Codec("rtph265depay", "h265parse", _JETSON, ("nvh265dec", "avdec_h265")),
    "JPEG": _Codec("rtpjpegdepay", "jpegparse", f"{_JETSON} mjpeg=true", ("jpegdec",)),
    "MP4V-ES": _Codec("rtpmp4vdepay", "mpeg4videoparse", _JETSON, ("avdec_mpeg4",)),
    "VP8": _Codec("rtpvp8depay", "", _JETSON, ("vp8dec",)),
    "VP9": _Codec("rtpvp9depay", "vp9parse", _JETSON, ("vp9dec",)),
}
# Without this, what is decoded before the first key frame is shown as grey mud.
_PROPERTIES = {"avdec_h264": "output-corrupt=false", "avdec_h265": "output-corrupt=false"}


def _decoder(encoding: str, have: Have) -> str:
    codec = _CODECS[encoding]
    if have("nvv4l2decoder") and have("nvvidconv"):
        return f"{codec.jetson} ! {_TO_SYSTEM}"
    for element in codec.others:
        if have(element):
            return f"{element} {_PROPERTIES.get(element, '')}".rstrip()
    advised = next((name for name in codec.others if name.startswith("avdec")), codec.others[-1])
    raise missing(advised, f"Decoding {encoding}")


def rtsp_branch(encoding: str, have: Have, deinterlace: str = "off") -> str:
    """From the RTP packets of one stream to the appsink.

    Args:
        encoding: ``encoding-name`` of the stream's caps, e.g. ``H264``.
        have: whether an element may be used.
        deinterlace: ``off``, ``on`` or ``auto``.

    Raises:
        InputError: the codec is unknown, or an element for it is missing.
    """
    codec = _CODECS.get(encoding.upper())
    if codec is None:
        raise InputError(
            f"The camera sends '{encoding}', which is not read with backend=gst.",
            f"It reads {', '.join(_CODECS)}; try without backend=gst.",
        )
    parts: Sequence[str] = (
        codec.depayloader,
        codec.parser,
        _decoder(encoding.upper(), have),
        ending(True, deinterlace),
    )
    for part in parts[:2]:
        if part and not have(part):
            raise missing(part, f"Reading {encoding} over RTSP")
    return " ! ".join(part for part in parts if part)
