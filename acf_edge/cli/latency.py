"""``acf-edge latency``: from the camera's side of the glass to the viewer's."""

from __future__ import annotations

import argparse
import sys

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "latency"
HELP = "measure how long a picture takes from capture to viewer"
EXAMPLE = "acf-edge latency --sink rtsp --seconds 10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--sink",
        choices=("null", "file", "rtsp", "web"),
        default="null",
        help="where the picture is read: in the runtime, a growing file, RTSP, a browser",
    )
    parser.add_argument(
        "--engine",
        metavar="BUNDLE",
        help="engine bundle, or 'bicubic'; default: the shipped bundle",
    )
    add_rebuild(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="how long (default 10)"
    )
    parser.add_argument(
        "--size", default="320x180", metavar="WxH", help="of the clock (default 320x180)"
    )
    parser.add_argument("--fps", default="30", metavar="R", help="frames per second (default 30)")
    parser.add_argument(
        "--client", choices=("av", "gst"), default="av", help="what reads RTSP (default av)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb; 0, or 1 if nothing could be read."""
    from acf_edge.stream.clock.console import load_for, print_report, read_rate, read_size
    from acf_edge.stream.clock.meter import measure

    size, rate = read_size(args.size), read_rate(args.fps)
    bundle = args.engine
    if bundle != "bicubic":
        found = fitting(bundle, args.rebuild)
        bundle = None if found is None else str(found)
    engine = load_for(bundle, args.threads)
    try:
        report = measure(
            args.sink, engine, seconds=args.seconds, size=size, rate=rate, client=args.client
        )
    finally:
        engine.close()
    print_report(report, sys.stdout, as_json=args.json)
    return 0
