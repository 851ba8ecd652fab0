"""``acf-edge build``: from a checkpoint to an engine bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acf_edge.builder.options import GpuOptions
    from acf_edge.engine import Bundle

NAME = "build"
HELP = "turn a checkpoint into an engine bundle"
EXAMPLE = "acf-edge build acf-t-x4 -o my.bundle --precision int8 --calibrate photos/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a shipped one by its name (acf-t-x4); .safetensors or .pth, of acf-edge or of a "
        "network that spandrel knows; or a bundle for a GPU, which is compiled on this machine",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument(
        "--target",
        metavar="T",
        help="where it will run: cpu (default), orin-nano, orin-nx, agx-orin, thor, rtx20, rtx30, "
        "rtx40, rtx50, a100, h100, sm86 and the like, or auto (this machine's GPU)",
    )
    parser.add_argument(
        "--precision",
        metavar="P",
        help="int8, fp16, fp8, fp32 or auto (default: the best that the target has; cpu: int8)",
    )
    parser.add_argument(
        "--prune", type=float, default=0.0, metavar="R", help="share of the operations to remove"
    )
    parser.add_argument(
        "--calibrate",
        metavar="SOURCE",
        help="sharp pictures: a folder or a video; 'scenes' (default) makes them",
    )
    parser.add_argument(
        "--recipe",
        action="append",
        metavar="NAME",
        help="degradation to calibrate on and judge by; may be repeated",
    )
    parser.add_argument("--method", default="mse", help="of calibration: mse, percentile, max")
    parser.add_argument("--pictures", type=int, default=48, metavar="N", help="taken from SOURCE")
    parser.add_argument("--finetune-steps", type=int, default=600, metavar="N")
    parser.add_argument(
        "--allow-drop", type=float, metavar="DB", help="quality that a stage may cost"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the latency measurement")
    _add_gpu_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the ledger as JSON on stdout")


def _add_gpu_arguments(parser: argparse.ArgumentParser) -> None:
    gpu = parser.add_argument_group("for GPUs")
    gpu.add_argument(
        "--size",
        action="append",
        metavar="S",
        help="of pictures: MIN:OPT:MAX, default 64x64:320x180:1280x720, or one; repeatable",
    )
    gpu.add_argument(
        "--runtime",
        choices=("tensorrt", "tensorrt-rtx"),
        help="what runs the engine (default: what suits the target)",
    )
    which = gpu.add_mutually_exclusive_group()
    which.add_argument(
        "--plugins", action="store_true", help="junction and attention as TensorRT plugins"
    )
    which.add_argument(
        "--no-plugins",
        action="store_true",
        help="as TensorRT's own layers (default: the faster of the two, where both can be timed)",
    )
    gpu.add_argument(
        "--int8-plugins", action="store_true", help="plugins on INT8 codes instead of FP16"
    )
    gpu.add_argument("--level", type=int, metavar="0..5", help="of optimization (default: 3)")
    gpu.add_argument("--workspace", type=int, metavar="MIB", help="that one layer may use")
    gpu.add_argument("--dla", action="store_true", help="use the deep-learning accelerator")
    gpu.add_argument(
        "--compatible", action="store_true", help="one engine for several kinds of GPU; slower"
    )
    gpu.add_argument(
        "--sm",
        action="append",
        metavar="NN",
        help="TensorRT-RTX: compute capabilities in one engine; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Build, show the ledger."""
    if args.checkpoint.is_dir():
        return _recompile(args)
    from acf_edge.builder.chain import build_bundle
    from acf_edge.builder.options import AUTO, CPU, RECIPES, BuildOptions
    from acf_edge.builder.progress import show_progress

    options = BuildOptions(
        checkpoint=args.checkpoint,
        out=args.out,
        target=args.target or CPU,
        precision=args.precision or AUTO,
        prune=args.prune,
        source=args.calibrate,
        recipes=tuple(args.recipe) if args.recipe else RECIPES,
        method=args.method,
        pictures=args.pictures,
        finetune_steps=args.finetune_steps,
        allow_drop=args.allow_drop,
        threads=args.threads,
        command=_command(args),
        gpu=_gpu_options(args),
    )
    with show_progress(quiet=args.json) as tell:
        result = build_bundle(options, tell)
    _show(args, result.bundle, result.resumed)
    return 0


