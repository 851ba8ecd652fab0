"""``acf-edge explain``: which branch was heard where."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAME = "explain"
HELP = "show the junction's votes on a picture: which branch was heard where"
EXAMPLE = "acf-edge explain frame.png -o votes.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "image", type=Path, help="a low-resolution picture, up to about 1920 x 1080"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="F",
        help="a file, or a shipped one by its name; default: acf-t-x4",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PNG", help="default: IMAGE's name with -votes.png"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Draw the sheet and print each branch's share."""
    from acf_edge.explain import BRANCHES, listen, sheet_path, votes_picture
    from acf_edge.imaging.files import read_image, write_image
    from acf_edge.model.checkpoint import load_checkpoint

    image = read_image(args.image)
    output = sheet_path(args.image, args.output)
    checkpoint = args.checkpoint or Path("acf-t-x4")
    heard = listen(load_checkpoint(checkpoint).network, image)
    write_image(output, votes_picture(image, heard, args.image.name))
    if args.json:
        print(json.dumps({"picture": str(output), **heard.to_json()}))
        return 0
    for b, name in enumerate(BRANCHES):
        voice, channel = float(heard.voice[b].mean()), heard.channel[b]
        print(
            f"{name:<10} {voice:4.0%} of the voice; "
            f"channel votes {channel.min():.2f} to {channel.max():.2f}"
        )
    print(f"picture: {output}")
    return 0
