"""Tiles against whole frames: no seams, odd sizes, averages of the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from toy_bundles import nearest, network, serialize, write_toy
from video_clips import smooth_picture

from acf_edge.engine import Bundle, load_engine, open_bundle, write_bundle
from acf_edge.engine.passport import InputProfile
from acf_edge.engine.protocol import Uint8Image
from acf_edge.engine.tile_model import make_tile_model
from acf_edge.errors import InputError
from acf_edge.resources import default_bundle
from acf_edge.stream.live.scene_cut import SceneCut
from acf_edge.stream.live.tile_plan import cut, free_memory, plan_tiles, tile_for_memory
from acf_edge.stream.live.tiles import TiledEngine, needs_tiles


def picture(height: int, width: int, seed: int = 0) -> Uint8Image:
    """Smooth colours, edges and grain; the left unlike the right, so that averages differ."""
    random = np.random.default_rng(seed)
    image = smooth_picture(height, width, seed).astype(np.int32)
    for _ in range(12):
        y, x = random.integers(0, height), random.integers(0, width)
        h, w = random.integers(4, 40, 2)
        image[y : y + h, x : x + w] = random.integers(0, 256, 3)
    image[:, : width // 2] += random.integers(-30, 31, (height, width // 2, 1))
    return np.clip(image, 0, 255).astype(np.uint8)


def apart(a: Uint8Image, b: Uint8Image) -> tuple[int, float]:
    assert a.shape == b.shape
    difference = np.abs(a.astype(np.int32) - b)
    return int(difference.max()), float(difference.mean())


@pytest.fixture(scope="module")
def int8() -> Bundle:
    return open_bundle(default_bundle())


@pytest.fixture(scope="module")
def fp32(int8: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The shipped float network as a bundle of its own."""
    export = pytest.importorskip("acf_edge.export.model", exc_type=ImportError)
    plain = onnx.load_from_string(int8.read("network.onnx"))
    model = export.inline_operators(plain).SerializeToString()
    passport = replace(int8.passport, precision="fp32")
    folder = tmp_path_factory.mktemp("bundles") / "fp32"
    return write_bundle(folder, {"model.onnx": model}, passport, int8.ledger)


@pytest.fixture(params=["int8", "fp32"])
def bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    yield request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("width", "height", "tile"),
    [(320, 192, (128, 96)), (321, 131, (160, 108)), (130, 299, (128, 200)), (97, 97, (96, 96))],
)
def test_tiles_give_what_the_whole_frame_gives(
    bundle: Bundle, width: int, height: int, tile: tuple[int, int]
) -> None:
    frame = picture(height, width)
    whole = load_engine(bundle, threads=1).run(frame)
    tiled = TiledEngine(bundle, tile=tile, threads=1).run(frame)
    most, mean = apart(whole, tiled)
    # Float sums in another order may round another way, here and there.
    assert most <= (1 if bundle.passport.precision == "fp32" else 0)
    assert mean < 1e-4


def test_the_averages_of_a_tile_alone_would_show(int8: Bundle) -> None:
    """What the test above is worth: without the whole frame's averages tiles differ."""
    frame = picture(192, 320)
    whole = load_engine(int8, threads=1).run(frame)
    engine = load_engine(int8, threads=1)
    left = engine.run(np.ascontiguousarray(frame[:, :240]))
    most, _ = apart(whole[:, : 4 * 160], left[:, : 4 * 160])
    assert most > 1


def test_less_overlap_than_the_network_sees_would_show(int8: Bundle) -> None:
    frame = picture(192, 320)
    whole = load_engine(int8, threads=1).run(frame)
    engine = TiledEngine(int8, tile=(128, 96), threads=1)
    assert engine.overlap == 38
    engine._overlap = 4
    assert apart(whole, engine.run(frame))[0] > 1


def test_a_frame_that_fits_into_one_tile_is_enhanced_whole(bundle: Bundle) -> None:
    frame = picture(90, 120)
    engine = TiledEngine(bundle, tile=(120, 92), threads=1)
    assert apart(load_engine(bundle, threads=1).run(frame), engine.run(frame))[0] <= 1


def test_a_tile_that_is_all_overlap_is_refused(int8: Bundle) -> None:
    with pytest.raises(InputError, match=r"too small: 38 pixels.*at least 78"):
        TiledEngine(int8, tile=(128, 77), threads=1)


def test_a_closed_engine_says_so(int8: Bundle) -> None:
    engine = TiledEngine(int8, tile=(96, 96), threads=1)
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine.run(picture(100, 100))


