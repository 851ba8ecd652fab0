"""Sizes that an engine is compiled for."""

from __future__ import annotations

import pytest

from acf_edge.engine.passport import InputProfile
from acf_edge.engine.trt.profiles import (
    DEFAULT_SIZE,
    MOST_PROFILES,
    SizeProfile,
    check_scale,
    choose_profile,
    parse_profile,
    parse_profiles,
)
from acf_edge.errors import InputError


def test_three_sizes() -> None:
    profile = parse_profile("64x64:320x180:1280x720")
    assert profile == SizeProfile((64, 64), (320, 180), (1280, 720))
    assert profile.shapes() == ((1, 64, 64, 3), (1, 180, 320, 3), (1, 720, 1280, 3))
    assert not profile.fixed
    assert str(profile) == "64x64:320x180:1280x720"
    assert parse_profile(DEFAULT_SIZE) == profile


def test_one_size() -> None:
    profile = parse_profile("320X180")
    assert profile.fixed
    assert str(profile) == "320x180"
    assert profile.shapes()[0] == profile.shapes()[2] == (1, 180, 320, 3)


def test_a_profile_reads_what_it_writes() -> None:
    for text in ("320x180", "1x1:2x2:3x3", "180x320:180x320:720x1280"):
        assert str(parse_profile(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "320", "320x", "x180", "320x180x3", "320x180:640x360", "1x1:2x2:3x3:4x4", "-1x4",
     "3.5x4", "a:b:c", "320 x 180", "\u0661x\u0662", "99999999x4"],
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        parse_profile(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64x64:32x64:128x128", "widths are 64, 32, 128"),
        ("64x64:64x256:128x128", "heights are 64, 256, 128"),
        ("1280x720:320x180:64x64", "out of order"),
        ("0x64", "1 to 8192"),
        ("64x8193", "1 to 8192"),
    ],
)
def test_sizes_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_profile(text)


def test_several_sizes_keep_their_order_and_count_once() -> None:
    found = parse_profiles(["640x360", "320x180", "640x360"])
    assert [str(one) for one in found] == ["640x360", "320x180"]
    with pytest.raises(InputError, match="1 to 16"):
        parse_profiles([])
    with pytest.raises(InputError, match="1 to 16"):
        parse_profiles([f"{64 + i}x64" for i in range(MOST_PROFILES + 1)])


def test_the_profile_whose_usual_size_is_nearest_is_chosen() -> None:
    profiles = parse_profiles(["64x64:320x180:1280x720", "640x360", "64x64:960x540:1280x720"])
    assert choose_profile(profiles, 320, 180) == 0
    assert choose_profile(profiles, 640, 360) == 1
    assert choose_profile(profiles, 1280, 720) == 2
    assert choose_profile(profiles, 64, 64) == 0


@pytest.mark.parametrize("size", [(63, 64), (64, 63), (1281, 720), (1280, 721)])
def test_a_size_outside_every_profile_names_what_is_inside(size: tuple[int, int]) -> None:
    profiles = parse_profiles(["64x64:320x180:1280x720", "48x48"])
    with pytest.raises(InputError) as caught:
        choose_profile(profiles, *size)
    assert f"{size[0]}x{size[1]}" in caught.value.problem
    assert "64x64 to 1280x720" in caught.value.problem
    assert "48x48" in caught.value.problem
    assert f"--size {size[0]}x{size[1]}" in caught.value.remedy


def test_the_edges_of_a_profile_are_inside() -> None:
    profiles = parse_profiles(["64x32:320x180:1280x720"])
    for size in ((64, 32), (1280, 720), (64, 720), (1280, 32)):
        assert choose_profile(profiles, *size) == 0


def test_more_values_than_tensorrt_counts() -> None:
    check_scale(parse_profiles(["64x64:320x180:3840x2160"]), 4)
    # 3 * 16 * 8192 * 8192 is more than 2**31.
    with pytest.raises(InputError, match="8192x8192 enlarged 4 times"):
        check_scale(parse_profiles(["8192x8192"]), 4)
    check_scale(parse_profiles(["8192x8192"]), 2)


def test_the_passport_s_words() -> None:
    profile = parse_profile("64x64:320x180:1280x720")
    kept = profile.to_passport()
    assert kept == InputProfile((64, 64), (320, 180), (1280, 720))
    assert SizeProfile.from_passport(kept) == profile
    with pytest.raises(InputError):
        SizeProfile.from_passport(InputProfile((64, 64), (32, 32), (128, 128)))
