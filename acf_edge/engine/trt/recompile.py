"""A bundle for a GPU, compiled anew for the GPU of this machine; needs no torch."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acf_edge.engine.bundle import (
    LEDGER_FILE,
    PASSPORT_FILE,
    PLAN_FILE,
    PLUGIN_FILE,
    REPORT_FILE,
    Bundle,
    check_place,
    open_bundle,
)
from acf_edge.engine.ledger import Ledger, StageRow
from acf_edge.engine.passport import cache_key
from acf_edge.engine.trt.assemble import Report, Tell, finish_bundle, why_not_here
from acf_edge.engine.trt.compile import USUAL_LEVEL, Request, check_asked
from acf_edge.engine.trt.profiles import DEFAULT_SIZE, SizeProfile, check_scale, parse_profiles
from acf_edge.engine.trt.targets import CLASSIC, RTX, find_target
from acf_edge.errors import InputError


@dataclass(frozen=True)
class Changes:
    """What shall be different from the bundle that is compiled anew; None = as it was.

    Attributes:
        target: a name; None = this machine's GPU.
        sizes: of pictures.
        plugins: ``"auto"``, ``"on"`` or ``"off"``.
        level: of optimization.
        workspace: bytes that a layer may use.
        precision: only the bundle's own can be had without the checkpoint.
        runtime: ``"tensorrt"`` or ``"tensorrt_rtx"``.
        compatible, sms: as in :class:`acf_edge.engine.trt.compile.Request`.
        dla: only a bundle whose models were written for the accelerator takes it, and does so
            without being asked.
    """

    target: str | None = None
    sizes: tuple[str, ...] | None = None
    plugins: str | None = None
    level: int | None = None
    workspace: int | None = None
    precision: str | None = None
    runtime: str | None = None
    compatible: bool | None = None
    sms: tuple[str, ...] = ()
    dla: bool = False


def recompile(
    source: Bundle | Path,
    out: Path,
    changes: Changes | None = None,
    *,
    report: Report | None = None,
    tell: Tell | None = None,
) -> Bundle:
    """Compile a bundle's models and write a new bundle.

    Args:
        source: a bundle for a GPU, with or without an engine, for whichever GPU.
        out: the new one; may be the old one's folder, which is then replaced at the very end.
        changes: what shall be different.
        report: makes the bundle's page.
        tell: called with progress.

    Raises:
        InputError: a bundle for a CPU, a precision that it does not have, a GPU that cannot be
            compiled for, nothing here that compiles for this very machine, or an engine in
            ``out`` that would be replaced by none.
    """
    begun = time.monotonic()
    changes = changes or Changes()
    if not isinstance(source, Bundle):
        # A lost or damaged engine is no reason not to make it anew.
        source = open_bundle(source, without=(PLAN_FILE, REPORT_FILE))
    bundle, passport = source, source.passport
    if passport.backend not in (CLASSIC, RTX):
        raise InputError(
            f"'{bundle.path}' is built for the target '{passport.target}'; only bundles for GPUs "
            f"are compiled on the machine itself.",
            "Build from the checkpoint: acf-edge build CHECKPOINT -o BUNDLE --target ...",
        )
    if changes.precision not in (None, "auto", passport.precision):
        raise InputError(
            f"'{bundle.path}' holds {passport.precision}, and '{changes.precision}' was asked for.",
            "Build from the checkpoint with that --precision.",
        )
    if changes.target == "cpu":
        raise InputError(
            f"'{bundle.path}' holds models for GPUs.",
            "Build from the checkpoint: acf-edge build CHECKPOINT -o BUNDLE --target cpu",
        )
    if changes.dla and not passport.dla:
        raise InputError(
            f"The models of '{bundle.path}' are not written for the deep-learning accelerator.",
            "Build from the checkpoint with --dla.",
        )
    check_place(out)
    target = find_target(changes.target or "auto")
    backend = changes.runtime or passport.backend
    precision = target.check(passport.precision, passport.dla, backend)
    profiles = _profiles(bundle, changes)
    check_scale(profiles, passport.scale)
    wishes = {name: value for name, value in vars(changes).items() if value is not None}
    asked: dict[str, Any] = {**passport.wishes, **wishes}
    request = Request(
        target=target,
        precision=precision,
        profiles=profiles,
        level=asked.get("level", USUAL_LEVEL),
        workspace=asked.get("workspace"),
        dla=passport.dla,
        compatible=asked.get("compatible", False),
        sms=changes.sms,
    )
    check_asked(request, backend)
    reason = why_not_here(target, backend)
    if reason is not None and changes.target in (None, "auto"):
        raise InputError(f"'{bundle.path}' cannot be compiled here: {reason}")
    if reason is not None and (out / PLAN_FILE).exists():
        raise InputError(
            f"The engine in '{out}' would be replaced by none: {reason}", "Give another -o."
        )
    made_here = (PLAN_FILE, REPORT_FILE, LEDGER_FILE, PASSPORT_FILE)
    files = {name: bundle.read(name) for name in passport.files if name not in made_here}
    if backend == RTX:
        files.pop(PLUGIN_FILE, None)
    ledger = Ledger.loads(bundle.ledger.dumps())
    old = next((row for row in ledger.rows if row.stage == "compiled"), None)
    key = cache_key(before=old.key if old else "", target=target.name, backend=backend)
    fresh = replace(
        passport,
        backend=backend,
        runtime=backend,
        target=target.name,
        sm=request.passport_sm,
        input_profiles=tuple(profile.to_passport() for profile in profiles),
    )
    return finish_bundle(
        out,
        files,
        fresh,
        ledger,
        request,
        plugins=asked.get("plugins", "auto"),
        row=StageRow(
            "compiled",
            "pass",
            0.0,
            key,
            params=old.params if old else None,
            macs=old.macs if old else None,
        ),
        begun=begun,
        report=report,
        tell=tell or (lambda done, total: None),
    )


def _profiles(bundle: Bundle, changes: Changes) -> tuple[SizeProfile, ...]:
    if changes.sizes is not None or not bundle.passport.input_profiles:
        return parse_profiles(changes.sizes or (DEFAULT_SIZE,))
    return tuple(SizeProfile.from_passport(one) for one in bundle.passport.input_profiles)
