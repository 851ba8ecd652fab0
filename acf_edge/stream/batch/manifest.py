"""What a half-done work belongs to: input, engine, options, versions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av

from acf_edge import __version__
from acf_edge.engine.bundle import Bundle
from acf_edge.files import explain_os_error
from acf_edge.stream.encoder import EncoderOptions

_FORMAT = 1
_BLOCK = 1 << 16
_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """By what a file is known again without reading all of it.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, nanoseconds since 1970.
        sample: SHA-256 over its head, its tail and blocks evenly between.
    """

    size: int
    mtime_ns: int
    sample: str

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Take the fingerprint of a file; at most 4 MiB of it are read.

        Raises:
            InputError: the file cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                status = path.stat()
                last = max(0, status.st_size - _BLOCK)
                for start in sorted({last * i // (_BLOCKS - 1) for i in range(_BLOCKS)}):
                    file.seek(start)
                    digest.update(file.read(_BLOCK))
        except OSError as error:
            raise explain_os_error(error, path) from error
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())

    def same_content(self, other: Fingerprint) -> bool:
        """Whether both are the same file, be it on another machine."""
        return (self.size, self.sample) == (other.size, other.sample)


def versions() -> dict[str, str]:
    """This package's version, and those of what decodes, infers and encodes."""
    return {"acf-edge": __version__, **libraries()}


def libraries() -> dict[str, str]:
    """Versions of what decodes, infers and encodes: other ones may give other bits."""
    found = {"av": av.__version__}
    for package in ("onnxruntime", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found


def identity(bundle: Bundle) -> str:
    """What tells a bundle's engine from any other: the hash of its passport."""
    passport = bundle.passport
    return f"{passport.name} {hashlib.sha256(passport.dumps()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that would change a segment's bits.

    Attributes:
        input: fingerprint of the source.
        engine: what identifies the engine, e.g. the hash of its passport.
        options: of the encoder, the segments and the container.
        version: of this package.
        libraries: see :func:`libraries`.
    """

    input: Fingerprint
    engine: str
    options: dict[str, str | int]
    version: str
    libraries: dict[str, str]

    @classmethod
    def of(
        cls,
        source: Path,
        format_name: str,
        options: EncoderOptions,
        segment_frames: int,
        engine: str,
        deinterlace: str,
    ) -> Manifest:
        """The manifest of the work that is about to be done.

        Raises:
            InputError: the source cannot be read.
        """
        chosen: dict[str, str | int] = {
            "crf": options.crf,
            "preset": options.preset,
            "container": format_name,
            "segment_frames": segment_frames,
            "deinterlace": deinterlace,
        }
        return cls(Fingerprint.of(source), engine, chosen, __version__, libraries())

    @property
    def job(self) -> str:
        """A digest: segments carry it, so that none gets into another film."""
        return hashlib.sha256(self.dumps().encode()).hexdigest()

    def dumps(self) -> str:
        """As JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def loads(cls, text: str) -> Manifest | None:
        """Read what :meth:`dumps` gave; None for anything else."""
        try:
            data: Any = json.loads(text)
            if data.pop("format") != _FORMAT:
                return None
            data["input"] = Fingerprint(**data["input"])
            manifest = cls(**data)
            return manifest if manifest.dumps() == text else None
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def differences(self, other: Manifest) -> list[str]:
        """What of ``other`` is not as here, in words."""
        named = (
            ("the input", self.input, other.input),
            ("the engine", self.engine, other.engine),
            ("the options", self.options, other.options),
            ("the version of acf-edge", self.version, other.version),
            ("a library", self.libraries, other.libraries),
        )
        return [what for what, mine, theirs in named if mine != theirs]
