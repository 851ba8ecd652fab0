"""Frames into a GStreamer pipeline of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri


class GstSink:
    """Hand frames to a GStreamer pipeline."""

    def __init__(self, uri: Uri) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._uri.shown
