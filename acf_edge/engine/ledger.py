"""What each stage of a build did to the network: one row per stage.

A row carries the key of everything that would change its result, so that a
build that was cut off goes on at the first stage without a valid row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from acf_edge.engine.fields import Fields, json_number
from acf_edge.errors import InputError
from acf_edge.files import explain_os_error, write_text

LEDGER_VERSION: Final = 1
STAGES: Final = ("trained", "pruned", "fine-tuned", "quantized", "exported", "compiled")
VERDICTS: Final = ("pass", "fail", "skipped", "allowed")
_QUALITY_FIELDS: Final = (
    "psnr_y",
    "ssim_y",
    "psnr_rgb",
    "ssim_rgb",
    "bicubic_psnr_y",
    "bicubic_ssim_y",
)
_REMEDY: Final = "Build the bundle again with 'acf-edge build'."


@dataclass(frozen=True)
class DegradationQuality:
    """Mean fidelity over the pictures of one recipe, the border shaved.

    Attributes:
        recipe: the degradation recipe, e.g. ``"acf-std"``.
        psnr_y: dB on BT.601 luma. ``ssim_y``: 0..1 on it.
        psnr_rgb: dB over the three channels. ``ssim_rgb``: 0..1.
        bicubic_psnr_y: dB of bicubic up-sampling on the same pictures; likewise
            ``bicubic_ssim_y``.
    """

    recipe: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float
    bicubic_psnr_y: float
    bicubic_ssim_y: float

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        numbers = {name: json_number(float(getattr(self, name))) for name in _QUALITY_FIELDS}
        return {"recipe": self.recipe, **numbers}

    @classmethod
    def from_json(cls, data: object, what: str, remedy: str) -> DegradationQuality:
        """Read one; :class:`InputError` names a bad field of ``what``."""
        fields = Fields(data, what, remedy)
        numbers = {name: fields.number(name) for name in _QUALITY_FIELDS}
        return cls(recipe=fields.text("recipe"), **numbers)


@dataclass(frozen=True)
class StageRow:
    """What one stage did.

    Attributes:
        stage: one of :data:`STAGES`.
        verdict: ``"pass"``, ``"fail"``, ``"skipped"`` (not asked for), or
            ``"allowed"`` (the gate failed and the user let it through).
        seconds: wall time spent; >= 0.
        key: hash of everything that would change the result.
        note: for the reader; made one line of printable characters.
        params: parameters of the network.
        macs: multiply-accumulates for one 320x180 input.
        mib: size of the stage's model file in MiB.
        ms: median latency of one 320x180 frame in milliseconds.
        quality: one entry per degradation recipe.

    Raises:
        ValueError: unknown stage or verdict (a mistake of the caller).
    """

    stage: str
    verdict: str
    seconds: float
    key: str
    note: str = ""
    params: int | None = None
    macs: int | None = None
    mib: float | None = None
    ms: float | None = None
    quality: tuple[DegradationQuality, ...] = ()

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"unknown stage {self.stage!r}; there are {', '.join(STAGES)}")
        if self.verdict not in VERDICTS:
            raise ValueError(f"unknown verdict {self.verdict!r}; there are {', '.join(VERDICTS)}")
        printable = "".join(sign if sign.isprintable() else " " for sign in self.note)
        object.__setattr__(self, "note", " ".join(printable.split()))

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "stage": self.stage,
            "verdict": self.verdict,
            "seconds": json_number(float(self.seconds)),
            "key": self.key,
            "note": self.note,
            "params": self.params,
            "macs": self.macs,
            "mib": json_number(self.mib),
            "ms": json_number(self.ms),
            "quality": [quality.to_json() for quality in self.quality],
        }

    @classmethod
    def from_json(cls, data: object) -> StageRow:
        """Read one row; :class:`InputError` names a bad field."""
        fields = Fields(data, "A row of the ledger", _REMEDY)
        stage, verdict = fields.text("stage"), fields.text("verdict")
        if stage not in STAGES:
            raise fields.bad(f"has an unknown stage '{stage}'")
        what = f"The row '{stage}' of the ledger"
        fields.what = what
        if verdict not in VERDICTS:
            raise fields.bad(f"has an unknown verdict '{verdict}'")
        return cls(
            stage=stage,
            verdict=verdict,
            seconds=fields.number("seconds"),
            key=fields.text("key"),
            note=fields.text("note"),
            params=fields.optional_integer("params"),
            macs=fields.optional_integer("macs"),
            mib=fields.optional_number("mib"),
            ms=fields.optional_number("ms"),
            quality=tuple(
                DegradationQuality.from_json(item, what, _REMEDY)
                for item in fields.items("quality")
            ),
        )


@dataclass
class Ledger:
    """The rows of a build, in the order of :data:`STAGES`, at most one per stage."""

    rows: list[StageRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, self.rows = self.rows, []
        for row in sorted(rows, key=lambda row: STAGES.index(row.stage)):
            self.put(row)

    def row(self, stage: str) -> StageRow | None:
        """The row of ``stage``, or None."""
        return next((row for row in self.rows if row.stage == stage), None)

    def put(self, row: StageRow) -> None:
        """Add ``row`` in its place; it replaces its stage's row and drops all later ones.

        Later rows stood on what this stage gave before, so they are stale.
        """
        place = STAGES.index(row.stage)
        self.rows = [old for old in self.rows if STAGES.index(old.stage) < place]
        self.rows.append(row)

    def valid(self, stage: str, key: str) -> StageRow | None:
        """The row of ``stage`` if it did not fail and was made from the same ``key``."""
        row = self.row(stage)
        return row if row is not None and row.key == key and row.verdict != "fail" else None

    def to_json(self) -> dict[str, Any]:
        """``{"format_version": 1, "rows": [...]}``."""
        return {"format_version": LEDGER_VERSION, "rows": [row.to_json() for row in self.rows]}

    @classmethod
    def from_json(cls, data: object) -> Ledger:
        """Read what :meth:`to_json` gave.

        Raises:
            InputError: unknown format version, a field that is missing or of
                the wrong type, a stage that occurs twice.
        """
        fields = Fields(data, "The ledger", _REMEDY)
        version = fields.integer("format_version")
        if version != LEDGER_VERSION:
            raise InputError(
                f"The ledger has format version {version}; this acf-edge reads {LEDGER_VERSION}.",
                "Update acf-edge, or build the bundle again.",
            )
        rows = [StageRow.from_json(item) for item in fields.items("rows")]
        if len({row.stage for row in rows}) != len(rows):
            raise fields.bad("has two rows for one stage")
        return cls(rows)

    def dumps(self) -> str:
        """The ledger as the text of ``ledger.json``."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str) -> Ledger:
        """Read the text of a ``ledger.json``; :class:`InputError` if it is malformed."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"The ledger is not JSON ({error}).", _REMEDY) from error
        return cls.from_json(data)

    @classmethod
    def load(cls, path: Path | str) -> Ledger:
        """Read a file; :class:`InputError` if it is absent, unreadable or malformed."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise explain_os_error(error, path) from error
        except UnicodeDecodeError as error:
            raise InputError(f"'{path}' is not text.", _REMEDY) from error
        return cls.loads(text)

    def save(self, path: Path | str) -> None:
        """Write ``path`` whole or not at all."""
        write_text(path, self.dumps())
