"""Compiled engines and timing caches, kept so that nothing is compiled twice.

An entry's name is a hash of what changes the engine and of nothing else. What is read is
checked against its own hash; a damaged entry is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from acf_edge.engine.bundle import PLAN_FILE
from acf_edge.engine.fields import Fields, canonical_json
from acf_edge.engine.trt.compile import Plan, Request
from acf_edge.engine.trt.layers import Layer
from acf_edge.errors import InputError
from acf_edge.files import atomic_folder, atomic_path, cache_folder

FORMAT: Final = 1
LARGEST: Final = 4 << 30
"""Bytes that all engines together may take; the ones not used for longest go first."""

_NOTES: Final = "engine.json"
_TIMINGS: Final = "timings"
_ENGINES: Final = "engines"
_KEY: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Surroundings:
    """What of library and machine changes an engine.

    Attributes:
        backend: ``"tensorrt"`` or ``"tensorrt_rtx"``.
        version: of the library, in full.
        device: name of the GPU that tactics are timed on; "" where none is (TensorRT-RTX).
        kernels: hash of our kernels where the engine has plugins, else "".
    """

    backend: str
    version: str
    device: str = ""
    kernels: str = ""


def plan_key(onnx: bytes, request: Request, around: Surroundings) -> str:
    """The name of an engine: SHA-256 (hex) of the model, the request and the surroundings.

    The target's own name is left out: two names for the same GPU give the same engine.
    """
    parts: dict[str, Any] = {
        "format": FORMAT,
        "onnx": hashlib.sha256(onnx).hexdigest(),
        "sms": list(request.targets),
        "profiles": [str(profile) for profile in request.profiles],
        "plugins": request.plugins,
        "level": request.level,
        "workspace": request.workspace_bytes,
        "dla": request.dla,
        "compatible": request.compatible,
        "backend": around.backend,
        "version": around.version,
        "device": "" if request.compatible else around.device,
        "kernels": around.kernels if request.plugins else "",
    }
    return hashlib.sha256(canonical_json(parts)).hexdigest()


class PlanStore:
    """Engines in a folder.

    Args:
        folder: None = :func:`cache_folder`.
        largest: bytes that all engines together may take.
    """

    def __init__(self, folder: Path | None = None, largest: int = LARGEST) -> None:
        self.folder = cache_folder() if folder is None else folder
        self.largest = largest

    def get(self, key: str) -> Plan | None:
        """The engine of a name; None where there is none, or it is damaged."""
        entry = self._entry(key)
        try:
            data = (entry / PLAN_FILE).read_bytes()
            plan = _read_notes((entry / _NOTES).read_bytes(), data)
        except (OSError, InputError):
            return None
        # The time of the last use decides what goes first; a folder that is shared and only
        # readable does no harm.
        with contextlib.suppress(OSError):
            os.utime(entry)
        return plan

    def put(self, key: str, plan: Plan) -> None:
        """Keep an engine; then remove what has become too much.

        Raises:
            InputError: it cannot be written.
        """
        entry = self._entry(key)
        with atomic_folder(entry) as temporary:
            (temporary / PLAN_FILE).write_bytes(plan.data)
            (temporary / _NOTES).write_bytes(_write_notes(plan))
        self._shrink(keep=entry)

    def timing_cache(self, around: Surroundings) -> bytes:
        """The timing cache of a device and a version; empty where there is none."""
        try:
            data = self._timings(around).read_bytes()
        except OSError:
            return b""
        digest, cache = data[:32], data[32:]
        return cache if hashlib.sha256(cache).digest() == digest else b""

    def keep_timing_cache(self, around: Surroundings, cache: bytes) -> None:
        """Keep a timing cache in place of the one before; an empty one is not kept.

        Raises:
            InputError: it cannot be written.
        """
        if cache:
            with atomic_path(self._timings(around)) as temporary:
                temporary.write_bytes(hashlib.sha256(cache).digest() + cache)

    def _entry(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of an engine")
        return self.folder / _ENGINES / key

    def _timings(self, around: Surroundings) -> Path:
        parts = {"backend": around.backend, "version": around.version, "device": around.device}
        name = hashlib.sha256(canonical_json(parts)).hexdigest()[:32]
        return self.folder / _TIMINGS / f"{name}.cache"

    def _shrink(self, keep: Path) -> None:
        entries = sorted(_engines(self.folder / _ENGINES), key=lambda one: one[0])
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.largest:
                return
            if path != keep:
                shutil.rmtree(path, ignore_errors=True)
                total -= size


def compile_cached(
    onnx: bytes,
    request: Request,
    around: Surroundings,
    make: Callable[[bytes], Plan],
    store: PlanStore,
) -> tuple[Plan, bool]:
    """The engine from the store, else a new one, which is then kept.

    Args:
        onnx, request, around: what is asked for.
        make: compiles, given a timing cache (see :func:`compile_plan`).
        store: where engines are kept.

    Returns:
        The engine, and whether it was there already.
    """
    key = plan_key(onnx, request, around)
    plan = store.get(key)
    if plan is not None:
        return plan, True
    plan = make(store.timing_cache(around))
    # A full disk must not cost the engine that took minutes to make.
    with contextlib.suppress(InputError):
        store.keep_timing_cache(around, plan.timing_cache)
        store.put(key, plan)
    return plan, False


def _engines(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Last use, size and place of every engine."""
    try:
        entries = [path for path in folder.iterdir() if _KEY.fullmatch(path.name)]
    except OSError:
        return
    for path in entries:
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in path.iterdir())
            yield path.stat().st_mtime, size, path


def _write_notes(plan: Plan) -> bytes:
    notes = {
        "format": FORMAT,
        "sha256": hashlib.sha256(plan.data).hexdigest(),
        "layers": [layer.to_json() for layer in plan.layers],
        "log": list(plan.log),
    }
    return json.dumps(notes).encode()


def _read_notes(text: bytes, data: bytes) -> Plan:
    what, remedy = "The notes of a kept engine", "Compile it again."
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} are damaged.", remedy) from error
    fields = Fields(table, what, remedy)
    if fields.integer("format") != FORMAT:
        raise fields.bad("are of another format")
    if fields.text("sha256") != hashlib.sha256(data).hexdigest():
        raise fields.bad("do not fit the engine")
    layers = tuple(_layer(Fields(item, what, remedy)) for item in fields.items("layers"))
    log = tuple(str(line) for line in fields.items("log"))
    return Plan(data, layers, log, b"")


def _layer(fields: Fields) -> Layer:
    return Layer(
        name=fields.text("name"),
        kind=fields.text("kind"),
        inputs=fields.texts("inputs"),
        outputs=fields.texts("outputs"),
        constants=fields.texts("constants"),
        sources=fields.texts("sources"),
        tactic=fields.text("tactic"),
    )
