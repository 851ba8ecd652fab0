"""Which hardware decoders and encoders really open on this machine, and which to take."""

from __future__ import annotations
