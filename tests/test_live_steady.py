"""The steady filter: less flicker where nothing moves, nothing else anywhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest
from video_clips import smooth_picture

from acf_edge.engine import Engine, load_engine
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.engine.protocol import Uint8Image
from acf_edge.imaging.metrics import psnr
from acf_edge.stream.live.steady import SteadyFilter

HEIGHT, WIDTH, SCALE = 96, 144, 4
SETTLED = 8


def scene(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Uint8Image:
    """A sharp picture at output size: colours, edges, lines."""
    random = np.random.default_rng(seed)
    image = smooth_picture(height * SCALE, width * SCALE, seed)
    for _ in range(40):
        y, x = random.integers(0, image.shape[0]), random.integers(0, image.shape[1])
        colour = [int(c) for c in random.integers(40, 216, 3)]
        h, w = (int(n) for n in random.integers(6, 90, 2))
        cv2.rectangle(image, (int(x), int(y)), (int(x) + w, int(y) + h), colour, -1)
    return image


def still(count: int) -> list[Uint8Image]:
    return [scene()] * count


def with_object(count: int, step: int = 14) -> list[Uint8Image]:
    """A textured patch that crosses a scene which stands still."""
    patch, frames = scene(7)[:100, :100], []
    for index in range(count):
        frame = scene().copy()
        x = 10 + step * index
        frame[130:230, x : x + 100] = patch[:, : frame.shape[1] - x]
        frames.append(frame)
    return frames


def panned(count: int) -> list[Uint8Image]:
    wide = scene(3, width=WIDTH + 20)
    return [np.ascontiguousarray(wide[:, 3 * i : 3 * i + WIDTH * SCALE]) for i in range(count)]


def small(
    frames: Sequence[Uint8Image], noise: float = 0.0, crf: int | None = None
) -> list[Uint8Image]:
    """What a camera delivers of it: small, noisy, coded."""
    random = np.random.default_rng(1)
    low = []
    for frame in frames:
        size = (frame.shape[1] // SCALE, frame.shape[0] // SCALE)
        reduced = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float64)
        reduced += random.normal(0.0, noise, reduced.shape) if noise else 0.0
        low.append(np.clip(np.rint(reduced), 0, 255).astype(np.uint8))
    return low if crf is None else coded(low, crf)


def coded(frames: Sequence[Uint8Image], crf: int) -> list[Uint8Image]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        options = {"crf": str(crf), "preset": "veryfast", "g": "10", "threads": "1"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def filtered(low: Sequence[Uint8Image], high: Sequence[Uint8Image]) -> list[Uint8Image]:
    steady = SteadyFilter(SCALE)
    return [steady.apply(a, b, "net").copy() for a, b in zip(low, high, strict=True)]


def flicker(frames: Sequence[Uint8Image]) -> float:
    """Mean difference from frame to frame, code values."""
    late = frames[SETTLED:]
    return float(np.mean([cv2.absdiff(a, b).mean() for a, b in pairwise(late)]))


def quality(frames: Sequence[Uint8Image], truth: Sequence[Uint8Image]) -> float:
    return float(np.mean([psnr(a, b) for a, b in zip(frames[2:], truth[2:], strict=True)]))


@pytest.fixture(scope="module")
def network() -> Engine:
    return load_engine(threads=1)


@pytest.mark.parametrize(
    ("noise", "crf", "share"), [(3.0, None, 0.3), (8.0, None, 0.3), (4.0, 20, 0.8)]
)
def test_static_regions_flicker_less(
    network: Engine, noise: float, crf: int | None, share: float
) -> None:
    truth = still(20)
    low = small(truth, noise, crf)
    high = [network.run(frame) for frame in low]
    steady = filtered(low, high)
    bicubic = [BicubicEngine(SCALE).run(frame) for frame in low]
    assert flicker(steady) < share * flicker(high)
    assert flicker(steady) < flicker(bicubic)
    assert quality(steady, truth) > quality(high, truth) - 0.01


@pytest.mark.parametrize(
    ("noise", "crf"), [(0.0, None), (3.0, None), (8.0, None), (2.0, 28), (2.0, 36)]
)
@pytest.mark.parametrize("step", [2, 14, 30])
def test_a_moving_object_leaves_no_ghost(
    network: Engine, noise: float, crf: int | None, step: int
) -> None:
    truth = with_object(14, step)
    low = small(truth, noise, crf)
    high = [network.run(frame) for frame in low]
    steady = filtered(low, high)
    assert quality(steady, truth) > quality(high, truth) - 0.05
    # And where the object has just been, which is a small part of the picture.
    path = (slice(120, 240), slice(0, 10 + 14 * step))
    assert quality([f[path] for f in steady], [f[path] for f in truth]) > (
        quality([f[path] for f in high], [f[path] for f in truth]) - 0.05
    )


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_moving_camera_costs_nothing(network: Engine, noise: float) -> None:
    truth = panned(12)
    low = small(truth, noise)
    high = [network.run(frame) for frame in low]
    assert quality(filtered(low, high), truth) > quality(high, truth) - 0.05


def test_what_moves_passes_bit_by_bit() -> None:
    truth = with_object(10, 20)
    low = small(truth, 2.0)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    random = np.random.default_rng(5)
    high = [np.clip(f + random.integers(-9, 10, f.shape), 0, 255).astype(np.uint8) for f in high]
    steady = filtered(low, high)
    for t in range(1, len(low)):
        moved = cv2.absdiff(low[t], low[t - 1]).max(axis=2) > 40
        assert moved.any()
        moved = np.kron(moved, np.ones((SCALE, SCALE), bool))
        assert np.array_equal(steady[t][moved], high[t][moved])
        assert not np.array_equal(steady[t], high[t])


def test_nothing_is_left_of_the_scene_before_a_cut() -> None:
    low = small(still(5), 2.0) + [255 - frame for frame in small(still(5), 2.0)]
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    steady = filtered(low, high)
    assert np.array_equal(steady[5], high[5])
    assert not np.array_equal(steady[6], high[6])


def test_after_a_reset_the_next_picture_passes() -> None:
    low = small(still(3), 2.0)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    steady = SteadyFilter(SCALE)
    assert np.array_equal(steady.apply(low[0], high[0], "a"), high[0])
    assert not np.array_equal(steady.apply(low[1], high[1], "a"), high[1])
    steady.reset()
    assert np.array_equal(steady.apply(low[2], high[2], "a"), high[2])


@pytest.mark.parametrize("each", [0.3, 1.0, 3.0])
def test_a_fade_is_followed_within_a_few_code_values(each: float) -> None:
    dark = [np.clip(scene() - each * t, 0, 255).astype(np.uint8) for t in range(25)]
    low = small(dark)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    for now, wanted in zip(filtered(low, high), high, strict=True):
        assert cv2.absdiff(now, wanted).mean() < 2.0


def test_a_change_of_colour_alone_is_seen() -> None:
    """Red to green at the same brightness, as a traffic light."""
    frames = still(8)
    for index, frame in enumerate(frames):
        frames[index] = frame.copy()
        frames[index][100:200, 100:200] = (200, 60, 60) if index < 4 else (60, 131, 60)
    low = small(frames)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    steady = filtered(low, high)
    assert np.array_equal(steady[4][110:190, 110:190], high[4][110:190, 110:190])


def test_one_frame_of_another_engine_does_not_flash() -> None:
    low = small(still(12))
    sharp, plain = scene(), BicubicEngine(SCALE).run(low[0])
    steady = SteadyFilter(SCALE)
    shown = [
        steady.apply(a, plain if t == 8 else sharp, "bicubic" if t == 8 else "net").copy()
        for t, a in enumerate(low)
    ]
    assert cv2.absdiff(shown[8], shown[7]).mean() < 0.2 * cv2.absdiff(plain, sharp).mean()


def test_another_engine_takes_over_within_ten_frames_or_so() -> None:
    low = small(still(36))
    sharp, plain = scene(), BicubicEngine(SCALE).run(low[0])
    steady = SteadyFilter(SCALE)
    for t, a in enumerate(low):
        shown = steady.apply(a, sharp if t < 10 else plain, "net" if t < 10 else "bicubic")
    assert cv2.absdiff(shown, plain).max() <= 2


def test_the_pictures_given_are_left_alone() -> None:
    low = small(still(4), 2.0)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    copies = [frame.copy() for frame in (*low, *high)]
    filtered(low, high)
    assert all(np.array_equal(a, b) for a, b in zip((*low, *high), copies, strict=True))


def test_a_change_of_size_begins_anew() -> None:
    steady = SteadyFilter(2)
    for height, width in ((40, 60), (41, 60), (1, 1), (1, 1), (20, 33), (20, 33)):
        low = smooth_picture(height, width)
        high = BicubicEngine(2).run(low)
        assert steady.apply(low, high, "a").shape == high.shape


def test_without_strength_it_is_off() -> None:
    low = small(still(4), 3.0)
    high = [BicubicEngine(SCALE).run(frame) for frame in low]
    steady = SteadyFilter(SCALE, strength=0.0)
    assert all(steady.apply(a, b, "x") is b for a, b in zip(low, high, strict=True))


def test_pictures_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="enlarged by 4"):
        SteadyFilter(4).apply(np.zeros((20, 20, 3), np.uint8), np.zeros((40, 40, 3), np.uint8), "x")
    with pytest.raises(ValueError, match="strength"):
        SteadyFilter(4, strength=1.0)
