"""The command ``acf-edge``: finds the verb, runs it, turns errors into one line.

Only the chosen verb's module is imported; all of them, for ``acf-edge --help``.
They are light: what is heavy, they import when they run.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from acf_edge import __version__
from acf_edge.errors import AcfError, InputError, MissingExtraError
from acf_edge.files import explain_os_error

PROGRAM = "acf-edge"
DEBUG_VARIABLE = "ACF_EDGE_DEBUG"

# Each is a module of this package with NAME, HELP, EXAMPLE, add_arguments(parser)
# and run(args) -> exit code; it imports what is heavy inside its functions.
VERBS = (
    "enhance",
    "stream",
    "build",
    "evaluate",
    "profile",
    "bench",
    "latency",
    "doctor",
    "export",
    "train",
    "explain",
    "demo",
)

# Imports that an extra brings: the top-level module, and the extra's name.
EXTRAS: dict[str, str] = {
    "aiohttp": "web",
    "cuda": "tensorrt",
    "modelopt": "build",
    "onnx": "build",
    "onnxscript": "build",
    "ray": "cluster",
    "safetensors": "build",
    "skvideo": "demo",
    "spandrel": "spandrel",
    "tensorboard": "train",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "rtx",
    "torch": "build",
}

# How libraries say that memory ran out when it is no MemoryError: PyTorch on the CPU and on
# CUDA, C++, OpenCV.
OUT_OF_MEMORY = (
    "DefaultCPUAllocator: ",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "std::bad_alloc",
    "(-4:Insufficient memory)",
)

EXIT_INPUT = 2
EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        _complain("error", f"{message.rstrip('.')}. See '{self.prog} --help'.")
        raise SystemExit(EXIT_INPUT)


def build_parser(verbs: Sequence[ModuleType]) -> argparse.ArgumentParser:
    """Build the parser for the modules of some verbs: the chosen one, or all for the help."""
    parser = _Parser(
        prog=PROGRAM,
        description="Super-resolution of compressed, blurred camera video in real time.",
        epilog=f"example:\n  {PROGRAM} enhance in.mp4 out.mp4\n\n"
        f"'{PROGRAM} VERB --help' shows a verb's options and an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    choice = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    for verb in verbs:
        example = "\n".join(f"  {line}" for line in verb.EXAMPLE.strip().splitlines())
        subparser = choice.add_parser(
            verb.NAME,
            help=verb.HELP,
            description=f"{verb.HELP[0].upper()}{verb.HELP[1:].rstrip('.')}.",
            epilog=f"example:\n{example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.add_arguments(subparser)
    return parser


def load_verb(name: str) -> ModuleType:
    """Import the module of a verb.

    Raises:
        InputError: there is no such verb.
    """
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"The verbs are: {', '.join(VERBS)}."
        raise InputError(f"'{name}' is not a verb of {PROGRAM}.", hint)
    return importlib.import_module(f"acf_edge.cli.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; raises nothing.

    0: done; 1: a gate or a check failed; 2: bad input; 70: a bug of ours;
    130: interrupted; 141: the reader of the output went away.

    Args:
        argv: the arguments after the program's name; those of the process if None.
    """
    _prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    try:
        return _run(arguments, name)
    except KeyboardInterrupt:
        _complain("interrupted", "stopped by the user.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more while it ends: give it a place to.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        return _report(error, name)


def _prepare_streams() -> None:
    """Put nothing where a standard stream was closed (``>&-``, some service managers).

    Else the next file that is opened gets its number, and what a library prints goes into it.
    Names that are no text in the locale (bytes of another encoding) are printed all the same.
    """
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, stream, nothing)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(arguments: list[str], name: str) -> int:
    chosen = load_verb(name) if name else None
    parser = build_parser([chosen] if chosen else [load_verb(verb) for verb in VERBS])
    if not arguments:
        parser.print_help(sys.stderr)
        return EXIT_INPUT
    try:
        parsed = parser.parse_args(arguments)
        assert chosen is not None  # parse_args leaves when no verb is given
        code: int = chosen.run(parsed)
    except SystemExit as error:  # argparse leaves so, after --help and after an error
        code = error.code if isinstance(error.code, int) else 0
    sys.stdout.flush()  # here, where a reader that went away is expected
    return code


def _report(error: Exception, name: str) -> int:
    """Print what went wrong as one line and return the exit code."""
    known = _as_acf_error(error, name)
    if known is not None:
        _complain("error", str(known))
        return known.exit_code
    hint = "" if os.environ.get(DEBUG_VARIABLE) else f" ({DEBUG_VARIABLE}=1 shows the traceback)"
    _complain("internal error", f"{type(error).__name__}: {error}{hint}")
    return EXIT_INTERNAL


def _as_acf_error(error: Exception, name: str) -> AcfError | None:
    """The error in words for the user; None if it is a bug of ours."""
    if isinstance(error, AcfError):
        return error
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        return MissingExtraError(f"'{PROGRAM} {name}'", package, extra) if extra else None
    if _out_of_memory(error):
        return InputError(
            "There is not enough memory for this.", "Use a smaller picture or close other programs."
        )
    if isinstance(error, OSError):
        if error.filename is None:
            return InputError(f"The operating system refused: {error.strerror or error}.")
        named = error.filename
        path = os.fsdecode(named) if isinstance(named, (str, bytes)) else str(named)
        return explain_os_error(error, Path(path))
    return None


def _out_of_memory(error: Exception) -> bool:
    """Known by names and words: the libraries must not be imported for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    told = str(error)
    return any(words in told for words in OUT_OF_MEMORY)


def _complain(kind: str, message: str) -> None:
    """Print ``acf-edge: KIND: MESSAGE`` to stderr, as one line whatever the message holds."""
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    with contextlib.suppress(OSError, ValueError):
        print(f"{PROGRAM}: {kind}: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
