"""Which sources and sinks there are, how they are written, and what makes them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, cast

from acf_edge.stream.sinks.options import FOLDER_OPTIONS, RECORDING_OPTIONS
from acf_edge.stream.uri_types import Option, Scheme, Uri

if TYPE_CHECKING:
    from acf_edge.stream.protocols import Sink, Source

Build = Callable[[Uri], "Source | Sink"]

_LARGEST = 16384


def _maker(module: str, name: str) -> Build:
    """A builder that imports only once it is called."""

    def build(uri: Uri) -> Source | Sink:
        make = cast("Build", getattr(import_module(f"acf_edge.stream.{module}"), name))
        return make(uri)

    return build


def _by_backend(uri: Uri) -> Source | Sink:
    return (_GST if uri.options["backend"] == "gst" else _AV)(uri)


_AV = _maker("sources.av_source", "AvSource")
_GST = _maker("gst.source", "GstSource")

_SIZE = (
    Option("width", "int", None, "pixels a row", low=1, high=_LARGEST),
    Option("height", "int", None, "rows", low=1, high=_LARGEST),
    Option("fps", "rate", None, "frames per second", low=0.01, high=1000),
)
_BACKEND = Option("backend", "choice", "av", "PyAV or GStreamer", ("av", "gst"))
_DEINTERLACE = Option(
    "deinterlace", "choice", "off", "rebuild whole frames from fields", ("off", "on", "auto")
)
_AUDIO = Option("audio", "bool", True, "offer the audio for copying")
_TIMEOUT = Option(
    "timeout", "seconds", 2.0, "silence after which it counts as lost", low=0.2, high=60
)
_LATENCY = Option("latency", "seconds", 0.0, "jitter buffer (backend=gst)", low=0, high=10)
_LOOP = Option("loop", "bool", False, "begin again at the end")
_REALTIME = Option("realtime", "bool", False, "pace it like a camera; late frames are dropped")
_TRANSPORT = Option(
    "transport", "choice", "tcp", "how the packets travel", ("tcp", "udp", "udp_multicast", "http")
)
_DECODER = Option("decoder", "choice", "auto", "auto: NVDEC where it works", ("auto", "software"))
_RTSP = (_TRANSPORT, _TIMEOUT, _LATENCY, _AUDIO, _DEINTERLACE, _DECODER, _BACKEND)
_HTTP = (
    _TIMEOUT,
    Option(
        "live", "choice", "auto", "it has no end (auto: it says no length)", ("auto", "on", "off")
    ),
    _AUDIO,
    _DEINTERLACE,
    _DECODER,
)

SOURCES: tuple[Scheme, ...] = (
    Scheme(
        "v4l2",
        "source",
        "v4l2:///dev/videoN",
        "a camera of this machine",
        (
            *_SIZE,
            Option(
                "format",
                "choice",
                "auto",
                "what the camera sends",
                ("auto", "mjpeg", "yuyv422", "uyvy422", "nv12", "yuv420p", "rgb24", "h264", "hevc"),
            ),
            _TIMEOUT,
            _DEINTERLACE,
            _BACKEND,
        ),
        _by_backend,
    ),
    Scheme(
        "csi",
        "source",
        "csi://N",
        "a CSI camera of a Jetson (GStreamer)",
        (
            *_SIZE,
            Option("mode", "int", None, "sensor mode", low=0, high=255),
            Option("flip", "int", 0, "nvvidconv's flip-method", low=0, high=7),
        ),
        _GST,
    ),
    Scheme(
        "rtsp",
        "source",
        "rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH",
        "a network camera",
        _RTSP,
        _by_backend,
        "network",
    ),
    Scheme(
        "rtsps",
        "source",
        "rtsps://[USER:PASSWORD@]HOST[:PORT]/PATH",
        "the same over TLS",
        _RTSP,
        _by_backend,
        "network",
    ),
    Scheme(
        "http", "source", "http://HOST[:PORT]/PATH", "a video, HLS or MJPEG", _HTTP, _AV, "network"
    ),
    Scheme(
        "https", "source", "https://HOST[:PORT]/PATH", "the same over TLS", _HTTP, _AV, "network"
    ),
    Scheme(
        "file",
        "source",
        "PATH or file://PATH",
        "a video file",
        (
            _LOOP,
            _REALTIME,
            Option("start", "seconds", 0.0, "begin there", low=0),
            _AUDIO,
            _DEINTERLACE,
            Option("keep-damaged", "bool", False, "read what can be read of a damaged file"),
        ),
        _maker("sources.recorded", "RecordedSource"),
    ),
    Scheme(
        "folder",
        "source",
        "FOLDER/",
        "pictures of one size, by name",
        (
            Option("fps", "rate", Fraction(25), "pictures per second", low=0.01, high=1000),
            Option("sizes", "choice", "same", "pictures of other sizes", ("same", "scale")),
            _LOOP,
            _REALTIME,
        ),
        _maker("sources.images", "ImageFolderSource"),
    ),
    Scheme(
        "test",
        "source",
        "test://bars|clock|noise",
        "a picture made here",
        (
            Option("width", "int", 640, "pixels a row", low=16, high=_LARGEST),
            Option("height", "int", 360, "rows", low=16, high=_LARGEST),
            Option("fps", "rate", Fraction(30), "frames per second", low=0.01, high=1000),
            Option("frames", "int", None, "end after so many", low=1),
            Option(
                "range", "choice", "limited", "the range it is tagged with", ("limited", "full")
            ),
            Option(
                "matrix", "choice", "auto", "the matrix it is tagged with", ("auto", "601", "709")
            ),
            Option("seed", "int", 0, "of the noise", low=0),
            Option("realtime", "bool", True, "pace it like a camera; 0 = as fast as it goes"),
        ),
        _maker("sources.patterns", "TestSource"),
    ),
    Scheme("gst", "source", "gst:PIPELINE", "any GStreamer pipeline", (), _GST, "verbatim"),
)

_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")

SINKS: tuple[Scheme, ...] = (
    Scheme(
        "file",
        "sink",
        "PATH or file://PATH",
        f"a recording: {' '.join(_VIDEO_SUFFIXES)}",
        RECORDING_OPTIONS,
        _maker("sinks.file", "RecordingSink"),
    ),
    Scheme(
        "folder",
        "sink",
        "FOLDER/",
        "one picture per frame",
        FOLDER_OPTIONS,
        _maker("sinks.images", "ImageFolderSink"),
    ),
    Scheme(
        "rtsp",
        "sink",
        "rtsp://[HOST][:PORT]/PATH",
        "serve it (GStreamer)",
        (
            Option("bitrate", "int", None, "kbit/s", low=50, high=500000),
            Option("gop", "int", None, "frames from key frame to key frame", low=1, high=1000),
            Option("user", "text", None, "name that viewers must give"),
            Option("password", "text", None, "and its password"),
            Option("token", "text", None, "the same as user=token and this password"),
        ),
        _maker("gst.rtsp_server", "RtspServerSink"),
        "network",
    ),
    Scheme(
        "web",
        "sink",
        "web://[HOST][:PORT]",
        "a page for the browser (extra 'web')",
        (
            Option("token", "text", None, "demanded of viewers; made up if others can connect"),
            Option("names", "text", None, "names this machine is asked for by, with commas"),
            Option("save", "text", None, "folder for snapshots and recordings"),
            Option("crf", "int", 20, "quality, 0 best to 51", low=0, high=51),
            Option("preset", "text", "ultrafast", "x264's preset"),
            Option(
                "stale", "seconds", 5.0, "without a frame for so long /healthz says 503", low=0.1
            ),
            Option("viewers", "int", 16, "most viewers at a time", low=1, high=1000),
        ),
        _maker("web.sink", "WebSink"),
        "network",
    ),
    Scheme(
        "display",
        "sink",
        "display://",
        "a window (GStreamer)",
        (Option("fullscreen", "bool", False, "fill the screen"),),
        _maker("gst.display", "DisplaySink"),
    ),
    Scheme(
        "gst",
        "sink",
        "gst:PIPELINE",
        "any GStreamer pipeline",
        (),
        _maker("gst.sink", "GstSink"),
        "verbatim",
    ),
    Scheme("null", "sink", "null://", "nowhere", (), _maker("sinks.null", "NullSink")),
)


def schemes(role: str) -> tuple[Scheme, ...]:
    """All sources (``role="source"``) or all sinks (``"sink"``)."""
    return SOURCES if role == "source" else SINKS


def video_suffixes() -> tuple[str, ...]:
    """How the name of a recording may end."""
    return _VIDEO_SUFFIXES
