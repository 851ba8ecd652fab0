"""The votes on a picture: figures, sheet, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_networks import tiny_config, tiny_network  # noqa: E402

from acf_edge.builder import votes as builder_votes  # noqa: E402
from acf_edge.cli.main import main  # noqa: E402
from acf_edge.errors import InputError  # noqa: E402
from acf_edge.explain import BRANCHES, LARGEST, listen, votes_picture  # noqa: E402
from acf_edge.explain import heard as heard_module  # noqa: E402
from acf_edge.explain.picture import COLOURS  # noqa: E402
from acf_edge.imaging.files import read_image, write_image  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.model.checkpoint import save_checkpoint  # noqa: E402
from acf_edge.model.network import AcfNetwork  # noqa: E402
from acf_edge.model.plain import build_network  # noqa: E402
from acf_edge.model.runner import run_network  # noqa: E402

IMAGE = dead_leaves(30, 44, 1)


@pytest.mark.parametrize("voting", ["sigmoid", "softmax", "gate"])
def test_shares_of_the_voice_sum_to_one(voting: str) -> None:
    network = tiny_network(replace(tiny_config(), voting=voting))
    heard = listen(network, IMAGE)
    assert heard.voice.shape == heard.passed.shape == (3, 16, 22)  # padded to whole cells
    assert np.allclose(heard.voice.sum(axis=0), 1.0, atol=1e-5)
    assert heard.channel.shape == heard.element.shape == (3, 16)
    assert np.array_equal(heard.result, run_network(network, IMAGE))


def without_deblur(voting: str) -> AcfNetwork:
    """Whatever the deblur branch says, the junction passes none of it."""
    network = tiny_network(replace(tiny_config(), voting=voting))
    unit = network.junction
    with torch.no_grad():
        unit.channel_weight.zero_()
        unit.element.weight.zero_()
        unit.channel_bias[16:32] = unit.element.bias[16:32] = -50.0
    return network


@pytest.mark.parametrize("voting", ["sigmoid", "softmax", "gate"])
def test_a_branch_that_is_switched_off_has_no_voice(voting: str) -> None:
    network = without_deblur(voting)
    quiet = listen(network, IMAGE)
    with torch.no_grad():  # features may be as large as they like
        for parameter in network.sharing.deblur.up.parameters():
            parameter.mul_(100.0)
    heard = listen(network, IMAGE)
    assert np.array_equal(heard.result, quiet.result)
    assert heard.voice[1].max() < 1e-6 and heard.channel[1].max() < 1e-6
    assert np.allclose(heard.voice.sum(axis=0), 1.0, atol=1e-5)
    assert heard.to_json()["branches"]["deblur"]["voice"] == 0.0
    assert heard.to_json()["branches"]["artefact"]["voice"] > 0.05


def test_where_all_are_silent_nobody_gets_a_voice_he_has_not() -> None:
    network = without_deblur("sigmoid")
    with torch.no_grad():
        for branch in (network.sharing.artefact, network.sharing.structure):
            for parameter in branch.parameters():
                parameter.abs_()
            branch.stem.bias.zero_()
            for block in branch.blocks:
                block.expand.bias.zero_()
                block.project.bias.zero_()
    half = np.zeros((30, 80, 3), np.uint8)
    half[:, 60:] = 200  # where the picture is black, these two have nothing to say
    heard = listen(network, half)
    assert heard.voice[1].max() < 1e-6
    assert np.allclose(heard.voice.sum(axis=0), 1.0, atol=1e-5)
    assert np.ptp(heard.voice[:, :, :20], axis=(1, 2)).max() < 1e-6
    assert np.allclose(listen(network, 0 * half).voice, 1 / 3)


def test_the_network_runs_once() -> None:
    network = tiny_network()
    seen: list[int] = []
    network.sharing.register_forward_hook(lambda *_: seen.append(1))
    listen(network, IMAGE)
    assert len(seen) == 1


def test_a_picture_that_is_too_large_is_refused_before_anything_runs() -> None:
    network = tiny_network()
    network.sharing.register_forward_hook(lambda *_: pytest.fail("it ran"))
    large = np.zeros((3000, 4000, 3), np.uint8)
    with pytest.raises(InputError, match=r"4000 x 3000 pixels.*shrink it to 1672 x 1254"):
        listen(network, large)
    assert all(h * w <= LARGEST for h, w in ((1080, 1920), (1254, 1672)))


def test_a_report_shows_the_middle_of_a_picture_that_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heard_module, "LARGEST", 600)
    monkeypatch.setattr(builder_votes, "LARGEST", 600)
    sheet = builder_votes.votes_sheet(tiny_network(), IMAGE, "leaves")
    assert sheet is not None and "the middle of leaves" in sheet.words
    monkeypatch.undo()
    whole = builder_votes.votes_sheet(tiny_network(), IMAGE, "leaves")
    assert whole is not None and "middle" not in whole.words


def test_the_sheet_shows_the_loudest_branch_in_its_colour() -> None:
    network = tiny_network()
    with torch.no_grad():
        network.junction.channel_weight.zero_()
        network.junction.channel_bias[:32] = -50.0  # all but structure
    heard = listen(network, IMAGE)
    sheet = votes_picture(IMAGE, heard, "leaves")
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    # The third picture of the first row: who is heard.
    middle = sheet[56 + 40 + 140, 20 + 2 * 440 + 210]
    assert np.abs(middle.astype(int) - COLOURS[2]).max() <= 1


def test_a_sheet_of_a_very_tall_picture_is_no_tower() -> None:
    tall = np.zeros((600, 4, 3), np.uint8)
    sheet = votes_picture(tall, listen(tiny_network(), tall))
    assert sheet.shape[0] < 3000 and sheet.shape[1] == 3 * 420 + 4 * 20


@pytest.mark.parametrize("voting", ["none", "plain"])
def test_where_nobody_votes_there_is_nothing_to_explain(voting: str) -> None:
    with pytest.raises(InputError, match="casts no votes"):
        listen(build_network(replace(tiny_config(), voting=voting)), IMAGE)


def test_the_command_draws_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, checkpoint = tmp_path / "frame.png", tmp_path / "tiny.safetensors"
    write_image(image, IMAGE)
    save_checkpoint(checkpoint, tiny_network(), {})
    assert main(["explain", str(image), "--checkpoint", str(checkpoint), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["branches"]) == list(BRANCHES)
    assert read_image(told["picture"]).shape[1] == 3 * 420 + 4 * 20
    assert main(["explain", str(tmp_path / "none.png")]) == 2


def test_the_picture_itself_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, link = tmp_path / "frame.png", tmp_path / "link.png"
    write_image(image, IMAGE)
    link.symlink_to(image)
    before = image.read_bytes()
    monkeypatch.chdir(tmp_path)
    for given, output in (
        (str(image), str(image)),
        ("frame.png", str(image)),
        ("frame.png", "./frame.png"),
        ("frame.png", "link.png"),
        ("link.png", "frame.png"),
    ):
        assert main(["explain", given, "-o", output]) == 2
        assert "is the input itself" in capsys.readouterr().err
    assert image.read_bytes() == before and link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame.png", "link.png"]
