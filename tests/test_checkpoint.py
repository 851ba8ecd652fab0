"""Checkpoints: exact round trips, and one clear line for everything that is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_networks import noise, tiny_config, tiny_network

from acf_edge.errors import InputError
from acf_edge.model.checkpoint import load_checkpoint, save_checkpoint
from acf_edge.model.runner import TorchEngine, run_network

PROVENANCE = {"recipe": "test", "seed": 3, "psnr": {"acf-std": 24.5}, "words": "Grüße"}
TENSOR = "sharing.deblur.down.weight"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.safetensors"
    save_checkpoint(path, tiny_network(), PROVENANCE)
    return path


def rewritten(
    path: Path,
    tensors: Callable[[dict[str, torch.Tensor]], Any] = lambda _: None,
    **metadata: str,
) -> Path:
    """The same checkpoint with some tensors or metadata changed."""
    table = load_file(path)
    with safe_open(path, framework="pt") as archive:
        notes = archive.metadata()
    tensors(table)
    changed = path.with_name("changed.safetensors")
    save_file(table, changed, metadata={**notes, **metadata})
    return changed


def refusal(path: Path) -> str:
    """The one line that a user reads."""
    with pytest.raises(InputError) as raised:
        load_checkpoint(path)
    text = str(raised.value)
    assert raised.value.exit_code == 2
    assert "\n" not in text and len(text) < 400
    return text


def test_round_trip_is_exact(good: Path) -> None:
    before, after = tiny_network(), load_checkpoint(good)
    assert after.config == tiny_config() == after.network.config
    assert after.provenance == PROVENANCE
    assert after.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert not after.network.training
    state = after.network.state_dict()
    assert list(state) == list(before.state_dict())
    for name, tensor in before.state_dict().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor), name
    picture = noise(7, 9)
    np.testing.assert_array_equal(run_network(after.network, picture), run_network(before, picture))


def test_the_same_network_gives_the_same_file(good: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, tiny_network(), PROVENANCE)
    assert again.read_bytes() == good.read_bytes()


def test_half_stores_float16(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    network = tiny_network()
    save_checkpoint(path, network, {}, half=True)
    assert {t.dtype for t in load_file(path).values()} == {torch.float16}
    assert path.stat().st_size < 0.6 * good.stat().st_size
    loaded = load_checkpoint(path).network.state_dict()
    for name, tensor in network.state_dict().items():
        assert loaded[name].dtype == torch.float32
        # Eleven bits of significand, rounded to nearest.
        torch.testing.assert_close(loaded[name], tensor, rtol=2.0**-11, atol=2.0**-24)


def test_metadata_carries_configuration_and_provenance(good: Path) -> None:
    with safe_open(good, framework="pt") as archive:
        metadata = archive.metadata()
        names = set(archive.keys())
    assert json.loads(metadata["provenance"]) == PROVENANCE
    assert json.loads(metadata["config"])["deblur_blocks"] == [[16, 2], [32, 4]]
    assert names == set(tiny_network().state_dict())


@pytest.mark.parametrize("half, value", [(False, float("nan")), (True, 1e6)])
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, half: bool, value: float
) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.reconstruction.tail.weight[0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"reconstruction\.tail\.weight"):
        save_checkpoint(tmp_path / "a.safetensors", network, {}, half=half)
    assert not list(tmp_path.iterdir())


def test_refuses_other_suffixes_and_places_to_write(tmp_path: Path) -> None:
    network = tiny_network()
    with pytest.raises(InputError, match=r"\.safetensors"):
        save_checkpoint(tmp_path / "a.pth", network, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        save_checkpoint(tmp_path / "file" / "a.safetensors", network, {})
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(InputError, match="folder"):
        save_checkpoint(tmp_path / "b.safetensors", network, {})


def test_a_missing_tensor_is_named(good: Path) -> None:
    path = rewritten(good, lambda table: table.pop(TENSOR))
    assert f"lacks the tensor '{TENSOR}'." in refusal(path)

    def several(table: dict[str, torch.Tensor]) -> None:
        for name in [n for n in table if n.startswith("junction.")]:
            del table[name]

    assert "lacks the tensor 'junction.channel_bias' and 3 more" in refusal(
        rewritten(good, several)
    )


def test_an_unknown_tensor_is_named(good: Path) -> None:
    path = rewritten(good, lambda table: table.update(surplus=torch.zeros(1)))
    assert "unknown tensor 'surplus'" in refusal(path)
    path = rewritten(good, lambda table: table.update({"a\nb" * 500: torch.zeros(1)}))
    assert "unknown tensor" in refusal(path)


def test_a_wrong_shape_is_named_with_both_shapes(good: Path) -> None:
    path = rewritten(good, lambda table: table.update({TENSOR: torch.zeros(32, 16, 3, 2)}))
    text = refusal(path)
    assert TENSOR in text and "[32, 16, 3, 2]" in text and "[32, 16, 3, 3]" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(good: Path, value: float) -> None:
    def spoil(table: dict[str, torch.Tensor]) -> None:
        table[TENSOR][3, 2, 1, 0] = value

    text = refusal(rewritten(good, spoil))
    assert TENSOR in text and "NaN" in text


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_tensors_that_are_no_floats(good: Path, kind: torch.dtype) -> None:
    path = rewritten(good, lambda table: table.update({TENSOR: table[TENSOR].to(kind)}))
    assert TENSOR in refusal(path)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_other_floats_are_converted(good: Path, kind: torch.dtype) -> None:
    path = rewritten(good, lambda table: table.update({TENSOR: table[TENSOR].to(kind)}))
    assert load_checkpoint(path).network.state_dict()[TENSOR].dtype == torch.float32


@pytest.mark.parametrize("cut", [4, 100, 20_000, -1])
def test_a_truncated_file(good: Path, cut: int) -> None:
    path = good.with_name("cut.safetensors")
    path.write_bytes(good.read_bytes()[:cut])
    assert "cut.safetensors" in refusal(path)


HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is a text file and no checkpoint\n" * 10,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 8) + b"not json",
        struct.pack("<Q", len(HEADER)) + HEADER,
        struct.pack("<Q", len(HEADER)) + HEADER.replace(b"F32", b"X99") + b"1234",
        struct.pack("<Q", 60_000) + b"[" * 60_000,
    ],
    ids=[
        "empty",
        "text",
        "absurd",
        "huge",
        "long-header",
        "no-tensors",
        "not-json",
        "no-data",
        "type",
        "nested",
    ],
)
def test_a_file_that_only_looks_like_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    assert "odd.safetensors" in refusal(path)


def test_no_file_a_folder_an_unknown_suffix(tmp_path: Path, good: Path) -> None:
    assert "missing.safetensors" in refusal(tmp_path / "missing.safetensors")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert "folder.safetensors" in refusal(folder)
    other = good.rename(tmp_path / "weights.bin")
    assert "weights.bin" in refusal(other)


def test_metadata_that_is_not_ours(good: Path) -> None:
    for notes in (
        {"format": "pt"},
        {"config": "not json"},
        {"config": "[1, 2]"},
        {"config": "[" * 100_000},
        {"config": '{"scale": ' + "9" * 5000 + "}"},
        {"provenance": "[]"},
    ):
        assert "changed.safetensors" in refusal(rewritten(good, **notes)), notes
    bare = good.with_name("bare.safetensors")
    save_file(load_file(good), bare)
    assert "bare.safetensors" in refusal(bare)


@pytest.mark.parametrize(
    "field, value",
    [
        ("branch", 10**9),
        ("trunk", 1024),
        ("artefact", [1024] * 64),
        ("trunk_blocks", [16] * 10**6),
        ("deblur_blocks", [[64, 10**7]]),
        ("squeeze", "16"),
    ],
)
def test_a_hostile_configuration_takes_no_memory(good: Path, field: str, value: Any) -> None:
    """Refused before a network of that size exists: by its bounds or by the tensors there."""
    table = tiny_config().to_json() | {field: value}
    path = rewritten(good, config=json.dumps(table))
    tracemalloc.start()
    before = _resident()
    try:
        text = refusal(path)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert field in text or "tensor" in text
    assert python < 120 * 2**20
    assert _resident() - before < 200 * 2**20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_plain_pickled_state_is_read(tmp_path: Path) -> None:
    network = tiny_network()
    content = {"config": network.config.to_json(), "state": network.state_dict()}
    for suffix in ("pth", "pt"):
        path = tmp_path / f"a.{suffix}"
        torch.save(content | {"provenance": PROVENANCE}, path)
        loaded = load_checkpoint(path)
        assert loaded.provenance == PROVENANCE
        for name, tensor in network.state_dict().items():
            assert torch.equal(loaded.network.state_dict()[name], tensor)
    torch.save(content, tmp_path / "b.pth")
    assert load_checkpoint(tmp_path / "b.pth").provenance == {}


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.system, (f"touch '{self.target}'",))


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    target = tmp_path / "it-ran"
    network = tiny_network()
    content = {
        "config": network.config.to_json(),
        "state": network.state_dict(),
        "provenance": {"by": _Bomb(target)},
    }
    torch.save(content, tmp_path / "zip.pth")
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(_Bomb(target)))
    for name in ("zip.pth", "old.pth", "raw.pt"):
        assert name in refusal(tmp_path / name)
        assert not target.exists()
    # The bomb is live: a careless reader would have run it.
    pickle.loads((tmp_path / "raw.pt").read_bytes())
    assert target.exists()


def _state() -> dict[str, Any]:
    return dict(tiny_network().state_dict())


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"a": torch.zeros(3)},
        {"config": {}, "state": {}},
        {"config": tiny_config().to_json() | {3: 4, ("a",): 1}, "state": {}},
        {"config": tiny_config().to_json()},
        {"config": tiny_config().to_json(), "state": {"a": 1}},
        {"config": tiny_config().to_json(), "state": {1: torch.zeros(1), "a": torch.zeros(1)}},
        {"config": tiny_config().to_json(), "state": {"a": torch.zeros(1)}},
        {
            "config": tiny_config().to_json(),
            "state": _state() | {TENSOR: torch.zeros(3).to_sparse()},
        },
        {
            "config": tiny_config().to_json(),
            "state": _state() | {TENSOR: torch.zeros(32, 16, 3, 3, device="meta")},
        },
    ],
    ids=range(10),
)
def test_pickles_of_other_things(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    text = refusal(path)
    assert "other.pth" in text or "configuration" in text


@pytest.mark.parametrize("content", [b"", b"text\n" * 50, b"PK\x03\x04 broken zip"])
def test_pth_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    assert "odd.pth" in refusal(path)


def test_a_checkpoint_is_an_engine(good: Path) -> None:
    engine = TorchEngine(good)
    picture = noise(5, 6)
    assert engine.name == "tiny-x4 torch" and engine.scale == 4
    np.testing.assert_array_equal(engine.run(picture), run_network(tiny_network(), picture))
    engine.close()
    with pytest.raises(InputError, match="closed"):
        engine.run(picture)
