"""What the junction decided: which branch was heard where."""

from __future__ import annotations

from acf_edge.explain.heard import LARGEST, Heard, listen
from acf_edge.explain.picture import sheet_path, votes_picture
from acf_edge.model.config import BRANCHES

__all__ = ["BRANCHES", "LARGEST", "Heard", "listen", "sheet_path", "votes_picture"]
