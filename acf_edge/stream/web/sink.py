"""The sink ``web://``: hands moments to a page server that runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.protocols import Controls, Moment, Source, StreamInfo
from acf_edge.stream.uri_types import Uri


class WebSink:
    """Show the stream in browsers.

    Args:
        uri: ``web://[HOST][:PORT]`` with its options.
    """

    wants_original = True
    lossless = False

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._controls: Controls | None = None

    @property
    def uri(self) -> str:
        """As the user gave it, without the token."""
        return self._uri.shown

    def bind(self, controls: Controls) -> None:
        """Take the controls of the running stream; called before :meth:`open`."""
        self._controls = controls

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin to listen."""

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Show a moment."""

    def close(self) -> Sequence[str]:
        """Stop listening."""
        return ()
