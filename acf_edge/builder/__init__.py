"""From a checkpoint to an engine bundle: the chain of stages and its ledger."""

from __future__ import annotations

from acf_edge.builder.options import BuildOptions

__all__ = ["BuildOptions"]
