"""What an engine is and where it may run.

The text of a passport is canonical and carries a digest of itself, so any
byte that changes, white space included, is noticed before anything is loaded.
The digest finds damage and mistakes; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from acf_edge.engine.fields import Fields, canonical_json
from acf_edge.engine.ledger import DegradationQuality, Ledger
from acf_edge.errors import InputError

PASSPORT_VERSION: Final = 1
PRECISIONS: Final = ("int8", "fp16", "fp8", "fp32")
_REMEDY: Final = (
    "Build the bundle again with 'acf-edge build', or reinstall acf-edge if it came with it."
)
_WHAT: Final = "The passport"
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: SHA-256 as 64 lower-case hex digits, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class InputProfile:
    """Sizes ``(width, height)`` in pixels that an engine was compiled for."""

    minimum: tuple[int, int]
    optimum: tuple[int, int]
    maximum: tuple[int, int]


@dataclass(frozen=True)
class StageQuality:
    """The accuracy after one stage of the build, one entry per recipe."""

    stage: str
    quality: tuple[DegradationQuality, ...]


@dataclass(frozen=True)
class Passport:
    """The identity of an engine bundle.

    Attributes:
        network: e.g. ``"acf-t"``.
        scale: up-sampling factor.
        precision: one of :data:`PRECISIONS`.
        backend: what runs it, e.g. ``"onnxruntime"``.
        target: what it was built for: ``"cpu"``, ``"orin-nano"`` ...
        runtime: name of the library it was built with, e.g. ``"onnxruntime"``.
        runtime_version: its version, e.g. ``"1.24.1"``.
        weights_sha256: hash of the checkpoint.
        source_command: arguments that build it again, ``("acf-edge", "build", ...)``.
        created: UTC date, ISO 8601.
        acf_edge_version: version of this package that built it.
        calibration_sha256: hash of the scale store; None without calibration.
        input_profiles: sizes it was compiled for; empty means any size.
        device: name of the device it was compiled on, None where it does not matter.
        sm: compute capability such as ``"87"``, several with commas; None on a CPU.
        tensorrt_version, plugin_hash, kernel_hash: None without TensorRT.
        dla: the models are written for the deep-learning accelerator.
        wishes: how TensorRT was asked to compile, where that was not the usual way:
            ``level``, ``workspace`` (bytes), ``plugins``, ``compatible``.
        notes: remarks on shapes, e.g. to what the widths are aligned.
        files: name -> :class:`FileEntry`; filled in when the bundle is written.
        accuracy: from the ledger; filled in when the bundle is written.
        format_version: of the passport itself.
    """

    network: str
    scale: int
    precision: str
    backend: str
    target: str
    runtime: str
    runtime_version: str
    weights_sha256: str
    source_command: tuple[str, ...]
    created: str
    acf_edge_version: str
    calibration_sha256: str | None = None
    input_profiles: tuple[InputProfile, ...] = ()
    device: str | None = None
    sm: str | None = None
    tensorrt_version: str | None = None
    plugin_hash: str | None = None
    kernel_hash: str | None = None
    dla: bool = False
    wishes: Mapping[str, int | str | bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    accuracy: tuple[StageQuality, ...] = ()
    format_version: int = PASSPORT_VERSION

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        return f"{self.network}-x{self.scale} {self.precision}"

    @property
    def rebuild_command(self) -> str:
        """The command line that builds this bundle again; empty if none is known."""
        return shlex.join(self.source_command)

    @property
    def cache_key(self) -> str:
        """Hash of what would change the engine, and of nothing else.

        The runtime's version counts only where a compiled plan depends on it;
        a model for ONNX Runtime is the same file for every version.
        """
        profiles = [_profile_json(profile) for profile in self.input_profiles]
        return cache_key(
            network=self.network,
            scale=self.scale,
            precision=self.precision,
            backend=self.backend,
            target=self.target,
            weights=self.weights_sha256,
            calibration=self.calibration_sha256,
            profiles=profiles,
            sm=self.sm,
            tensorrt=self.tensorrt_version,
            plugin=self.plugin_hash,
            kernel=self.kernel_hash,
        )

    def with_contents(self, files: Mapping[str, FileEntry], ledger: Ledger) -> Passport:
        """This passport with the bundle's files and the ledger's accuracy filled in."""
        accuracy = tuple(StageQuality(row.stage, row.quality) for row in ledger.rows if row.quality)
        return replace(self, files=dict(files), accuracy=accuracy)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values, and ``digest`` over them."""
        data: dict[str, Any] = {
            "format_version": self.format_version,
            "network": self.network,
            "scale": self.scale,
            "precision": self.precision,
            "backend": self.backend,
            "target": self.target,
            "input_profiles": [_profile_json(profile) for profile in self.input_profiles],
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "device": self.device,
            "sm": self.sm,
            "tensorrt_version": self.tensorrt_version,
            "plugin_hash": self.plugin_hash,
            "kernel_hash": self.kernel_hash,
            "weights_sha256": self.weights_sha256,
            "calibration_sha256": self.calibration_sha256,
            "source_command": list(self.source_command),
            "created": self.created,
            "acf_edge_version": self.acf_edge_version,
            "notes": list(self.notes),
            "accuracy": [
                {"stage": entry.stage, "quality": [one.to_json() for one in entry.quality]}
                for entry in self.accuracy
            ],
            "files": {
                name: {"sha256": entry.sha256, "size": entry.size}
                for name, entry in sorted(self.files.items())
            },
        }
        if self.dla:
            # Left out elsewhere: older passports do not have it.
            data["dla"] = True
        if self.wishes:
            data["wishes"] = dict(sorted(self.wishes.items()))
        data["digest"] = _digest(data)
        return data

    @classmethod
    def from_json(cls, data: object) -> Passport:
        """Read what :meth:`to_json` gave.

        Raises:
            InputError: the digest does not fit, the format version is unknown,
                a field is missing or of the wrong type (the message names it).
        """
        fields = Fields(data, _WHAT, _REMEDY)
        version = fields.integer("format_version")
        # The digest's rule is the same for every format version, so damage to
        # the version is told apart from a passport that is really newer.
        table = dict(data) if isinstance(data, dict) else {}
        if table.pop("digest", None) != _digest(table):
            raise fields.bad("is damaged: its digest does not fit its text")
        if version != PASSPORT_VERSION:
            raise InputError(
                f"{_WHAT} has format_version {version}; this acf-edge reads {PASSPORT_VERSION}.",
                "Update acf-edge, or build the bundle again.",
            )
        precision = fields.text("precision")
        if precision not in PRECISIONS:
            raise fields.bad(f"has an unknown precision '{precision}'")
        return cls(
            network=fields.text("network"),
            scale=fields.integer("scale", 1),
            precision=precision,
            backend=fields.text("backend"),
            target=fields.text("target"),
            runtime=fields.text("runtime"),
            runtime_version=fields.text("runtime_version"),
            weights_sha256=_hash(fields, "weights_sha256"),
            source_command=fields.texts("source_command"),
            created=fields.text("created"),
            acf_edge_version=fields.text("acf_edge_version"),
            calibration_sha256=(
                None
                if fields.raw("calibration_sha256") is None
                else _hash(fields, "calibration_sha256")
            ),
            input_profiles=tuple(_profile(item) for item in fields.items("input_profiles")),
            device=fields.optional_text("device"),
            sm=fields.optional_text("sm"),
            tensorrt_version=fields.optional_text("tensorrt_version"),
            plugin_hash=fields.optional_text("plugin_hash"),
            kernel_hash=fields.optional_text("kernel_hash"),
            dla=table.get("dla", False) is True,
            wishes=_wishes(fields, table.get("wishes", {})),
            notes=fields.texts("notes"),
            files={name: _entry(name, item) for name, item in fields.table("files").items()},
            accuracy=tuple(_stage_quality(item) for item in fields.items("accuracy")),
            format_version=version,
        )

    def dumps(self) -> bytes:
        """The bytes of ``passport.json``."""
        return (json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n").encode("ascii")

    @classmethod
    def loads(cls, text: bytes) -> Passport:
        """Read the bytes of a ``passport.json``; every byte must be as :meth:`dumps` wrote it."""
        try:
            data = json.loads(text.decode("ascii"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{_WHAT} is damaged: it is not JSON.", _REMEDY) from error
        passport = cls.from_json(data)
        if passport.dumps() != text:
            raise InputError(f"{_WHAT} is damaged: its text is not as it was written.", _REMEDY)
        return passport


def cache_key(**parts: Any) -> str:
    """SHA-256 (hex) over named JSON values, whatever their order.

    Give it what would change the result and nothing else: no paths, no dates,
    no host names.
    """
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def _digest(data: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(canonical_json(data)).hexdigest()
    except ValueError:
        return ""


def is_sha256(text: str) -> bool:
    """Whether ``text`` is 64 lower-case hex digits."""
    return len(text) == 64 and set(text) <= _HEX


def _hash(fields: Fields, name: str) -> str:
    value = fields.text(name)
    if not is_sha256(value):
        raise fields.bad(f"has no SHA-256 in the field '{name}'")
    return value


def _wishes(fields: Fields, table: Any) -> dict[str, int | str | bool]:
    known = {"level": int, "workspace": int, "plugins": str, "compatible": bool}
    if not isinstance(table, dict) or any(type(v) is not known.get(k) for k, v in table.items()):
        raise fields.bad("has something else than wishes in the field 'wishes'")
    return dict(table)


def _entry(name: str, data: object) -> FileEntry:
    fields = Fields(data, f"{_WHAT}'s entry for the file {name!r}", _REMEDY)
    return FileEntry(_hash(fields, "sha256"), fields.integer("size"))


def _stage_quality(data: object) -> StageQuality:
    fields = Fields(data, f"{_WHAT}'s accuracy", _REMEDY)
    items = fields.items("quality")
    quality = tuple(DegradationQuality.from_json(item, fields.what, _REMEDY) for item in items)
    return StageQuality(fields.text("stage"), quality)


def _profile_json(profile: InputProfile) -> dict[str, list[int]]:
    return {
        "minimum": list(profile.minimum),
        "optimum": list(profile.optimum),
        "maximum": list(profile.maximum),
    }


def _profile(data: object) -> InputProfile:
    fields = Fields(data, f"{_WHAT}'s input profile", _REMEDY)
    return InputProfile(
        minimum=_size(fields, "minimum"),
        optimum=_size(fields, "optimum"),
        maximum=_size(fields, "maximum"),
    )


def _size(fields: Fields, name: str) -> tuple[int, int]:
    values = fields.items(name)
    if len(values) != 2 or any(type(value) is not int or value < 1 for value in values):
        raise fields.bad(f"has no width and height in the field '{name}'")
    return values[0], values[1]
