"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_rebuild(parser: argparse._ActionsContainer) -> None:
    """``--rebuild``: what to do with an engine that was compiled for another GPU."""
    parser.add_argument(
        "--rebuild",
        choices=("never", "auto"),
        default="never",
        help="compile an engine for a GPU anew where it does not fit this machine; kept in the "
        "cache folder (default: never)",
    )


def fitting(bundle: str | Path | None, rebuild: str) -> Path | None:
    """The bundle, or one that was compiled anew from it for this machine.

    Raises:
        InputError: it is no bundle, or cannot run here.
    """
    if bundle is None:
        return None
    if rebuild == "never":
        return Path(bundle)
    from acf_edge.engine.trt.fit import fitting_bundle

    def say(why: str) -> None:
        print(f"acf-edge: compiling '{bundle}' anew ({why})", file=sys.stderr, flush=True)

    return fitting_bundle(bundle, rebuild, say)
