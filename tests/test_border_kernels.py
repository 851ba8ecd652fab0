"""The kernels of the frame border, run whole on the host, against the float64 definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from host_kernels import Buffers, HostKernels, Traffic, build_kernels

from acf_edge.cuda.border import (
    Coding,
    Nv12Layout,
    PlanesLayout,
    RgbLayout,
    plan_nv12_to_planar,
    plan_nv12_to_rgb,
    plan_planar_to_nv12,
    plan_planar_to_rgb,
    plan_rgb_to_nv12,
    plan_rgb_to_planar,
)
from acf_edge.cuda.plan import Plan, Pointer
from benchmarks import border_reference as reference

Array = npt.NDArray[Any]
CODINGS = [
    Coding(1, False, "left"),
    Coding(6, False, "center"),
    Coding(9, False, "topleft"),
    Coding(5, True, "left"),
    Coding(1, True, "topleft"),
]
# Rows and columns: one tile, parts of one, several blocks, a column more or less than a block.
SMALL = [(1, 1), (2, 2), (3, 5), (8, 8), (7, 13), (5, 14), (4, 22)]
SIZES = [*SMALL, (9, 256), (2, 255), (11, 259), (16, 520)]
NUMBERS = {"fp16": np.float16, "fp32": np.float32}
ROUNDED = 0.5 + 2e-4  # a byte lies this far from the exact value at most: FP32 on the way


@dataclass
class Gaps:
    """How a test lays pictures out: bytes behind rows and pictures, bytes before the first."""

    row: int = 0
    picture: int = 0
    start: int = 0


DENSE = Gaps()
GAPS = [DENSE, Gaps(row=8, picture=24), Gaps(row=3, picture=1, start=5), Gaps(16, 32, 16)]


def random_bytes(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Rows:
    """Rows of bytes in one allocation, with gaps that have to stay as they are."""

    def __init__(self, n: int, rows: int, row_bytes: int, gaps: Gaps, fill: int = 0xA5) -> None:
        self.pitch = row_bytes + gaps.row
        self.step = self.pitch * rows + gaps.picture
        self.raw = np.full(gaps.start + self.step * n, fill, np.uint8)
        self.start = gaps.start
        strides = (self.step, self.pitch, 1)
        self.view = np.lib.stride_tricks.as_strided(
            self.raw[gaps.start :], (n, rows, row_bytes), strides
        )
        self.fill = fill

    def gaps_whole(self) -> bool:
        """Nothing was written but the rows."""
        copy = self.raw.copy()
        strides = (self.step, self.pitch, 1)
        np.lib.stride_tricks.as_strided(copy[self.start :], self.view.shape, strides)[:] = self.fill
        return bool((copy == self.fill).all())


@pytest.fixture(scope="module")
def host() -> HostKernels:
    return build_kernels(("frame_border.cu",))


def run(host: HostKernels, plan: Plan, rows: Mapping[str, Rows], order: int = 0) -> Traffic:
    """Run a plan on copies between pages that fault, and take the results back."""
    (launch,) = plan.launches
    assert set(plan.buffers) <= set(rows) and plan.workspace == 0
    arguments = tuple(
        replace(argument, offset=rows[argument.name].start)
        if isinstance(argument, Pointer)
        else argument
        for argument in launch.arguments
    )
    for front in (True, False):
        with Buffers(host, front) as buffers:
            made = {name: buffers.put(name, rows[name].raw) for name in plan.buffers}
            traffic = host.launch(replace(launch, arguments=arguments), buffers, order)
            for name, buffer in made.items():
                rows[name].raw[:] = buffer.array
    return traffic


def nv12(n: int, height: int, width: int, gaps: Gaps) -> tuple[Rows, Rows, Nv12Layout]:
    luma = Rows(n, height, width, gaps)
    chroma = Rows(n, (height + 1) // 2, (width + 1) // 2 * 2, gaps)
    return luma, chroma, Nv12Layout(luma.pitch, chroma.pitch, luma.step, chroma.step)


def pairs(chroma: Rows, n: int) -> Array:
    return chroma.view[n].reshape(chroma.view.shape[1], -1, 2)


def planes_of(
    n: int, height: int, width: int, dtype: Any, gaps: Gaps, **meaning: float
) -> tuple[Rows, Array, PlanesLayout]:
    """Planes, their elements as (n, 3, H, W), and the layout; gaps are whole elements."""
    size = np.dtype(NUMBERS[dtype]).itemsize
    gaps = Gaps(gaps.row * size, gaps.picture * size, gaps.start * size)
    rows = Rows(3 * n, height, width * size, gaps)
    elements = rows.view.view(NUMBERS[dtype]).reshape(n, 3, height, width)
    assert np.shares_memory(elements, rows.raw)
    layout = PlanesLayout(dtype, rows.pitch, rows.step, 3 * rows.step, **meaning)
    return rows, elements, layout


def check_nv12(luma: Rows, chroma: Rows, rgb: Array, coding: Coding) -> None:
    for n in range(len(rgb)):
        y, uv = reference.rgb_to_nv12(rgb[n], coding.matrix, coding.full, coding.siting)
        assert np.abs(luma.view[n] - y).max() <= ROUNDED
        assert np.abs(pairs(chroma, n) - uv).max() <= ROUNDED
    assert luma.gaps_whole() and chroma.gaps_whole()


@pytest.mark.parametrize("gaps", GAPS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("coding", CODINGS[:3], ids=str)
def test_nv12_to_rgb(
    host: HostKernels,
    coding: Coding,
    size: tuple[int, int],
    gaps: Gaps,
) -> None:
    luma, chroma, layout = nv12(2, *size, gaps)
    luma.view[:] = random_bytes(1, *luma.view.shape)
    chroma.view[:] = random_bytes(2, *chroma.view.shape)
    rgb = Rows(2, size[0], 3 * size[1], gaps)
    plan = plan_nv12_to_rgb(2, *size, coding, nv12=layout, rgb=RgbLayout(rgb.pitch, rgb.step))
    run(host, plan, {"luma": luma, "chroma": chroma, "rgb": rgb}, order=3)
    for n in range(2):
        expected = reference.nv12_to_rgb(
            luma.view[n], pairs(chroma, n), coding.matrix, coding.full, coding.siting
        )
        assert np.abs(rgb.view[n].reshape(expected.shape) - expected).max() <= ROUNDED
    assert rgb.gaps_whole()


@pytest.mark.parametrize("gaps", GAPS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("coding", CODINGS[:3], ids=str)
def test_rgb_to_nv12(
    host: HostKernels,
    coding: Coding,
    size: tuple[int, int],
    gaps: Gaps,
) -> None:
    rgb = Rows(2, size[0], 3 * size[1], gaps)
    rgb.view[:] = random_bytes(3, *rgb.view.shape)
    luma, chroma, layout = nv12(2, *size, gaps)
    plan = plan_rgb_to_nv12(2, *size, coding, rgb=RgbLayout(rgb.pitch, rgb.step), nv12=layout)
    run(host, plan, {"rgb": rgb, "luma": luma, "chroma": chroma}, order=1)
    check_nv12(luma, chroma, rgb.view.reshape(2, *size, 3).astype(np.float64), coding)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("coding", "gaps"), [(CODINGS[3], DENSE), (CODINGS[4], GAPS[2])], ids=str)
def test_planes_of_nv12_and_back(
    host: HostKernels,
    coding: Coding,
    gaps: Gaps,
    size: tuple[int, int],
    dtype: Any,
) -> None:
    luma, chroma, layout = nv12(2, *size, gaps)
    luma.view[:] = random_bytes(4, *luma.view.shape)
    chroma.view[:] = random_bytes(5, *chroma.view.shape)
    planes, elements, form = planes_of(2, *size, dtype, gaps, unit=2.0, zero=-1.0)
    plan = plan_nv12_to_planar(2, *size, coding, nv12=layout, planes=form)
    buffers = {"luma": luma, "chroma": chroma, "planes": planes}
    run(host, plan, buffers, order=7)
    for n in range(2):
        expected = reference.nv12_to_rgb(
            luma.view[n], pairs(chroma, n), coding.matrix, coding.full, coding.siting
        )
        found = elements[n].transpose(1, 2, 0).astype(np.float64)
        limit = 6e-4 if dtype == "fp16" else 2e-6  # elements are -1..1
        assert np.abs(found - (expected / 127.5 - 1)).max() <= limit
    assert planes.gaps_whole()

    codes = (elements.astype(np.float64) + 1) * 127.5
    plan = plan_planar_to_nv12(2, *size, coding, planes=form, nv12=layout)
    run(host, plan, buffers, order=1)
    check_nv12(luma, chroma, codes.transpose(0, 2, 3, 1), coding)


@pytest.mark.parametrize("gaps", [DENSE, GAPS[2]], ids=str)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bytes_survive_planes(
    host: HostKernels,
    size: tuple[int, int],
    dtype: Any,
    gaps: Gaps,
) -> None:
    rgb = Rows(3, size[0], 3 * size[1], gaps)
    rgb.view[:] = random_bytes(6, *rgb.view.shape)
    before = rgb.view.copy()
    planes, elements, form = planes_of(3, *size, dtype, gaps)
    layout = RgbLayout(rgb.pitch, rgb.step)
    buffers = {"rgb": rgb, "planes": planes}
    run(host, plan_rgb_to_planar(3, *size, rgb=layout, planes=form), buffers)
    expected = (before.reshape(3, *size, 3) / 255).transpose(0, 3, 1, 2)
    limit = 2.5e-4 if dtype == "fp16" else 1e-7
    assert np.abs(elements - expected).max() <= limit
    rgb.view[:] = 0
    run(host, plan_planar_to_rgb(3, *size, planes=form, rgb=layout), buffers)
    np.testing.assert_array_equal(rgb.view, before)
    assert rgb.gaps_whole() and planes.gaps_whole()


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_what_a_network_may_give(host: HostKernels, dtype: Any) -> None:
    """Beyond both ends, infinities, NaN, and halves, which go to the even byte."""
    planes, elements, form = planes_of(1, 2, 8, dtype, DENSE, unit=255.0)
    row = [0.5, 1.5, 2.5, 254.5, -3.0, 300.0, np.inf, -np.inf]
    elements[0, :, 0] = row
    elements[0, :, 1] = [np.nan, 0.0, 255.0, 0.4990, -0.0, 127.5, 128.5, 255.4]
    rgb = Rows(1, 2, 24, DENSE)
    buffers = {"planes": planes, "rgb": rgb}
    run(host, plan_planar_to_rgb(1, 2, 8, planes=form), buffers)
    found = rgb.view.reshape(2, 8, 3)[..., 1]
    np.testing.assert_array_equal(found[0], [0, 2, 2, 254, 0, 255, 255, 0])
    np.testing.assert_array_equal(found[1], [0, 0, 255, 0, 0, 128, 128, 255])


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_the_order_of_threads_does_not_show(
    host: HostKernels,
    order: int,
) -> None:
    rgb = Rows(1, 10, 3 * 300, DENSE)
    rgb.view[:] = random_bytes(8, *rgb.view.shape)
    results = []
    for number in (0, order):
        luma, chroma, _ = nv12(1, 10, 300, DENSE)
        plan = plan_rgb_to_nv12(1, 10, 300)
        run(host, plan, {"rgb": rgb, "luma": luma, "chroma": chroma}, number)
        results.append((luma.raw, chroma.raw))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_memory_sees_whole_packs(host: HostKernels) -> None:
    """A dense picture of a usual width: hardly a sector twice or in part, read or written."""
    luma, chroma, _ = nv12(1, 8, 512, DENSE)
    rgb = Rows(1, 8, 3 * 512, DENSE)
    planes, _, _ = planes_of(1, 8, 512, "fp16", DENSE)
    buffers = {"luma": luma, "chroma": chroma, "rgb": rgb, "planes": planes}
    nv12_bytes = luma.raw.size + chroma.raw.size
    for plan, read, written in (
        (plan_nv12_to_rgb(1, 8, 512), None, rgb.raw.size),
        (plan_rgb_to_nv12(1, 8, 512), rgb.raw.size, nv12_bytes),
        (plan_planar_to_nv12(1, 8, 512), planes.raw.size, nv12_bytes),
        (plan_rgb_to_planar(1, 8, 512), rgb.raw.size, planes.raw.size),
    ):
        traffic = run(host, plan, buffers)
        assert traffic.write_moved <= 1.1 * written
        # Of NV12 the same chroma is read for several rows; caches have it.
        assert read is None or traffic.read_moved <= 1.2 * read
