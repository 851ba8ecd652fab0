"""Which elements this GStreamer has, which of them work, and who brings the others."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from functools import lru_cache

from acf_edge.errors import AcfError, InputError
from acf_edge.stream.gst.load import load, load_rtsp_server

_JETSON = "nvidia-l4t-gstreamer"
_PACKAGES = {
    "gstreamer1.0-plugins-base": (
        "appsink appsrc videoconvert videoscale videorate videotestsrc decodebin decodebin3 "
        "uridecodebin parsebin playbin"
    ),
    "gstreamer1.0-plugins-good": (
        "rtspsrc rtpbin rtph264depay rtph265depay rtpjpegdepay rtpmp4vdepay rtpvp8depay "
        "rtpvp9depay rtph264pay rtpjpegpay v4l2src jpegdec jpegenc vp8dec vp9dec autovideosink "
        "deinterlace qtdemux matroskademux mp4mux qtmux matroskamux udpsrc udpsink"
    ),
    "gstreamer1.0-plugins-bad": (
        "h264parse h265parse jpegparse mpeg4videoparse av1parse openh264dec openh264enc nvh264dec "
        "nvh265dec nvh264enc av1dec waylandsink kmssink srtsrc srtsink x265enc fakevideosink"
    ),
    "gstreamer1.0-plugins-ugly": "x264enc",
    "gstreamer1.0-libav": "avdec_h264 avdec_h265 avdec_mpeg4 avdec_mjpeg",
    "gstreamer1.0-x": "ximagesink xvimagesink ximagesrc",
    "gstreamer1.0-gl": "glimagesink glupload gldownload",
    _JETSON: (
        "nvarguscamerasrc nvv4l2decoder nvvidconv nvv4l2h264enc nvv4l2h265enc nvjpegdec nv3dsink "
        "nvdrmvideosink"
    ),
}
_OWNERS = {name: package for package, names in _PACKAGES.items() for name in names.split()}


def have(element: str) -> bool:
    """Whether there is an element of this name.

    Raises:
        InputError: there is no GStreamer at all.
    """
    return load().Gst.ElementFactory.find(element) is not None


@lru_cache(maxsize=64)
def works(element: str) -> bool:
    """Whether the element is there and its device opens.

    NVIDIA's plug-in has an encoder on boards that have none (Orin Nano), and a
    driver may be away: only opening tells.

    Raises:
        InputError: there is no GStreamer at all.
    """
    gst = load().Gst
    made = gst.ElementFactory.make(element)
    if made is None:
        return False
    opened = made.set_state(gst.State.READY) != gst.StateChangeReturn.FAILURE
    made.set_state(gst.State.NULL)
    return bool(opened)


def missing(element: str, feature: str) -> InputError:
    """The error for an element that is not there.

    Args:
        element: e.g. ``x264enc``.
        feature: what needs it, e.g. ``"Serving RTSP"``.
    """
    package = _OWNERS.get(element)
    if package == _JETSON:
        remedy = f"It comes with JetPack on a Jetson: sudo apt install {package}"
    elif package:
        remedy = f"Run: sudo apt install {package}"
    else:
        remedy = f"Find its package: gst-inspect-1.0 {element}, or apt-file search {element}"
    return InputError(
        f"{feature} needs the GStreamer element '{element}', which is not installed.", remedy
    )


def need(feature: str, elements: Iterable[str]) -> None:
    """Insist on elements.

    Raises:
        InputError: one is not there, or there is no GStreamer; the remedy says what to install.
    """
    for element in elements:
        if not have(element):
            raise missing(element, feature)


def explain_parse_error(text: str, feature: str) -> InputError:
    """Turn what GStreamer says of a pipeline that it cannot build into words for the user."""
    absent = re.search(r'no element "([^"]+)"', text)
    if absent:
        return missing(absent[1], feature)
    return InputError(
        f"{feature}: GStreamer cannot build the pipeline: {text.strip().rstrip('.')}.",
        "Try it with gst-launch-1.0.",
    )


def describe() -> list[tuple[str, str, str]]:
    """What GStreamer can do here, for the doctor.

    Returns:
        Rows ``(what, state, remedy)``; the remedy is empty where it works. The first
        row is GStreamer itself; there are no others where it is missing.
    """
    try:
        version = load().version
    except AcfError as error:
        return [("GStreamer", error.problem, error.remedy)]
    rows = [("GStreamer", version, "")]
    rows.append(_row("read RTSP with low latency", ("rtspsrc", "h264parse"), _DECODERS))
    if platform.machine() == "aarch64" or have("nvarguscamerasrc"):
        rows.append(_row("read CSI cameras", ("nvarguscamerasrc", "nvvidconv"), ()))
    else:
        rows.append(("read CSI cameras", "on a Jetson only", ""))
    try:
        load_rtsp_server()
    except AcfError as error:
        rows.append(("serve RTSP", error.problem, error.remedy))
    else:
        rows.append(_row("serve RTSP", ("rtph264pay", "appsrc"), _ENCODERS))
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        rows.append(_row("show a window", ("appsrc",), _WINDOWS))
    else:
        rows.append(("show a window", "there is no screen here", ""))
    return rows


_DECODERS = ("nvv4l2decoder", "nvh264dec", "avdec_h264", "openh264dec")
_ENCODERS = ("nvv4l2h264enc", "nvh264enc", "x264enc", "openh264enc")
_WINDOWS = ("nv3dsink", "glimagesink", "ximagesink", "waylandsink")


def _row(what: str, all_of: tuple[str, ...], any_of: tuple[str, ...]) -> tuple[str, str, str]:
    for element in all_of:
        if not have(element):
            return what, f"the element '{element}' is missing", missing(element, what).remedy
    if not any_of:
        return what, f"with {all_of[0]}", ""
    first = next((element for element in any_of if works(element)), None)
    if first is None and any(map(have, any_of)):
        there = [element for element in any_of if have(element)]
        return what, f"{', '.join(there)}: installed, but does not open", ""
    if first is None:
        advised = {"avdec_h264", "x264enc", "glimagesink"} & set(any_of)
        element = next(iter(advised))
        return what, f"none of {', '.join(any_of)}", missing(element, what).remedy
    return what, f"with {first}", ""
