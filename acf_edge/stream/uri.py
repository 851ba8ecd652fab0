"""One grammar for where frames come from and where they go.

``SCHEME://REST?NAME=VALUE&NAME=VALUE``, or a plain path. A path is taken as it
stands (no percent-decoding), and a name with a question mark is a path if such
a file exists. ``gst:PIPELINE`` has no options: all of it is the pipeline. The
query of a network address is shared: names that are not options of ours go to
the server (``rtsp://HOST/live?channel=1``), unless they look like a slip of the
pen; ``server.NAME=VALUE`` always goes there, as ``NAME=VALUE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from acf_edge.errors import InputError
from acf_edge.stream.uri_table import schemes, video_suffixes
from acf_edge.stream.uri_types import Option, Scheme, Uri, decoded, nearest, without_secrets

if TYPE_CHECKING:
    from acf_edge.stream.protocols import Sink, Source

__all__ = [
    "Option",
    "Scheme",
    "Uri",
    "open_sink",
    "open_source",
    "parse_sink",
    "parse_source",
    "render_schemes",
]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SHORT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_QUERY = re.compile(r"[A-Za-z][\w.-]*(?:=[^?]*)?")
_SERVER = "server."
# A parameter of a server that resembles an option of ours this much is a slip.
_SLIP = 0.75


def parse_source(text: str) -> Uri:
    """Take the name of a source apart.

    Raises:
        InputError: unknown scheme or option, or a value that is not allowed; the
            message lists what exists. It never holds a password.
    """
    return _parse(text, "source")


def parse_sink(text: str) -> Uri:
    """Take the name of a sink apart; raises as :func:`parse_source` does."""
    return _parse(text, "sink")


def open_source(text: str) -> Source:
    """Make the source that ``text`` names; nothing is connected yet.

    Raises:
        InputError: see :func:`parse_source`.
        MissingExtraError: it needs a package that is not installed.
    """
    uri = parse_source(text)
    return cast("Source", _find(uri.scheme, "source").build(uri))


def open_sink(text: str) -> Sink:
    """Make the sink that ``text`` names; raises as :func:`open_source` does."""
    uri = parse_sink(text)
    return cast("Sink", _find(uri.scheme, "sink").build(uri))


def render_schemes(role: str | None = None, *, markdown: bool = False) -> str:
    """The whole grammar as text for ``--help``, or as tables for the documentation.

    Args:
        role: ``"source"``, ``"sink"`` or None for both.
        markdown: tables instead of indented lines.
    """
    parts = []
    for each in (role,) if role else ("source", "sink"):
        lines = _markdown(each) if markdown else _plain(each)
        parts.append("\n".join([("### " if markdown else "") + each.capitalize() + "s", *lines]))
    return "\n\n".join(parts)


def _plain(role: str) -> Iterator[str]:
    before: tuple[Option, ...] = ()
    for scheme in schemes(role):
        yield f"  {scheme.form:<42} {scheme.help}"
        if before and scheme.options == before:
            yield "      (the same options)"
        else:
            for option in scheme.options:
                form = f"{option.name}={_value(option)}"
                yield f"      {form:<38} {option.help}{_default(option)}"
        before = scheme.options


def _markdown(role: str) -> Iterator[str]:
    yield ""
    yield f"| {role} | what it is | options |"
    yield "|---|---|---|"
    for scheme in schemes(role):
        options = "; ".join(
            f"`{option.name}={_value(option)}` {option.help}{_default(option)}"
            for option in scheme.options
        )
        row = f"| `{scheme.form}` | {scheme.help} | {options or '—'} |"
        # Inside a table a bar must be escaped, in code too.
        yield "| " + row[2:-2].replace("|", r"\|").replace(r" \| ", " | ") + " |"


def _value(option: Option) -> str:
    if option.kind == "choice":
        return "|".join(option.choices)
    if option.kind == "bool":
        return "0|1"
    return {"int": "N", "float": "X", "size": "WxH", "rate": "R", "seconds": "S"}.get(
        option.kind, "TEXT"
    )


def _default(option: Option) -> str:
    if option.default is None:
        return ""
    value = int(option.default) if option.kind == "bool" else option.default
    return f" ({value:g})" if isinstance(value, float) else f" ({value})"


def _find(name: str, role: str) -> Scheme:
    for scheme in schemes(role):
        if scheme.name == name:
            return scheme
    other = "sink" if role == "source" else "source"
    forms = ", ".join(scheme.form for scheme in schemes(role))
    what = f"'{name}' is a {other}, not a {role}."
    hint = ""
    if name not in {scheme.name for scheme in schemes(other)}:
        what = f"There is no {role} '{name}://'."
        hint = nearest(name, tuple(scheme.name for scheme in schemes(role)))
    raise InputError(what, f"{hint}{role.capitalize()}s are: {forms}.")


def _parse(text: str, role: str) -> Uri:
    if not text.strip():
        raise InputError(f"The name of a {role} is empty.", "Give a path or a URI.")
    if "\0" in text:
        raise InputError(f"The name of a {role} holds a zero byte.", "Give a path or a URI.")
    if text.startswith("gst:"):
        return _parse_pipeline(text, role)
    found = _SCHEME.match(text)
    if not found:
        return _parse_path(text, role)
    scheme = _find(found[1].lower(), role)
    rest = text[found.end() :]
    if scheme.kind == "network":
        return _parse_address(text, scheme, rest)
    body, _, query = rest.partition("?")
    options, _ = _read_query(scheme, query)
    body = decoded(body)
    if scheme.name in ("file", "folder"):
        body = body[len("localhost") :] if body.startswith("localhost/") else body
        if not body:
            raise InputError(f"'{text}' names no path.", f"Write {scheme.form}.")
        if scheme.name == "file" and _is_folder(body):
            scheme = _find("folder", role)
            options, _ = _read_query(scheme, query)
        _check_suffix(body, scheme)
    return Uri(text, scheme.name, body, options, without_secrets(text))


def _parse_pipeline(text: str, role: str) -> Uri:
    pipeline = text[len("gst:") :]
    if not pipeline.strip() or pipeline.startswith("//"):
        raise InputError(
            "'gst:' is followed by a pipeline.",
            "For example: gst:'videotestsrc ! video/x-raw,width=640,height=360'."
            if role == "source"
            else "For example: gst:'videoconvert ! autovideosink'.",
        )
    return Uri(text, "gst", pipeline, MappingProxyType({}), without_secrets(text))


def _parse_path(text: str, role: str) -> Uri:
    path, query = text, ""
    head, mark, tail = text.rpartition("?")
    if mark and head and not _exists(text) and all(map(_QUERY.fullmatch, tail.split("&"))):
        path, query = head, tail
    short = _SHORT.match(path)
    if short and not _exists(path):
        for scheme in schemes(role):
            if scheme.name == short[1].lower() and scheme.name != "folder":
                raise InputError(
                    f"'{short[0]}' without '//' is not a {role}.", f"Write {scheme.form}."
                )
    if role == "source" and re.fullmatch(r"/dev/video\d+", path):
        scheme = _find("v4l2", role)
    else:
        scheme = _find("folder" if _is_folder(path) else "file", role)
    _check_suffix(path, scheme)
    options, _ = _read_query(scheme, query)
    return Uri(text, scheme.name, path, options, without_secrets(text))


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _is_folder(path: str) -> bool:
    return path.endswith("/") or (_exists(path) and Path(path).is_dir())


def _check_suffix(path: str, scheme: Scheme) -> None:
    if (scheme.name, scheme.role) != ("file", "sink"):
        return
    if Path(path).suffix.lower() not in video_suffixes():
        suffix = Path(path).suffix or "a name without suffix"
        raise InputError(
            f"'{path}': videos cannot be written as '{suffix}'.",
            f"Choose one of {', '.join(video_suffixes())}, end in '/' for a folder of pictures, "
            f"or name another sink: {', '.join(s.form for s in schemes('sink'))}.",
        )


def _parse_address(text: str, scheme: Scheme, rest: str) -> Uri:
    body, _, query = rest.partition("?")
    body = body.partition("#")[0]
    options, query = _read_query(scheme, query.partition("#")[0])
    authority, slash, path = body.partition("/")
    login, _, place = authority.rpartition("@")
    user, _, password = login.partition(":")
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:\s]*)(?::(\d{1,5}))?", place)
    port = int(found[2]) if found and found[2] else None
    lowest = 1 if scheme.role == "source" else 0  # a server may take any free port
    if not found or (port is not None and not lowest <= port < 65536):
        # The place may hold a piece of a password with a slash in it: it is not shown.
        raise InputError(
            f"A '{scheme.name}://' address has no valid host and port.",
            f"Write {scheme.form}; in a user name or password write / ? # @ : as %2F %3F %23 "
            "%40 %3A, and IPv6 hosts in brackets.",
        )
    host = found[1].strip("[]")
    if scheme.role == "source" and not host:
        raise InputError(f"A '{scheme.name}://' address has no host.", f"Write {scheme.form}.")
    return Uri(
        text,
        scheme.name,
        body,
        options,
        without_secrets(f"{scheme.name}://{place}{slash}{path}") + _shown_query(text),
        query,
        host,
        port,
        slash + path,
        decoded(user),
        decoded(password),
    )


def _shown_query(text: str) -> str:
    query = text.partition("?")[2].partition("#")[0]
    return without_secrets(f"?{query}") if query else ""


def _read_query(scheme: Scheme, query: str) -> tuple[MappingProxyType[str, Any], str]:
    """The typed options, and what is left over for the server."""
    known = {option.name: option for option in scheme.options}
    values: dict[str, Any] = {}
    others = []
    for part in filter(None, query.split("&")):
        raw_name, mark, raw_value = part.partition("=")
        name = decoded(raw_name)
        if scheme.kind == "network" and scheme.role == "source":
            if name.startswith(_SERVER):
                others.append(part[len(_SERVER) :])
                continue
            if name not in known and not get_close_matches(name.lower(), known, 1, _SLIP):
                others.append(part)
                continue
        values[name] = _read_option(scheme, known, name, decoded(raw_value), mark, values)
    defaults = {option.name: option.default for option in scheme.options}
    return MappingProxyType({**defaults, **values}), "&".join(others)


def _read_option(
    scheme: Scheme, known: dict[str, Option], name: str, value: str, mark: str, seen: dict[str, Any]
) -> Any:
    option = known.get(name)
    if option is None:
        there = f"Its options are: {', '.join(known)}." if known else "It has no options."
        server = f" For the server write {_SERVER}{name}=…" if scheme.kind == "network" else ""
        raise InputError(
            f"The {scheme.role} '{scheme.form}' has no option '{name}'.",
            f"{nearest(name, tuple(known))}{there}{server if scheme.role == 'source' else ''}",
        )
    if name in seen:
        raise InputError(f"The option '{name}' is given twice.", "Give it once.")
    if not mark and option.kind not in ("bool", "choice"):
        raise InputError(f"The option '{name}' has no value.", f"Give {option.expected}.")
    try:
        return option.read(value)
    except ValueError:
        shown = without_secrets(f"{name}={value}")
        raise InputError(
            f"The option '{shown}' is not allowed.", f"Give {option.expected}."
        ) from None
