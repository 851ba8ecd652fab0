"""``acf-edge bench``: how fast a bundle is on this machine."""

from __future__ import annotations

import argparse

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "bench"
HELP = "measure how fast a bundle is: one frame, and file to file"
EXAMPLE = """acf-edge bench
acf-edge bench my.bundle --size 320x180 --threads 2 --json speed.json
acf-edge bench --what engine --runs 100"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="engine bundle (default: the shipped one)"
    )
    add_rebuild(parser)
    parser.add_argument(
        "--size", default="320x180", metavar="WxH", help="input size in pixels (default: 320x180)"
    )
    parser.add_argument(
        "--what",
        default="engine,file",
        metavar="PARTS",
        help="'engine': one frame, by the bundle, its network in float, and bicubic in turns; "
        "'file': a clip made here, file to file and each stage alone (default: engine,file)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--runs", type=int, metavar="N", help="engine: rounds (default: 30)")
    length.add_argument(
        "--seconds", type=float, metavar="N", help="engine: rounds for this long instead"
    )
    parser.add_argument(
        "--clip",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="file: length of the clip, at 30 frames/s (default: 10)",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="file: runs of each (default: 3)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="engine threads (default: all physical cores)"
    )
    parser.add_argument(
        "--json", metavar="F", help="write the figures and all samples as JSON ('-': to stdout)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, show, write."""
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import Progress

    from acf_edge.files import atomic_path
    from acf_edge.profile.bench import BenchOptions, parse_parts, run_bench
    from acf_edge.profile.bench_table import bench_table
    from acf_edge.profile.latency import parse_size

    width, height = parse_size(args.size)
    bundle = fitting(args.bundle, args.rebuild)
    options = BenchOptions(
        width=width,
        height=height,
        parts=parse_parts(args.what),
        runs=args.runs,
        seconds=args.seconds,
        threads=args.threads,
        clip_seconds=args.clip,
        repeats=args.repeats,
    )
    console = Console(stderr=True)
    with ExitStack() as stack:
        # Opened first: a place that cannot be written is found out before the minutes are spent.
        to_file = args.json and args.json != "-"
        target = stack.enter_context(atomic_path(args.json)) if to_file else None
        # Drawn between measurements only: a thread that redraws would be measured, too.
        bar = Progress(
            console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
        )
        with bar:
            tasks = {part: bar.add_task(part, total=1.0) for part in options.parts}

            def advance(part: str, share: float) -> None:
                bar.update(tasks[part], completed=share, refresh=True)

            bench = run_bench(bundle, options, progress=advance)
        if target is not None:
            target.write_text(bench.dumps(), encoding="utf-8")
    if args.json == "-":
        print(bench.dumps(), end="")
    else:
        Console().print(bench_table(bench))
    return 0
