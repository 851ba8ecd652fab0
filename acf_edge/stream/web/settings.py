"""What ``web://[HOST][:PORT]?…`` asks for, checked."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from acf_edge.errors import InputError
from acf_edge.stream.uri_types import Uri

DEFAULT_PORT = 8080
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")
"""Of x264's presets those that keep up with a camera."""

SHORTEST_TOKEN = 8
_CRF, _PRESET, _STALE, _VIEWERS = 20, "ultrafast", 5.0, 16


@dataclass(frozen=True, slots=True)
class Settings:
    """How the page is served.

    Attributes:
        host: address or name to listen on; ``127.0.0.1`` unless another was given.
        port: TCP port; 0 lets the system choose.
        token: what viewers must show; None = nothing is demanded (loopback only).
        made: the token was made here, nobody knows it yet.
        save: folder for recordings and snapshots; None = the browser downloads them.
        names: host names, beside the obvious ones, under which the page may be asked for.
        crf: x264's quality, 0 best to 51.
        preset: x264's preset.
        stale: seconds without a frame after which ``/healthz`` says 503.
        viewers: how many may watch at once.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    made: bool = False
    save: Path | None = None
    names: tuple[str, ...] = ()
    crf: int = _CRF
    preset: str = _PRESET
    stale: float = _STALE
    viewers: int = _VIEWERS

    @property
    def loopback(self) -> bool:
        """Only this machine can connect."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Where a browser finds the page, without the token.

        Args:
            port: that the system gave.
        """
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = _own_address()
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def settings_of(uri: Uri) -> Settings:
    """Read a ``web://`` address.

    Raises:
        InputError: a token that is too short, an unknown preset, a folder that cannot
            be written to.
    """
    options = uri.options
    host = uri.host or "127.0.0.1"
    token = options.get("token")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise InputError(
            f"The token of '{uri.shown}' is shorter than {SHORTEST_TOKEN} characters.",
            "Give a longer one, or leave it out: one is made and printed.",
        )
    preset = str(options.get("preset", _PRESET))
    if preset not in PRESETS:
        raise InputError(f"Unknown preset '{preset}'.", f"There are: {', '.join(PRESETS)}.")
    made = token is None and not is_loopback(host)
    save = options.get("save")
    names = str(options.get("names") or "").replace(",", " ").split()
    return Settings(
        host=host,
        port=DEFAULT_PORT if uri.port is None else uri.port,
        token=secrets.token_urlsafe(24) if made else token,
        made=made,
        save=_folder(save) if save else None,
        names=tuple(name.lower() for name in names),
        crf=int(options.get("crf", _CRF)),
        preset=preset,
        stale=float(options.get("stale", _STALE)),
        viewers=int(options.get("viewers", _VIEWERS)),
    )


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if "?" in str(folder):
        raise InputError(f"The folder '{folder}' has a '?' in its name.", "Choose another one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder '{folder}' cannot be made: {error.strerror}.", "Choose another one."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"The folder '{folder}' cannot be written to.", "Choose another one.")
    return folder


def is_loopback(host: str) -> bool:
    """Whether listening on ``host`` leaves other machines out."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, which no name server can turn elsewhere."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _own_address() -> str:
    """The address that this machine has towards others, for a link to print."""
    # Connecting a datagram socket picks the route and sends nothing.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket.

    Raises:
        InputError: the port is in use or not allowed, or the address is not of this machine.
    """
    host, port = settings.host, settings.port
    place = f"{host}:{port}"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=64)
    except socket.gaierror as error:
        raise InputError(
            f"'{host}' is no address of this machine.", "Use web://:8080 or web://0.0.0.0:8080."
        ) from error
    except PermissionError as error:
        raise InputError(
            f"Listening on {place} is not allowed.", "Choose a port above 1023."
        ) from error
    except OSError as error:
        raise InputError(
            f"'web://' cannot listen on {place}: {error.strerror or error}.",
            f"Choose another port, e.g. web://{uri_host(host)}:{_next(port)}.",
        ) from error


def uri_host(host: str) -> str:
    """The host as it stands in an address; empty for the default."""
    if host == "127.0.0.1":
        return ""
    return f"[{host}]" if ":" in host else host


def _next(port: int) -> int:
    return port + 1 if port < 65535 else DEFAULT_PORT
