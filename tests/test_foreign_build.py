"""Checkpoints of others through the whole chain: build, enhance, evaluate, profile, bench."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import torch
from foreign_networks import compact, in_onnx, need_spandrel, saved, span
from tiny_networks import noise, scenes
from torch import nn

from acf_edge.builder.chain import build_bundle
from acf_edge.builder.options import BuildOptions
from acf_edge.cli.main import main
from acf_edge.engine import STAGES, load_engine, open_bundle
from acf_edge.errors import InputError
from acf_edge.foreign.network import export_foreign, load_foreign
from acf_edge.imaging.files import read_image, write_image
from acf_edge.imaging.metrics import psnr
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.profile.latency import profile_bundle

need_spandrel()

# name -> (network, how its weights are stored, its name in the passport)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "compact-x2": (lambda: compact(2), ".pth", "compact-8nf-2nc"),
    "compact-x4": (lambda: compact(4), ".safetensors", "compact-8nf-2nc"),
    "span-x2": (lambda: span(2, norm=True), ".safetensors", "span-8nf"),
    "span-x4": (lambda: span(4), ".pth", "span-8nf"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        write_image(folder / f"{seed}.png", dead_leaves(136, 144, seed))
    return folder


def options(checkpoint: Path, photos: Path, out: Path, **changes: object) -> BuildOptions:
    values = {
        "checkpoint": checkpoint,
        "out": out,
        "source": str(photos),
        "recipes": ("acf-std",),
        "allow_drop": 20.0,
        "threads": 1,
        "command": ("acf-edge", "build", checkpoint.name),
    }
    return BuildOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=NETWORKS)
def built(
    request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """Name, checkpoint, INT8 bundle."""
    make, suffix, _ = NETWORKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = saved(make(), folder / f"weights{suffix}")
    build_bundle(options(checkpoint, photos, folder / "int8.bundle"))
    return request.param, checkpoint, folder / "int8.bundle"


def test_the_passport_says_whose_it_is(built: tuple[str, Path, Path]) -> None:
    name, checkpoint, out = built
    bundle = open_bundle(out)
    passport = bundle.passport
    assert passport.network == NETWORKS[name][2]
    assert passport.name == f"{NETWORKS[name][2]}-{name[-2:]} int8"
    assert passport.weights_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    notes = "\n".join(passport.notes)
    assert "spandrel 0." in notes and checkpoint.name in notes and "licence" in notes
    assert ("RealESRGAN Compact (8nf, 2nc)" if "compact" in name else "SPAN (8nf)") in notes
    rows = {row.stage: row for row in bundle.ledger.rows}
    assert list(rows) == list(STAGES)
    assert rows["pruned"].verdict == rows["fine-tuned"].verdict == "skipped"
    assert "licence unknown" in rows["trained"].note
    assert rows["trained"].macs is not None and rows["trained"].params is not None


def test_int8_is_close_to_torch(built: tuple[str, Path, Path]) -> None:
    _, checkpoint, out = built
    network = load_foreign(checkpoint)
    engine = load_engine(out, threads=1)
    for picture in (*scenes(4, 48, 64)[2:], scenes(1, 33, 41)[0]):
        ours, theirs = engine.run(picture), network.run(picture)
        assert ours.shape == theirs.shape
        assert psnr(ours, theirs) >= 36
    engine.close()


@pytest.mark.parametrize("name", ["compact-x4", "span-x2"])
def test_float32_equals_torch(name: str, photos: Path, tmp_path: Path) -> None:
    make, suffix, _ = NETWORKS[name]
    checkpoint = saved(make(), tmp_path / f"weights{suffix}")
    network = load_foreign(checkpoint)
    result = build_bundle(options(checkpoint, photos, tmp_path / "b", precision="fp32"))
    row = result.bundle.ledger.row("exported")
    assert row is not None and "differs from torch by" in row.note
    engine = load_engine(tmp_path / "b", threads=1)
    for picture in (scenes(1, 32, 48)[0], noise(17, 23), noise(1, 1), noise(5, 40)):
        difference = engine.run(picture).astype(int) - network.run(picture)
        assert np.abs(difference).max() <= 1
    engine.close()


def test_the_profile_names_the_networks_own_modules(built: tuple[str, Path, Path]) -> None:
    name, checkpoint, out = built
    modules = dict(load_foreign(checkpoint).descriptor.model.named_modules())
    profile = profile_bundle(open_bundle(out), 64, 48, runs=2, threads=1)
    seen = {layer.module for layer in profile.layers}
    ours = {"input", "output", "network", "anchor", "(layout)", "(runtime)"}
    assert seen - ours <= set(modules)
    expected = {"body.0", "body.1", "body.4"} if "compact" in name else {
        "conv_1.eval_conv", "block_3.c2_r.eval_conv", "block_6.act1", "conv_cat", "upsampler.0"
    }  # fmt: skip
    assert expected <= seen


def test_the_other_verbs_take_it(
    built: tuple[str, Path, Path],
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, checkpoint, out = built
    scale = int(name[-1])
    picture = tmp_path / "in.png"
    write_image(picture, dead_leaves(30, 44, 3))
    large = tmp_path / "out.png"
    assert main(["enhance", str(picture), str(large), "--engine", str(out)]) == 0
    assert read_image(large).shape == (30 * scale, 44 * scale, 3)
    if name != "compact-x2":
        return
    camera = "test://noise?width=64&height=48"
    clip = tmp_path / "out.mp4"
    streamed = ["stream", camera, str(clip), "--engine", str(out), "--frames", "5", "--json"]
    assert main(streamed) == 0
    with av.open(str(clip)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes and set(sizes) == {(128, 96)}
    gains = []
    for judged in (["--engine", str(out)], ["--checkpoint", str(checkpoint)]):
        capsys.readouterr()
        where = ["--data", str(photos), "--limit", "2", "--recipe", "clean", "--json", "-"]
        assert main(["evaluate", *judged, *where]) == 0
        result = json.loads(capsys.readouterr().out)
        assert NETWORKS[name][2] in result["engine"]
        gains.append(result["mean"]["psnr_y"])
    assert abs(gains[0] - gains[1]) < 0.5


def test_pruning_is_for_our_own(photos: Path, tmp_path: Path) -> None:
    checkpoint = saved(compact(), tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"others .* cannot be pruned"):
        build_bundle(options(checkpoint, photos, tmp_path / "b", prune=0.3))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pth"]


def test_a_refusal_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spandrel.architectures.PLKSR import RealPLKSR

    path = saved(RealPLKSR(dim=16, n_blocks=1, upscaling_factor=2), tmp_path / "real.pth")
    assert main(["build", str(path), "-o", str(tmp_path / "b")]) == 2
    said = capsys.readouterr().err.strip()
    assert "PLKSR" in said and "'group_norm' in 'feats.1.norm'" in said
    assert len(said.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["real.pth"]


# One small network each of what else is said to work: architecture, class, hyperparameters.
OTHERS: dict[str, tuple[str, str, dict[str, int]]] = {
    "ESRGAN": ("ESRGAN", "ESRGAN", {"num_blocks": 1, "num_filters": 8, "scale": 4}),
    "ESRGAN, unshuffled": (
        "ESRGAN",
        "ESRGAN",
        {"num_blocks": 1, "num_filters": 8, "in_nc": 12, "scale": 4, "shuffle_factor": 2},
    ),
    "RCAN": (
        "RCAN",
        "RCAN",
        {"scale": 3, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4},
    ),
    "PLKSR": ("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 1, "upscaling_factor": 2}),
    "SAFMN": ("SAFMN", "SAFMN", {"dim": 8, "n_blocks": 1, "upscaling_factor": 4}),
    "SwiftSRGAN": (
        "SwiftSRGAN",
        "SwiftSRGAN",
        {"num_channels": 8, "num_blocks": 1, "upscale_factor": 2},
    ),
    "Compact, same size": (
        "Compact",
        "Compact",
        {"num_feat": 8, "num_conv": 1, "upscale": 1},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_at_sizes_they_have_to_be_padded_for(name: str, tmp_path: Path) -> None:
    folder, kind, values = OTHERS[name]
    # Older releases know fewer.
    room = pytest.importorskip(f"spandrel.architectures.{folder}")
    torch.manual_seed(0)
    foreign = load_foreign(saved(getattr(room, kind)(**values).eval(), tmp_path / "weights.pth"))
    model = export_foreign(foreign).model
    onnx.checker.check_model(model, full_check=True)
    for size in ((24, 32), (17, 41), (3, 9), (1, 1)):
        ours, theirs = in_onnx(model, noise(*size)), foreign.run(noise(*size))
        assert ours.shape == (size[0] * foreign.scale, size[1] * foreign.scale, 3)
        assert np.abs(ours.astype(int) - theirs).max() <= 1
