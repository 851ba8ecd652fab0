"""What ``web://`` may be told, and what it says when it cannot be done."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import cast

import pytest
from web_rig import free_port, info, web_uri

from acf_edge.errors import InputError, MissingExtraError
from acf_edge.stream.protocols import Source
from acf_edge.stream.uri import parse_sink
from acf_edge.stream.web.settings import is_loopback, listen, settings_of

NOBODY = cast(Source, None)


def test_it_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    settings = settings_of(parse_sink("web://:8080"))
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 8080, None)
    assert settings.loopback
    assert settings_of(parse_sink("web://")).port == 8080


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "camera.local"])
def test_listening_for_others_makes_a_token(host: str) -> None:
    uri = parse_sink(f"web://{host}:8080")
    first, second = settings_of(uri), settings_of(uri)
    assert first.made and first.token is not None and len(first.token) >= 32
    assert first.token != second.token


def test_a_token_that_was_given_is_kept_and_not_shown() -> None:
    uri = parse_sink("web://0.0.0.0:8080?token=correct-horse")
    settings = settings_of(uri)
    assert settings.token == "correct-horse"
    assert not settings.made
    assert "horse" not in uri.shown


def test_a_short_token_is_refused() -> None:
    with pytest.raises(InputError, match="shorter than 8"):
        settings_of(web_uri(8080, "0.0.0.0", token="1234567"))


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(InputError, match="ultrafast"):
        settings_of(web_uri(8080, preset="fastest"))


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
    ],
)
def test_what_counts_as_this_machine(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        settings_of(web_uri(8080, save=str(tmp_path / "file" / "folder")))


def test_a_port_in_use_is_named_with_another_one() -> None:
    pytest.importorskip("aiohttp")
    from acf_edge.stream.web.sink import WebSink

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sink = WebSink(web_uri(port))
        with pytest.raises(InputError, match=rf"127\.0\.0\.1:{port}.*web://:\d+"):
            sink.open(info(64, 36), (256, 144), NOBODY)
        assert sink.close() == ()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.77"):
        listen(settings_of(web_uri(free_port(), "192.0.2.77")))


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="no address of this machine"):
        listen(settings_of(web_uri(free_port(), "no-such-host.invalid")))


def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from acf_edge.stream.web.sink import WebSink

    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtraError) as caught:
        WebSink(web_uri(8080))
    assert "pip install 'acf-edge[web]'" in str(caught.value)


def test_where_it_is_served_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp")
    from acf_edge.stream.web.sink import WebSink

    port = free_port()
    sink = WebSink(web_uri(port, "0.0.0.0"))
    try:
        sink.open(info(64, 36), (256, 144), NOBODY)
        sink.open(info(64, 36), (256, 144), NOBODY)
    finally:
        sink.close()
    lines = [line for line in capsys.readouterr().err.splitlines() if f":{port}/" in line]
    assert len(lines) == 1
    assert len(lines[0].partition("?token=")[2]) >= 32
