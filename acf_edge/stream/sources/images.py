"""A folder of pictures as a stream of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from av.packet import Packet
from av.stream import Stream

from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import StreamInfo
from acf_edge.stream.uri_types import Uri


class ImageFolderSource:
    """The pictures of a folder, by name.

    Args:
        uri: the path of a folder, with its options.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        """As the user gave it, without user name and password."""
        return self._uri.shown

    @property
    def live(self) -> bool:
        """A camera or a network stream."""
        return self._uri.scheme != "file"

    def open(self) -> StreamInfo:
        """Connect and learn what comes."""
        raise RuntimeError

    def items(self) -> Iterator[Frame | Packet[Stream]]:
        """Frames in order, and packets of the streams named by :meth:`pass_along`."""
        raise RuntimeError

    def copyable(self) -> Sequence[Stream]:
        """Audio streams whose packets a sink may copy."""
        return ()

    def pass_along(self, streams: Sequence[Stream]) -> None:
        """Name the streams whose packets :meth:`items` shall hand out beside the frames."""

    def close(self) -> None:
        """Let go."""
