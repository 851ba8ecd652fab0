"""NV12 in and out: the right kernels at the right addresses, before and after the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_cuda import FakeKernel, Memory, values
from trt_rig import SCALE, Rig, expected, picture, rig, write_trt_bundle

from acf_edge.cuda.border import Coding
from acf_edge.cuda.driver import Device
from acf_edge.cuda.kernels import Kernels
from acf_edge.engine.trt import opening
from acf_edge.engine.trt.nv12 import Nv12, nv12_shape
from acf_edge.engine.trt.opening import Options
from acf_edge.engine.trt.runtime import TrtEngine, open_trt
from acf_edge.errors import InputError

READING, WRITING = "PPPiiqqiiqi" + "f" * 10, "PPPiiqiqqii" + "f" * 11


def split(frame: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of Y ``(H, W)`` and Cb Cr ``(H/2, W/2, 2)`` of a packed frame."""
    rows = frame.reshape(nv12_shape(width, height))
    return rows[:height, :width], rows[height:].reshape(-(-height // 2), -(-width // 2), 2)


def to_rgb(frame: np.ndarray, width: int, height: int, turn: int) -> np.ndarray:
    """No colours: the bytes where they are, and how they were coded."""
    luma, chroma = split(frame, width, height)
    rows, columns = np.arange(height) // 2, np.arange(width) // 2
    return np.dstack([luma, chroma[rows][:, columns]]) ^ np.uint8(turn)


def to_nv12(rgb: np.ndarray, turn: int) -> np.ndarray:
    height, width = rgb.shape[:2]
    frame = np.zeros(nv12_shape(width, height), np.uint8)
    luma, chroma = split(frame, width, height)
    luma[...], chroma[...] = rgb[..., 0], rgb[::2, ::2, 1:]
    return frame ^ np.uint8(turn)


def turn_of(coding: Coding) -> int:
    return coding.matrix + 64 * coding.full


def turn_in(number: float, reading: bool) -> int:
    """The coding that a kernel's first number of the matrix tells."""
    for coding in (Coding(1), Coding(5), Coding(9, True), Coding(1, True)):
        numbers = coding.to_rgb() if reading else coding.to_yuv()
        telling = numbers[2] if reading else numbers[0] * 1000 + numbers[3]
        if abs(telling - number) < 1e-4:
            return turn_of(coding)
    raise AssertionError(number)


def read(memory: Memory, grid: object, block: object, raw: list[bytes]) -> None:
    luma, chroma, rgb, height, width, *_, luma_pitch, chroma_pitch, _, pitch = values(READING, raw)[
        :11
    ]
    assert luma_pitch == chroma_pitch == width + width % 2 and pitch == 3 * width
    assert chroma == luma + height * luma_pitch
    rows, columns = nv12_shape(width, height)
    frame = memory.view(luma, rows * columns)
    number = values(READING, raw)[11 + 4 + 2]
    target = memory.view(rgb, 3 * width * height)
    target[:] = to_rgb(frame, width, height, turn_in(number, True)).ravel()


def write(memory: Memory, grid: object, block: object, raw: list[bytes]) -> None:
    found = values(WRITING, raw)
    rgb, luma, chroma, height, width = found[:5]
    pitch = width + width % 2
    assert chroma == luma + height * pitch
    source = memory.view(rgb, 3 * width * height).reshape(height, width, 3)
    numbers = found[11 + 4 :]
    rows, columns = nv12_shape(width, height)
    target = memory.view(luma, rows * columns)
    target[:] = to_nv12(source, turn_in(numbers[0] * 1000 + numbers[3], False)).ravel()


def enhanced(frame: np.ndarray, form: Nv12) -> np.ndarray:
    coming, going = form.codings()
    rgb = to_rgb(frame, form.width, form.height, turn_of(coming))
    return to_nv12(expected(rgb), turn_of(going))


def noise(form: Nv12, seed: int = 0) -> np.ndarray:
    shape = nv12_shape(form.width, form.height)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(params=[("lazy", False), ("random", False), ("lazy", True)])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    order, integrated = request.param
    with rig(order, integrated=integrated) as made:
        sizes = {"P": 8, "i": 4, "q": 8, "f": 4}
        for name, form, run in (("nv12_to_rgb", READING, read), ("rgb_to_nv12", WRITING, write)):
            made.machine.kernels[name] = FakeKernel(tuple(sizes[one] for one in form), run)

        def load(device: Device) -> Kernels:
            return Kernels(device, made.machine.cubin())

        monkeypatch.setattr(opening, "load_kernels", load)
        yield made


@pytest.fixture
def engine(found: Rig, tmp_path: Path) -> Iterator[TrtEngine]:
    made = open_trt(write_trt_bundle(tmp_path / "bundle"), Options(slots=2))
    yield made
    made.close()
    assert found.machine.memory.leaks() == 0


@pytest.mark.parametrize("size", [(16, 8), (17, 9), (4, 5), (32, 16)])
def test_frames(engine: TrtEngine, found: Rig, size: tuple[int, int]) -> None:
    form = Nv12(*size, Coding(5))
    frames = [noise(form, seed) for seed in range(6)]
    tickets = [engine.submit_nv12(frame, form) for frame in frames]
    for frame, ticket in zip(frames, tickets, strict=True):
        result = ticket.result()
        assert result.shape == nv12_shape(size[0] * SCALE, size[1] * SCALE)
        assert np.array_equal(result, enhanced(frame, form))
    assert engine.notes == ()
    assert "cuGraphLaunch" in found.machine.calls


def test_codings_and_rgb_do_not_mix(engine: TrtEngine) -> None:
    forms = [Nv12(16, 8), Nv12(16, 8, Coding(5)), Nv12(16, 8, Coding(5), Coding(9, True))]
    for seed in range(4):
        tickets = [(form, noise(form, seed)) for form in forms]
        waiting = [engine.submit_nv12(frame, form) for form, frame in tickets]
        plain = picture(16, 8, seed)
        last = engine.submit(plain)
        for (form, frame), ticket in zip(tickets, waiting, strict=True):
            assert np.array_equal(ticket.result(), enhanced(frame, form))
        assert np.array_equal(last.result(), expected(plain))


def test_what_is_no_frame(engine: TrtEngine) -> None:
    with pytest.raises(InputError, match=r"\(12, 16\)"):
        engine.submit_nv12(np.zeros((11, 16), np.uint8), Nv12(16, 8))
    with pytest.raises(TypeError):
        engine.submit_nv12(np.zeros((12, 16), np.int8), Nv12(16, 8))
    with pytest.raises(InputError, match="does not fit"):
        engine.submit_nv12(np.zeros((60, 40), np.uint8), Nv12(40, 40))
