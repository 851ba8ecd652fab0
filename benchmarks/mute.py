"""What each branch of a trained network is worth: the picture without it.

    python -m benchmarks.mute acf-t-x4 --data photos/ --json benchmarks/results/mute.json

A branch is muted by setting its features to zero before the junction; nothing is trained again.
The last row keeps all branches and rounds the weights to float16, as checkpoints may store them.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from acf_edge.errors import AcfError, InputError
from acf_edge.files import atomic_path
from acf_edge.model.checkpoint import load_checkpoint
from acf_edge.model.config import BRANCHES
from acf_edge.model.network import AcfNetwork
from acf_edge.train.data import Uint8Image, load_pictures
from acf_edge.train.loop import validate
from benchmarks.report import report_head

NONE: Final = "none"
FLOAT16: Final = "float16"
RECIPES: Final = ("acf-std", "blur-only", "compress-only", "clean")
SIDE: Final = 256
"""Of the centre crops, in pixels at full resolution."""


@dataclass(frozen=True)
class Row:
    """A network without one of its parts.

    Attributes:
        muted: a branch, ``"none"``, or ``"float16"`` for rounded weights.
        gain: recipe -> mean PSNR-Y above bicubic in dB.
    """

    muted: str
    gain: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain types; ``None`` for what is not finite."""
        gain = {name: round(g, 4) if math.isfinite(g) else None for name, g in self.gain.items()}
        return {"muted": self.muted, "gain_psnr_y": gain}


@contextmanager
def muted(network: AcfNetwork, branch: str) -> Iterator[None]:
    """Set a branch's features to zero before the junction, as long as the block lasts.

    Args:
        network: with branches, see :func:`require_branches`.
        branch: one of :data:`acf_edge.model.config.BRANCHES`.
    """
    width, index = network.config.branch, BRANCHES.index(branch)

    def silence(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        features = inputs[0].clone()
        features[:, index * width : (index + 1) * width] = 0
        return (features,)

    handle = network.junction.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def rounded(network: AcfNetwork) -> AcfNetwork:
    """A copy whose weights went through float16; what is not stored keeps its precision."""
    result = copy.deepcopy(network)
    result.load_state_dict(
        {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    )
    return result


def require_branches(network: AcfNetwork) -> None:
    """Refuse a network that has nothing to mute.

    Raises:
        InputError: it is plain.
    """
    if not hasattr(network, "sharing"):
        raise InputError(
            f"'{network.config.title}' is a plain network: it has no branches to mute.",
            "Give a checkpoint of an ACF network.",
        )


def measure(network: AcfNetwork, pictures: list[Uint8Image], side: int = SIDE) -> Iterator[Row]:
    """The whole network, without each of its branches, and in float16.

    Args:
        network: as it was trained; it is left as it is.
        pictures: ``(H, W, 3)`` uint8 RGB, sharp.
        side: of the centre crops in pixels.

    Raises:
        InputError: a network without branches.
    """
    require_branches(network)

    def gains(one: AcfNetwork) -> dict[str, float]:
        return {name: validate(one, pictures, name, side).gain for name in RECIPES}

    yield Row(NONE, gains(network))
    for branch in BRANCHES:
        with muted(network, branch):
            row = Row(branch, gains(network))
        yield row
    yield Row(FLOAT16, gains(rounded(network)))


def show(rows: Sequence[Row], title: str, pictures: int) -> Table:
    """Gains in dB, and in brackets what the missing part cost."""
    table = Table(
        title=f"{title}: PSNR-Y above bicubic in dB, {pictures} pictures",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("muted", no_wrap=True)
    for name in RECIPES:
        table.add_column(name, justify="right", no_wrap=True)
    whole = rows[0].gain
    for row in rows:
        words = [f"{row.gain[name]:+.3f}" for name in RECIPES]
        if row is not rows[0]:
            apart = [row.gain[name] - whole[name] for name in RECIPES]
            words = [f"{word} ({less:+.3f})" for word, less in zip(words, apart, strict=True)]
        table.add_row(row.muted, *words)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mute", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a shipped one's name")
    parser.add_argument("--data", required=True, type=Path, metavar="PHOTOS", help="as in training")
    parser.add_argument("--json", metavar="F", help="write every figure")
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        with ExitStack() as stack:
            # Opened first: what cannot be written is found out before the time is spent.
            target = stack.enter_context(atomic_path(args.json)) if args.json else None
            checkpoint = load_checkpoint(args.checkpoint)
            network, scale = checkpoint.network, checkpoint.config.scale
            require_branches(network)
            pictures = load_pictures(args.data, scale, SIDE // scale, held_out=True)
            rows = []
            for row in measure(network, pictures):
                console.print(f"{row.muted}: {row.gain[RECIPES[0]]:+.3f} dB", markup=False)
                rows.append(row)
            if target is not None:
                report = report_head("mute", arguments)
                report["network"] = checkpoint.config.title
                report["sha256"] = checkpoint.sha256
                report["side"], report["pictures"] = SIDE, len(pictures)
                report["rows"] = [row.to_json() for row in rows]
                text = json.dumps(report, indent=1, allow_nan=False)
                target.write_text(f"{text}\n", encoding="utf-8")
    except AcfError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return error.exit_code
    # Piped output has no width of its own, and cut-off figures are no figures.
    out = Console(width=None if sys.stdout.isatty() else 110)
    out.print(show(rows, checkpoint.config.title, len(pictures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