def _gpu_options(args: argparse.Namespace) -> GpuOptions:
    from acf_edge.builder.options import GpuOptions

    plain = GpuOptions()
    return GpuOptions(
        runtime=args.runtime.replace("-", "_") if args.runtime else None,
        sizes=tuple(args.size) if args.size else plain.sizes,
        plugins="on" if args.plugins else "off" if args.no_plugins else plain.plugins,
        int8_plugins=args.int8_plugins,
        level=plain.level if args.level is None else args.level,
        workspace=args.workspace,
        dla=args.dla,
        compatible=args.compatible,
        sms=tuple(args.sm or ()),
    )


def _recompile(args: argparse.Namespace) -> int:
    """Compile a bundle's models for this machine's GPU; needs no torch."""
    from acf_edge.builder.progress import show_progress
    from acf_edge.engine.trt.recompile import Changes, recompile
    from acf_edge.report import render_report

    _refuse_what_needs_the_checkpoint(args)
    changes = Changes(
        target=args.target,
        sizes=tuple(args.size) if args.size else None,
        plugins="on" if args.plugins else "off" if args.no_plugins else None,
        level=args.level,
        workspace=None if args.workspace is None else args.workspace << 20,
        precision=args.precision,
        runtime=args.runtime.replace("-", "_") if args.runtime else None,
        compatible=args.compatible or None,
        sms=tuple(args.sm or ()),
        dla=args.dla,
    )
    with show_progress(quiet=args.json) as tell:
        bundle = recompile(
            args.checkpoint,
            args.out,
            changes,
            report=render_report,
            tell=lambda done, total: tell("compiled", done, total),
        )
    _show(args, bundle, ())
    return 0


def _refuse_what_needs_the_checkpoint(args: argparse.Namespace) -> None:
    from acf_edge.errors import InputError

    names = ("prune", "calibrate", "recipe", "allow_drop", "int8_plugins")
    asked = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if asked:
        raise InputError(
            f"'{args.checkpoint}' is a bundle, whose models are made: {', '.join(asked)} would "
            "change them.",
            "Leave them out, or build from the checkpoint.",
        )


def _show(args: argparse.Namespace, bundle: Bundle, resumed: tuple[str, ...]) -> None:
    ledger = bundle.ledger.to_json()
    if args.json:
        print(json.dumps({"bundle": str(args.out), "resumed": resumed, "ledger": ledger}))
        return
    from rich.console import Console

    from acf_edge.report import ledger_table

    console = Console()
    console.print(ledger_table(ledger))
    if resumed:
        console.print(f"taken over from an unfinished build: {', '.join(resumed)}")
    compiled = bundle.ledger.rows[-1]
    if compiled.verdict == "skipped":
        console.print(compiled.note, highlight=False)
    console.print(f"bundle: {args.out}", highlight=False)


def _command(args: argparse.Namespace) -> tuple[str, ...]:
    """The arguments that repeat this build; only those that change the result."""
    words = ["acf-edge", "build", str(args.checkpoint), "-o", str(args.out)]
    words += ["--target", args.target or "cpu", "--precision", args.precision or "auto"]
    for size in args.size or ():
        words += ["--size", size]
    for name in ("runtime", "level", "workspace"):
        value = getattr(args, name)
        words += [] if value is None else [f"--{name}", str(value)]
    for name in ("plugins", "no_plugins", "int8_plugins", "dla", "compatible"):
        words += ["--" + name.replace("_", "-")] if getattr(args, name) else []
    for sm in args.sm or ():
        words += ["--sm", sm]
    if args.prune:
        words += ["--prune", str(args.prune), "--finetune-steps", str(args.finetune_steps)]
    if args.calibrate:
        words += ["--calibrate", args.calibrate]
    for recipe in args.recipe or ():
        words += ["--recipe", recipe]
    if args.allow_drop is not None:
        words += ["--allow-drop", str(args.allow_drop)]
    return (*words, "--method", args.method, "--pictures", str(args.pictures))