def test_in_a_video_the_averages_of_the_frame_before_are_used(int8: Bundle) -> None:
    """A still scene: the second frame takes one pass and is as exact as the first."""
    engine = TiledEngine(int8, tile=(128, 128), threads=1, video=True)
    calls = count_tiles(engine)
    frame = picture(128, 256)
    whole = load_engine(int8, threads=1).run(frame)
    assert apart(engine.run(frame), whole)[0] == 0
    first = len(calls)
    assert apart(engine.run(frame), whole)[0] == 0
    assert first == 3 * (len(calls) - first)


def test_after_a_cut_they_are_measured_again(int8: Bundle) -> None:
    engine = TiledEngine(int8, tile=(128, 128), threads=1, video=True)
    one, other = picture(128, 256, 1), np.full((128, 256, 3), 250, np.uint8)
    whole = load_engine(int8, threads=1)
    engine.run(one)
    assert apart(engine.run(other), whole.run(other))[0] == 0


def test_two_sources_in_turn_keep_their_averages_apart(int8: Bundle) -> None:
    engine = TiledEngine(int8, tile=(128, 128), threads=1, video=True)
    calls = count_tiles(engine)
    frames = [picture(128, 256, 1), 255 - picture(128, 256, 1)]
    whole = [load_engine(int8, threads=1).run(frame) for frame in frames]
    for frame in frames:
        engine.run(frame)
    before = len(calls)
    for _ in range(3):
        for frame, expected in zip(frames, whole, strict=True):
            assert apart(engine.run(frame), expected)[0] == 0
    assert len(calls) - before == 6 * before / 6


def count_tiles(engine: TiledEngine) -> list[int]:
    """A list that grows with every tile that the network is given."""
    calls: list[int] = []
    session = engine._session
    assert session is not None
    run = session.run

    def counted(*arguments: object) -> object:
        calls.append(1)
        return run(*arguments)  # type: ignore[arg-type]

    session.run = counted  # type: ignore[method-assign,assignment]
    return calls


def test_a_network_without_averages_takes_one_pass(tmp_path: Path) -> None:
    engine = TiledEngine(write_toy(tmp_path / "toy", doubling()), tile=(40, 40), threads=1)
    frame = picture(111, 97)
    assert np.array_equal(engine.run(frame), frame.repeat(2, 0).repeat(2, 1))
    assert engine.overlap == 0 and not engine.notes


def test_an_operation_that_is_not_understood_gets_a_wide_overlap_and_a_note(
    tmp_path: Path,
) -> None:
    engine = TiledEngine(write_toy(tmp_path / "toy", nearest()), tile=(256, 256), threads=1)
    assert engine.overlap == 96 and "overlap by 96 pixels" in engine.notes[0]
    frame = picture(80, 300)
    assert np.array_equal(engine.run(frame), frame.repeat(2, 0).repeat(2, 1))


def test_averages_inside_a_function_are_taken_tile_by_tile_and_that_is_said(
    tmp_path: Path,
) -> None:
    engine = TiledEngine(write_toy(tmp_path / "toy", network()), tile=(256, 256), threads=1)
    assert "vote each alone" in engine.notes[0]
    frame = picture(60, 300)
    assert engine.run(frame).shape == (120, 600, 3)


def test_the_edited_model_is_a_valid_one(bundle: Bundle) -> None:
    model = make_tile_model(bundle.read("model.onnx"))
    onnx.checker.check_model(onnx.load_from_string(model.model), full_check=True)
    assert model.exact and len(model.pools) == 2
    assert len(model.model) - len(bundle.read("model.onnx")) < 4096


