"""What every report of a benchmark begins with: command, date, machine, versions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

from acf_edge.engine.bundle import Bundle
from acf_edge.profile.bench import versions
from acf_edge.profile.machine import describe_machine

DATA: Final = "DATA"
"""What stands in a recorded command for the folder of the data."""
# argparse takes these for --data, too.
_OPTIONS: Final = ("--data", "--dat", "--da")


def report_head(benchmark: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The head of a report, plain types.

    Args:
        benchmark: its module's name, e.g. ``"quality"``.
        arguments: of the command line; where the data lies is nobody's business and not noted.
    """
    command = ["python", "-m", f"benchmarks.{benchmark}", *without_data(arguments)]
    return {
        "command": shlex.join(command),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine().to_json(),
        "versions": versions(),
    }


def without_data(arguments: Sequence[str]) -> list[str]:
    """The arguments with :data:`DATA` in place of the value of ``--data``."""
    words = list(arguments)
    for index, word in enumerate(words):
        option, sign, _ = word.partition("=")
        if option not in _OPTIONS:
            continue
        if sign:
            words[index] = f"{option}={DATA}"
        elif index + 1 < len(words):
            words[index + 1] = DATA
    return words


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Which bundle was measured, plain types."""
    passport = bundle.passport
    return {
        "name": passport.name,
        "digest": passport.to_json()["digest"],
        "weights_sha256": passport.weights_sha256,
        "created": passport.created,
    }
