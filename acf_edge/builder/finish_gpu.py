"""The last stage where the target is a GPU: the plan, compiled here or left to the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from acf_edge.builder.dialect import Files
from acf_edge.builder.finish import make_passport
from acf_edge.builder.options import BuildOptions
from acf_edge.builder.subject import Subject
from acf_edge.compress.scales import ScaleStore
from acf_edge.engine import Bundle, Ledger, StageRow
from acf_edge.engine.trt.assemble import finish_bundle
from acf_edge.report import Sheet, render_report

Tell = Callable[[str, int, int], None]


def compile_gpu_bundle(
    options: BuildOptions,
    files: Files,
    subject: Subject,
    store: ScaleStore | None,
    ledger: Ledger,
    key: str,
    tell: Tell,
    votes: Sheet | None,
) -> Bundle:
    """Compile the engine if that can be done here; write the bundle in any case.

    Classic TensorRT compiles on the GPU that will run the engine and nowhere else: without it the
    bundle has no plan, its ledger says so, and ``acf-edge build BUNDLE`` on the board brings it.

    Args:
        options: where the bundle goes.
        files: of the bundle, from its dialect.
        subject: what was built.
        store: its ranges; None where nothing was quantized.
        ledger: the rows so far; gets the last one.
        key: of the row.
        tell: called with progress.
        votes: for the report.
    """
    begun = time.monotonic()
    request = options.request
    passport = replace(
        make_passport(options, subject, store),
        input_profiles=tuple(profile.to_passport() for profile in options.gpu.profiles),
        sm=request.passport_sm,
        dla=options.gpu.dla,
    )
    return finish_bundle(
        options.out,
        files,
        passport,
        ledger,
        request,
        plugins=options.gpu.plugins,
        row=StageRow(
            "compiled",
            "pass",
            0.0,
            key,
            params=subject.counts.params,
            macs=subject.counts.macs,
        ),
        begun=begun,
        report=partial(render_report, votes=votes),
        tell=lambda done, total: tell("compiled", done, total),
    )
