"""GStreamer's words for colours, errors and times, and where its bindings are looked for."""

from __future__ import annotations

import sys
import sysconfig
from fractions import Fraction
from pathlib import Path

import pytest
from gst_tools import need_gstreamer

from acf_edge.errors import InputError
from acf_edge.stream.colour import Colour
from acf_edge.stream.gst.bus import BusError, one_line
from acf_edge.stream.gst.caps import FORMATS, raw_caps, read_colorimetry, write_colorimetry
from acf_edge.stream.gst.elements import explain_parse_error, missing
from acf_edge.stream.gst.load import find_gi
from acf_edge.stream.gst.stamps import Stamps

# Colours


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, Colour()),
        ("", Colour()),
        ("nonsense", Colour()),
        ("bt709", Colour(1, 1, 1, 1)),
        ("bt601", Colour(6, 1, 6, 6)),
        ("sRGB", Colour(0, 2, 1, 13)),
        ("bt2020-10", Colour(9, 1, 9, 14)),
        ("bt2100-pq", Colour(9, 1, 9, 16)),
        ("bt2100-hlg", Colour(9, 1, 9, 18)),
        ("1:3:5:1", Colour(1, 2, 1, 1)),  # full range
        ("1:4:0:0", Colour(6, 2, 2, 2)),  # JPEG
        ("2:4:5:3", Colour(5, 1, 5, 1)),  # 625 lines
        ("0:3:0:0", Colour(1, 0, 2, 2)),
    ],
)
def test_colorimetry_is_read_as_code_points(text: str | None, wanted: Colour) -> None:
    assert read_colorimetry(text) == wanted


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("code_range", [1, 2])
def test_what_is_written_is_read_back(matrix: int, code_range: int) -> None:
    primaries = {1: 1, 4: 4, 5: 5, 6: 6, 7: 7, 9: 9}[matrix]
    colour = Colour(matrix, code_range, primaries, 1)
    assert read_colorimetry(write_colorimetry(colour)) == colour


def test_names_are_written_where_gstreamer_has_them() -> None:
    assert write_colorimetry(Colour(1, 1, 1, 1)) == "bt709"
    assert write_colorimetry(Colour(6, 1, 6, 6)) == "bt601"
    assert write_colorimetry(Colour(1, 2, 1, 1)) == "1:3:5:1"


def test_gstreamer_agrees_with_every_name_and_number() -> None:
    need_gstreamer()
    from acf_edge.stream.gst.load import load

    video = load().Video
    for name in ("bt601", "bt709", "smpte240m", "sRGB", "bt2020", "bt2100-pq", "1:3:5:1"):
        theirs = video.VideoColorimetry()
        assert theirs.from_string(name)
        ours = read_colorimetry(name)
        assert ours.matrix == video.video_color_matrix_to_iso(theirs.matrix)
        assert ours.primaries == video.video_color_primaries_to_iso(theirs.primaries)
        assert ours.transfer == video.video_transfer_function_to_iso(theirs.transfer)
        assert ours.range == {1: 2, 2: 1}[int(theirs.range)]


def test_gstreamer_knows_our_formats_with_our_planes() -> None:
    need_gstreamer()
    from acf_edge.stream.gst.load import load

    video = load().Video
    for pixel_format in FORMATS.values():
        info = video.VideoInfo()
        info.set_format(video.VideoFormat.from_string(pixel_format.gst), 34, 22)
        assert info.finfo.n_planes == len(pixel_format.planes), pixel_format.gst
        last = len(pixel_format.planes) - 1
        row, rows = pixel_format.planes[last].extent(34, 22)
        assert row <= info.stride[last]
        # The last plane ends where the picture does.
        assert (
            info.offset[last] + info.stride[last] * rows
            <= info.size
            <= (info.offset[last] + info.stride[last] * (rows + 1))
        ), pixel_format.gst


def test_caps_say_everything_about_the_pixels() -> None:
    text = raw_caps("I420", (64, 48), Fraction(30000, 1001), Colour(1, 2, 1, 1), Fraction(4, 3))
    for part in (
        "format=(string)I420", "framerate=(fraction)30000/1001", "colorimetry=(string)1:3:5:1",
        "chroma-site=(string)mpeg2", "pixel-aspect-ratio=(fraction)4/3", "progressive",
    ):  # fmt: skip
        assert part in text
    assert "chroma-site" not in raw_caps("Y444", (3, 3), Fraction(1), Colour(1, 1, 1, 1), None)


# Times


