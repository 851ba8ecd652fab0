"""The ledger: order, staleness, resuming, and what it refuses to read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from toy_bundles import QUALITY, toy_ledger

from acf_edge.engine import STAGES, DegradationQuality, Ledger, StageRow
from acf_edge.errors import InputError


def row(stage: str, verdict: str = "pass", key: str = "k") -> StageRow:
    return StageRow(stage, verdict, 1.0, key)


def test_rows_stand_in_the_order_of_the_stages() -> None:
    ledger = Ledger([row(stage) for stage in reversed(STAGES)])
    assert [one.stage for one in ledger.rows] == list(STAGES)


def test_a_new_row_replaces_its_stage_and_drops_the_later_ones() -> None:
    ledger = Ledger([row(stage) for stage in STAGES])
    ledger.put(row("fine-tuned", key="new"))
    assert [one.stage for one in ledger.rows] == ["trained", "pruned", "fine-tuned"]
    assert ledger.rows[-1].key == "new"


@pytest.mark.parametrize(
    ("verdict", "key", "found"),
    [
        # verdict     key     is it valid?
        ("pass", "k", True),
        ("skipped", "k", True),
        ("allowed", "k", True),
        ("fail", "k", False),
        ("pass", "other", False),
    ],
)
def test_a_row_is_valid_if_it_did_not_fail_and_its_key_is_the_same(
    verdict: str, key: str, found: bool
) -> None:
    ledger = Ledger([row("pruned", verdict, key)])
    assert (ledger.valid("pruned", "k") is not None) is found
    assert ledger.valid("trained", "k") is None


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    ledger = toy_ledger()
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json") == ledger
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.json"]


def test_a_perfect_score_survives_json() -> None:
    quality = DegradationQuality("acf-std", math.inf, 1.0, math.inf, 1.0, 30.0, 0.9)
    ledger = Ledger([StageRow("trained", "pass", 1.0, "k", quality=(quality,))])
    text = json.dumps(ledger.to_json(), allow_nan=False)
    assert Ledger.from_json(json.loads(text)) == ledger


def test_a_note_is_made_one_line() -> None:
    assert StageRow("trained", "pass", 1.0, "k", note="a\n b\x1b c").note == "a b c"


def test_an_unknown_stage_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="unknown stage"):
        row("polished")
    with pytest.raises(ValueError, match="unknown verdict"):
        row("trained", "perhaps")


def spoil(path: list[str | int], value: Any) -> Any:
    """The toy ledger as JSON with one value changed, or removed if ``value`` is ``...``."""
    data = toy_ledger().to_json()
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "not a JSON object"),
        ({}, "format_version"),
        (spoil(["format_version"], 99), "99"),
        (spoil(["format_version"], True), "format_version"),
        (spoil(["rows"], {}), "rows"),
        (spoil(["rows", 0], "row"), "not a JSON object"),
        (spoil(["rows", 0, "stage"], "polished"), "polished"),
        (spoil(["rows", 0, "verdict"], "perhaps"), "perhaps"),
        (spoil(["rows", 0, "seconds"], "long"), "seconds"),
        (spoil(["rows", 0, "key"], ...), "key"),
        (spoil(["rows", 0, "params"], 1.5), "params"),
        (spoil(["rows", 0, "macs"], -1), "macs"),
        (spoil(["rows", 1, "stage"], "trained"), "two rows"),
        (spoil(["rows", 0, "quality", 0, "ssim_y"], None), "ssim_y"),
        (spoil(["rows", 0, "quality", 0, "recipe"], "a\nb"), "recipe"),
    ],
)
def test_a_malformed_ledger_is_one_line_that_names_the_field(data: Any, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        Ledger.from_json(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.json").write_bytes(content)
    with pytest.raises(InputError):
        Ledger.load(tmp_path / "ledger.json")
    with pytest.raises(InputError, match="does not exist"):
        Ledger.load(tmp_path / "absent.json")


def test_quality_keeps_its_numbers() -> None:
    assert DegradationQuality.from_json(QUALITY.to_json(), "it", "") == QUALITY
