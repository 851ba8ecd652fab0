"""Frames in a window."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.gst.elements import have, missing, works
from acf_edge.stream.gst.feeder import Feeder, appsrc
from acf_edge.stream.gst.load import load
from acf_edge.stream.gst.pipelines import Have
from acf_edge.stream.gst.sink import Feed
from acf_edge.stream.gst.stamps import Stamps
from acf_edge.stream.protocols import Moment, SinkFailed, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri_types import Uri

# What each sink needs before it. nv3dsink draws what lies in the Jetson's own memory;
# glimagesink reads YUV by its colorimetry; the plain one of X11 wants RGB. The one
# that uses the XVideo extension is left out: it takes every picture for BT.601.
_BEFORE = {
    "nv3dsink": "nvvidconv ! video/x-raw(memory:NVMM), format=(string)RGBA ! ",
    "nvdrmvideosink": "nvvidconv ! video/x-raw(memory:NVMM), format=(string)NV12 ! ",
    "glimagesink": "",
    "ximagesink": "videoconvert ! ",
    "waylandsink": "videoconvert ! ",
    "kmssink": "videoconvert ! ",
}


@dataclass(frozen=True, slots=True)
class Window:
    """How pictures come on the screen.

    Attributes:
        element: the GStreamer sink.
        note: what it cannot do that was asked for; empty if nothing.
    """

    element: str
    note: str = ""

    def pipeline(self, live: bool) -> str:
        """The whole pipeline: a live picture is shown when it comes, a file's when it is due."""
        when = "false" if live else "true"
        arguments = f"name=acf_window sync={when} qos=false"
        if self.element == "waylandsink":
            arguments += " fullscreen=true"
        queue = "queue max-size-buffers=1 max-size-bytes=0 max-size-time=0"
        queue += " leaky=downstream ! " if live else " ! "
        return f"{appsrc(live)} ! {queue}{_BEFORE[self.element]}{self.element} {arguments}"


def choose_window(environment: Mapping[str, str], usable: Have, fullscreen: bool) -> Window:
    """The sink for this screen.

    Args:
        environment: ``os.environ``; a desktop session sets DISPLAY or WAYLAND_DISPLAY.
        usable: whether an element is there and opens.
        fullscreen: fill the screen if that can be done.

    Raises:
        InputError: there is no screen, or no element for it.
    """
    if environment.get("WAYLAND_DISPLAY"):
        names: tuple[str, ...] = ("nv3dsink", "glimagesink", "waylandsink")
        if fullscreen:
            names = ("waylandsink", *names[:2])
        advised = "glimagesink"
    elif environment.get("DISPLAY"):
        names, advised = ("nv3dsink", "glimagesink", "ximagesink"), "ximagesink"
    else:
        names, advised = ("nvdrmvideosink", "kmssink"), ""
    for name in names:
        needs = "nvvidconv" if name.startswith("nv") else ""
        if usable(name) and (not needs or usable(needs)):
            fills = name in ("waylandsink", "nvdrmvideosink", "kmssink")
            note = f"'{name}' cannot fill the screen; its window has the size of the video"
            return Window(name, note if fullscreen and not fills else "")
    if advised and not any(have(name) for name in names):
        raise missing(advised, "display://")
    if advised:
        raise InputError(
            "No window can be opened: the screen that DISPLAY or WAYLAND_DISPLAY names "
            "does not answer.",
            "Start it within the desktop session.",
        )
    raise InputError(
        "There is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set.",
        "Start it within a desktop session, or watch it in the browser: web://:8080",
    )


class DisplaySink:
    """Show the enhanced stream on a screen.

    Args:
        uri: ``display://``.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._feed: Feed | None = None
        self._window: Window | None = None
        self._live = True

    @property
    def uri(self) -> str:
        """As the user gave it."""
        return self._uri.shown

    @property
    def wants_original(self) -> bool:
        """Never."""
        return False

    @property
    def lossless(self) -> bool:
        """Of a file, every picture, when it is due."""
        return True

    @property
    def newest(self) -> bool:
        """Of a camera, the newest picture: a window keeps none."""
        return True

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Open the window.

        Raises:
            InputError: there is no screen, or GStreamer or an element is missing.
        """
        gstreamer = load()
        if gstreamer.GLib.get_application_name() is None:  # it can be set only once
            gstreamer.GLib.set_application_name("ACF Edge")
        fullscreen = bool(self._uri.options.get("fullscreen"))
        self._live = info.live
        self._window = choose_window(os.environ, works, fullscreen)
        self._feed = Feed(
            gstreamer,
            self._window.pipeline(info.live),
            "display://",
            Feeder(gstreamer, info, size),
            Stamps(info.live, by_arrival=True),
            patient=not info.live,
        )

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Show a picture; packets were not asked for.

        Raises:
            SinkFailed: the window was closed.
        """
        if self._feed is None:
            raise SinkFailed("the window is not open")
        if isinstance(item, Moment):
            self._feed.write(item)

    def close(self) -> Sequence[str]:
        """Close the window."""
        feed, self._feed = self._feed, None
        if feed is not None and self._live:
            feed.stop()
        elif feed is not None:
            feed.finish()  # the last pictures are still to be shown
        return (self._window.note,) if self._window is not None and self._window.note else ()
