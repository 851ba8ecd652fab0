"""A bundle's models become its engine: here, if this machine can, else on the board.

Both halves come through here: a build in the workshop, and ``acf-edge build BUNDLE`` on a
Jetson that has neither torch nor the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acf_edge.cuda import kernel_hash, open_device
from acf_edge.engine.bundle import (
    MODEL_FILE,
    PLAN_FILE,
    PLUGIN_FILE,
    REPORT_FILE,
    Bundle,
    write_bundle,
)
from acf_edge.engine.ledger import Ledger, StageRow
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.api import TrtApi, load_api
from acf_edge.engine.trt.compile import (
    USUAL_LEVEL,
    CompileCancelled,
    Plan,
    Progress,
    Request,
    compile_plan,
)
from acf_edge.engine.trt.layers import summarize
from acf_edge.engine.trt.plugin_fields import plugin_hash
from acf_edge.engine.trt.store import PlanStore, Surroundings, compile_cached
from acf_edge.engine.trt.targets import CLASSIC, Target
from acf_edge.errors import AcfError, InputError

Tell = Callable[[int, int], None]
"""Progress: (done, in all)."""
Report = Callable[..., str]
""":func:`acf_edge.report.render_report`, which this room does not know."""


@dataclass(frozen=True)
class Compiled:
    """What became of the models.

    Attributes:
        plan: the engine's bytes; empty where it is left to the board.
        plugins: the operators run as plugins.
        note: for the ledger.
        ms: of one frame of the first profile's usual size; None where no GPU could tell.
        version: of TensorRT; empty without a plan.
        device: that it was compiled on; None where none was needed.
    """

    plan: bytes
    plugins: bool
    note: str
    ms: float | None = None
    version: str = ""
    device: str | None = None


def why_not_here(target: Target, backend: str) -> str | None:
    """What keeps this machine from compiling for ``target``; None = nothing."""
    try:
        load_api(backend)
        if target.ahead_of_time(backend):
            return None
        device = open_device()
    except AcfError as error:
        return str(error)
    if device.sm != target.sm:
        return (
            f"This machine's GPU ({device.name}) is SM {device.sm}, the target is SM {target.sm}."
        )
    return None


def compile_models(
    models: Mapping[str, bytes],
    request: Request,
    backend: str,
    plugins: str,
    scale: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> Compiled:
    """Compile what the bundle holds, with plugins or without.

    Args:
        models: file names of the bundle -> ONNX; :data:`PLUGIN_FILE` may be absent.
        request: what to compile for; its ``plugins`` is decided here.
        backend: ``"tensorrt"`` or ``"tensorrt_rtx"``.
        plugins: one of :data:`acf_edge.engine.trt.compile.PLUGINS`; ``"auto"`` compiles both
            forms and keeps the faster.
        scale: up-sampling factor.
        on_progress: called with progress.

    Raises:
        InputError: plugins where there are none, a model that TensorRT does not take.
    """
    if plugins == "on" and (backend != CLASSIC or PLUGIN_FILE not in models):
        raise InputError(
            "There are no plugins in TensorRT-RTX."
            if backend != CLASSIC
            else "This network has none of the operators that are plugins, or they were left out.",
            "Leave --plugins out.",
        )
    reason = why_not_here(request.target, backend)
    if reason is not None:
        return Compiled(b"", False, _left_to_the_board(request.target, reason))
    api = load_api(backend)
    both = plugins == "auto" and backend == CLASSIC and PLUGIN_FILE in models
    forms = (True, False) if both else (plugins == "on",)
    device = None if request.target.ahead_of_time(backend) else open_device().name
    tried: list[tuple[float | None, bool, Plan]] = []
    failed = ""
    for form in forms:
        wanted = replace(request, plugins=form)
        model = models[PLUGIN_FILE if form else MODEL_FILE]
        try:
            plan = _compile(model, wanted, api, device or "", on_progress)
            tried.append((_milliseconds(api, plan, wanted, scale), form, plan))
        except AcfError as error:
            # The inlined form needs none of what plugins need: it is the way out.
            hopeless = isinstance(error, CompileCancelled) or getattr(error, "sticky", False)
            if hopeless or not (both and form):
                raise
            failed = f"; plugins fail: {error.problem}"
    # Without times the inlined form stands: it needs nothing that could be missing later.
    timed = [one for one in tried if one[0] is not None]
    ms, form, plan = min(timed, key=lambda one: one[0] or 0.0) if timed else tried[-1]
    note = _note(api, tried, form, plan) + failed
    return Compiled(plan.data, form, note, ms, api.module.__version__, device)


def _compile(
    model: bytes,
    request: Request,
    api: TrtApi,
    device: str,
    on_progress: Callable[[Progress], None] | None,
) -> Plan:
    if request.plugins:
        from acf_edge.engine.trt.plugin import register

        register(api)
    around = Surroundings(
        api.kind, api.module.__version__, device, kernel_hash() if request.plugins else ""
    )
    plan, _ = compile_cached(
        model,
        request,
        around,
        lambda timings: compile_plan(model, request, api, on_progress, timing_cache=timings),
        PlanStore(),
    )
    return plan


def _milliseconds(api: TrtApi, plan: Plan, request: Request, scale: int) -> float | None:
    """Median of one frame on this machine's GPU; None where it cannot run here."""
    from acf_edge.engine.trt.timing import time_plan

    try:
        if open_device().sm not in (request.sms or (request.target.sm,)):
            return None
    except AcfError:
        return None
    return time_plan(api, plan.data, scale, request.profiles[0].optimum)


