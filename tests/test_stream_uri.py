"""The grammar of sources and sinks: what is understood, what is refused, what is never shown."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from acf_edge.errors import InputError
from acf_edge.stream.uri import open_source, parse_sink, parse_source, render_schemes
from acf_edge.stream.uri_table import SINKS, SOURCES


@pytest.mark.parametrize(
    ("text", "scheme", "rest"),
    [
        ("v4l2:///dev/video0", "v4l2", "/dev/video0"),
        ("/dev/video2", "v4l2", "/dev/video2"),
        ("csi://0", "csi", "0"),
        ("rtsp://cam/live", "rtsp", "cam/live"),
        ("RTSP://cam/live", "rtsp", "cam/live"),
        ("http://host/a%20b.m3u8", "http", "host/a%20b.m3u8"),
        ("test://clock", "test", "clock"),
        ("a clip.mp4", "file", "a clip.mp4"),
        ("100%25.mp4", "file", "100%25.mp4"),
        ("time 12:30.mp4", "file", "time 12:30.mp4"),
        ("file:///a%20b.mp4", "file", "/a b.mp4"),
        ("file://localhost/a.mp4", "file", "/a.mp4"),
        ("shots/", "folder", "shots/"),
        ("gst:videotestsrc ! x?a=b&c", "gst", "videotestsrc ! x?a=b&c"),
    ],
)
def test_sources_are_told_apart(text: str, scheme: str, rest: str) -> None:
    uri = parse_source(text)
    assert (uri.scheme, uri.rest, uri.text) == (scheme, rest, text)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("out.mp4", "file"),
        ("out.MKV", "file"),
        ("out/", "folder"),
        ("rtsp://:8554/live", "rtsp"),
        ("web://:8080", "web"),
        ("display://", "display"),
        ("gst:autovideosink", "gst"),
        ("null://", "null"),
    ],
)
def test_sinks_are_told_apart(text: str, scheme: str) -> None:
    assert parse_sink(text).scheme == scheme


def test_folders_and_odd_names_are_found_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    for name in ("what?loop=1", "test:bars"):
        (tmp_path / name).touch()
    assert parse_source("shots").scheme == "folder"
    assert parse_sink("shots").scheme == "folder"
    assert parse_source("file://shots").scheme == "folder"
    # A file of that name is meant before options and schemes are.
    assert parse_source("what?loop=1").rest == "what?loop=1"
    assert parse_source("test:bars").scheme == "file"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("test://bars?width=1280", "width", 1280),
        ("test://bars?fps=29.97", "fps", Fraction(30000, 1001)),
        ("test://bars?fps=30000/1001", "fps", Fraction(30000, 1001)),
        ("test://bars?fps=12.5", "fps", Fraction(25, 2)),
        ("test://bars", "fps", Fraction(30)),
        ("test://bars?realtime=0", "realtime", False),
        ("a.mp4?loop", "loop", True),
        ("a.mp4?loop=off&start=1:30", "start", 90.0),
        ("a.mp4?start=250ms", "start", 0.25),
        ("a.mp4?start=1:02:03.5", "start", 3723.5),
        ("a.mp4?deinterlace=1", "deinterlace", "on"),
        ("a.mp4?deinterlace", "deinterlace", "on"),
        ("a.mp4?deinterlace=0", "deinterlace", "off"),
        ("a.mp4?deinterlace=AUTO", "deinterlace", "auto"),
        ("a.mp4", "deinterlace", "off"),
        ("v4l2:///dev/video0", "width", None),
        ("rtsp://cam/x?timeout=3s", "timeout", 3.0),
        ("rtsp://cam/x?transport=udp", "transport", "udp"),
    ],
)
def test_options_have_types_and_defaults(text: str, name: str, value: Any) -> None:
    found = parse_source(text).options[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rtps://cam/x", ["'rtps://'", "Did you mean 'rtsp", "v4l2:///dev/videoN", "gst:PIPELINE"]),
        ("nonsense://x", ["'nonsense://'", "test://bars|clock|noise"]),
        ("web://:8080", ["'web' is a sink, not a source", "FOLDER/"]),
        ("test://bars?widht=3", ["'widht'", "Did you mean 'width'", "height, fps"]),
        ("test://bars?width=", ["'width='", "whole number from 16 to 16384"]),
        ("test://bars?width", ["'width' has no value"]),
        ("test://bars?width=12.5", ["'width=12.5'"]),
        ("test://bars?width=15", ["from 16"]),
        ("test://bars?width=99999", ["to 16384"]),
        ("test://bars?width=1&width=2", ["'width=1'"]),
        ("test://bars?width=16&width=32", ["given twice"]),
        ("test://bars?fps=0", ["'fps=0'", "0.01"]),
        ("test://bars?fps=1/0", ["'fps=1/0'", "30000/1001"]),
        ("test://bars?fps=nan", ["'fps=nan'"]),
        ("test://bars?range=wide", ["one of limited, full"]),
        ("test://bars?realtime=maybe", ["1 or 0"]),
        ("test://stripes", ["'stripes'", "bars, clock, noise"]),
        ("test://bras", ["Did you mean 'bars'"]),
        ("test://clock?width=64&height=48", ["64x48", "at least"]),
        ("a.mp4?start=soon", ["'start=soon'", "1:30"]),
        ("a.mp4?start=1:30ms", ["'start=1:30ms'"]),
        ("a.mp4?looop=1", ["'looop'", "Did you mean 'loop'"]),
        ("v4l2:/dev/video0", ["Write v4l2:///dev/videoN"]),
        ("test:bars", ["Write test://"]),
        ("v4l2:///dev/video0?width=640", ["both width and height"]),
        ("v4l2:///dev/video0?format=gif", ["mjpeg, yuyv422"]),
        ("rtsp:///live", ["has no host"]),
        ("rtsp://cam:99999/x", ["host and port"]),
        ("rtsp://[::1/x", ["brackets"]),
        ("http://h/x?timeot=3", ["'timeot'", "Did you mean 'timeout'", "server.timeot"]),
        ("rtsp://cam/x?timeout=0.1", ["from 0.2 to 60"]),
        ("gst:", ["followed by a pipeline"]),
        ("gst://videotestsrc", ["followed by a pipeline"]),
        ("", ["empty"]),
        ("  ", ["empty"]),
        ("a\0b", ["zero byte"]),
        ("file://", ["no path"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        open_source(text)
    message = str(caught.value)
    assert "\n" not in message
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("out.avi", ["'.avi'", ".mkv", "web://"]),
        ("out", ["without suffix", "end in '/'"]),
        ("v4l2:///dev/video0", ["'v4l2' is a source, not a sink"]),
        ("out.mp4?crf=52", ["from 0 to 51"]),
        ("null://?x=1", ["no option 'x'", "no options"]),
        ("web://:65536", ["host and port"]),
        ("web://:http", ["host and port"]),
    ],
)
def test_wrong_sinks_are_refused(text: str, says: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_sink(text)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("rtsp://cam/live", "cam", None, "/live"),
        ("rtsp://cam:554/a/b", "cam", 554, "/a/b"),
        ("rtsp://[2001:db8::1]:554/x", "2001:db8::1", 554, "/x"),
        ("rtsp://[fe80::1%25eth0]/x", "fe80::1%25eth0", None, "/x"),
        ("rtsp://u:p@[::1]/x", "::1", None, "/x"),
        ("http://10.0.0.7:81", "10.0.0.7", 81, ""),
    ],
)
def test_addresses_are_taken_apart(text: str, host: str, port: int | None, path: str) -> None:
    uri = parse_source(text)
    assert (uri.host, uri.port, uri.path) == (host, port, path)
    assert uri.address == text


def test_a_sink_may_listen_everywhere() -> None:
    uri = parse_sink("rtsp://:8554/live")
    assert (uri.host, uri.port, uri.path) == ("", 8554, "/live")


def test_the_query_is_shared_with_the_server() -> None:
    uri = parse_source("rtsp://cam/x?channel=1&timeout=3&subtype=0&server.timeout=60&b=%26%20c")
    assert uri.options["timeout"] == 3.0
    assert uri.address == "rtsp://cam/x?channel=1&subtype=0&timeout=60&b=%26%20c"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp://bob:{SECRET}@cam:554/live?timeout=3",
        f"rtsp://bob:a@{SECRET}@cam/live",
        f"rtsp://{SECRET}@cam/live",
        f"http://cam/x?channel=1&token={SECRET}&x=1",
        f"http://cam/x?Password={SECRET}",
        f"rtsp://cam/user=admin_password={SECRET}",
        f"gst:rtspsrc location=rtsp://bob:{SECRET}@cam/x user-pw={SECRET} ! fakesink",
        f'gst:rtspsrc user-pw="{SECRET}" ! fakesink',
    ],
)
def test_passwords_are_never_shown(text: str) -> None:
    uri = parse_source(text)
    assert SECRET not in uri.shown and SECRET not in repr(uri)
    assert SECRET in uri.text


def test_what_the_server_needs_is_kept() -> None:
    uri = parse_source("rtsp://b%40b:p%3Aw@cam/live?timeout=3")
    assert (uri.user, uri.password) == ("b@b", "p:w")
    assert uri.address == "rtsp://b%40b:p%3Aw@cam/live"
    assert uri.address_without_user == "rtsp://cam/live"
    assert uri.shown == "rtsp://cam/live?timeout=3"


@pytest.mark.parametrize(
    "text",
    [
        f"rtsp://bob:{SECRET}/x@cam/live",  # a slash in the password
        f"rtsp://bob:{SECRET}?x@cam/live",  # a question mark
        f"rtsp://bob:{SECRET}#x@cam/live",
        f"rtsp://bob:{SECRET}@cam/live?transport=pigeon",
        f"rtsp://bob:{SECRET}@cam/live?transprt=tcp",
        f"rtps://bob:{SECRET}@cam/live",
        f"rtsp:bob:{SECRET}@cam",
    ],
)
def test_passwords_are_not_in_messages(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_source(text)
    assert SECRET not in str(caught.value)


def test_tokens_of_sinks_are_not_shown() -> None:
    uri = parse_sink(f"web://0.0.0.0:8080?token={SECRET}")
    assert SECRET not in uri.shown and SECRET not in repr(uri)
    assert uri.options["token"] == SECRET


def test_help_shows_every_scheme_and_option() -> None:
    plain, table = render_schemes(), render_schemes(markdown=True)
    for scheme in (*SOURCES, *SINKS):
        assert scheme.form in plain and f"`{scheme.form}`".replace("|", r"\|") in table
        for option in scheme.options:
            assert f"{option.name}=" in plain and f"`{option.name}=" in table
            assert (
                option.default is None
                or option.kind != "choice"
                or (option.default in option.choices)
            )
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert all(line.replace(r"\|", "").count("|") == 4 for line in rows)
    assert "rtsp://" in render_schemes("sink") and "v4l2" not in render_schemes("sink")


def test_parsing_imports_no_source_and_no_sink() -> None:
    code = (
        "import sys; from acf_edge.stream.uri import parse_source, parse_sink, render_schemes;"
        "parse_source('rtsp://cam/x'); parse_sink('web://:8080'); render_schemes();"
        "print([m for m in sys.modules if m.startswith(('acf_edge.stream.sources',"
        "'acf_edge.stream.gst', 'acf_edge.stream.web', 'gi', 'aiohttp', 'torch'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
