"""The folder beside the bundle in which a build keeps what it has made so far."""

from __future__ import annotations

from pathlib import Path

from acf_edge.engine import Ledger
from acf_edge.engine.bundle import LEDGER_FILE
from acf_edge.errors import InputError
from acf_edge.files import explain_os_error


def work_folder(out: Path) -> Path:
    """Make the work folder, or take the one that an earlier build of this bundle left.

    Raises:
        InputError: it cannot be made, or a folder of that name belongs to somebody else.
    """
    work = out.parent / f"{out.name}.work"
    if work.exists() and not (work / LEDGER_FILE).is_file():
        raise InputError(
            f"'{work}' is where this build would work, and it is not acf-edge's.",
            "Move it away, or choose another name for the bundle.",
        )
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, out) from error
    if not (work / LEDGER_FILE).is_file():
        Ledger().save(work / LEDGER_FILE)
    return work


def remove_if_empty(folder: Path) -> None:
    """Take away a folder that was made for nothing."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
