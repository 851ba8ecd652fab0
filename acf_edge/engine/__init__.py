"""Engines: what runs a bundle, and what a bundle says of itself."""

from __future__ import annotations

from acf_edge.engine.bundle import Bundle, open_bundle, write_bundle
from acf_edge.engine.ledger import STAGES, DegradationQuality, Ledger, StageRow
from acf_edge.engine.load import load_engine
from acf_edge.engine.passport import Passport, cache_key
from acf_edge.engine.protocol import Engine

__all__ = [
    "STAGES",
    "Bundle",
    "DegradationQuality",
    "Engine",
    "Ledger",
    "Passport",
    "StageRow",
    "cache_key",
    "load_engine",
    "open_bundle",
    "write_bundle",
]