@pytest.mark.parametrize("data", [b"", b"no model", bytes(range(256)), b"\x3a\x05\x0a\x80"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="no ONNX model"):
        make_tile_model(data)


def doubling() -> bytes:
    """Nearest-neighbour up-sampling by 2 of operations that the reach is known of."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        node("Concat", ["nchw"] * 4, ["four"], axis=1),
        node("DepthToSpace", ["four"], ["large"], blocksize=2),
        node("Transpose", ["large"], ["enhanced"], perm=[0, 2, 3, 1]),
    ]
    return serialize(nodes, {})


def convolutions(*steps: tuple[int, int, int]) -> bytes:
    """A model of convolutions given as (kernel, stride, dilation), padded to keep the place."""
    nodes, name = [], "image"
    for index, (kernel, stride, dilation) in enumerate(steps):
        pad = (kernel - 1) * dilation // 2
        nodes.append(
            helper.make_node(
                "Conv",
                [name, f"w{index}"],
                [f"x{index}"],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                dilations=[dilation, dilation],
                pads=[pad] * 4,
            )
        )
        name = f"x{index}"
    nodes.append(helper.make_node("Identity", [name], ["enhanced"]))
    graph = helper.make_graph(nodes, "convolutions", [], [], [])
    return bytes(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    ("steps", "pixels", "alignment"),
    [
        ([(1, 1, 1)], 0, 1),
        ([(3, 1, 1)], 1, 1),
        ([(3, 1, 1), (3, 1, 4)], 5, 1),
        ([(3, 2, 1), (3, 1, 1)], 3, 2),
        ([(5, 2, 1), (3, 2, 1), (3, 1, 2)], 2 + 2 + 8, 4),
    ],
)
def test_the_reach_follows_from_the_convolutions(
    steps: list[tuple[int, int, int]], pixels: int, alignment: int
) -> None:
    reach = make_tile_model(convolutions(*steps)).reach
    assert (reach.pixels, reach.alignment, reach.known) == (pixels, alignment, True)


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "alignment"),
    [
        c
        for c in product([1, 50, 97, 128, 129, 333, 1080], [97, 128, 300], [0, 7, 44], [1, 4, 16])
        if c[1] // c[3] * c[3] - 2 * -(-c[2] // c[3]) * c[3] >= c[3]
    ],
)
def test_a_cut_covers_the_axis_once(length: int, tile: int, overlap: int, alignment: int) -> None:
    spans = cut(length, tile, overlap, alignment)
    assert spans[0].first == 0 and spans[-1].last == length
    assert all(a.last == b.first for a, b in pairwise(spans))
    for span in spans:
        assert 0 <= span.start <= span.first < span.last <= span.end <= length
        assert span.end - span.start <= tile
        assert span.start % alignment == 0
        assert span.start == 0 or span.first - span.start >= overlap
        assert span.end == length or span.end - span.last >= overlap
    assert sum(span.weight for span in spans) == -(-length // alignment) * alignment


def test_tiles_are_no_more_than_it_takes() -> None:
    assert len(plan_tiles((1920, 1080), (1920, 1080), 44, 4)) == 1
    assert len(plan_tiles((3840, 2160), (1920, 1080), 44, 4)) == 9
    assert len(plan_tiles((3752, 2072), (1920, 1080), 44, 4)) == 4


def test_the_memory_decides_the_tile_where_nobody_does() -> None:
    assert tile_for_memory(435, 44, 4, 8 << 30) == (1024, 1024)
    assert tile_for_memory(435, 44, 4, 1 << 30)[0] < 800
    # Even without memory a tile has something between its overlaps.
    assert tile_for_memory(435, 44, 4, 0) == (180, 180)


def test_the_free_memory_is_the_smaller_of_machine_and_group(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4000 kB\n")
    assert free_memory(tmp_path) == 4_096_000
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("100\n")
    assert free_memory(tmp_path) == 4_096_000
    (group / "memory.max").write_text("1100\n")
    assert free_memory(tmp_path) == 1000


def test_a_profile_bounds_the_tile(int8: Bundle, tmp_path: Path) -> None:
    profile = InputProfile((64, 64), (160, 128), (200, 160))
    passport = replace(int8.passport, input_profiles=(profile,))
    files = {"model.onnx": int8.read("model.onnx")}
    bundle = write_bundle(tmp_path / "bounded", files, passport, int8.ledger)
    assert TiledEngine(bundle, threads=1).tile == (200, 160)
    assert needs_tiles(bundle, 201, 100) and not needs_tiles(bundle, 200, 160)
    with pytest.raises(InputError, match="larger than the 200x160"):
        TiledEngine(bundle, tile=(300, 160), threads=1)


def test_a_frame_beyond_the_memory_needs_tiles(int8: Bundle) -> None:
    assert not needs_tiles(int8, 160, 90)
    assert needs_tiles(int8, 400_000, 400_000)


def test_a_cut_is_seen_and_motion_is_not() -> None:
    """A pan over a large picture, then another picture."""
    scene, other = picture(200, 600, 3), 255 - picture(200, 600, 3)
    cuts = SceneCut()
    frames = [scene[:180, 4 * t : 4 * t + 320] for t in range(20)]
    frames += [other[:180, 4 * t : 4 * t + 320] for t in range(20)]
    seen = [t for t, frame in enumerate(frames) if cuts.update(frame)]
    assert seen == [0, 20]


def test_a_slow_fade_is_no_cut_and_another_size_is() -> None:
    scene = picture(180, 320, 4)
    cuts = SceneCut()
    faded = [np.uint8(scene * (1 - t / 60)) for t in range(50)]
    assert [cuts.update(frame) for frame in faded] == [True] + [False] * 49
    assert cuts.update(faded[-1][:90])
    cuts.reset()
    assert cuts.update(faded[-1][:90])
