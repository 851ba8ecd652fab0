"""The sink ``web://``: hands moments to a page server that runs in a thread of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.packet import Packet
from av.stream import Stream

from acf_edge.errors import MissingExtraError
from acf_edge.stream.protocols import Controls, Moment, Source, StreamInfo
from acf_edge.stream.uri_types import Uri
from acf_edge.stream.web.settings import listen, settings_of

if TYPE_CHECKING:
    from acf_edge.stream.web.server import PageServer


class WebSink:
    """Show the stream in browsers.

    Nothing is coded while nobody watches. A browser that is slow leaves frames out;
    it slows down neither the stream nor the other browsers.

    Args:
        uri: ``web://[HOST][:PORT]`` with its options; see docs/web.md.

    Raises:
        MissingExtraError: aiohttp is not installed.
        InputError: an option cannot be followed.
    """

    wants_original = True
    lossless = False

    def __init__(self, uri: Uri) -> None:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("'web://'", "aiohttp", "web") from error
        self._uri = uri
        self._settings = settings_of(uri)
        self._controls: Controls | None = None
        self._server: PageServer | None = None

    @property
    def uri(self) -> str:
        """As the user gave it, without the token."""
        return self._uri.shown

    @property
    def address(self) -> str | None:
        """Where a browser finds the page; None while it is not served. Holds no token."""
        return None if self._server is None else self._settings.url(self._server.port)

    def bind(self, controls: Controls) -> None:
        """Take the controls of the running stream; called before :meth:`open`."""
        self._controls = controls

    def open(self, info: StreamInfo, size: tuple[int, int], source: Source) -> None:
        """Begin to listen, and print where.

        Raises:
            InputError: the port is in use, or the address is not of this machine.
        """
        from acf_edge.stream.web.server import PageServer

        server = self._server
        if server is None:
            listening = listen(self._settings)
            server = PageServer(self._settings, self._controls)
        server.site.info, server.site.size = info, size
        server.hub.rate = float(info.rate)
        if self._server is None:
            server.start(listening)
            self._server = server
            self._announce()

    def _announce(self) -> None:
        token = f"?token={self._settings.token}" if self._settings.made else ""
        with contextlib.suppress(OSError):  # nobody reads it: no reason to stop
            print(f"web page: {self.address}{token}", file=sys.stderr, flush=True)

    def write(self, item: Moment | Packet[Stream]) -> None:
        """Show a moment.

        Raises:
            SinkFailed: its pictures cannot be coded.
        """
        if self._server is not None and isinstance(item, Moment):
            self._server.site.source = item.source
            self._server.hub.publish(item)

    def close(self) -> Sequence[str]:
        """Say good-bye to the viewers and stop listening. Safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return ()
        server.stop()
        site = server.site
        notes = [f"{site.sent.viewers} viewers, {site.sent.most_at_once} at once at most"]
        return notes + (site.recorder.close() if site.recorder else [])
