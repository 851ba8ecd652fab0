"""Where the time goes, and what the machine has."""

from __future__ import annotations

from acf_edge.profile.latency import LatencyProfile, LayerTime, parse_size, profile_bundle
from acf_edge.profile.machine import Machine, describe_machine

__all__ = [
    "LatencyProfile",
    "LayerTime",
    "Machine",
    "describe_machine",
    "parse_size",
    "profile_bundle",
]
