"""The whole chain on a real clip, in one command."""

from __future__ import annotations
