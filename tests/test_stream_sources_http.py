"""Streams over HTTP from a server of this machine: whole, live, silent, broken, refused."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import pytest
from http_camera import HttpCamera, http_camera, mjpeg
from video_clips import Tags, numbered_picture, read_number, smooth_picture, write_clip

from acf_edge.errors import InputError
from acf_edge.stream import hardware
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Source, SourceLost
from acf_edge.stream.sources import reconnect
from acf_edge.stream.sources.connection import Connection
from acf_edge.stream.uri import open_source


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with http_camera() as server:
        yield server


def numbers(source: Source) -> list[int]:
    return [read_number(item.pixels) for item in source.items() if isinstance(item, Frame)]


def pictures(count: int, first: int = 0) -> list[object]:
    return [numbered_picture(48, 64, first + i) for i in range(count)]


def segment(path: Path, count: int, first: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    """A piece of MPEG-TS whose time goes on where the one before ended."""
    images = [numbered_picture(size[1], size[0], first + i) for i in range(count)]
    pts = [3600 * (first + i) for i in range(count)]
    options = {"preset": "ultrafast", "tune": "zerolatency"}
    write_clip(path, images, pts=pts, time_base=Fraction(1, 90000), options=options)
    return path


def test_a_film_is_read_whole_and_is_not_live(tmp_path: Path, camera: HttpCamera) -> None:
    clip = tmp_path / "a.mkv"
    write_clip(clip, pictures(12), audio=["libopus"], tags=Tags(1, 1, 1, 1), matrix=1)  # type: ignore[arg-type]
    source = open_source(camera.add(clip) + "?audio=1&channel=7")
    info = source.open()
    assert not info.live and not source.live
    assert (info.width, info.height, info.colour.matrix) == (64, 48, 1)
    sound = source.copyable()
    source.pass_along(sound)
    items = list(source.items())
    frames = [item for item in items if isinstance(item, Frame)]
    packets = [item for item in items if not isinstance(item, Frame)]
    assert [read_number(frame.pixels) for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == [Fraction(40 * i, 1000) for i in range(12)]
    assert packets and {packet.stream.index for packet in packets} == {sound[0].index}
    source.close()
    # Ours was taken out of the query, the server's was not.
    assert camera.asked[0] == "/a.mkv?channel=7"
    # What a sink copies outlives the connection.
    with av.open(str(tmp_path / "out.mkv"), "w") as out:
        stream = out.add_stream_from_template(sound[0])
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
    with av.open(str(tmp_path / "out.mkv")) as copy:
        assert sum(packet.size > 0 for packet in copy.demux()) == len(packets)


def test_the_last_pictures_of_a_film_are_not_forgotten(tmp_path: Path, camera: HttpCamera) -> None:
    """The decoder holds pictures back, and here the sound is the first stream, not the video."""
    write_clip(tmp_path / "a.mkv", pictures(30), audio=["libopus"], options={"bf": "3"})  # type: ignore[arg-type]
    with av.open(str(tmp_path / "a.mkv")) as clip, av.open(str(tmp_path / "b.mkv"), "w") as out:
        order = [*clip.streams.audio, *clip.streams.video]
        copies = {stream.index: out.add_stream_from_template(stream) for stream in order}
        for packet in clip.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    source = open_source(camera.add(tmp_path / "b.mkv"))
    source.open()
    assert numbers(source) == list(range(30))
    source.close()


@pytest.mark.parametrize("device", ["cuda", "drm"])
def test_hardware_that_fails_leaves_it_to_software(
    tmp_path: Path, camera: HttpCamera, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """On a machine where it works, it does; either way the pictures are the same."""
    monkeypatch.setattr(
        hardware, "best_decoder", lambda codec: hardware.Decoder(codec, device, "taken for good")
    )
    clip = tmp_path / "a.mkv"
    write_clip(clip, [numbered_picture(144, 256, i) for i in range(5)])
    source = open_source(camera.add(clip))
    source.open()
    assert numbers(source) == list(range(5))
    source.close()


def test_untagged_colours_are_read_by_the_size(tmp_path: Path, camera: HttpCamera) -> None:
    clip = tmp_path / "a.mkv"
    picture = smooth_picture(48, 64)
    write_clip(clip, [picture] * 2, matrix=6, options={"crf": "1", "preset": "ultrafast"})
    source = open_source(camera.add(clip))
    info = source.open()
    assert info.tags.matrix == 2 and info.colour.matrix == 6
    frame = next(item for item in source.items() if isinstance(item, Frame))
    source.close()
    assert abs(frame.pixels.astype(int) - picture).mean() < 2


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_film_that_breaks_off_is_an_error(tmp_path: Path, camera: HttpCamera, name: str) -> None:
    clip = tmp_path / name
    images = [smooth_picture(96, 128, i) for i in range(60)]
    write_clip(clip, images, container={"movflags": "faststart"} if name == "a.mp4" else None)
    address = camera.add(clip)
    camera.short[f"/{name}"] = len(camera.files[f"/{name}"]) // 2
    source = open_source(address)
    source.open()
    with pytest.raises(InputError, match=r"broke off: \d+ frames were readable"):
        list(source.items())
    source.close()


def test_an_hls_film_has_an_end(tmp_path: Path, camera: HttpCamera) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    for i in range(3):
        camera.add(segment(tmp_path / f"s{i}.ts", 10, 10 * i))
        lines += ["#EXTINF:0.4,", f"s{i}.ts"]
    camera.files["/a.m3u8"] = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    source = open_source(camera.address("a.m3u8"))
    assert not source.open().live
    assert numbers(source) == list(range(30))
    source.close()


def test_live_hls_is_paced_and_lost_when_nothing_is_added(
    tmp_path: Path, camera: HttpCamera
) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    for i in range(3):
        camera.add(segment(tmp_path / f"s{i}.ts", 10, 10 * i))
        lines += ["#EXTINF:0.4,", f"s{i}.ts"]
    camera.files["/a.m3u8"] = "\n".join([*lines, ""]).encode()
    source = open_source(camera.address("a.m3u8") + "?timeout=1")
    assert source.open().live
    arrived, found = [], []
    with pytest.raises(SourceLost, match="nothing came for 1 s"):
        for item in source.items():
            assert isinstance(item, Frame)
            arrived.append(time.monotonic())
            found.append(item)
    source.close()
    assert [read_number(frame.pixels) for frame in found] == list(range(len(found)))
    # Segments come at once; the pictures in them do not.
    assert len(found) >= 25 and arrived[20] - arrived[0] > 0.7


def test_mjpeg_is_timed_by_its_arrival(camera: HttpCamera) -> None:
    coded = [cv2.imencode(".jpg", numbered_picture(48, 64, i))[1].tobytes() for i in range(6)]
    waits = [0, 0.05, 0.05, 0.4, 0.05, 0.05]
    camera.streams["/cam"] = (
        "multipart/x-mixed-replace;boundary=frame",
        lambda: mjpeg(coded, waits),
    )
    source = open_source(camera.address("cam") + "?live=on")
    info = source.open()
    assert info.live and (info.width, info.height) == (64, 48)
    frames = []
    with pytest.raises(SourceLost, match=r"ended|connection broke"):
        for item in source.items():
            assert isinstance(item, Frame)
            frames.append(item)
    source.close()
    assert [read_number(frame.pixels) for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 5
    steps = [b.seconds - a.seconds for a, b in pairwise(frames)]
    assert max(steps) > Fraction(3, 10) and min(steps) > 0


def test_pictures_may_change_their_size(tmp_path: Path, camera: HttpCamera) -> None:
    one, two = segment(tmp_path / "1.ts", 8), segment(tmp_path / "2.ts", 8, 8, (96, 64))
    data = one.read_bytes() + two.read_bytes()
    camera.streams["/cam"] = ("video/mp2t", lambda: iter([data]))
    source = open_source(camera.address("cam") + "?live=on")
    source.open()
    shapes, stamps = [], []
    with pytest.raises(SourceLost):
        for item in source.items():
            assert isinstance(item, Frame)
            shapes.append(item.pixels.shape[:2])
            stamps.append(item.seconds)
    assert shapes[0] == (48, 64) and shapes[-1] == (64, 96)
    assert all(a < b for a, b in pairwise(stamps))
    assert any("another size" in note for note in source.notes())  # type: ignore[attr-defined]
    source.close()


def silent_after(camera: HttpCamera, data: bytes) -> None:
    def parts() -> Iterator[bytes]:
        yield data
        yield from camera.silence()

    camera.streams["/cam"] = ("video/mp2t", parts)


def test_a_server_that_falls_silent_is_noticed(tmp_path: Path, camera: HttpCamera) -> None:
    silent_after(camera, segment(tmp_path / "1.ts", 30).read_bytes())
    source = open_source(camera.address("cam") + "?live=on&timeout=0.5")
    source.open()
    begun = time.monotonic()
    with pytest.raises(SourceLost, match=r"nothing came for 0\.5 s"):
        list(source.items())
    assert time.monotonic() - begun < 3
    source.close()


def test_many_losses_leave_nothing_behind(
    tmp_path: Path, camera: HttpCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a lost connection held is given back at once, not when the garbage is collected."""
    monkeypatch.setattr(reconnect, "_SHORTEST_WAIT", 0.001)
    monkeypatch.setattr(reconnect, "_LONGEST_WAIT", 0.001)
    data = segment(tmp_path / "1.ts", 6).read_bytes()
    camera.streams["/cam"] = ("video/mp2t", lambda: iter([data]))
    source = reconnect.Reconnecting(open_source(camera.address("cam") + "?live=on"))
    source.open()
    gc.collect()
    gc.disable()
    try:
        stamps, handles = [], set()
        for item in source.items():
            assert isinstance(item, Frame)
            stamps.append(item.pts)
            handles.add(len(list(Path("/proc/self/fd").iterdir())))
            if source.recoveries == 20:
                break
        source.close()
        left = [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
    finally:
        gc.enable()
    assert not left
    assert all(a < b for a, b in pairwise(stamps))
    # The server, in this process too, has one connection more or less while it says farewell.
    assert max(handles) - min(handles) <= 3


def test_closing_ends_the_wait_for_a_silent_server(tmp_path: Path, camera: HttpCamera) -> None:
    silent_after(camera, segment(tmp_path / "1.ts", 30).read_bytes())
    source = open_source(camera.address("cam") + "?live=on&timeout=2")
    source.open()
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append(len(list(source.items())))
        except SourceLost as lost:
            outcome.append(lost)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    source.close()
    thread.join(3)
    assert not thread.is_alive() and outcome and not isinstance(outcome[0], Exception)


def test_a_server_that_never_answers_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        source = open_source(f"http://127.0.0.1:{port}/x?timeout=0.4")
        with pytest.raises(SourceLost, match="no answer"):
            source.open()
        source.close()
    with pytest.raises(SourceLost, match="refused"):
        source.open()


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        ("nothing", "There is nothing at"),
        ("text", "not a video"),
        ("locked", "refuses access"),
        ("sound", "holds no video"),
    ],
)
def test_what_cannot_work_is_said(
    tmp_path: Path, camera: HttpCamera, setup: str, says: str
) -> None:
    if setup == "text":
        camera.files["/x"] = b"<html>hello</html>" * 50
    elif setup == "locked":
        camera.login = "bob:secret"
    elif setup == "sound":
        with av.open(str(tmp_path / "x"), "w", format="wav") as out:
            stream = out.add_stream("pcm_s16le", rate=8000)
            frame = av.AudioFrame(format="s16", layout="mono", samples=800)
            frame.sample_rate = 8000
            out.mux(stream.encode(frame))
        camera.add(tmp_path / "x")
    source = open_source(camera.address("x"))
    with pytest.raises(InputError, match=says):
        source.open()
    source.close()


