"""RTSP served and read by GStreamer, on this machine."""

from __future__ import annotations

import gc
import socket
import time
from itertools import islice

import av
import numpy as np
import pytest
from gst_tools import (
    descriptors,
    free_port,
    moment,
    need_gstreamer,
    sink_uri,
    stream_info,
    threads,
    wait_for,
)
from rtsp_tools import LIVE, PlainClient, client, frames_of, served, watching
from video_clips import numbered_picture, psnr, read_number, smooth_picture

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.gst.rtsp_server import RtspServerSink
from acf_edge.stream.protocols import SinkFailed, SourceLost

need_gstreamer("rtspsrc", "x264enc", "avdec_h264", "rtph264pay", "h264parse", rtsp=True)


def test_what_is_served_is_seen_in_order_and_in_time() -> None:
    shown = [numbered_picture(120, 160, n) for n in range(200)]
    with served(pictures=shown) as (sink, _), watching(sink.address) as source:
        info = source.open()
        assert (info.width, info.height, info.live) == (160, 120, True)
        assert info.rate == 25
        frames = frames_of(source, 15)
    numbers = [read_number(frame.pixels) for frame in frames]
    assert numbers == sorted(set(numbers)) and numbers[-1] - numbers[0] <= 25
    times = [frame.seconds for frame in frames]
    assert times == sorted(set(times))
    # The camera's clock: 40 ms a picture, whatever their journey took.
    assert abs(float(times[-1] - times[4]) / (numbers[-1] - numbers[4]) - 0.04) < 0.015


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("code_range", [1, 2])
def test_colours_survive_the_network(matrix: int, code_range: int) -> None:
    picture = smooth_picture(120, 160, 5)
    info = stream_info(160, 120, live=True, colour=Colour(matrix, code_range, 1, 1))
    address = f"rtsp://:{free_port()}/live?bitrate=20000"
    with served(address, info, [picture]) as (sink, _), watching(sink.address) as source:
        tags = source.open().tags
        frame = frames_of(source, 12)[-1]
    assert (tags.matrix, tags.range) == (matrix, code_range)
    assert psnr(frame.pixels, picture) >= 45
    assert abs(float((frame.pixels.astype(np.int16) - picture).mean())) <= 1


def test_nothing_is_coded_while_nobody_watches() -> None:
    with served() as (sink, taken):
        assert wait_for(lambda: len(taken) > 3)
        assert not sink.encoding
        with watching(sink.address) as source:
            source.open()
            assert sink.encoding
        assert wait_for(lambda: not sink.encoding)


def test_a_viewer_who_vanishes_is_forgotten() -> None:
    with served() as (sink, _):
        viewer = PlainClient(sink.address)
        assert wait_for(lambda: sink.encoding)
        viewer.socket.close()  # no TEARDOWN
        assert wait_for(lambda: not sink.encoding)
        with watching(sink.address) as source:
            assert source.open().width == 160


def test_several_viewers_share_one_encoder_and_late_ones_need_not_wait() -> None:
    # A key frame a minute: who comes later depends on one that is made for him.
    with served(f"rtsp://:{free_port()}/live?gop=1000") as (sink, _):
        first, second = client(sink.address), client(sink.address, "&transport=udp")
        try:
            first.open()
            assert len(frames_of(first, 10)) == 10
            second.open()
            with av.open(sink.address, options={"rtsp_transport": "tcp"}) as third:
                seen = list(islice(third.decode(video=0), 5))
                assert (int(seen[0].colorspace), int(seen[0].color_range)) == (6, 1)
            assert len(frames_of(first, 5)) == len(frames_of(second, 5)) == 5
        finally:
            first.close()
            second.close()


def test_a_viewer_who_does_not_read_holds_up_nobody() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(4)]
    info = stream_info(320, 240, live=True)
    with served("", info, noise) as (sink, taken):
        stuck = PlainClient(sink.address)
        assert wait_for(lambda: sink.encoding)
        with watching(sink.address) as source:
            source.open()
            del taken[:]
            begin = time.monotonic()
            count = 0
            for _ in source.items():
                count += 1
                if time.monotonic() - begin > 4:
                    break
        stuck.socket.close()
    # Noise at this size fills the stuck one's buffers within a second.
    assert count > 50
    assert max(taken) < 1


def test_the_server_ends_and_the_viewer_knows() -> None:
    with watching("rtsp://127.0.0.1:1/") as nobody, pytest.raises(SourceLost):
        nobody.open()
    with served() as (sink, _):
        source = client(sink.address)
        source.open()
        frames_of(source, 2)
    with pytest.raises(SourceLost):
        for _ in source.items():
            pass
    source.close()


def test_a_port_is_free_again_at_once() -> None:
    address = f"rtsp://:{free_port()}/live"
    for _ in range(3):
        with served(address) as (sink, _), watching(sink.address) as source:
            assert source.open().height == 120


def test_two_streams_share_a_port_and_end_apart() -> None:
    port = free_port()
    pictures = {name: [numbered_picture(120, 160, n)] for name, n in (("a", 85), ("b", 170))}
    with served(f"rtsp://:{port}/b", LIVE, pictures["b"]) as (b, _):
        with served(f"rtsp://:{port}/a", LIVE, pictures["a"]) as (a, _):
            for sink, number in ((a, 85), (b, 170)):
                with watching(sink.address) as source:
                    source.open()
                    assert read_number(frames_of(source, 3)[-1].pixels) == number
            again = RtspServerSink(sink_uri(f"rtsp://:{port}/a"))
            with pytest.raises(InputError, match="served already"):
                again.open(LIVE, (160, 120), None)  # type: ignore[arg-type]
            other = RtspServerSink(sink_uri(f"rtsp://:{port}/c?user=x&password=y"))
            with pytest.raises(InputError, match="another address or password"):
                other.open(LIVE, (160, 120), None)  # type: ignore[arg-type]
        with watching(f"rtsp://127.0.0.1:{port}/a") as gone, pytest.raises(SourceLost):
            gone.open()
        with watching(b.address) as source:
            assert source.open().width == 160


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sink = RtspServerSink(sink_uri(f"rtsp://:{port}/live"))
        with pytest.raises(InputError, match=f"{port}.*another port"):
            sink.open(LIVE, (160, 120), None)  # type: ignore[arg-type]
    assert sink.close() == ()