def test_pictures_of_a_file_keep_their_distances() -> None:
    stamps = Stamps(live=False)
    times = [stamps.due(Fraction(7) + Fraction(n, 25), 10**9 * 50) for n in range(4)]
    assert times == [0, 40_000_000, 80_000_000, 120_000_000]


def test_live_pictures_are_never_stamped_with_the_future() -> None:
    stamps = Stamps(live=True)
    # The first one took 300 ms, the others come at once.
    arrivals = [300, 340, 380, 420, 433, 466, 500]
    media = [0, 33, 66, 100, 133, 166, 200]
    stamps_made = []
    for seen, when in zip(media, arrivals, strict=True):
        stamps_made.append(stamps.due(Fraction(seen, 1000), when * 10**6))
        assert stamps_made[-1] <= when * 10**6
    assert stamps_made == sorted(set(stamps_made))
    # Once the quickest was seen, distances are the camera's.
    assert stamps_made[-1] - stamps_made[-2] == 34_000_000


def test_a_leap_of_the_clock_is_not_handed_on() -> None:
    stamps = Stamps(live=True)
    stamps.due(Fraction(100), 10**9)
    assert stamps.due(Fraction(5), 2 * 10**9) == 2 * 10**9
    assert stamps.due(Fraction(9000), 3 * 10**9) == 3 * 10**9


def test_stamps_by_arrival_are_arrivals_and_strictly_increasing() -> None:
    stamps = Stamps(live=True, by_arrival=True)
    assert [stamps.due(Fraction(0), now) for now in (0, 0, 5, 5, 90)] == [0, 1, 5, 6, 90]


# Words


def test_an_error_is_one_line_with_its_reason_and_without_secrets() -> None:
    debug = (
        "../gst/rtsp/gstrtspsrc.c(8046): gst_rtspsrc_retrieve_sdp (): "
        "/GstPipeline:pipeline0/GstRTSPSrc:src:\nFailed to connect to rtsp://me:pw@cam/x. (Refused)"
    )
    text = one_line("Could not open resource\nfor reading.", debug)
    assert text.startswith("Could not open resource for reading: Failed to connect")
    assert "\n" not in text and "pw" not in text and "gstrtspsrc.c" not in text
    assert one_line("Oops.", None) == "Oops"


def test_a_refused_password_is_recognised() -> None:
    assert BusError("Unauthorized", "rtspsrc", "gst-resource-error-quark", 15).refused
    assert BusError("x: Unauthorized (401)", "rtspsrc").refused
    assert not BusError("Not found", "rtspsrc", "gst-resource-error-quark", 3).refused


def test_a_pipeline_that_cannot_be_built_says_which_element_is_missing() -> None:
    assert "gstreamer1.0-plugins-ugly" in str(explain_parse_error('no element "x264enc"', "It"))
    assert "could not link a to b" in str(explain_parse_error("could not link a to b", "It"))
    assert "gst-inspect-1.0 strange" in missing("strange", "It").remedy


# Bindings


def folder_with(path: Path, *names: str) -> Path:
    (path / "gi").mkdir(parents=True)
    for name in ("__init__.py", *names):
        (path / "gi" / name).touch()
    return path


def test_bindings_for_this_python_are_found(tmp_path: Path) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    other = folder_with(tmp_path / "other", "_gi.cpython-399-x86_64-linux-gnu.so")
    right = folder_with(tmp_path / "right", f"_gi{suffix}")
    assert find_gi([tmp_path / "nothing", other, right]) == (right, [])


def test_bindings_for_another_python_are_named(tmp_path: Path) -> None:
    other = folder_with(tmp_path, "_gi.cpython-399-aarch64-linux-gnu.so")
    assert find_gi([other]) == (None, ["3.99"])


@pytest.mark.parametrize("others", [[], ["3.99"]])
def test_missing_bindings_say_what_to_do(
    others: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from acf_edge.stream.gst import elements as module
    from acf_edge.stream.gst import load as loading

    if others:
        folder_with(tmp_path, "_gi.cpython-399-x86_64-linux-gnu.so")
    monkeypatch.setattr(loading, "system_folders", lambda: [tmp_path])
    monkeypatch.setitem(sys.modules, "gi", None)
    monkeypatch.setattr(module, "load", loading.load.__wrapped__)
    with pytest.raises(InputError, match=r"apt install"):
        loading.load.__wrapped__()
    row = module.describe()
    assert len(row) == 1 and row[0][0] == "GStreamer" and "apt install" in row[0][2]
    if others:
        assert "3.99" in row[0][1]