def _note(api: TrtApi, tried: list[tuple[float | None, bool, Plan]], form: bool, plan: Plan) -> str:
    words = [api.text, "junction and attention as plugins" if form else "no plugins"]
    if len(tried) > 1:
        figures = [
            f"{'plugins' if plugins else 'inlined'} {ms:.3f} ms" if ms is not None else "not timed"
            for ms, plugins, _ in tried
        ]
        words.append(", ".join(figures))
    if plan.layers:
        words.append(str(summarize(plan.layers)))
    return "; ".join(words)


def _left_to_the_board(target: Target, reason: str) -> str:
    return (
        f"Not compiled here: {reason.rstrip('.')}. On the {target.title} itself: acf-edge build "
        f"THIS_BUNDLE -o NEW_BUNDLE --target auto"
    )


def finish_bundle(
    out: Path,
    files: Mapping[str, bytes],
    passport: Passport,
    ledger: Ledger,
    request: Request,
    *,
    plugins: str,
    row: StageRow,
    begun: float,
    report: Report | None,
    tell: Tell,
) -> Bundle:
    """Compile, note the row "compiled", write the bundle.

    Args:
        out: the bundle's folder.
        files: all of it but plan, report, ledger and passport.
        passport: what is known so far.
        ledger: the rows so far; gets the last one.
        request: for :func:`compile_models`.
        plugins: one of :data:`acf_edge.engine.trt.compile.PLUGINS`.
        row: the last row with what does not depend on the compilation.
        begun: monotonic seconds at which the stage began.
        report: makes the bundle's report; None = no report.
        tell: called with progress.
    """
    tell(0, 100)
    compiled = compile_models(
        files,
        request,
        passport.backend,
        plugins,
        passport.scale,
        lambda progress: tell(int(100 * progress.done), 100),
    )
    contents: dict[str, bytes] = dict(files)
    if compiled.plan:
        contents[PLAN_FILE] = compiled.plan
    judged = next((one for one in reversed(ledger.rows) if one.quality), None)
    ledger.put(
        replace(
            row,
            verdict="pass" if compiled.plan else "skipped",
            seconds=time.monotonic() - begun,
            note=compiled.note,
            mib=len(compiled.plan) / 2**20 if compiled.plan else None,
            ms=compiled.ms,
            quality=judged.quality if judged and compiled.plan else (),
        )
    )
    passport = replace(
        passport,
        wishes=_wishes(request, plugins),
        runtime_version=compiled.version,
        tensorrt_version=compiled.version or None,
        device=compiled.device,
        plugin_hash=plugin_hash() if compiled.plugins else None,
        kernel_hash=kernel_hash() if compiled.plugins else None,
    )
    if report is not None:
        page: Any = report(
            title=f"{passport.name} for {passport.target}",
            ledger=ledger.to_json(),
            passport=passport.to_json(),
        )
        contents[REPORT_FILE] = page.encode()
    tell(100, 100)
    return write_bundle(out, contents, passport, ledger)


def _wishes(request: Request, plugins: str) -> dict[str, int | str | bool]:
    """What a later compilation of the same bundle shall do again."""
    wishes: dict[str, int | str | bool] = {}
    if request.level != USUAL_LEVEL:
        wishes["level"] = request.level
    if request.workspace is not None:
        wishes["workspace"] = request.workspace
    if plugins != "auto":
        wishes["plugins"] = plugins
    if request.compatible:
        wishes["compatible"] = True
    return wishes
