"""Frames in a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri


class DisplaySink:
    """Show the enhanced stream on a screen."""

    def __init__(self, uri: Uri) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._uri.shown