def test_a_password_is_demanded_of_every_viewer() -> None:
    port = free_port()
    with served(f"rtsp://0.0.0.0:{port}/live?user=me&password=s%40cret") as (sink, _):
        assert "secret" not in sink.uri and sink.address == f"rtsp://127.0.0.1:{port}/live"
        for login in ("", "me:wrong@", "you:s%40cret@"):
            with (
                watching(f"rtsp://{login}127.0.0.1:{port}/live") as source,
                pytest.raises(InputError, match="refuses the user name or password"),
            ):
                source.open()
        assert not sink.encoding
        with watching(f"rtsp://me:s%40cret@127.0.0.1:{port}/live") as source:
            assert source.open().width == 160
        with av.open(f"rtsp://me:s%40cret@127.0.0.1:{port}/live") as container:
            assert next(container.decode(video=0)).width == 160


def test_a_wrong_path_is_a_loss_because_it_may_come_yet() -> None:
    with (
        served() as (sink, _),
        watching(f"{sink.address}/nonesuch") as source,
        pytest.raises(SourceLost, match="404"),
    ):
        source.open()


def test_an_odd_size_is_served_with_its_edge_repeated() -> None:
    info = stream_info(161, 121, live=True)
    picture = numbered_picture(121, 161, 0x5A)
    with served("", info, [picture]) as (sink, _), watching(sink.address) as source:
        opened = source.open()
        assert (opened.width, opened.height) == (162, 122)
        assert read_number(frames_of(source, 1)[0].pixels[:121, :161]) == 0x5A


def test_a_file_is_played_at_its_own_pace() -> None:
    sink = RtspServerSink(sink_uri(f"rtsp://:{free_port()}/live"))
    info = stream_info(64, 48)
    assert sink.lossless
    sink.open(info, (64, 48), None)  # type: ignore[arg-type]
    begin = time.monotonic()
    for number in range(11):
        sink.write(moment(numbered_picture(48, 64, number), number, info.colour))
    assert time.monotonic() - begin > 0.38
    sink.close()
    with pytest.raises(SinkFailed):
        sink.write(moment(numbered_picture(48, 64, 1), 1, info.colour))


def test_a_source_that_stands_still_is_shown_to_who_comes() -> None:
    sink = RtspServerSink(sink_uri(f"rtsp://:{free_port()}/live"))
    sink.open(LIVE, (160, 120), None)  # type: ignore[arg-type]
    picture = numbered_picture(120, 160, 0xC3)
    sink.write(moment(picture, 0, LIVE.colour))
    with watching(sink.address, "&timeout=5") as source:
        source.open()
        assert read_number(frames_of(source, 1)[0].pixels) == 0xC3
    sink.close()


@pytest.mark.parametrize("frames", [0, 6])
def test_a_decoder_in_hardware_that_fails_is_replaced_by_software(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acf_edge.stream.gst import elements, pipelines
    from acf_edge.stream.gst import source as module

    claimed = {"nvv4l2decoder", "nvvidconv"}
    broken = pipelines._Codec(
        "rtph264depay",
        "h264parse",
        f"identity error-after={frames + 1} ! avdec_h264",
        ("avdec_h264",),
    )
    monkeypatch.setitem(pipelines._CODECS, "H264", broken)
    monkeypatch.setattr(pipelines, "_TO_SYSTEM", "identity")
    monkeypatch.setattr(module, "HARDWARE", frozenset({"identity"}))
    monkeypatch.setattr(module, "_usable", lambda name: name in claimed or elements.have(name))
    with served() as (sink, _), watching(sink.address) as source:
        info = source.open()
        if frames:  # it fails later: the stream is lost and opened again
            assert not info.notes
            with pytest.raises(SourceLost):
                for _ in source.items():
                    pass
            source.close()
            info = source.open()
        assert any("decoded in software" in note for note in info.notes)
        assert len(frames_of(source, 8)) == 8


def test_coming_and_going_leaves_nothing_behind() -> None:
    with served() as (sink, _):

        def visit() -> None:
            with watching(sink.address) as source:
                source.open()
                frames_of(source, 2)
            wait_for(lambda: not sink.encoding)

        for _ in range(6):
            visit()
        gc.collect()
        before = descriptors(), threads()
        for _ in range(20):
            visit()
        gc.collect()
        assert wait_for(lambda: descriptors() <= before[0] + 1)
        # GStreamer keeps idle threads of its pool for some seconds.
        assert wait_for(lambda: threads() <= before[1] + 2)


def test_opening_and_closing_servers_leaves_nothing_behind() -> None:
    def serve() -> None:
        with served() as (sink, _), watching(sink.address) as source:
            source.open()

    for _ in range(5):
        serve()
    gc.collect()
    before = descriptors(), threads()
    for _ in range(20):
        serve()
    gc.collect()
    assert wait_for(lambda: descriptors() <= before[0] + 1)
    assert wait_for(lambda: threads() <= before[1] + 2)
