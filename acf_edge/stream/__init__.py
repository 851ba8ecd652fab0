"""Frames, sources, sinks and the pipeline between them. No torch in here."""

from __future__ import annotations

from acf_edge.stream.enhance import EnhanceSummary, check_paths, enhance_file
from acf_edge.stream.frame import Frame
from acf_edge.stream.pipeline import run_pipeline
from acf_edge.stream.signals import stop_on_signals
from acf_edge.stream.sink_file import EncoderOptions, FileSink
from acf_edge.stream.source_file import FileSource

__all__ = [
    "EncoderOptions",
    "EnhanceSummary",
    "FileSink",
    "FileSource",
    "Frame",
    "check_paths",
    "enhance_file",
    "run_pipeline",
    "stop_on_signals",
]
