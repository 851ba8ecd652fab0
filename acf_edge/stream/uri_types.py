"""The words of the URI grammar: a scheme, its options, a URI that was taken apart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:  # they import av, which --help does without
    from acf_edge.stream.protocols import Sink, Source

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_SECONDS = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d*)?|\.\d+)(ms|s|min)?")
_UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0}
# Television's rates are written rounded but meant exactly.
_NTSC = {23.976: 24, 23.98: 24, 29.97: 30, 47.952: 48, 59.94: 60, 119.88: 120}


@dataclass(frozen=True, slots=True)
class Option:
    """One option in the query of a URI.

    Attributes:
        name: as it stands in the query.
        kind: ``int``, ``float``, ``bool``, ``size`` (``1280x720`` -> ``(1280, 720)``),
            ``rate`` (``30``, ``29.97``, ``30000/1001`` -> Fraction), ``seconds``
            (``2``, ``2s``, ``33ms``, ``1:30`` -> float), ``choice`` or ``text`` (-> str).
        default: the value where it is not given, of the same type; None = not set.
        help: a few words.
        choices: what a ``choice`` may be.
        low, high: the smallest and the largest value of a number; None = no bound.
    """

    name: str
    kind: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    def read(self, text: str) -> Any:
        """Turn the text of the query into a value.

        Raises:
            ValueError: not of this kind, or out of range; the message says what is allowed.
        """
        if self.kind == "choice":
            # What can be chosen may also be switched: "deinterlace=1" means "on".
            for name in (text.lower(), *_spellings(text.lower())):
                if name in self.choices:
                    return name
            raise ValueError(f"one of {', '.join(self.choices)}")
        if self.kind == "text":
            if not text:
                raise ValueError("some text")
            return text
        value = _READERS[self.kind](text.strip().lower())
        for number in value if isinstance(value, tuple) else (value,):
            below = self.low is not None and number < self.low
            if below or (self.high is not None and number > self.high):
                raise ValueError(self.expected)
        return value

    @property
    def expected(self) -> str:
        """What may be given, in words."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        words = _WORDS[self.kind]
        if self.low is not None and self.high is not None:
            return f"{words} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{words}, {self.low:g} or more"
        return words


def _spellings(text: str) -> tuple[str, ...]:
    if text in ("", *_TRUE):
        return _TRUE
    return _FALSE if text in _FALSE else ()


def _read_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise ValueError(_WORDS["int"])
    return int(text)


def _read_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(_WORDS["float"])
    return value


def _read_bool(text: str) -> bool:
    # An option without a value is switched on: "?loop".
    if text in ("", *_TRUE):
        return True
    if text in _FALSE:
        return False
    raise ValueError(_WORDS["bool"])


def _read_size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(_WORDS["size"])
    return int(found[1]), int(found[2])


def _read_rate(text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(_WORDS["rate"]) from None
    whole = None if "/" in text else _NTSC.get(float(value))
    return Fraction(whole * 1000, 1001) if whole else value


def _read_seconds(text: str) -> float:
    found = _SECONDS.fullmatch(text)
    if not found or (found[1] and found[4]):
        raise ValueError(_WORDS["seconds"])
    first, second = found[1], found[2]
    hours, minutes = (int(first), int(second)) if second else (0, int(first or 0))
    return hours * 3600 + minutes * 60 + float(found[3]) * _UNITS[found[4]]


_READERS: dict[str, Callable[[str], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "bool": _read_bool,
    "size": _read_size,
    "rate": _read_rate,
    "seconds": _read_seconds,
}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "1 or 0",
    "size": "a size such as 1280x720",
    "rate": "frames per second such as 30, 29.97 or 30000/1001",
    "seconds": "a time such as 2, 500ms or 1:30",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class Uri:
    """A source or a sink, as the user named it. Its ``repr`` holds no secret.

    Attributes:
        text: as given, with user name and password; never to be shown or logged.
        scheme: e.g. ``rtsp``; ``file`` and ``folder`` for plain paths.
        rest: what follows the scheme, without the query: a path, a pattern's name, a
            pipeline; of network addresses ``USER:PASSWORD@HOST:PORT/PATH`` as given.
        options: every option of the scheme, typed, defaults filled in.
        shown: for eyes and logs: user name, password and tokens are left out.
        query: what of the query belongs to the server, as given.
        host: name or address (IPv6 without brackets); empty where none was given.
        port: None where none was given.
        path: of a network address, with its ``/``, as given.
        user, password: percent-decoded; empty where none were given.
    """

    text: str = field(repr=False)
    scheme: str
    rest: str = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    shown: str
    query: str = field(default="", repr=False)
    host: str = ""
    port: int | None = None
    path: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """What to connect to: the address without our options. Holds the password."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.rest}{query}"

    @property
    def address_without_user(self) -> str:
        """The same without user name and password."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.rest.rpartition('@')[2]}{query}"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of source or sink.

    Attributes:
        name: e.g. ``rtsp``.
        role: ``source`` or ``sink``.
        form: how it is written, e.g. ``rtsp://HOST[:PORT]/PATH``.
        help: one line.
        options: what may stand in the query.
        build: makes the source or sink; nothing is connected, heavy imports happen here.
        kind: how the rest is read: ``network`` (an address; the query is shared with
            the server), ``local`` (percent-decoded) or ``verbatim`` (no query at all).
    """

    name: str
    role: str
    form: str
    help: str
    options: tuple[Option, ...]
    build: Callable[[Uri], Source | Sink]
    kind: str = "local"


_USER = re.compile(r"(?<=//)[^/\s?#]*@")
_NAMED = re.compile(
    r"(?i)((?:pass(?:word|wd)?|pwd|user-?pw|token|secret|(?:api_?)?key|auth|sig(?:nature)?)=)"
    r"(\"[^\"]*\"|[^&/?#\s\"]+)"
)


def without_secrets(text: str) -> str:
    """Take out user names and passwords (``//USER:PASSWORD@``) and named secrets (``token=``)."""
    return _NAMED.sub(r"\1***", _USER.sub("", text))


def nearest(name: str, names: tuple[str, ...]) -> str:
    """``"Did you mean 'x'? "`` or nothing."""
    close = get_close_matches(name.lower(), names, 1, 0.6)
    return f"Did you mean '{close[0]}'? " if close else ""


def decoded(text: str) -> str:
    """Percent-decode; a lone percent sign stands for itself."""
    return unquote(text, errors="surrogateescape")
