"""Exceptions as one clause for a person."""

from __future__ import annotations

from acf_edge.errors import AcfError
from acf_edge.stream.protocols import SinkFailed, SourceLost

_LONGEST = 300


def reason_of(error: BaseException) -> str:
    """Why something failed, in one line."""
    if isinstance(error, (SinkFailed, SourceLost)):
        text = error.reason
    elif isinstance(error, AcfError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "there is not enough memory"
    elif isinstance(error, OSError):
        text = error.strerror or str(error) or type(error).__name__
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
