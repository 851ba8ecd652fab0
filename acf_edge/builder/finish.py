"""The last stage: a trial bundle, its latency, its report, and the bundle itself."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import onnxruntime

import acf_edge
from acf_edge.builder.dialect import Files
from acf_edge.builder.options import CPU, BuildOptions
from acf_edge.builder.subject import Subject
from acf_edge.compress.scales import ScaleStore
from acf_edge.engine import Bundle, Ledger, Passport, StageRow, write_bundle
from acf_edge.engine.bundle import MODEL_FILE, REPORT_FILE
from acf_edge.model.cost import REFERENCE_HEIGHT, REFERENCE_WIDTH, Cost
from acf_edge.profile.latency import profile_bundle
from acf_edge.report import Sheet, render_report

RUNS = 15


def compile_bundle(
    options: BuildOptions,
    trial: Path,
    files: Files,
    passport: Passport,
    ledger: Ledger,
    counts: Cost,
    key: str,
    votes: Sheet | None,
) -> Bundle:
    """Load and time the engine, note the row "compiled", write the bundle with its report.

    Args:
        options: where the bundle goes.
        trial: folder for a bundle without a report, which is what gets timed.
        files: of the bundle, from its dialect.
        passport: from :func:`make_passport`.
        ledger: the rows so far; gets the last one.
        counts: of the network.
        key: of the row.
        votes: for the report.
    """
    begun = time.monotonic()
    tried = write_bundle(trial, files, passport, ledger)
    profile = profile_bundle(
        tried, REFERENCE_WIDTH, REFERENCE_HEIGHT, runs=RUNS, threads=options.threads
    )
    # The last stage with figures has measured this very graph.
    judged = next(row for row in reversed(ledger.rows) if row.quality)
    ledger.put(
        StageRow(
            "compiled",
            "pass",
            time.monotonic() - begun,
            key,
            f"ONNX Runtime {onnxruntime.__version__} on the CPU, {profile.threads} thread(s)",
            params=counts.params,
            macs=counts.macs,
            mib=len(files[MODEL_FILE]) / 2**20,
            ms=profile.unprofiled_ms,
            quality=judged.quality,
        )
    )
    report = render_report(
        title=f"{passport.name} for {passport.target}",
        ledger=ledger.to_json(),
        passport=tried.passport.to_json(),
        profile=profile.to_json(),
        votes=votes,
    )
    return write_bundle(options.out, {**files, REPORT_FILE: report.encode()}, passport, ledger)


def make_passport(options: BuildOptions, subject: Subject, store: ScaleStore | None) -> Passport:
    """What the bundle will say of itself; its files are filled in when it is written."""
    return Passport(
        network=subject.network,
        scale=subject.scale,
        precision=options.resolved,
        backend=options.backend,
        target=options.target,
        runtime=options.backend,
        # What compiles for a GPU is not known yet.
        runtime_version=onnxruntime.__version__ if options.target == CPU else "",
        weights_sha256=subject.sha256,
        source_command=options.command,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        acf_edge_version=acf_edge.__version__,
        calibration_sha256=store.sha256 if store else None,
        notes=subject.notes,
    )
