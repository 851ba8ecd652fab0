"""The votes on a picture: figures, sheet, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_networks import tiny_config, tiny_network  # noqa: E402

from acf_edge.cli.main import main  # noqa: E402
from acf_edge.errors import InputError  # noqa: E402
from acf_edge.explain import BRANCHES, listen, votes_picture  # noqa: E402
from acf_edge.explain.picture import COLOURS  # noqa: E402
from acf_edge.imaging.files import read_image, write_image  # noqa: E402
from acf_edge.imaging.scenes import dead_leaves  # noqa: E402
from acf_edge.model.checkpoint import save_checkpoint  # noqa: E402
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


def test_a_branch_that_is_switched_off_has_no_voice() -> None:
    network = tiny_network()
    with torch.no_grad():
        network.junction.channel_weight.zero_()
        network.junction.channel_bias[16:32] = -50.0  # deblur
    heard = listen(network, IMAGE)
    assert heard.voice[1].max() < 1e-6 and heard.channel[1].max() < 1e-6
    assert heard.to_json()["branches"]["deblur"]["voice"] == 0.0
    assert heard.to_json()["branches"]["artefact"]["voice"] > 0.05


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
