"""Numbered pictures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.protocols import Moment, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri import Uri


class ImageFolderSink:
    """Write a stream as numbered pictures.

    Args:
        uri: the path of a folder, with its options.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri

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
        """A recording: of a file, nothing may be dropped."""
        return True

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Make the folder."""

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Write a picture."""

    def close(self) -> Sequence[str]:
        """Nothing to finish."""
        return ()
