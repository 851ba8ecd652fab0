"""From a checkpoint to a bundle: stages, gates, resumption, and what bad input does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_network, write_checkpoint

from acf_edge.builder.chain import build_bundle
from acf_edge.builder.options import BuildOptions
from acf_edge.builder.source import calibration_pictures, load_source
from acf_edge.builder.votes import votes_sheet
from acf_edge.engine import STAGES, Ledger, load_engine, open_bundle
from acf_edge.errors import GateError, InputError
from acf_edge.imaging.files import write_image
from acf_edge.imaging.scenes import dead_leaves
from acf_edge.model.checkpoint import save_checkpoint
from acf_edge.model.config import VOTELESS
from acf_edge.model.plain import build_network
from acf_edge.model.runner import run_network

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    return write_checkpoint(folder / "small.safetensors", small_network(width=32))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(8):
        write_image(folder / f"{seed}.png", dead_leaves(160, 192, seed))
    return folder


def options(checkpoint: Path, photos: Path, out: Path, **changes: object) -> BuildOptions:
    values = {
        "checkpoint": checkpoint,
        "out": out,
        "source": str(photos),
        "recipes": ("acf-std",),
        "finetune_steps": 3,
        "threads": 1,
        "command": ("acf-edge", "build", "small.safetensors"),
    }
    return BuildOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def int8(checkpoint: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "small.bundle"
    build_bundle(options(checkpoint, photos, out))
    return out


def test_every_stage_has_its_row(int8: Path) -> None:
    bundle = open_bundle(int8)
    assert [row.stage for row in bundle.ledger.rows] == list(STAGES)
    verdicts = {row.stage: row.verdict for row in bundle.ledger.rows}
    assert verdicts["pruned"] == verdicts["fine-tuned"] == "skipped"
    assert verdicts["trained"] == verdicts["quantized"] == verdicts["compiled"] == "pass"
    compiled = bundle.ledger.row("compiled")
    assert compiled is not None and compiled.ms is not None and compiled.ms > 0
    assert compiled.quality and compiled.quality[0].recipe == "acf-std"
    assert bundle.passport.calibration_sha256 is not None
    assert {"model.onnx", "network.onnx", "scales.json", "report.html", "ledger.json"} <= set(
        bundle.passport.files
    )


def test_the_report_shows_the_votes(int8: Path) -> None:
    page = (int8 / "report.html").read_text()
    assert "Votes of the junction" in page
    shares = re.search(r"artefact (\d+)%, deblur (\d+)%, structure (\d+)%", page)
    assert shares is not None and 98 <= sum(map(int, shares.groups())) <= 102


def test_a_network_without_votes_has_none_to_show() -> None:
    picture = dead_leaves(16, 16, 1)
    for voting in VOTELESS:
        network = build_network(replace(small_network().config, voting=voting))
        assert votes_sheet(network, picture, "leaves") is None
    assert votes_sheet(None, picture, "leaves") is None


def test_the_work_folder_is_gone_when_the_bundle_is_whole(int8: Path) -> None:
    assert [path.name for path in int8.parent.iterdir()] == ["small.bundle"]


def test_the_engine_gives_what_the_checkpoint_gives(int8: Path) -> None:
    picture = dead_leaves(61, 83, 5)
    engine = load_engine(int8, threads=1)
    ours = engine.run(picture).astype(int)
    theirs = run_network(small_network(width=32), picture).astype(int)
    engine.close()
    assert ours.shape == (244, 332, 3)
    assert np.abs(ours - theirs).mean() < 2.0


def test_float_bundles_equal_the_checkpoint(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "float.bundle"
    bundle = build_bundle(options(checkpoint, photos, out, precision="fp32")).bundle
    quantized = bundle.ledger.row("quantized")
    assert quantized is not None and quantized.verdict == "skipped"
    assert bundle.passport.calibration_sha256 is None
    picture = dead_leaves(40, 50, 6)
    engine = load_engine(out, threads=1)
    difference = engine.run(picture).astype(int) - run_network(small_network(width=32), picture)
    engine.close()
    assert np.abs(difference).max() <= 1


def test_pruning_makes_a_smaller_network(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pruned.bundle"
    bundle = build_bundle(options(checkpoint, photos, out, prune=0.3, allow_drop=60.0)).bundle
    trained, pruned = bundle.ledger.row("trained"), bundle.ledger.row("pruned")
    assert trained is not None and pruned is not None
    assert trained.macs is not None and pruned.macs is not None
    assert pruned.macs <= 0.7 * trained.macs
    tuned = bundle.ledger.row("fine-tuned")
    assert tuned is not None and tuned.macs == pruned.macs
    engine = load_engine(out, threads=1)
    assert engine.run(dead_leaves(20, 24, 0)).shape == (80, 96, 3)
    engine.close()


def test_a_gate_stops_the_build_and_a_second_run_goes_on_from_there(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gated.bundle"
    # A negative drop cannot be demanded, but a drop of nothing at all is hardly ever met.
    asked = options(checkpoint, photos, out, prune=0.3, allow_drop=0.0)
    with pytest.raises(GateError, match=r"--allow-drop \d+\.\d\d"):
        build_bundle(asked)
    assert not out.exists()
    ledger = Ledger.load(tmp_path / "gated.bundle.work" / "ledger.json")
    assert ledger.rows[-1].verdict == "fail"
    result = build_bundle(options(checkpoint, photos, out, prune=0.3, allow_drop=60.0))
    assert result.resumed[:2] == ("trained", "pruned")
    assert result.bundle.ledger.row("compiled") is not None
    assert not (tmp_path / "gated.bundle.work").exists()


def test_other_pictures_make_earlier_rows_invalid(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other.bundle"
    with pytest.raises(GateError):
        build_bundle(options(checkpoint, photos, out, prune=0.3, allow_drop=0.0))
    fewer = options(checkpoint, photos, out, prune=0.3, allow_drop=60.0, pictures=5)
    assert build_bundle(fewer).resumed == ()


def test_a_bad_source_leaves_nothing_behind(checkpoint: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "new" / "x.bundle"
    for source in (str(empty), str(tmp_path / "absent")):
        with pytest.raises(InputError):
            build_bundle(options(checkpoint, Path(source), out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_an_existing_bundle_survives_a_build_that_fails(
    int8: Path, checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "kept.bundle"
    build_bundle(options(checkpoint, photos, out))
    before = (out / "passport.json").read_bytes()
    with pytest.raises(GateError):
        build_bundle(options(checkpoint, photos, out, prune=0.5, allow_drop=0.0))
    assert (out / "passport.json").read_bytes() == before
    open_bundle(out)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"target": "toaster"}, "toaster"),
        ({"precision": "int3"}, "int3"),
        ({"prune": 1.0}, "Pruning"),
        ({"prune": -0.1}, "Pruning"),
        ({"method": "guess"}, "guess"),
        ({"recipes": ("no-such",)}, "no-such"),
        ({"recipes": ()}, "recipe"),
        ({"finetune_steps": -1}, "steps"),
        ({"allow_drop": -1.0}, "drop"),
    ],
)
def test_options_are_checked(
    checkpoint: Path, photos: Path, tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        options(checkpoint, photos, tmp_path / "x", **changes)


def test_sources_are_split_and_spread(photos: Path) -> None:
    source = load_source(str(photos), 4)
    assert len(source.learn) == 6 and len(source.judge) == 2
    judged = {picture.tobytes() for picture in source.judge}
    assert not judged & {picture.tobytes() for picture in source.learn}
    low = calibration_pictures(source, ("acf-std", "clean"), 4)
    assert [picture.shape for picture in low] == [(40, 48, 3)] * 6
    assert load_source(str(photos), 4).digest == source.digest
    with pytest.raises(InputError, match="at least 4"):
        load_source(str(photos), 4, limit=3)


def test_the_script_is_the_verb(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "script.bundle"
    arguments = [str(checkpoint), "-o", str(out), "--calibrate", str(photos), "--json"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "build.py"), *arguments, "--recipe", "acf-std"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["ledger"]["rows"]
    assert [row["stage"] for row in rows] == list(STAGES)
    assert open_bundle(out).passport.rebuild_command.startswith("acf-edge build")


def test_the_verb_names_a_bad_checkpoint_in_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_text("this is no checkpoint")
    done = subprocess.run(
        [sys.executable, "-m", "acf_edge", "build", str(bad), "-o", str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "bad.safetensors" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "b").exists() and not (tmp_path / "b.work").exists()


def test_a_folder_of_the_users_is_not_taken_for_work(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "x.bundle.work" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(InputError, match=r"x\.bundle\.work"):
        build_bundle(options(checkpoint, photos, tmp_path / "x.bundle"))
    assert mine.read_text() == "precious"


def test_provenance_may_hold_anything(photos: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.safetensors"
    save_checkpoint(strange, small_network(width=16), {"train_seconds": "soon"})
    bundle = build_bundle(options(strange, photos, tmp_path / "s.bundle", precision="fp32")).bundle
    row = bundle.ledger.row("trained")
    assert row is not None and "unknown" in row.note
