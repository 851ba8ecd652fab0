"""The page's server: what can be read, what the buttons do."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from web_http import ask, post, wait_for
from web_rig import RUNGS, Rig, flat, rig

pytest.importorskip("aiohttp", reason="the extra 'web' is not installed")


@pytest.fixture(scope="module")
def page() -> Iterator[Rig]:
    """A page for this machine, with a few frames shown and no more coming."""
    with rig(flat((200, 40, 60)), feed=False) as made:
        for _ in range(5):
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
        assert made.sink._server is not None and made.sink._server.site.recorder is not None
        kept = made.sink._server.site.recorder.finished
        wait_for(lambda: kept[name].fetched)
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
