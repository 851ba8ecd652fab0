"""``acf-edge stream``: a camera in, a better picture out, never late."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "stream"
HELP = "enhance cameras, network streams and files while they run"
EXAMPLE = """\
acf-edge stream rtsp://camera/live web://:8080 recording.mkv --deadline 33ms
acf-edge stream v4l2:///dev/video0 rtsp://:8554/live + other.mp4 better.mp4
acf-edge stream --schemes"""


class _Schemes(argparse.Action):
    """Print the table of sources and sinks, and leave."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        from acf_edge.stream.uri import render_schemes

        print(render_schemes())
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "lanes",
        nargs="+",
        metavar="SOURCE SINK",
        help="a source and its sinks; '+' begins another source",
    )
    parser.add_argument(
        "--schemes", action=_Schemes, nargs=0, help="list all sources and sinks with their options"
    )
    parser.add_argument(
        "--engine", metavar="BUNDLE", help="engine bundle, or a shipped one: acf-t-x4 (default)"
    )
    parser.add_argument(
        "--ladder",
        metavar="BUNDLE",
        action="append",
        default=[],
        help="a faster engine to fall back on; may be given again",
    )
    parser.add_argument(
        "--deadline", metavar="TIME", help="how old a frame may get: 33ms, 0.033 or 2frames"
    )
    parser.add_argument("--no-steady", action="store_true", help="leave flicker as it is")
    parser.add_argument("--tile", metavar="WxH", help="work in tiles of this size")
    add_rebuild(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine")
    parser.add_argument("--duration", metavar="TIME", help="end after this time: 90, 1:30, 2min")
    parser.add_argument("--frames", type=int, metavar="N", help="end each source after N frames")
    parser.add_argument(
        "--stats", type=Path, metavar="FILE", help="write counters as JSON once a second"
    )
    parser.add_argument("--quiet", action="store_true", help="no line while it runs, no summary")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb; 0, 1 if a sink failed, 2 if a source did, 130 if a file was cut short."""
    from acf_edge.stream.live import command
    from acf_edge.stream.live.console import EventLog, LiveLine, print_summary
    from acf_edge.stream.live.deadline import parse_deadline
    from acf_edge.stream.live.ladder import build_ladder
    from acf_edge.stream.live.runtime import StreamRun
    from acf_edge.stream.signals import stop_on_signals

    words = command.split_lanes(args.lanes)
    deadline = None if args.deadline is None else parse_deadline(args.deadline)
    seconds = None if args.duration is None else command.read_duration(args.duration)
    frames = command.read_count("--frames", args.frames)
    tile = None if args.tile is None else command.read_tile(args.tile)
    if args.stats is not None:
        command.check_stats(args.stats, words)
    lanes = command.open_lanes(words)
    # Idle threads of the engine that wait busily would take the cores from the codecs.
    best = fitting(args.engine, args.rebuild)
    others = [fitting(bundle, args.rebuild) or Path(bundle) for bundle in args.ladder]
    engines = build_ladder(best, others, threads=args.threads, spin=False, tile=tile)
    shown = sys.stderr.isatty() and not (args.quiet or args.json)
    log = EventLog(not (shown or args.quiet))
    try:
        with LiveLine(shown) as line, stop_on_signals(line.stopping) as cancel:
            summary = StreamRun(
                lanes,
                engines,
                deadline=deadline,
                steady=not args.no_steady,
                stats_path=args.stats,
                seconds=seconds,
                frames=frames,
                tick=line.update if shown else log.update,
            ).run(cancel)
    finally:
        for engine in engines:
            engine.close()
    print_summary(summary, scale=engines[0].scale, as_json=args.json, quiet=args.quiet)
    return summary.exit_code
