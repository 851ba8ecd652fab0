"""Pipelines as text, colours in GStreamer's words, times of buffers: nothing is run here.

What a Jetson would run is read here, with a predicate that claims its elements.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from gst_tools import made_uri, sink_uri, source_uri

from acf_edge.errors import InputError
from acf_edge.stream.gst.display import choose_window
from acf_edge.stream.gst.encoders import ceiling, choose_encoding
from acf_edge.stream.gst.pipelines import rtsp_branch, source_plan, user_plan
from acf_edge.stream.gst.rtsp_server import place_of

JETSON = {"nvarguscamerasrc", "nvvidconv", "nvv4l2decoder", "nvv4l2h264enc", "nv3dsink"}
DESKTOP = {
    "rtph264depay", "h264parse", "rtph265depay", "h265parse", "rtpjpegdepay", "jpegparse",
    "avdec_h264", "avdec_h265", "jpegdec", "x264enc", "ximagesink",
}  # fmt: skip


def has(*groups: set[str]) -> Callable[[str], bool]:
    names = set().union(*groups)
    return lambda element: element in names


def elements(text: str) -> list[str]:
    """The elements of a pipeline in order, caps left out."""
    parts = [part.strip().split()[0] for part in text.split(" ! ")]
    return [part for part in parts if "/" not in part]


# Sources


def test_a_csi_camera_goes_through_argus_and_the_video_converter() -> None:
    uri = source_uri("csi://1?width=1920&height=1080&fps=29.97&flip=2&mode=3")
    plan = source_plan(uri, has(JETSON))
    assert elements(plan.text) == ["nvarguscamerasrc", "nvvidconv", "appsink"]
    assert "sensor-id=1 sensor-mode=3" in plan.text
    assert (
        "video/x-raw(memory:NVMM), format=(string)NV12, width=(int)1920, height=(int)1080, "
        "framerate=(fraction)30000/1001 ! nvvidconv flip-method=2 ! video/x-raw, "
    ) in plan.text
    assert plan.live and "drop=true" in plan.text and "max-buffers=2" in plan.text


def test_a_csi_camera_without_options_leaves_the_mode_to_the_sensor() -> None:
    plan = source_plan(source_uri("csi://0"), has(JETSON))
    assert "width" not in plan.text and "sensor-mode" not in plan.text
    assert "flip-method=0" in plan.text


def test_a_csi_camera_elsewhere_names_the_element_and_its_package() -> None:
    with pytest.raises(InputError, match=r"csi:// needs .*'nvarguscamerasrc'.*JetPack"):
        source_plan(source_uri("csi://0"), has(DESKTOP))
    with pytest.raises(InputError, match="names no camera"):
        source_plan(source_uri("csi://front"), has(JETSON))


def test_a_network_camera_keeps_address_and_password_out_of_the_text() -> None:
    uri = source_uri(
        "rtsp://me:p%40ss@cam.local:554/x?channel=1&backend=gst&latency=50ms&timeout=4"
    )
    plan = source_plan(uri, has(DESKTOP))
    assert plan.branches and plan.live and plan.silence == 4
    assert "latency=50" in plan.text and "protocols=tcp" in plan.text
    assert "pass" not in plan.text and "cam.local" not in plan.text
    settings = plan.settings["acf_rtsp"]
    assert settings["location"] == "rtsp://cam.local:554/x?channel=1"
    assert (settings["user-id"], settings["user-pw"]) == ("me", "p@ss")


def test_transports_of_network_cameras_have_gstreamers_names() -> None:
    udp = source_plan(source_uri("rtsp://h/x?backend=gst&transport=udp_multicast"), has(DESKTOP))
    assert "protocols=udp-mcast" in udp.text
    tls = source_plan(source_uri("rtsps://h/x?backend=gst"), has(DESKTOP))
    assert "protocols=tls+tcp" in tls.text


@pytest.mark.parametrize(
    ("encoding", "here", "wanted"),
    [
        ("H264", DESKTOP, ["rtph264depay", "h264parse", "avdec_h264", "appsink"]),
        (
            "H264",
            JETSON | DESKTOP,
            ["rtph264depay", "h264parse", "nvv4l2decoder", "nvvidconv", "appsink"],
        ),
        ("H265", DESKTOP, ["rtph265depay", "h265parse", "avdec_h265", "appsink"]),
        ("JPEG", DESKTOP, ["rtpjpegdepay", "jpegparse", "jpegdec", "appsink"]),
        # The converter that brings frames out of the Jetson's own memory is missing.
        (
            "H264",
            DESKTOP | {"nvv4l2decoder"},
            ["rtph264depay", "h264parse", "avdec_h264", "appsink"],
        ),
        (
            "H264",
            DESKTOP | {"nvh264dec"},
            ["rtph264depay", "h264parse", "nvh264dec", "appsink"],
        ),
        (
            "H264",
            (DESKTOP - {"avdec_h264"}) | {"openh264dec"},
            ["rtph264depay", "h264parse", "openh264dec", "appsink"],
        ),
    ],
)
def test_the_decoder_is_the_hardwares_where_it_is_there(
    encoding: str, here: set[str], wanted: list[str]
) -> None:
    assert elements(rtsp_branch(encoding, has(here))) == wanted


def test_decoded_frames_leave_the_jetsons_memory_as_yuv() -> None:
    text = rtsp_branch("H265", has(JETSON, DESKTOP))
    assert "nvvidconv ! video/x-raw, format=(string){ NV12, I420, P010_10LE } ! appsink" in text


def test_a_missing_decoder_is_named_with_its_package() -> None:
    with pytest.raises(InputError, match=r"'avdec_h264'.*apt install gstreamer1.0-libav"):
        rtsp_branch("H264", has(DESKTOP - {"avdec_h264"}))
    with pytest.raises(InputError, match=r"'h264parse'.*gstreamer1.0-plugins-bad"):
        rtsp_branch("H264", has(DESKTOP - {"h264parse"}))
    with pytest.raises(InputError, match="sends 'X-SORENSON'"):
        rtsp_branch("X-SORENSON", has(DESKTOP))


def test_deinterlacing_is_done_on_request_and_keeps_the_rate() -> None:
    assert "deinterlace mode=interlaced fields=top" in rtsp_branch("H264", has(DESKTOP), "on")
    assert "deinterlace mode=auto fields=top" in rtsp_branch("H264", has(DESKTOP), "auto")
    assert "deinterlace" not in rtsp_branch("H264", has(DESKTOP), "off")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("format=yuyv422&width=640", "video/x-raw, format=(string)YUY2, width=(int)640 ! appsink"),
        ("format=mjpeg&fps=30", "image/jpeg, framerate=(fraction)30/1 ! jpegdec ! appsink"),
        ("format=h264", "video/x-h264 ! h264parse ! avdec_h264 output-corrupt=false ! appsink"),
        (
            "height=480",
            'capsfilter caps="video/x-raw, height=(int)480; image/jpeg, height=(int)480" '
            "! decodebin ! appsink",
        ),
    ],
)
def test_a_camera_of_this_machine_sends_what_was_asked_for(query: str, wanted: str) -> None:
    plan = source_plan(source_uri(f"v4l2:///dev/video3?backend=gst&{query}"), has(DESKTOP))
    assert plan.text.startswith(f"v4l2src name=acf_camera ! {wanted}")
    assert plan.settings["acf_camera"]["device"] == "/dev/video3"


def test_a_camera_of_a_jetson_is_decoded_in_hardware() -> None:
    uri = source_uri("v4l2:///dev/video0?backend=gst&format=mjpeg")
    plan = source_plan(uri, has(JETSON, DESKTOP))
    assert elements(plan.text) == ["v4l2src", "nvv4l2decoder", "nvvidconv", "appsink"]
    assert "mjpeg=true" in plan.text


@pytest.mark.parametrize(
    ("pipeline", "live"),
    [
        ("videotestsrc ! video/x-raw,width=64", False),
        ("filesrc location=v4l2src.mp4x ! decodebin", True),  # a guess; opening corrects it
        ("videotestsrc is-live=true ! identity", True),
        ("videotestsrc is-live=(boolean)1", True),
        ("videotestsrc is-live=false", False),
        ("rtspsrc location=rtsp://h/x ! decodebin !", True),
    ],
)
def test_a_users_pipeline_gets_an_appsink_and_a_guess_at_its_liveness(
    pipeline: str, live: bool
) -> None:
    plan = user_plan(pipeline)
    assert plan.live is live
    assert plan.text.count("appsink") == 1 and "! !" not in plan.text
    assert ("drop=true" in plan.text) is live


def test_a_users_own_appsink_is_left_alone() -> None:
    text = "videotestsrc ! appsink name=mine max-buffers=7"
    assert user_plan(text).text == text


# Encoders


def test_the_encoder_of_a_jetson_gets_frames_in_its_own_memory() -> None:
    chosen = choose_encoding((1280, 720), Fraction(30), has(JETSON, DESKTOP))
    assert chosen.element == "nvv4l2h264enc"
    assert (
        "nvvidconv ! video/x-raw(memory:NVMM), format=(string)NV12 ! nvv4l2h264enc" in chosen.text
    )
    assert "idrinterval=60" in chosen.text and "insert-sps-pps=true" in chosen.text


@pytest.mark.parametrize(
    ("here", "wanted"),
    [
        (DESKTOP | {"nvh264enc"}, "nvh264enc"),
        (DESKTOP, "x264enc"),
        ({"openh264enc"}, "openh264enc"),
        (DESKTOP | {"nvv4l2h264enc"}, "x264enc"),  # without the converter it cannot be fed
    ],
)
def test_the_best_encoder_that_opens_is_taken(here: set[str], wanted: str) -> None:
    chosen = choose_encoding((640, 480), Fraction(30), has(here))
    assert chosen.element == wanted
    assert bool(chosen.note) is (wanted == "openh264enc")
    text = chosen.pipeline(True)
    assert text.startswith("( appsrc name=acf_src ") and text.endswith(" )")
    assert "rtph264pay name=pay0" in text


def test_software_encodes_without_delay_and_keeps_to_a_given_bit_rate() -> None:
    free = choose_encoding((640, 480), Fraction(25), has(DESKTOP)).text
    assert "tune=zerolatency" in free and "bframes=0" in free and "pass=qual" in free
    assert "key-int-max=50" in free and f"bitrate={ceiling((640, 480), Fraction(25))} " in free
    tight = choose_encoding((640, 480), Fraction(25), has(DESKTOP), 900, 10).text
    assert "pass=cbr bitrate=900 key-int-max=10" in tight


def test_no_encoder_names_the_package() -> None:
    with pytest.raises(InputError, match=r"'x264enc'.*gstreamer1.0-plugins-ugly"):
        choose_encoding((640, 480), Fraction(30), has(set()))


# Who may watch


def test_rtsp_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    assert place_of(sink_uri("rtsp://:8600/live")).host == "127.0.0.1"
    assert place_of(sink_uri("rtsp:///live")).port == 8554
    for host in ("0.0.0.0", "192.168.1.5", "[::]", "camera.example"):
        with pytest.raises(InputError, match="watched by everyone"):
            place_of(sink_uri(f"rtsp://{host}:8554/live"))
        with pytest.raises(InputError, match="watched by everyone"):
            place_of(sink_uri(f"rtsp://{host}:8554/live?user=me"))


def test_rtsp_on_the_network_takes_a_name_and_a_password_or_a_token() -> None:
    place = place_of(sink_uri("rtsp://0.0.0.0:8554/live?user=me&password=secret"))
    assert (place.host, place.user, place.password) == ("0.0.0.0", "me", "secret")
    place = place_of(sink_uri("rtsp://me:s%40cret@0.0.0.0/live"))
    assert (place.user, place.password) == ("me", "s@cret")
    token = made_uri("rtsp", "0.0.0.0/live", {"token": "abc"}, host="0.0.0.0")
    assert (place_of(token).user, place_of(token).password) == ("token", "abc")
    with pytest.raises(InputError, match="no user name"):
        place_of(sink_uri("rtsp://:8554/live?password=x"))


# Windows


@pytest.mark.parametrize(
    ("environment", "here", "fullscreen", "wanted"),
    [
        ({"DISPLAY": ":0"}, {"glimagesink", "ximagesink"}, False, "glimagesink"),
        ({"DISPLAY": ":0"}, {"ximagesink"}, False, "ximagesink"),
        ({"DISPLAY": ":0"}, {"nv3dsink", "nvvidconv", "glimagesink"}, False, "nv3dsink"),
        ({"DISPLAY": ":0"}, {"nv3dsink", "glimagesink"}, False, "glimagesink"),
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, {"waylandsink", "glimagesink"}, True,
         "waylandsink"),
        ({}, {"kmssink", "glimagesink"}, True, "kmssink"),
    ],
)  # fmt: skip
def test_the_window_fits_the_screen(
    environment: dict[str, str], here: set[str], fullscreen: bool, wanted: str
) -> None:
    window = choose_window(environment, has(here), fullscreen)
    assert window.element == wanted and not window.note
    assert "sync=false" in window.pipeline(True) and "leaky=downstream" in window.pipeline(True)
    assert "sync=true" in window.pipeline(False) and "leaky" not in window.pipeline(False)


def test_a_window_that_cannot_fill_the_screen_says_so() -> None:
    assert "cannot fill" in choose_window({"DISPLAY": ":0"}, has({"ximagesink"}), True).note


def test_no_screen_is_said_in_words() -> None:
    with pytest.raises(InputError, match="neither DISPLAY nor WAYLAND_DISPLAY"):
        choose_window({}, has({"glimagesink"}), False)
