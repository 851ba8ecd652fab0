"""Who is let in by the page's server: host names, tokens, origins, bodies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web_http import ask, post
from web_rig import RUNGS, Rig, flat, rig

pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def page() -> Iterator[Rig]:
    """A page for this machine, with a few frames shown and no more coming."""
    with rig(flat((200, 40, 60)), feed=False) as made:
        for _ in range(5):
            made.write()
        yield made


@pytest.fixture(scope="module")
def guarded() -> Iterator[Rig]:
    """A page that others may ask for, with a token."""
    with rig(host="0.0.0.0", token=TOKEN, names="cam.example", feed=False) as made:
        made.write()
        yield made


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/login.html", "/static/../sink.py", "/static/%2e%2e/sink.py",
     "/sink.py", "/recordings/", "/recordings/..%2f..%2fetc%2fpasswd", "/static/main.js/x"],
)  # fmt: skip
def test_nothing_else_is_served(page: Rig, path: str) -> None:
    assert ask(page.url, path).status == 404


def test_every_answer_forbids_what_it_does_not_need(page: Rig) -> None:
    for path in ("/", "/healthz", "/nothing", "/static/main.js", "/snapshot.jpg"):
        headers = ask(page.url, path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "aiohttp" not in headers["Server"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("LOCALHOST.:99", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("localhost.evil.example", 421),
        ("192.168.1.5", 421),
        ("", 421),
        ("[", 421),
        ("localhost@evil.example", 421),
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(
    page: Rig, host: str, status: int
) -> None:
    assert ask(page.url, "/", Host=host).status == status
    assert ask(page.url, "/healthz", Host=host).status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("192.168.1.5:8080", 200), ("cam.example", 200), ("evil.example", 421)],
)
def test_others_may_use_addresses_and_names_that_were_given(
    guarded: Rig, host: str, status: int
) -> None:
    answer = ask(guarded.url, "/stats.json", Host=host, Authorization=f"Bearer {TOKEN}")
    assert answer.status == status


@pytest.mark.parametrize(
    "path",
    ["/", "/ws", "/live.mjpg", "/metrics", "/stats.json", "/snapshot.jpg", "/snapshot.png",
     "/static/main.js", "/recordings/x.mp4", "/api/hold", "/no-such-path"],
)  # fmt: skip
def test_without_the_token_nothing_is_shown(guarded: Rig, path: str) -> None:
    method = "POST" if path.startswith("/api") else "GET"
    assert ask(guarded.url, path, method, Origin=guarded.url.rstrip("/")).status == 401


def test_health_needs_no_token_and_shows_no_picture(guarded: Rig) -> None:
    assert ask(guarded.url, "/healthz").status == 200


@pytest.mark.parametrize("token", ["wrong-token", "", "a-token-for-test", TOKEN + "x", "ü" * 9])
def test_a_wrong_token_is_refused(guarded: Rig, token: str) -> None:
    from urllib.parse import quote

    assert ask(guarded.url, f"/?token={quote(token)}").status == 401
    if token.isascii():
        bearer = f"Bearer {token}"
        assert ask(guarded.url, "/metrics", Authorization=bearer).status == 401
    assert ask(guarded.url, "/", Cookie=f"acf-edge-80={quote(token)}").status == 401


def test_the_token_in_the_link_becomes_a_cookie(guarded: Rig) -> None:
    answer = ask(guarded.url, f"/?token={TOKEN}")
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    pair = cookie.partition(";")[0]
    assert ask(guarded.url, "/metrics", Cookie=pair).status == 200
    name, _, value = pair.partition("=")
    assert ask(guarded.url, "/metrics", Cookie=f"{name}={value[:-1]}0x").status == 401


def test_the_token_can_be_typed(guarded: Rig) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": guarded.url[:-1]}
    wrong = ask(guarded.url, "/login", "POST", b"token=something-else", **form)
    assert wrong.status == 401 and "Set-Cookie" not in wrong.headers
    right = ask(guarded.url, "/login", "POST", f"token={TOKEN}".encode(), **form)
    assert (right.status, right.headers["Location"]) == (303, "/")
    pair = right.headers["Set-Cookie"].partition(";")[0]
    assert ask(guarded.url, "/", Cookie=pair).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:1", "https://"]
)
def test_buttons_obey_their_own_page_alone(page: Rig, origin: str) -> None:
    page.controls.held = None
    assert post(page.url, "/api/hold", {"rung": RUNGS[1]}, Origin=origin).status == 403
    assert page.controls.held is None


@pytest.mark.parametrize("origin", ["http://evil.example", "", "http://localhost:1"])
def test_the_socket_obeys_its_own_page_alone(page: Rig, origin: str) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert ask(page.url, "/ws", Origin=origin, **upgrade).status == 403


def test_a_program_with_the_token_needs_no_origin(guarded: Rig) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    answer = ask(guarded.url, "/api/hold", "POST", b'{"rung": null}', **bearer)
    assert answer.status == 200


def test_other_sites_cannot_read_pictures_with_a_browsers_help(page: Rig) -> None:
    for mode, status in (("no-cors", 403), ("cors", 403), ("navigate", 200)):
        answer = ask(page.url, "/snapshot.jpg", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)
        assert answer.status == status


def test_bodies_are_small(page: Rig) -> None:
    assert post(page.url, "/api/hold", {"rung": "x" * 5000}).status in (400, 413)


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_object_is_refused(page: Rig, body: bytes) -> None:
    origin = page.url.rstrip("/")
    assert ask(page.url, "/api/hold", "POST", body, Origin=origin).status == 400
