"""Frames served over RTSP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import InputError
from acf_edge.stream.gst.elements import need, works
from acf_edge.stream.gst.encoders import choose_encoding
from acf_edge.stream.gst.feeder import Feeder
from acf_edge.stream.gst.load import load, load_rtsp_server
from acf_edge.stream.gst.medium import Medium
from acf_edge.stream.gst.rtsp_hub import Place, RtspServer, give_back, is_local, take_server
from acf_edge.stream.protocols import Moment, SinkFailed, Source, StreamInfo

if TYPE_CHECKING:
    from acf_edge.stream.uri_types import Uri

_PORT = 8554
_TOKEN_USER = "token"


def place_of(uri: Uri) -> Place:
    """Where to listen, and the password if there is one.

    Raises:
        InputError: it would be open to the network without a password.
    """
    options = uri.options
    user = str(uri.user or options.get("user") or "")
    password = str(uri.password or options.get("password") or "")
    token = str(options.get("token") or "")
    if token and not user:
        user, password = _TOKEN_USER, token
    host = uri.host or "127.0.0.1"
    if password and not user:
        raise InputError("RTSP has a password but no user name.", "Add user=NAME.")
    if not is_local(host) and not (user and password):
        raise InputError(
            f"RTSP on '{host}' can be watched by everyone on the network.",
            "Add ?user=NAME&password=SECRET, or listen on this machine only: rtsp://:8554/live",
        )
    return Place(host, uri.port or _PORT, user, password)


class RtspServerSink:
    """Serve the enhanced stream to any number of RTSP clients.

    It is coded once for all of them, and not at all while nobody watches. A viewer
    who cannot keep up loses packets; neither the stream nor the others wait. Whoever
    comes gets a key frame at once. A file is played as it is timed.

    Args:
        uri: ``rtsp://[HOST][:PORT]/PATH``; without a host, this machine alone is served.

    Raises:
        InputError: it would be open to the network without a password.
    """

    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._place = place_of(uri)
        self._path = f"/{uri.path.strip('/')}" if uri.path.strip("/") else "/live"
        self._server: RtspServer | None = None
        self._medium: Medium | None = None
        self._notes: tuple[str, ...] = ()

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
        """Of a camera, the newest picture: viewers want now, not then."""
        return True

    @property
    def address(self) -> str:
        """What a player on this machine opens; without user name and password."""
        host = "127.0.0.1" if self._place.host in ("0.0.0.0", "::") else self._place.host
        host = f"[{host}]" if ":" in host else host
        return f"rtsp://{host}:{self._place.port}{self._path}"

    @property
    def encoding(self) -> bool:
        """Whether somebody watches, so that pictures are coded."""
        return self._medium is not None and self._medium.watched

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin to listen.

        Raises:
            InputError: GStreamer, gst-rtsp-server or an encoder is missing, the port is
                taken, or something is served there already.
        """
        self.close()
        gstreamer = load()
        rtsp = load_rtsp_server()
        need("Serving RTSP", ("appsrc", "h264parse", "rtph264pay"))
        feeder = Feeder(gstreamer, info, size, even=True)
        options = self._uri.options
        encoding = choose_encoding(
            feeder.size, info.rate, works, options.get("bitrate"), options.get("gop")
        )
        self._notes = (encoding.note,) if encoding.note else ()
        medium = Medium(gstreamer, feeder, info.live)
        factory = medium.factory(rtsp, encoding)
        server = take_server(self._place)
        try:
            server.mount(self._path, factory, medium.refresh)
        except BaseException:
            give_back(server)
            raise
        self._server, self._medium = server, medium

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Show a picture to whoever watches; packets were not asked for.

        Raises:
            SinkFailed: it is not open.
        """
        if self._medium is None:
            raise SinkFailed("the RTSP server is not open")
        if isinstance(item, Moment):
            self._medium.write(item)

    def close(self) -> Sequence[str]:
        """Part with all viewers and free the port."""
        server, self._server = self._server, None
        medium, self._medium = self._medium, None
        if server is None or medium is None:
            return ()
        medium.close()
        server.unmount(self._path)
        give_back(server)
        return (*self._notes, *medium.notes())
