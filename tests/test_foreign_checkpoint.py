"""Files of strangers: read as tensors, none of their code run, one clear line for what is wrong."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from foreign_networks import compact, need_spandrel, saved
from small_networks import small_network, write_checkpoint
from torch import nn

from acf_edge.cli.main import main
from acf_edge.errors import InputError
from acf_edge.foreign.checkpoint import is_foreign, read_tensors
from acf_edge.foreign.network import load_foreign
from acf_edge.model.checkpoint import load_checkpoint


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.mark, "boom")


def bombs(folder: Path) -> list[Path]:
    """The ways in which a pickle reaches torch.load: today's archive, and yesterday's stream."""
    mark = folder / "exploded"
    content = {"params": {"body.0.weight": torch.zeros(8, 3, 3, 3)}, "more": Bomb(mark)}
    paths = [folder / name for name in ("zip.pth", "old.pth", "plain.pth", "light.ckpt", "s.pt")]
    for path in (paths[0], paths[3], paths[4]):
        torch.save(content, path)
    torch.save(content, paths[1], _use_new_zipfile_serialization=False)
    paths[2].write_bytes(pickle.dumps(Bomb(mark)))
    return paths


def test_a_pickle_with_code_is_refused_and_the_code_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in bombs(tmp_path):
        with pytest.raises(InputError, match="cannot be loaded as plain weights"):
            read_tensors(path)
        assert main(["build", str(path), "-o", str(tmp_path / "b")]) == 2
        said = capsys.readouterr().err.strip()
        assert path.name in said and "code" in said and len(said.splitlines()) == 1
        assert not (tmp_path / "exploded").exists()
        assert not (tmp_path / "b").exists() and not (tmp_path / "b.work").exists()
    # The bombs are live: this is what pickle alone makes of them.
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert (tmp_path / "exploded").read_text() == "boom"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 3, 3)), str(path))
    assert main(["build", str(path), "-o", str(tmp_path / "b")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_ours_and_others_are_told_apart(tmp_path: Path) -> None:
    ours = write_checkpoint(tmp_path / "ours.safetensors", small_network())
    network = load_checkpoint(ours).network
    pickled = tmp_path / "ours.pth"
    torch.save({"config": network.config.to_json(), "state": network.state_dict()}, pickled)
    assert not is_foreign(ours) and not is_foreign(pickled)
    conv = nn.Conv2d(3, 3, 3)
    for name in ("others.safetensors", "others.pth", "others.pt", "others.ckpt"):
        assert is_foreign(saved(conv, tmp_path / name)), name
    for name in ("absent.pth", "absent.ckpt", "text.txt"):
        (tmp_path / "text.txt").write_text("text")
        assert not is_foreign(tmp_path / name)


def test_what_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    for name, content in (("number.pth", 3), ("empty.pth", {}), ("list.pth", [torch.zeros(2)])):
        torch.save(content, tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}' holds no table of tensors"):
            read_tensors(tmp_path / name)
    (tmp_path / "cut.safetensors").write_bytes(struct.pack("<Q", 1000) + b"{")
    with pytest.raises(InputError, match="no readable safetensors"):
        read_tensors(tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match="There is no checkpoint"):
        read_tensors(tmp_path / "absent.pth")
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="no known kind"):
        read_tensors(tmp_path / "x.bin")


def test_a_file_may_not_promise_what_it_does_not_hold(tmp_path: Path) -> None:
    need_spandrel()
    weights = compact().state_dict()
    # One number on disk, read as a terabyte.
    endless = torch.zeros(1).expand(1 << 19, 1 << 19)
    cases = {
        "promises more": {**weights, "body.0.weight": endless},
        "strange tensor": {**weights, "body.99999999.weight": torch.zeros(8)},
        "NaN": {**weights, "body.0.bias": torch.full((8,), float("nan"))},
        "no plain tensor": {**weights, "body.0.bias": torch.zeros(8).to_sparse()},
    }
    for word, table in cases.items():
        torch.save(table, tmp_path / "x.pth")
        with pytest.raises(InputError, match=word):
            load_foreign(tmp_path / "x.pth")


def test_unknown_and_ill_fitting_tables(tmp_path: Path) -> None:
    need_spandrel()
    with pytest.raises(InputError, match="of no architecture that spandrel"):
        load_foreign(saved(nn.Conv2d(3, 3, 3), tmp_path / "conv.pth"))
    table = compact().state_dict()
    table["body.2.weight"] = torch.zeros(5, 5, 3, 3)
    torch.save(table, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"does not fit it .*body\.2\.weight"):
        load_foreign(tmp_path / "x.pth")
    torch.save(
        {"body.0.weight": torch.zeros(1), "body.1.weight": torch.zeros(1)}, tmp_path / "x.pth"
    )
    with pytest.raises(InputError, match="does not fit it"):
        load_foreign(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_networks_for_something_else_are_refused(tmp_path: Path) -> None:
    need_spandrel()
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.SwinIR import SwinIR

    grey = saved(compact(colours=1), tmp_path / "grey.pth")
    with pytest.raises(InputError, match="from 1 to 1 channels, not from RGB to RGB"):
        load_foreign(grey)
    huge = saved(Compact(num_feat=8, num_conv=1, upscale=8), tmp_path / "x8.pth")
    with pytest.raises(InputError, match="enlarges 8 times"):
        load_foreign(huge)
    transformer = SwinIR(
        img_size=16, window_size=8, embed_dim=12, depths=[2], num_heads=[2], upscale=2,
        upsampler="pixelshuffle",
    )  # fmt: skip
    path = saved(transformer, tmp_path / "swin.pth")
    from acf_edge.foreign.network import export_foreign

    with pytest.raises(InputError, match=r"SwinIR.*operation '\w+' in 'patch_embed'"):
        export_foreign(load_foreign(path))


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


WITHOUT = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
from acf_edge.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_without_the_extra_there_is_one_line(tmp_path: Path) -> None:
    path = saved(nn.Conv2d(3, 3, 3), tmp_path / "others.pth")
    for arguments in (
        ["build", str(path), "-o", str(tmp_path / "b")],
        ["evaluate", "--checkpoint", str(path), "--data", str(tmp_path)],
    ):
        done = run_python(WITHOUT, "spandrel", *arguments)
        assert done.returncode == 2, done.stderr
        assert "acf-edge[spandrel]" in done.stderr and len(done.stderr.strip().splitlines()) == 1


TORCHVISION = """
import json, sys, types
if sys.argv[2] == "absent":
    sys.modules["torchvision"] = None
else:
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")
    sys.meta_path.insert(0, Broken())
from acf_edge.foreign.network import load_foreign
foreign = load_foreign(sys.argv[1])
print(json.dumps([foreign.network, sorted(n for n in sys.modules if n.startswith("torchvision"))]))
"""


@pytest.mark.parametrize("how", ["absent", "broken"])
def test_torchvision_is_not_needed(how: str, tmp_path: Path) -> None:
    path = saved(compact(), tmp_path / "compact.pth")
    done = run_python(TORCHVISION, str(path), how)
    assert done.returncode == 0, done.stderr
    name, left = json.loads(done.stdout)
    assert name == "compact-8nf-2nc" and not left
