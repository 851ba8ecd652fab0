"""Who may see the page, and from where: Host, Origin, token, headers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from acf_edge.stream.web.settings import Settings, is_address, is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    # With "no-referrer", a form's POST would come with "Origin: null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "acf-edge",
}
# What shows nothing of the stream, and what one needs before one has shown the token.
OPEN_PATHS = frozenset({"/healthz", "/login", "/static/style.css", "/static/icon.svg"})
_WRONG_TOKEN_SECONDS = 0.5
_MOST_WRONG_AT_ONCE = 8


class Guard:
    """Checks every request before its handler sees it.

    Args:
        settings: token and names.
        login_page: sent with 401 to a browser that asks for the page.
    """

    def __init__(self, settings: Settings, login_page: bytes) -> None:
        self._token = settings.token
        self._loopback = settings.loopback
        self._login_page = login_page
        self._names = _names(settings)
        self._waiting = 0
        # The cookie is not the token: who reads the cookie cannot hand the link on.
        token = (settings.token or "").encode("utf-8")
        self._cookie = hmac.new(secrets.token_bytes(32), token, hashlib.sha256).hexdigest()

    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request pass, or answer it with what is wrong."""
        if not self._host_allowed(request.host):
            return _refuse(421, "This host name is not served here. Add it with ?names=NAME.")
        if _from_elsewhere(request):
            return _refuse(403, "Requests from other sites are refused.")
        with_link = self._token_right(request.query.get("token"))
        bearer = self._bearer_right(request)
        if request.path not in OPEN_PATHS and self._token is not None:
            known = bearer or with_link or self._cookie_right(request)
            if not known:
                return await self._unknown(request)
        changes = request.method not in ("GET", "HEAD") or _is_websocket(request)
        if changes and not bearer and not _same_origin(request):
            return _refuse(403, "The Origin header names another site, or none.")
        response = await handler(request)
        if with_link and self._token is not None and not response.prepared:
            self.set_cookie(request, response)
        return response

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Signal handler: what every answer carries."""
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if request.secure or is_loopback(_host_name(request.host)):  # elsewhere it is ignored
            response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")

    def set_cookie(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the browser show the token no more."""
        response.set_cookie(
            _cookie_name(request),
            self._cookie,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
            path="/",
        )

    async def login(self, request: web.Request) -> web.StreamResponse:
        """``POST /login``: the token from a form."""
        form = await request.post()
        token = form.get("token")
        if not self._token_right(token if isinstance(token, str) else None):
            return await self._unknown(request)
        response = web.Response(status=303, headers={"Location": "/"})
        self.set_cookie(request, response)
        return response

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        tried = (
            bool(request.query.get("token") or request.headers.get("Authorization"))
            or request.path == "/login"
        )
        if tried:
            # Guessing is slow, and cannot be sped up by guessing side by side.
            if self._waiting >= _MOST_WRONG_AT_ONCE:
                return _refuse(429, "Too many wrong tokens. Try again in a second.")
            self._waiting += 1
            try:
                await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            finally:
                self._waiting -= 1
        if request.path in ("/", "/login"):
            page = self._login_page
            return web.Response(status=401, body=page, content_type="text/html", charset="utf-8")
        return web.json_response(
            {"problem": "A token is needed.", "remedy": "It is printed where the stream runs."},
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="acf-edge"'},
        )

    def _token_right(self, token: str | None) -> bool:
        return (
            self._token is not None
            and token is not None
            and hmac.compare_digest(token.encode("utf-8"), self._token.encode("utf-8"))
        )

    def _bearer_right(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._token_right(token.strip())

    def _cookie_right(self, request: web.Request) -> bool:
        value = request.cookies.get(_cookie_name(request), "")
        return hmac.compare_digest(value.encode("utf-8"), self._cookie.encode("ascii"))

    def _host_allowed(self, host: str) -> bool:
        """Whether the Host header names this server: another name may be one rebound to it."""
        name = _host_name(host)
        if name in self._names:
            return True
        return not self._loopback and is_address(name)


def _names(settings: Settings) -> frozenset[str]:
    names = {"localhost", "127.0.0.1", "::1", settings.host.lower(), *settings.names}
    if not settings.loopback:
        own = socket.gethostname().lower()
        names |= {own, f"{own.partition('.')[0]}.local"}
    return frozenset(names)


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _cookie_name(request: web.Request) -> str:
    # Browsers share cookies among the ports of a host.
    port = request.host.rpartition(":")[2]
    return f"acf-edge-{port if port.isdigit() else '80'}"


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _same_origin(request: web.Request) -> bool:
    origin = urlsplit(request.headers.get("Origin", ""))
    return origin.scheme in ("http", "https") and origin.netloc.lower() == request.host.lower()


def _from_elsewhere(request: web.Request) -> bool:
    """A browser says that another site's page asks, and not for a page to go to."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    going = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    return site in ("cross-site", "same-site") and not going


def _refuse(status: int, reason: str) -> web.Response:
    return web.json_response({"problem": reason}, status=status)
