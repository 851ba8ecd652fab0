"""Sources that need no network: test pictures, folders of pictures, files in every manner."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from video_clips import Tags, numbered_picture, read_number, turn, write_clip

from acf_edge.errors import InputError
from acf_edge.stream.clock import code
from acf_edge.stream.frame import Frame
from acf_edge.stream.protocols import Source
from acf_edge.stream.sources.pacer import Pacer
from acf_edge.stream.sources.patterns import bars
from acf_edge.stream.uri import open_source


def frames_of(source: Source, most: int | None = None) -> list[Frame]:
    """Open, read, close."""
    source.open()
    found = []
    for item in source.items():
        if isinstance(item, Frame):
            found.append(item)
        if most is not None and len(found) == most:
            break
    source.close()
    return found


def seconds(frames: Sequence[Frame]) -> list[Fraction]:
    return [frame.seconds for frame in frames]


# Test pictures


def test_bars_have_the_colours_of_the_standard() -> None:
    picture = bars(700, 300)
    names = ["grey", "yellow", "cyan", "green", "magenta", "red", "blue"]
    expected = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
    for i, (name, colour) in enumerate(zip(names, expected, strict=True)):
        found = picture[100, 100 * i + 50] / 255
        assert found == pytest.approx(0.75 * np.array(colour), abs=0.003), name
    # The twelfth below: the same in reverse, with black between.
    below = [tuple(picture[210, 100 * i + 50] > 0) for i in range(7)]
    assert below == [(0, 0, 1), (0, 0, 0), (1, 0, 1), (0, 0, 0), (0, 1, 1), (0, 0, 0), (1, 1, 1)]
    foot = picture[280]
    assert tuple(foot[180]) == (255, 255, 255) and not foot[450].any() and not foot[650].any()
    # -I and +Q lie on the axes of the YIQ colour plane: no luma to speak of beyond black's.
    weights = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    in_phase, quadrature = weights @ (foot[60] / 255.0), weights @ (foot[300] / 255.0)
    assert in_phase[0] < -0.1 and abs(in_phase[1]) < 0.03
    assert quadrature[1] > 0.1 and abs(quadrature[0]) < 0.03


def test_bars_carry_their_size_rate_and_tags() -> None:
    source = open_source(
        "test://bars?width=322&height=180&fps=29.97&frames=3&realtime=0&range=full"
    )
    info = source.open()
    assert (info.width, info.height, info.rate) == (322, 180, Fraction(30000, 1001))
    assert info.colour.range == info.tags.range == 2 and not info.live
    found = [item for item in source.items() if isinstance(item, Frame)]
    assert seconds(found) == [Fraction(1001 * i, 30000) for i in range(3)]
    assert all(frame.pixels.shape == (180, 322, 3) for frame in found)
    assert all(frame.pixels.flags.c_contiguous and frame.duration for frame in found)


@pytest.mark.parametrize(
    ("matrix", "size", "number"),
    [("601", "", 6), ("709", "", 1), ("auto", "&width=1280&height=720", 1), ("auto", "", 6)],
)
def test_bars_say_the_matrix(matrix: str, size: str, number: int) -> None:
    source = open_source(f"test://bars?matrix={matrix}{size}")
    info = source.open()
    assert info.tags.matrix == info.colour.matrix == number
    source.close()


def test_frames_of_a_test_picture_are_not_shared() -> None:
    first, second = frames_of(open_source("test://bars?frames=2&realtime=0&width=32&height=32"))
    first.pixels[:] = 0
    assert second.pixels.any()


def test_noise_is_seeded_and_changes() -> None:
    def noise(seed: int) -> list[npt.NDArray[np.uint8]]:
        uri = f"test://noise?width=64&height=48&frames=5&realtime=0&seed={seed}"
        return [frame.pixels for frame in frames_of(open_source(uri))]

    one, again, other = noise(1), noise(1), noise(2)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert all((a != b).any() for a, b in zip(one, other, strict=True))
    assert all((a != b).any() for a, b in pairwise(one))
    assert abs(np.mean(one) - 127.5) < 4


def test_the_clock_can_be_read_by_machines_and_tells_the_time() -> None:
    before = code.now()
    frames = frames_of(open_source("test://clock?width=320&height=180&frames=3&fps=50"))
    after = code.now()
    times = [code.read(frame.pixels) for frame in frames]
    assert all(moment is not None and before <= moment <= after for moment in times)
    assert times == sorted(set(times), key=lambda moment: moment or 0)
    # For eyes, too: white digits in the middle.
    assert (frames[0].pixels[70:110, 60:260].min(axis=2) > 200).any()


def test_a_live_test_picture_is_paced_without_drift() -> None:
    """The schedule is absolute: what one frame is late is not added to the next."""
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds + 0.004  # every sleep takes too long

    pacer = Pacer(sleep, clock=lambda: now[0])
    late = []
    for number in range(100):
        pacer.wait(Fraction(number, 25))
        late.append(now[0] - number / 25)
    assert max(late) < 0.005 and len(slept) == 99


def test_a_pacer_does_not_catch_up_after_a_long_sleep() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pacer = Pacer(sleep, clock=lambda: now[0])
    pacer.wait(Fraction(0))
    now[0] += 60  # the machine slept
    pacer.wait(Fraction(1, 25))
    pacer.wait(Fraction(2, 25))
    assert slept == [pytest.approx(0.04)]


def test_as_fast_as_possible_is_not_live_and_paced_is() -> None:
    assert open_source("test://bars").live
    assert not open_source("test://bars?realtime=0").live
    paced = open_source("test://bars?fps=50&frames=11&width=32&height=32")
    begun = time.monotonic()
    assert len(frames_of(paced)) == 11
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(
    "uri", ["test://bars?fps=0.05", "test://noise?fps=0.05&width=32&height=32"]
)
def test_closing_from_another_thread_ends_the_wait(uri: str) -> None:
    source = open_source(uri)
    source.open()
    begun = threading.Event()
    found = []

    def read() -> None:
        for item in source.items():
            found.append(item)
            begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(10)
    source.close()
    thread.join(3)
    assert not thread.is_alive() and len(found) == 1


# Folders of pictures


def make_folder(folder: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        picture = numbered_picture(height, width, number)
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), picture[:, :, ::-1])
    return folder


def test_pictures_come_by_name_at_the_given_rate(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "shots", [(64, 48)] * 4)
    (folder / "002.png").rename(folder / "zz.png")
    (folder / "readme.txt").write_text("not a picture")
    source = open_source(f"{folder}?fps=10")
    info = source.open()
    assert (info.width, info.height, info.rate, info.live) == (64, 48, Fraction(10), False)
    frames = [item for item in source.items() if isinstance(item, Frame)]
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 3, 2]
    assert seconds(frames) == [Fraction(i, 10) for i in range(4)]


def test_a_folder_in_a_loop_goes_on(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "shots", [(64, 48)] * 3)
    frames = frames_of(open_source(f"{folder}/?loop&fps=30"), most=7)
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 2, 0, 1, 2, 0]
    assert seconds(frames) == [Fraction(i, 30) for i in range(7)]


def test_pictures_of_other_sizes_are_refused_or_scaled(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "shots", [(64, 48), (128, 96), (32, 24)])
    with pytest.raises(InputError, match=r"001\.png' has 128x96 pixels.*sizes=scale"):
        frames_of(open_source(str(folder)))
    frames = frames_of(open_source(f"{folder}?sizes=scale"))
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * 3
    assert [read_number(frame.pixels) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no pictures"),
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n123", "truncated"),
        (b"text", "not a picture"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    if content is not None:
        (folder / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_source(str(folder)).open()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_source(f"{tmp_path}/none/").open()


# Files


def make_clip(path: Path, count: int = 10, **options: object) -> Path:
    write_clip(path, [numbered_picture(48, 64, i) for i in range(count)], **options)  # type: ignore[arg-type]
    return path


def test_a_file_is_read_whole_with_its_times(tmp_path: Path) -> None:
    pts = [0, 512, 1000, 3000, 3512]
    clip = make_clip(tmp_path / "a.mp4", 5, pts=pts, tags=Tags(1, 1, 1, 1), matrix=1)
    source = open_source(str(clip))
    info = source.open()
    assert not info.live and not source.live and info.tags.matrix == 1
    frames = [item for item in source.items() if isinstance(item, Frame)]
    source.close()
    assert seconds(frames) == [Fraction(p, 12800) for p in pts]
    assert [read_number(frame.pixels) for frame in frames] == list(range(5))


def test_a_missing_file_and_a_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        open_source(str(tmp_path / "none.mp4")).open()
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(InputError, match="not a video"):
        open_source(str(tmp_path / "a.mp4")).open()


def test_a_damaged_file_is_refused_or_read_as_far_as_it_goes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 60)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match=r"cut off.*with '\?keep-damaged=1' after the name"):
        frames_of(open_source(str(clip)))
    source = open_source(f"{clip}?keep-damaged=1")
    found = frames_of(source)
    assert 0 < len(found) < 60
    assert any("damaged" in note for note in source.notes())  # type: ignore[attr-defined]


def test_a_file_can_begin_in_its_middle(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 50, options={"g": "12", "preset": "ultrafast"})
    frames = frames_of(open_source(f"{clip}?start=0.5"))
    # 0.5 s lies between two frames; time begins there.
    assert [read_number(frame.pixels) for frame in frames] == list(range(13, 50))
    assert frames[0].seconds == Fraction(1, 50)
    with pytest.raises(InputError, match="ends before the given start"):
        open_source(f"{clip}?start=9").open()


def test_a_file_in_a_loop_keeps_its_rhythm_and_its_sound(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 10, audio=["libopus"])
    source = open_source(f"{clip}?loop=1")
    source.open()
    sound = source.copyable()
    assert [stream.type for stream in sound] == ["audio"]
    source.pass_along(sound)
    frames, stamps = [], []
    for item in source.items():
        if isinstance(item, Frame):
            frames.append(item)
            if len(frames) == 35:
                break
        else:
            assert item.stream.index == sound[0].index
            stamps.append((item.pts or 0) * item.time_base)
    source.close()
    assert [read_number(frame.pixels) for frame in frames] == [i % 10 for i in range(35)]
    steps = {b - a for a, b in pairwise(seconds(frames))}
    assert max(abs(step - Fraction(1, 25)) for step in steps) <= Fraction(1, 1000)
    assert len(stamps) > 60 and max(stamps) > Fraction(6, 5)
    # A loop through a closed file: its streams are still good as templates.
    with av.open(str(tmp_path / "out.mkv"), "w") as out:
        assert out.add_stream_from_template(sound[0]).type == "audio"


def test_a_file_at_a_cameras_pace_is_live(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 8)
    source = open_source(f"{clip}?realtime=1")
    info = source.open()
    assert info.live and source.live
    begun = time.monotonic()
    arrived = [(time.monotonic() - begun, item) for item in source.items()]
    assert len(arrived) == 8
    assert all(when >= (number - 1) / 25 for number, (when, _) in enumerate(arrived))


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", 5, audio=["libopus"])
    for query, count in (("", 1), ("?audio=0", 0)):
        source = open_source(f"{clip}{query}")
        source.open()
        assert len(source.copyable()) == count
        source.close()


def test_a_turned_film_is_upright(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 3)
    turn(clip, 90)
    source = open_source(str(clip))
    info = source.open()
    source.close()
    assert (info.width, info.height) == (48, 64)


def test_closing_a_file_while_another_thread_reads_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 20)
    source = open_source(f"{clip}?loop")
    source.open()
    counted = []
    thread = threading.Thread(target=lambda: counted.extend(1 for _ in source.items()))
    thread.start()
    time.sleep(0.2)
    source.close()
    thread.join(3)
    assert not thread.is_alive()
    source.close()
