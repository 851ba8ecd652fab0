"""``acf-edge profile``: milliseconds per layer of an engine bundle."""

from __future__ import annotations

import argparse

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "profile"
HELP = "show where an engine spends its time, layer by layer"
EXAMPLE = "acf-edge profile my.bundle --size 320x180 --html latency.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="engine bundle (default: the shipped one)"
    )
    add_rebuild(parser)
    parser.add_argument(
        "--size", default="320x180", metavar="WxH", help="input size in pixels (default: 320x180)"
    )
    parser.add_argument("--runs", type=int, default=30, metavar="N", help="runs (default: 30)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads (default: all physical cores)"
    )
    parser.add_argument("--json", metavar="F", help="write the profile as JSON ('-': to stdout)")
    parser.add_argument("--html", metavar="F", help="write the profile as a page with a picture")


def run(args: argparse.Namespace) -> int:
    """Profile, show, write."""
    from rich.console import Console

    from acf_edge.files import write_text
    from acf_edge.profile.latency import parse_size, profile_bundle
    from acf_edge.profile.picture import latency_html
    from acf_edge.profile.table import latency_table

    width, height = parse_size(args.size)
    profile = profile_bundle(
        fitting(args.bundle, args.rebuild), width, height, runs=args.runs, threads=args.threads
    )
    if args.html:
        write_text(args.html, latency_html(profile))
    if args.json == "-":
        print(profile.dumps(), end="")
        return 0
    if args.json:
        write_text(args.json, profile.dumps())
    Console().print(latency_table(profile))
    return 0
