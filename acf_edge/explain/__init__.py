"""What the junction decided: which branch was heard where."""

from __future__ import annotations

from acf_edge.explain.heard import Heard, listen
from acf_edge.explain.picture import votes_picture
from acf_edge.model.config import BRANCHES

__all__ = ["BRANCHES", "Heard", "listen", "votes_picture"]
