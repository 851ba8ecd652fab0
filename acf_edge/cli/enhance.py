"""``acf-edge enhance``: an image, a video or a folder of them, sharper."""

from __future__ import annotations

import argparse

from acf_edge.cli.arguments import add_rebuild, fitting

NAME = "enhance"
HELP = "enhance an image, a video file, or a folder of them"
EXAMPLE = """\
acf-edge enhance in.mp4 out.mp4
acf-edge enhance holidays/ sharper/
acf-edge enhance film.mkv sharper.mkv --cluster"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", metavar="INPUT", help="PNG, JPEG, WebP, any video, or a folder")
    parser.add_argument(
        "output", metavar="OUTPUT", help=".png .jpg .webp, or .mp4 .mov .mkv .webm, or a folder"
    )
    parser.add_argument(
        "--engine", metavar="BUNDLE", help="engine bundle, or a shipped one: acf-t-x4 (default)"
    )
    add_rebuild(parser)
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
    parser.add_argument(
        "--deinterlace",
        choices=("off", "on", "auto"),
        default="off",
        help="rebuild whole pictures from the fields of interlaced video (default off)",
    )
    parser.add_argument(
        "--segment-frames",
        type=int,
        metavar="N",
        help="make long videos in segments of N frames, so that a run that was cut off can go on "
        "(default 250); 0 = in one go",
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew, whatever an earlier run has left"
    )
    parser.add_argument(
        "--cluster",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="share the segments among the machines of a Ray cluster; give it last, or as "
        "--cluster=HOST:PORT (default: the cluster that this machine belongs to)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb; 0, 1 when files of a folder failed, 130 when it was interrupted."""
    from pathlib import Path

    from acf_edge.engine import open_bundle
    from acf_edge.resources import default_bundle
    from acf_edge.stream.batch import command
    from acf_edge.stream.batch.reader import Reading
    from acf_edge.stream.encoder import EncoderOptions
    from acf_edge.stream.live.fitting import FittingEngine

    wishes = command.Wishes(
        source=Path(args.input),
        target=Path(args.output),
        options=EncoderOptions(args.crf, args.preset, not args.no_audio),
        reading=Reading(args.keep_damaged, args.deinterlace),
        segment_frames=args.segment_frames,
        restart=args.restart,
        cluster=args.cluster,
        quiet=args.quiet,
        as_json=args.json,
    )
    command.check(wishes)
    bundle = open_bundle(fitting(args.engine, args.rebuild) or default_bundle())
    # Idle threads of the engine that wait busily would take the cores from the encoder.
    engine = FittingEngine(bundle, threads=args.threads, spin=False)
    return command.run(wishes, bundle, engine)
