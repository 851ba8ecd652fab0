"""RTSP servers of this process: one for every port, however many streams it serves."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from acf_edge.errors import InputError
from acf_edge.stream.gst.load import Gstreamer, load, load_rtsp_server, namespace

# Seconds: a viewer that is gone without a word is forgotten after the first, and
# looked for every second one.
_SESSION = 20
_SWEEP = 2
_ROLE = "viewer"
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens, and what it asks of viewers.

    Attributes:
        host: an address of this machine.
        port: TCP port.
        user, password: what viewers must know; empty = nothing.
    """

    host: str
    port: int
    user: str = ""
    password: str = ""


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class RtspServer:
    """One listening port with its own thread and main loop.

    Args:
        gstreamer: loaded.
        place: where.

    Raises:
        InputError: the port is taken, the address is not of this machine, or
            gst-rtsp-server is missing.
    """

    def __init__(self, gstreamer: Gstreamer, place: Place) -> None:
        self.place = place
        self._paths: dict[str, Callable[[], None]] = {}
        self._glib = gstreamer.GLib
        self._rtsp = rtsp = load_rtsp_server()
        self._server = server = rtsp.RTSPServer.new()
        server.set_address(place.host)
        server.set_service(str(place.port))
        # Clients are served in the thread of the loop; only media have their own.
        server.get_thread_pool().set_max_threads(0)
        if place.user:
            server.set_auth(self._auth(rtsp, place))
        self._context = self._glib.MainContext.new()
        self._loop = self._glib.MainLoop.new(self._context, False)
        self._sources: list[Any] = []
        try:
            listening = server.create_source(None)
        except self._glib.Error as error:
            raise InputError(
                f"RTSP cannot be served at {place.host}:{place.port}: {error.message}.",
                "Choose another port, or end what listens there.",
            ) from error
        self._add(listening)
        self._handler = server.connect("client-connected", self._welcome)
        sweep = self._glib.timeout_source_new_seconds(_SWEEP)
        sweep.set_callback(self._sweep)
        self._add(sweep)
        self._thread = threading.Thread(target=self._run, name="acf-rtsp", daemon=True)
        self._thread.start()

    def _add(self, source: Any) -> None:
        source.attach(self._context)
        self._sources.append(source)

    def _run(self) -> None:
        self._context.push_thread_default()
        try:
            self._loop.run()
        finally:
            self._context.pop_thread_default()

    @staticmethod
    def _auth(rtsp: Any, place: Place) -> Any:
        auth = rtsp.RTSPAuth.new()
        token = rtsp.RTSPToken()
        token.set_string("media.factory.role", _ROLE)
        # With "basic" the password would travel in the clear.
        auth.set_supported_methods(namespace("GstRtsp").RTSPAuthMethod.DIGEST)
        auth.add_digest(place.user, place.password, token)
        return auth

    def _welcome(self, server: Any, client: Any) -> None:
        # Otherwise the session of a viewer whose connection broke goes on for a minute,
        # and the encoder works for nobody.
        client.connect("closed", self._forget)
        client.connect("play-request", self._play)

    def _forget(self, client: Any) -> None:
        client.session_filter(lambda _client, _session: self._rtsp.RTSPFilterResult.REMOVE)

    def _play(self, client: Any, context: Any) -> None:
        refresh = self._paths.get(context.uri.abspath.rstrip("/"))
        if refresh is not None:
            refresh()

    def _sweep(self, *_: Any) -> bool:
        self._server.get_session_pool().cleanup()
        return True

    def mount(self, path: str, factory: Any, refresh: Callable[[], None]) -> None:
        """Serve what a factory makes.

        Args:
            path: begins with a slash and does not end in one.
            factory: a ``GstRTSPMediaFactory``.
            refresh: called when somebody begins to play it.

        Raises:
            InputError: something is served there already.
        """
        if path in self._paths:
            raise InputError(
                f"'{path}' is served already on port {self.place.port}.", "Choose another path."
            )
        if self.place.user:
            permissions = self._rtsp.RTSPPermissions()
            permissions.add_permission_for_role(_ROLE, "media.factory.access", True)
            permissions.add_permission_for_role(_ROLE, "media.factory.construct", True)
            factory.set_permissions(permissions)
        self._server.get_mount_points().add_factory(path, factory)
        self._paths[path] = refresh

    def unmount(self, path: str) -> None:
        """Stop serving a path and part with those who watch it."""
        self._server.get_mount_points().remove_factory(path)
        self._paths.pop(path, None)
        results = self._rtsp.RTSPFilterResult

        def watches(session: Any) -> bool:
            keep = session.filter(
                lambda _session, medium: results.REF if medium.matches(path)[0] else results.KEEP
            )
            return bool(keep)

        def part(_server: Any, client: Any) -> Any:
            sessions = client.session_filter(lambda _client, session: results.REF)
            return results.REMOVE if any(map(watches, sessions)) else results.KEEP

        self._in_loop(lambda: self._server.client_filter(part))

    def stop(self) -> None:
        """Part with all viewers, free the port, end the thread."""
        results = self._rtsp.RTSPFilterResult

        def leave() -> None:
            self._server.client_filter(lambda _server, _client: results.REMOVE)
            self._server.get_session_pool().filter(lambda _pool, _session: results.REMOVE)
            for source in self._sources:
                source.destroy()

        self._in_loop(leave)
        self._server.disconnect(self._handler)
        self._loop.quit()
        self._thread.join(_PATIENCE)

    def _in_loop(self, work: Callable[[], Any]) -> None:
        """Do something in the thread of the loop, and wait for it."""
        done = threading.Event()

        def do(*_: Any) -> bool:
            try:
                work()
            finally:
                done.set()
            return False

        source = self._glib.idle_source_new()
        source.set_callback(do)
        source.attach(self._context)
        done.wait(_PATIENCE)


class _Servers:
    """The open servers by port, counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[RtspServer, int]] = {}

    def take(self, place: Place) -> RtspServer:
        with self._lock:
            server, users = self._open.get(place.port, (None, 0))
            if server is None:
                server = RtspServer(load(), place)
            elif server.place != place:
                raise InputError(
                    f"Port {place.port} serves RTSP already, with another address or password.",
                    "Give all streams of a port the same, or choose another port.",
                )
            self._open[place.port] = server, users + 1
            return server

    def give_back(self, server: RtspServer) -> None:
        with self._lock:
            port = server.place.port
            users = self._open[port][1] - 1
            if users:
                self._open[port] = server, users
                return
            del self._open[port]
            server.stop()


# A port can be listened to once in a process, so who listens is known once, too.
_SERVERS = _Servers()


def take_server(place: Place) -> RtspServer:
    """The server of a port, started if need be; to be given back.

    Raises:
        InputError: see :class:`RtspServer`; or it is open with another address or password.
    """
    return _SERVERS.take(place)


def give_back(server: RtspServer) -> None:
    """Let go of a server; the last one to do so stops it."""
    _SERVERS.give_back(server)
