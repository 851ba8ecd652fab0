"""Calibration: ranges from data, one store for all dialects, refusals that say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from tiny_networks import run_onnx, scenes, tiny_network

from acf_edge.compress.calibrate import METHODS, calibrate, choose_range
from acf_edge.compress.scales import Range, ScaleStore, load_scales
from acf_edge.errors import InputError
from acf_edge.export.model import export_network, inline_operators
from acf_edge.export.qdq_ort import quantized_values

STORE = ScaleStore(
    {"a/Conv": Range(-1.25, 3.7), "b/Relu": Range(0.0, 0.1)}, "mse", "three scenes", 3, "ab" * 32
)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return inline_operators(export_network(tiny_network()))


def histogram(
    values: npt.NDArray[np.float64], bins: int = 4096
) -> tuple[npt.NDArray[np.float64], float, float]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return np.histogram(values, bins, (low, high))[0].astype(np.float64), low, high


def rounding_error(values: npt.NDArray[np.float64], span: Range) -> float:
    step = (span.high - span.low) / 255
    zero = np.rint(-span.low / step)
    codes = np.clip(np.rint(values / step) + zero, 0, 255)
    return float(np.mean(((codes - zero) * step - values) ** 2))


def test_store_round_trip(tmp_path: Path) -> None:
    STORE.save(tmp_path / "scales.json")
    read = load_scales(tmp_path / "scales.json", weights_sha256="ab" * 32)
    assert read == STORE and read.sha256 == STORE.sha256
    assert load_scales(tmp_path / "scales.json") == STORE


def test_digest_follows_the_content_and_not_the_order() -> None:
    turned = ScaleStore(dict(reversed(STORE.ranges.items())), *list(vars(STORE).values())[1:])
    assert turned.sha256 == STORE.sha256
    for other in (
        {"ranges": {**STORE.ranges, "a/Conv": Range(-1.25, 3.8)}},
        {"method": "max"},
        {"pictures": 4},
        {"weights_sha256": "cd" * 32},
    ):
        assert ScaleStore(**{**vars(STORE), **other}).sha256 != STORE.sha256  # type: ignore[arg-type]


def test_a_store_of_other_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scales.json"
    STORE.save(path)
    with pytest.raises(InputError, match="other weights"):
        load_scales(path, weights_sha256="cd" * 32)


def _changed(**fields: Any) -> str:
    return json.dumps(STORE.to_json() | fields)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json",
        "[1]",
        "7",
        "null",
        "{}",
        "[" * 100_000,
        _changed(format="acf-edge-scales-0"),
        _changed(ranges=[1, 2]),
        _changed(ranges={"a": 3}),
        _changed(ranges={"a": [1]}),
        _changed(ranges={"a": [-1, 1, 5]}),
        _changed(ranges={"a": ["x", 1]}),
        _changed(ranges={"a": [0.5, 1]}),
        _changed(ranges={"a": [-2, -1]}),
        _changed(ranges={"a": [0, 0]}),
        _changed(ranges={"a": [0, 1e-300]}),
        _changed(ranges={"a": [0, 1e300]}),
        _changed(ranges={"a": [0, float("inf")]}),
        _changed(ranges={"a": [float("nan"), 1]}),
        _changed(ranges={"a": [0, 10**400]}),
        _changed(pictures="many"),
        _changed(pictures=float("inf")),
        _changed(weights_sha256=None),
    ],
    ids=range(24),
)
def test_a_malformed_store_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scales.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        load_scales(path)
    assert "scales.json" in str(raised.value) and "\n" not in str(raised.value)


def test_a_store_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    for path in (tmp_path / "missing.json", tmp_path, tmp_path / "binary.json"):
        with pytest.raises(InputError, match=path.name):
            load_scales(path)


def test_max_takes_the_extremes() -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    counts, low, high = histogram(values)
    assert choose_range(counts, low, high, "max") == Range(low, high)


def test_percentile_leaves_outliers_outside() -> None:
    values = np.append(np.random.default_rng(0).uniform(0, 1, 1_000_000), [50.0] * 10)
    counts, low, high = histogram(values, 65536)
    span = choose_range(counts, low, high, "percentile")
    assert span.low == 0.0
    assert span.high == pytest.approx(1.0, abs=0.01)


def test_percentile_of_a_signed_normal() -> None:
    values = np.random.default_rng(0).standard_normal(2_000_000)
    span = choose_range(*histogram(values), "percentile")
    # 0.005 % on each side of a normal distribution lie beyond 3.89 sigma.
    assert span.high == pytest.approx(3.89, abs=0.12)
    assert span.low == pytest.approx(-3.89, abs=0.12)


def test_mse_keeps_a_uniform_whole_and_cuts_a_long_tail() -> None:
    rng = np.random.default_rng(0)
    span = choose_range(*histogram(rng.uniform(0, 2, 200_000)), "mse")
    assert span.high == pytest.approx(2.0, rel=0.02)
    tail = rng.exponential(1.0, 200_000)
    span = choose_range(*histogram(tail), "mse")
    assert 0.6 * tail.max() < span.high < 0.97 * tail.max()


@pytest.mark.parametrize("kind", ["normal", "exponential", "relu", "laplace"])
def test_mse_rounds_better_than_the_extremes(kind: str) -> None:
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.standard_normal(200_000),
        "exponential": rng.exponential(1.0, 200_000),
        "relu": np.maximum(rng.standard_normal(200_000) - 1.0, 0.0),
        "laplace": rng.laplace(0.0, 1.0, 200_000),
    }[kind]
    counts, low, high = histogram(values)
    span = choose_range(counts, low, high, "mse")
    assert low <= span.low <= 0 <= span.high <= high
    best = min(
        rounding_error(values, Range(low * share, high * share)) for share in np.arange(0.3, 1, 0.1)
    )
    assert rounding_error(values, span) <= 1.05 * best
    assert rounding_error(values, span) <= 1.0001 * rounding_error(values, Range(low, high))


def test_exact_zeros_do_not_clip_the_rest() -> None:
    """A ReLU that is mostly shut: its zeros round exactly and must have no say."""
    rng = np.random.default_rng(2)
    open_values = rng.uniform(0.0, 1.0, 2_000)
    values = np.append(open_values, np.zeros(500_000))
    span = choose_range(*histogram(values), "mse")
    assert span.high >= 0.97


def test_calibration_gives_every_value_its_range(model: onnx.ModelProto) -> None:
    values, pictures = quantized_values(model), scenes(3)
    told: list[tuple[int, int]] = []
    stores = {}
    for method in METHODS:
        told.clear()
        stores[method] = calibrate(
            model,
            values,
            pictures,
            method=method,
            source="scenes",
            weights_sha256="ab",
            on_progress=lambda done, total: told.append((done, total)),
        )
        assert set(stores[method].ranges) == set(values)
        assert told == [(i, 6) for i in range(1, 7)]
        assert (stores[method].pictures, stores[method].method) == (3, method)
    # `max` is what running the network shows; the others lie inside.
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    info = [onnx.helper.make_tensor_value_info(v, onnx.TensorProto.FLOAT, None) for v in values]
    probe.graph.output.extend(info)
    seen = [run_onnx(probe, {"image": p[None]}, *values) for p in pictures]
    for index, name in enumerate(values):
        low = min(0.0, *(float(arrays[index].min()) for arrays in seen))
        high = max(0.0, *(float(arrays[index].max()) for arrays in seen))
        span = stores["max"].ranges[name]
        assert span.low == pytest.approx(low, abs=1e-5)
        assert span.high == pytest.approx(max(high, low + 1e-6), rel=1e-5)
        for method in ("mse", "percentile"):
            inner = stores[method].ranges[name]
            assert span.low - 1e-6 <= inner.low and inner.high <= span.high + 1e-6


def test_pictures_may_differ_in_size_and_their_order_does_not_matter(
    model: onnx.ModelProto,
) -> None:
    pictures = [*scenes(2), *scenes(1, 31, 45)]
    values = quantized_values(model)
    one = calibrate(model, values, pictures, source="", weights_sha256="")
    two = calibrate(model, values, pictures[::-1], source="", weights_sha256="")
    assert one.ranges == two.ranges


@pytest.mark.parametrize("method", METHODS)
def test_a_silent_activation_has_a_range(method: str) -> None:
    network = tiny_network()
    with torch.no_grad():
        for parameter in network.sharing.structure.stem.parameters():
            parameter.zero_()
    model = inline_operators(export_network(network))
    store = calibrate(
        model, quantized_values(model), scenes(1), source="", weights_sha256="", method=method
    )
    name = next(v for v in quantized_values(model) if v.startswith("sharing.structure/"))
    span = store.ranges[name]
    assert span.low == 0.0 and 0 < span.high <= 1e-5


def test_calibration_refuses(model: onnx.ModelProto) -> None:
    values = quantized_values(model)

    def attempt(pictures: list[Any], method: str = "mse", graph: Any = model) -> None:
        calibrate(graph, values, pictures, method=method, source="", weights_sha256="")

    with pytest.raises(InputError, match="no pictures"):
        attempt([])
    with pytest.raises(InputError, match=r"'entropy'.*mse"):
        attempt(scenes(1), method="entropy")
    for wrong in (scenes(1)[0][:, :, 0], scenes(1)[0].astype(np.float32), scenes(1)[0][..., :2]):
        with pytest.raises(InputError, match="calibration picture"):
            attempt([wrong])
    network = tiny_network()
    with torch.no_grad():
        network.sharing.deblur.stem.weight.fill_(1e38)
    with pytest.raises(InputError, match=r"'sharing\.deblur.*not finite"):
        attempt(scenes(1), graph=inline_operators(export_network(network)))
