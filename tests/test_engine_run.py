"""Engines: right pixels, any size, plain refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from toy_bundles import nearest, network, serialize, write_toy

import acf_edge.engine.ort as ort
from acf_edge.engine import load_engine
from acf_edge.engine.bicubic import BicubicEngine
from acf_edge.engine.cores import usable_cores
from acf_edge.engine.graph import read_graph
from acf_edge.engine.ort import OrtEngine
from acf_edge.errors import InputError

Image = npt.NDArray[np.uint8]


def picture(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def enlarged(image: Image, scale: int = 2) -> Image:
    return np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)


@pytest.fixture
def engine() -> OrtEngine:
    return OrtEngine(nearest(), name="toy-x2 fp32", scale=2, threads=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (18, 32), (33, 21)])
def test_any_size_gives_the_right_pixels(engine: OrtEngine, size: tuple[int, int]) -> None:
    image = picture(*size)
    for _ in range(3):
        result = engine.run(image)
        assert result.dtype == np.uint8 and result.flags.c_contiguous
        np.testing.assert_array_equal(result, enlarged(image))


def test_pictures_that_are_not_contiguous(engine: OrtEngine) -> None:
    whole = picture(20, 30)
    for view in (whole[::2, 1::3], whole[:, ::-1], np.asfortranarray(whole), whole[..., ::-1]):
        np.testing.assert_array_equal(engine.run(view), enlarged(view))


def test_results_belong_to_the_caller(engine: OrtEngine) -> None:
    first = engine.run(picture(6, 6, 1))
    kept = first.copy()
    engine.run(picture(6, 6, 2))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(engine.run(picture(6, 6, 1)), kept)


def test_threads_may_share_an_engine(engine: OrtEngine) -> None:
    wrong = []

    def work(seed: int) -> None:
        for turn in range(20):
            image = picture(4 + seed, 9 + turn % 3, seed)
            if not np.array_equal(engine.run(image), enlarged(image)):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 4), (4, 4, 1), (1, 4, 4, 3), (0, 4, 3), (4, 0, 3)]
)
def test_shapes_that_are_no_picture(engine: OrtEngine, shape: tuple[int, ...]) -> None:
    for one in (engine, BicubicEngine(2)):
        with pytest.raises(InputError, match="cannot be enhanced"):
            one.run(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("frame", [np.zeros((4, 4, 3), np.float32), [[1, 2, 3]], None])
def test_types_that_are_no_picture(engine: OrtEngine, frame: object) -> None:
    for one in (engine, BicubicEngine(2)):
        with pytest.raises(TypeError, match="uint8"):
            one.run(frame)  # type: ignore[arg-type]


def test_a_closed_engine_says_so(engine: OrtEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="is closed"):
        engine.run(picture(4, 4))


def test_a_bundle_becomes_an_engine(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.bundle").path
    loaded = load_engine(str(path), threads=1, spin=False)
    assert (loaded.name, loaded.scale) == ("toy-x2 fp32", 2)
    np.testing.assert_array_equal(loaded.run(picture(3, 4)), enlarged(picture(3, 4)))
    loaded.close()


def test_without_a_number_all_cores_are_used() -> None:
    assert OrtEngine(nearest(), name="toy", scale=2).threads == usable_cores() >= 1


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_numbers_of_threads_that_make_no_sense(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        OrtEngine(nearest(), name="toy", scale=2, threads=threads)


@pytest.mark.parametrize("model", [b"", b"no model", b"\x08\x09", nearest()[:-40], b"\xff" * 64])
def test_bytes_that_are_no_model(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        OrtEngine(model, name="toy", scale=2)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_with_other_ends_is_refused() -> None:
    with pytest.raises(InputError, match="uint8 'image'"):
        OrtEngine(nearest(ends=("x", "enhanced")), name="toy", scale=2)


def test_a_model_of_another_scale_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="cannot enhance a 6x5 picture") as caught:
        OrtEngine(nearest(4), name="toy", scale=2, threads=1).run(picture(5, 6))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_too_little_memory_is_said_so_and_survived() -> None:
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from acf_edge.engine.ort import OrtEngine\n"
        "from acf_edge.errors import InputError\n"
        "engine = OrtEngine(sys.stdin.buffer.read(), name='toy', scale=2, threads=1)\n"
        "large = np.zeros((3000, 3000, 3), np.uint8)\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "try:\n"
        "    engine.run(large)\n"
        "except InputError as error:\n"
        "    print(error)\n"
        "print(engine.run(large[:4, :4]).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=nearest(), capture_output=True, check=True
    )
    message, shape = done.stdout.decode().splitlines()
    assert message.startswith("There is not enough memory to enhance a 3000x3000 picture.")
    assert shape == "(8, 8, 3)"


def external(place: str) -> bytes:
    """A model one of whose tensors lies in another file."""
    tensor = TensorProto(
        name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/passwd")
    model = onnx.load_from_string(nearest())
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.append(constant)
    elif place == "function":
        opset = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("acf", "F", [], ["c"], [constant], opset))
    else:
        body = helper.make_graph([constant], "body", [], [])
        model.graph.node.append(
            helper.make_node("If", ["q"], ["r"], then_branch=body, else_branch=body)
        )
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("place", ["initializer", "attribute", "function", "subgraph"])
def test_weights_in_other_files_are_refused(place: str) -> None:
    with pytest.raises(InputError, match="another file"):
        OrtEngine(external(place), name="toy", scale=2)


def test_a_runtime_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = serialize(list(onnx.load_from_string(nearest()).graph.node), {}, opset=21)
    monkeypatch.setattr(ort.onnxruntime, "__version__", "1.17.3")
    with pytest.raises(InputError, match=r"opset 21.*needs ONNX Runtime 1\.18.*is 1\.17\.3"):
        OrtEngine(model, name="toy", scale=2)


def test_the_little_reader_agrees_with_onnx() -> None:
    data = network(quantize=True, width=16)
    model, graph = onnx.load_from_string(data), read_graph(data)
    assert (graph.ir_version, graph.opset, graph.external) == (model.ir_version, 18, False)
    assert [
        (node.name, node.op, node.domain, node.inputs, node.outputs) for node in graph.nodes
    ] == [
        (node.name, node.op_type, node.domain, tuple(node.input), tuple(node.output))
        for node in model.graph.node
    ]


def test_bicubic_keeps_flat_pictures_flat_and_its_promise() -> None:
    engine = BicubicEngine(4)
    assert (engine.name, engine.scale) == ("bicubic", 4)
    flat = np.full((5, 7, 3), 93, np.uint8)
    np.testing.assert_array_equal(engine.run(flat), np.full((20, 28, 3), 93))
    ramp = np.repeat(np.arange(0, 200, 8, dtype=np.uint8)[None, :, None], 3, axis=2)
    inside = engine.run(np.repeat(ramp, 9, axis=0))[:, 16:-16, 0].astype(int)
    steps = np.diff(inside, axis=1)
    assert steps.min() >= 1 and steps.max() <= 3
    engine.close()


def test_the_runtime_half_imports_neither_torch_nor_onnx() -> None:
    code = (
        "import sys\n"
        "import acf_edge.engine.ort, acf_edge.engine.bicubic, acf_edge.profile.picture\n"
        "import acf_edge.profile.table, acf_edge.profile.chart, acf_edge.profile.doctor\n"
        "acf_edge.profile.doctor.examine()\n"
        "print(sorted({'torch', 'onnx', 'onnxscript', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_names_of_the_room_cost_no_runtime() -> None:
    code = (
        "import sys, acf_edge.engine, acf_edge.cli.profile, acf_edge.cli.doctor\n"
        "print(sorted({'onnxruntime', 'cv2', 'av', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