def test_a_password_is_used_and_not_shown(tmp_path: Path, camera: HttpCamera) -> None:
    clip = tmp_path / "a.mkv"
    write_clip(clip, pictures(3))  # type: ignore[arg-type]
    camera.add(clip)
    camera.login = "bob:hunter2"
    source = open_source(camera.address("a.mkv", "bob:hunter2"))
    info = source.open()
    assert numbers(source) == [0, 1, 2]
    source.close()
    assert "hunter2" not in info.title + source.uri and "bob" not in info.title


def test_nothing_prints_a_password(tmp_path: Path, camera: HttpCamera) -> None:
    camera.login = "bob:other"
    camera.files["/text"] = b"hello"
    code = (
        "import sys, traceback\n"
        "from acf_edge.stream.uri import open_source\n"
        "for text in sys.argv[1:]:\n"
        "    source = open_source(text)\n"
        "    try:\n"
        "        source.open(); list(source.items())\n"
        "    except Exception:\n"
        "        traceback.print_exc(); print(repr(source), source.uri)\n"
    )
    addresses = [
        camera.address("a.mkv", "bob:hunter2"),
        f"http://bob:hunter2@127.0.0.1:{camera.port}/text",
        "http://bob:hunter2@127.0.0.1:1/x",
        "rtsp://bob:hunter2@127.0.0.1:1/x",
        "rtsp://bob:hunter2@no.such.host.invalid/x",
        f"rtsp://bob:hunter2@127.0.0.1:{camera.port}/x?timeout=0.5",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *addresses], capture_output=True, text=True, check=True
    )
    said = done.stdout + done.stderr
    assert said.count("Error") + said.count("SourceLost") >= len(addresses)
    assert "hunter2" not in said and "bob" not in said
