"""The page's server: who is let in, what can be read, what the buttons do."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from web_rig import RUNGS, Rig, flat, rig

pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")

TOKEN = "a-token-for-tests"


class Answer:
    """Status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    """One request; header names are written with underscores."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body or None, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post(url: str, path: str, body: object = None, **headers: str) -> Answer:
    headers.setdefault("Origin", url.rstrip("/"))
    data = json.dumps(body if body is not None else {}).encode()
    return ask(url, path, "POST", data, Content_Type="application/json", **headers)


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


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


def test_the_page_and_its_files_are_served(page: Rig) -> None:
    html = ask(page.url, "/").body.decode()
    names = set(re.findall(r'(?:src|href)="(/static/[^"#]+)"', html))
    script = ask(page.url, "/static/main.js").body.decode()
    names |= {f"/static/{name}" for name in re.findall(r'from "\./([\w.]+)"', script)}
    assert len(names) >= 10
    for name in names:
        answer = ask(page.url, name)
        assert answer.status == 200, name
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        assert answer.headers["Content-Type"].startswith(kind[name.rpartition(".")[2]])


def test_the_page_asks_no_other_server(page: Rig) -> None:
    folder = Path(__file__).parent.parent / "acf_edge" / "stream" / "web" / "static"
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"//[\w-]+\.\w", text), path.name


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


def test_an_engine_can_be_held_and_let_go(page: Rig) -> None:
    assert post(page.url, "/api/hold", {"rung": RUNGS[2]}).json() == {"rung": RUNGS[2]}
    assert page.controls.held == RUNGS[2]
    assert ask(page.url, "/stats.json").json()["page"]["held_rung"] == RUNGS[2]
    assert post(page.url, "/api/hold", {"rung": None}).status == 200
    assert page.controls.held is None


def test_an_engine_that_is_not_there_is_named(page: Rig) -> None:
    answer = post(page.url, "/api/hold", {"rung": "no-such"})
    assert answer.status == 409
    assert RUNGS[0] in answer.json()["remedy"]


@pytest.mark.parametrize(("kind", "shape"), [("before", (36, 64, 3)), ("after", (144, 256, 3))])
def test_snapshots_are_the_pictures(page: Rig, kind: str, shape: tuple[int, int, int]) -> None:
    for name, worst in (("png", 0), ("jpg", 4)):
        answer = ask(page.url, f"/snapshot.{name}?picture={kind}")
        assert answer.status == 200
        bgr = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert bgr.shape == shape
        assert np.abs(bgr[..., ::-1].astype(int) - (200, 40, 60)).max() <= worst


@pytest.mark.parametrize("query", ["picture=both", "number=-1", "number=abc", "number=%00"])
def test_a_snapshot_of_nonsense_is_refused(page: Rig, query: str) -> None:
    assert ask(page.url, f"/snapshot.png?{query}").status == 400


def test_a_snapshot_is_of_the_moment_that_was_asked_for(page: Rig) -> None:
    assert ask(page.url, "/snapshot.png?number=3").headers["X-Acf-Number"] == "3"
    assert ask(page.url, "/snapshot.png?number=99999").headers["X-Acf-Number"] == "5"


def test_before_the_first_frame_there_is_no_snapshot_and_no_health() -> None:
    with rig(feed=False) as made:
        assert ask(made.url, "/snapshot.jpg").status == 503
        answer = ask(made.url, "/healthz")
        assert (answer.status, answer.json()["status"]) == (503, "starting")


def test_health_follows_the_frames_and_the_source() -> None:
    with rig(feed=False, stale=0.3) as made:
        made.write()
        assert ask(made.url, "/healthz").json()["status"] == "ok"
        made.controls.state = "held"
        assert ask(made.url, "/healthz").json()["status"] == "lost"
        made.controls.state = "live"
        time.sleep(0.35)
        made.write(held=True)  # the last picture shown again is no sign of life
        answer = ask(made.url, "/healthz")
        assert (answer.status, answer.json()["status"]) == (503, "stale")
        made.write()
        assert ask(made.url, "/healthz").status == 200


SAMPLE = re.compile(
    r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? '
    r"(?P<value>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf)$"
)


def test_metrics_are_what_prometheus_reads(page: Rig) -> None:
    answer = ask(page.url, "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    seen: set[str] = set()
    values: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and kind in ("counter", "gauge", "histogram")
            kinds[name] = kind
        elif line.startswith("# HELP "):
            helped.add(line.split(" ")[2])
        else:
            found = SAMPLE.match(line)
            assert found, line
            assert line.rpartition(" ")[0] not in seen
            seen.add(line.rpartition(" ")[0])
            family = re.sub(r"_(bucket|sum|count)$", "", found["name"])
            family = family if kinds.get(family) == "histogram" else found["name"]
            assert family in kinds, line
            values[line.rpartition(" ")[0]] = float(found["value"])
    assert helped == set(kinds)
    for name, kind in kinds.items():
        assert name.startswith("acf_edge_")
        assert name.endswith("_total") == (kind == "counter")
    assert values["acf_edge_web_frames_total"] == 5
    assert values['acf_edge_source_up{source="0",uri="rtsp://camera.local/live"}'] == 1
    assert values['acf_edge_stage_latency_seconds{source="0",stage="infer",quantile="0.5"}'] == (
        0.0125
    )
    assert values['acf_edge_rung_frames_total{rung="bicubic"}'] == 50
    assert values['acf_edge_sink_up{sink="0",uri="web://:8080/\\"x\\""}'] == 1
    assert values['acf_edge_web_view_latency_seconds_bucket{le="+Inf"}'] == 0


def test_statistics_can_be_read_as_json(page: Rig) -> None:
    stats = ask(page.url, "/stats.json").json()
    assert stats["governor"]["name"] == RUNGS[0]
    assert stats["page"]["viewers"] == 0


def test_a_recording_is_made_downloaded_and_thrown_away(tmp_path: Path) -> None:
    with rig(feed=False) as made:
        name = post(made.url, "/api/record/start").json()["name"]
        assert post(made.url, "/api/record/start").status == 409
        assert ask(made.url, f"/recordings/{name}").status == 404
        (path,) = made.controls.attached.values()
        done = post(made.url, "/api/record/stop").json()
        assert done["url"] == f"/recordings/{name}"
        answer = ask(made.url, done["url"])
        assert answer.body == b"a whole film"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert post(made.url, "/api/record/stop").status == 409
        notes = made.sink.close()
    assert not path.exists()
    assert not [note for note in notes if "kept" in note]


def test_a_recording_that_nobody_fetched_is_kept_and_named() -> None:
    with rig(feed=False) as made:
        post(made.url, "/api/record/start")
        (path,) = made.controls.attached.values()
        post(made.url, "/api/record/stop")
        notes = made.sink.close()
    assert path.read_bytes() == b"a whole film"
    assert any(str(path) in note for note in notes)
    path.unlink()
    path.parent.rmdir()


def test_with_a_folder_recordings_and_snapshots_stay_there(tmp_path: Path) -> None:
    with rig(feed=False, save=str(tmp_path / "out")) as made:
        made.write()
        name = post(made.url, "/api/record/start").json()["name"]
        done = post(made.url, "/api/record/stop").json()
        assert (done["url"], done["folder"]) == (None, str(tmp_path / "out"))
        assert (tmp_path / "out" / name).read_bytes() == b"a whole film"
        names = post(made.url, "/api/snapshot", {"number": 1}).json()["names"]
        assert [each.rpartition("-")[2] for each in names] == ["before.png", "after.png"]
        assert cv2.imread(str(tmp_path / "out" / names[1])).shape == (144, 256, 3)


def test_a_recording_that_failed_is_stopped() -> None:
    with rig(feed=False) as made:
        post(made.url, "/api/record/start")
        (number,) = made.controls.attached
        assert ask(made.url, "/stats.json").json()["page"]["recording"]
        made.controls.failed.add(number)
        wait_for(lambda: not ask(made.url, "/stats.json").json()["page"]["recording"])


def test_frames_are_coded_for_mjpeg_while_somebody_watches() -> None:
    with rig(flat((10, 200, 30))) as made:
        place = urlsplit(made.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
        connection.request("GET", "/live.mjpg?picture=before")
        response = connection.getresponse()
        assert response.getheader("Content-Type", "").startswith("multipart/x-mixed-replace")
        for _ in range(3):
            while not (line := response.readline()).lower().startswith(b"content-length"):
                assert line, "the answer ended"
            length = int(line.partition(b":")[2])
            response.readline()
            bgr = cv2.imdecode(np.frombuffer(response.read(length), np.uint8), cv2.IMREAD_COLOR)
            assert bgr.shape == (36, 64, 3)
            assert np.abs(bgr[..., ::-1].astype(int) - (10, 200, 30)).max() <= 4
        connection.close()
        site = made.sink._server.site  # type: ignore[union-attr]
        wait_for(lambda: not site.watchers)
        coded = made.sink._server.hub.counters.pictures["jpeg", "after"]  # type: ignore[union-attr]
        frames = made.number
        wait_for(lambda: made.number > frames + 5)
        after = made.sink._server.hub.counters.pictures["jpeg", "after"]  # type: ignore[union-attr]
        assert after <= coded + 2


def test_closing_twice_is_safe_and_frees_the_port() -> None:
    with rig(feed=False) as made:
        assert ask(made.url, "/").status == 200
        assert made.sink.close()
        assert made.sink.close() == ()
        with pytest.raises(OSError):
            ask(made.url, "/")
        made.write()  # a frame that comes late is nobody's
