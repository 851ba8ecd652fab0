"""Our CUDA kernels on a GPU: are they right, and how near to what its memory can do?

    python -m benchmarks.kernels --json benchmarks/results/kernels.json

checks   both operators and the frame border on random shapes, against float64
times    at --size and --channels: our kernels, PyTorch eager, torch.compile and Triton in turns,
         as CUDA graphs over enough sets of buffers that no cache carries over from call to call

Bandwidth is the bytes that have to move (each tensor once; of features that the cache cannot
hold, the rest twice, since all of them are averaged before the first is weighed) over time, and is
told as a share of what the driver's own copy reaches. Needs an NVIDIA GPU and
'acf-edge[tensorrt]'; PyTorch and Triton are compared with where they are installed.
Exit code 1 if a kernel is wrong, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from acf_edge.cuda import kernel_hash
from acf_edge.errors import AcfError
from acf_edge.files import write_text
from acf_edge.profile.bench import versions
from acf_edge.profile.machine import describe_machine
from benchmarks import kernels_cases, kernels_rivals
from benchmarks.kernels_board import Board
from benchmarks.kernels_cases import Case
from benchmarks.kernels_subjects import (
    Subject,
    border_subject,
    operator_subject,
    random_border_cases,
    timed_border_cases,
)
from benchmarks.kernels_table import Check, Timing, show_checks, show_timings

OURS = "ours"
_MIN_CALLS, _MAX_SETS = 4, 64  # of one graph


def random_subjects(count: int, seed: int) -> Iterable[Subject]:
    """Every operator in every form, and every conversion, ``count`` times each."""
    for operator in kernels_cases.OPERATORS:
        for dtype, layout in kernels_cases.FORMS:
            cases = kernels_cases.random_cases(operator, dtype, layout, count, seed)
            for index, case in enumerate(cases):
                yield operator_subject(case, seed + index)
    for index, conversion in enumerate(random_border_cases(count, seed)):
        yield border_subject(conversion, seed + index)


def check(board: Board, subjects: Iterable[Subject]) -> list[Check]:
    """Run each once and judge it."""
    found = []
    for subject in subjects:
        loaded = board.load(subject)
        board.launch(loaded)
        results = board.results(loaded)
        board.clear()
        assert subject.judge is not None
        found.append(Check(subject.label, float(subject.judge(results))))
    return found


def sets_needed(total: int, cache: int) -> int:
    """Sets of buffers that keep one call's data from being in the cache at the next."""
    return min(_MAX_SETS, max(1, math.ceil(4 * cache / max(1, total))))


def time_one(
    board: Board, make: Callable[[int], Subject], copy: float, rounds: int, names: Sequence[str]
) -> Timing:
    """Time one subject against its rivals.

    Args:
        board: where.
        make: a subject by its seed; all of one shape.
        copy: bytes per second of the driver's copy.
        rounds: how often each body is timed.
        names: which rivals.
    """
    first = make(0)
    traffic = first.traffic(board.cache)
    count = sets_needed(traffic.once, board.cache)
    loaded = [board.load(first)] + [board.load(make(seed)) for seed in range(1, count)]
    calls = max(_MIN_CALLS, count)
    board.launch(loaded[0])
    results = board.results(loaded[0])
    rivals = kernels_rivals.make_rivals(board, first, loaded, calls, names)
    bodies = {OURS: board.captured(loaded, calls), **rivals.bodies}
    samples = board.times(bodies, rounds)
    board.clear()
    timing = Timing(
        first.label,
        traffic,
        calls,
        {name: [ms / calls for ms in values] for name, values in samples.items()},
        rivals.missing,
    )
    seconds = statistics.median(timing.samples_ms[OURS]) / 1000
    timing.gb_per_s = traffic.must / seconds / 1e9
    timing.share = traffic.must / seconds / copy
    timing.share_of_passes = traffic.passes / seconds / copy
    if rivals.result is not None:
        timing.difference = _difference(first, list(results.values()), rivals.result)
    return timing


def _difference(subject: Subject, ours: list[Any], theirs: list[Any]) -> float:
    worst = 0.0
    for raw, other in zip(ours, theirs, strict=True):
        case = subject.case
        if isinstance(case, Case):
            mine = kernels_cases.unpack(raw, case.output, case.dtype, case.layout)
        else:
            mine = raw.view(other.dtype).reshape(other.shape)
        step = 1.0 if other.dtype.itemsize == 1 else float(np.abs(other).max())
        off = np.abs(mine.astype(np.float32) - other.astype(np.float32)).max()
        worst = max(worst, float(off) / (step or 1.0))
    return worst


def timed_subjects(
    width: int, height: int, channels: int, dtypes: tuple[str, ...]
) -> list[Callable[[int], Subject]]:
    """Makers of what is timed."""
    operators = kernels_cases.timed_cases(width, height, channels, dtypes)
    conversions = timed_border_cases(width, height, dtypes)
    return [
        *(functools.partial(operator_subject, case, judged=False) for case in operators),
        *(functools.partial(border_subject, case, judged=False) for case in conversions),
    ]


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 1280x720")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH")
    parser.add_argument("--channels", type=_count, default=32, metavar="C", help="of the output")
    parser.add_argument("--dtype", action="append", choices=["fp16", "fp32", "int8"])
    parser.add_argument("--rounds", type=_count, default=30, metavar="N")
    parser.add_argument(
        "--shapes", type=_count, default=12, metavar="N", help="random, of each form"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checks-only", action="store_true")
    parser.add_argument("--without", action="append", choices=kernels_rivals.NAMES, default=[])
    parser.add_argument("--device", type=int, default=0, metavar="N", help="which GPU")
    parser.add_argument("--json", type=Path, metavar="F", help="write everything there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, show, write; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(arguments)
    console = Console()
    try:
        with closing(Board(args.device)) as board:
            found = _header(arguments, board)
            checks = check(board, random_subjects(args.shapes, args.seed))
            wrong = [c for c in checks if not c.error <= 1]
            found["checks"] = [asdict(c) for c in checks]
            show_checks(console, checks)
            if not args.checks_only:
                copy = board.copy_bandwidth(args.rounds)
                found["copy_gb_per_s"] = copy / 1e9
                dtypes = tuple(args.dtype or ("fp16", "fp32", "int8"))
                names = [name for name in kernels_rivals.NAMES if name not in args.without]
                width, height = args.size
                timings = [
                    time_one(board, make, copy, args.rounds, names)
                    for make in timed_subjects(width, height, args.channels, dtypes)
                ]
                found["timings"] = [asdict(timing) for timing in timings]
                show_timings(console, timings, copy)
        if args.json:
            write_text(args.json, json.dumps(found, indent=1) + "\n")
    except AcfError as error:
        print(f"kernels: error: {error}", file=sys.stderr)
        return error.exit_code
    return 1 if wrong else 0


def _header(arguments: list[str], board: Board) -> dict[str, Any]:
    device = board.device
    return {
        "command": " ".join(["python -m benchmarks.kernels", *arguments]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": {
            "name": device.name,
            "sm": device.sm,
            "memory": device.memory,
            "cache": board.cache,
            "driver": device.driver,
        },
        "machine": describe_machine().to_json(),
        "kernels": {"hash": kernel_hash(), "compiler": board.kernels.cubin.compiler},
        "versions": versions() | kernels_rivals.versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
