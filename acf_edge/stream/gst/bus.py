"""What a pipeline says on its bus, as one line for a human."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from acf_edge.stream.uri_types import without_secrets

# GStreamer's error domain and code that decide what is to be done.
_RESOURCE = "gst-resource-error-quark"
_NOT_AUTHORIZED = 15


@dataclass(frozen=True, slots=True)
class BusError:
    """An error that an element reported.

    Attributes:
        text: one line, without secrets.
        element: name of the element's factory, e.g. ``rtspsrc``; empty where unknown.
        domain, code: GStreamer's.
    """

    text: str
    element: str
    domain: str = ""
    code: int = 0

    @property
    def refused(self) -> bool:
        """The other side wants another user name or password."""
        if (self.domain, self.code) == (_RESOURCE, _NOT_AUTHORIZED):
            return True
        return bool(re.search(r"\b(Unauthorized|Forbidden)\b", self.text))

    @property
    def of_resource(self) -> bool:
        """A device, a server or a file is at fault, not the pipeline."""
        return self.domain == _RESOURCE


def one_line(message: str, debug: str | None) -> str:
    """GStreamer's message with the reason that hides in its debug text.

    Args:
        message: e.g. ``"Could not open resource for reading and writing."``.
        debug: e.g. ``"../gst/rtsp/gstrtspsrc.c(8046): gst_rtspsrc_retrieve_sdp ():
            /GstPipeline:pipeline0/GstRTSPSrc:src:\\nFailed to connect. (Generic error)"``.
    """
    reason = (debug or "").partition("\n")[2]
    parts = [" ".join(part.split()).rstrip(".") for part in (message, reason)]
    if not parts[1] or parts[1] in parts[0]:
        parts = parts[:1]
    return without_secrets(": ".join(parts))


def read_error(message: Any) -> BusError:
    """Read a ``GstMessage`` of type ERROR."""
    error, debug = message.parse_error()
    factory = getattr(message.src, "get_factory", lambda: None)()
    return BusError(
        one_line(error.message, debug),
        factory.get_name() if factory else "",
        error.domain or "",
        int(error.code),
    )


def take_error(gst: Any, bus: Any) -> BusError | None:
    """The next error on a bus, if there is one; everything before it is taken off, too."""
    message = bus.pop_filtered(gst.MessageType.ERROR)
    return read_error(message) if message else None
