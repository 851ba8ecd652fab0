"""``acf-edge enhance``: an image or a video, sharper."""

from __future__ import annotations

import argparse
import sys

NAME = "enhance"
HELP = "enhance an image or a video file"
EXAMPLE = "acf-edge enhance in.mp4 out.mp4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", metavar="INPUT", help="PNG, JPEG, WebP, or any video")
    parser.add_argument("output", metavar="OUTPUT", help=".png .jpg .webp, or .mp4 .mov .mkv .webm")
    parser.add_argument(
        "--engine", metavar="BUNDLE", help="engine bundle; default: the shipped one"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine")
    parser.add_argument(
        "--crf", type=int, default=18, metavar="Q", help="video quality, 0 best to 51 (default 18)"
    )
    parser.add_argument(
        "--preset", default="veryfast", help="x264 preset, ultrafast to veryslow (default veryfast)"
    )
    parser.add_argument("--no-audio", action="store_true", help="leave the audio out")
    parser.add_argument(
        "--keep-damaged", action="store_true", help="enhance what is readable of a damaged video"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb; 0, or 130 when it was interrupted."""
    from acf_edge.engine import load_engine
    from acf_edge.stream import check_paths, enhance_file, stop_on_signals
    from acf_edge.stream.console import ProgressLine, print_summary

    check_paths(args.input, args.output)
    # Idle threads of the engine that wait busily would take the cores from the encoder.
    engine = load_engine(args.engine, threads=args.threads, spin=False)
    shown = sys.stderr.isatty() and not (args.quiet or args.json)
    try:
        with ProgressLine(shown) as line, stop_on_signals(line.stopping) as cancel:
            summary = enhance_file(
                args.input,
                args.output,
                engine,
                crf=args.crf,
                preset=args.preset,
                audio=not args.no_audio,
                keep_damaged=args.keep_damaged,
                on_progress=line.update,
                cancel=cancel,
            )
    finally:
        engine.close()
    print_summary(summary, as_json=args.json, quiet=args.quiet)
    return 130 if summary.interrupted else 0
