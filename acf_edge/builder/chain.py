"""Checkpoint -> prune -> fine-tune -> quantize -> export -> compile, each stage in the ledger.

The work folder beside the bundle (``<bundle>.work``) keeps what each stage made
and its row. A build that was cut off, or stopped by a gate, goes on from there
at the first stage whose key no longer fits; a finished build removes it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acf_edge.builder.dialect import choose_dialect
from acf_edge.builder.finish import compile_bundle, make_passport
from acf_edge.builder.judge import Case, Run, judge, judge_cases, largest_drop
from acf_edge.builder.options import CPU, PRUNE_GATE, QUANTIZE_GATE, BuildOptions
from acf_edge.builder.source import Source, calibration_pictures, load_source
from acf_edge.builder.subject import Subject, load_subject, with_network
from acf_edge.builder.votes import votes_sheet
from acf_edge.builder.work import remove_if_empty, work_folder
from acf_edge.compress.calibrate import calibrate
from acf_edge.compress.prune import choose_channels, importance, prune
from acf_edge.compress.scales import ScaleStore, load_scales
from acf_edge.engine import Bundle, Ledger, StageRow, cache_key
from acf_edge.engine.bundle import LEDGER_FILE, SCALES_FILE, check_place
from acf_edge.engine.ledger import DegradationQuality
from acf_edge.engine.ort import OrtEngine
from acf_edge.engine.trt.profiles import check_scale
from acf_edge.errors import GateError, InputError
from acf_edge.model.checkpoint import load_checkpoint, save_checkpoint
from acf_edge.model.cost import cost
from acf_edge.model.network import AcfNetwork
from acf_edge.model.runner import run_network
from acf_edge.resources import named_weights
from acf_edge.train.finetune import batches, finetune, finetune_recipe

Uint8Image = npt.NDArray[np.uint8]
# Raised whenever a stage would give another result from the same inputs.
_REVISION = 3

Tell = Callable[[str, int, int], None]
"""Progress: (stage, done, in all)."""


@dataclass(frozen=True)
class BuildResult:
    """What a build gave.

    Attributes:
        bundle: as written.
        resumed: stages whose result was taken over from an earlier, unfinished build.
    """

    bundle: Bundle
    resumed: tuple[str, ...]


def build_bundle(options: BuildOptions, tell: Tell | None = None) -> BuildResult:
    """Turn a checkpoint into an engine bundle.

    Args:
        options: what is asked for.
        tell: called with progress.

    Returns:
        The bundle, written whole.

    Raises:
        InputError: a bad checkpoint, source or output place.
        GateError: a stage cost more quality than it may; its row is in the work folder, and
            the message has the numbers.
    """
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"'{options.out}' is a file.", "Give the name of a folder.")
    check_place(options.out)
    options = replace(options, checkpoint=named_weights(options.checkpoint))
    subject = load_subject(options.checkpoint)
    if options.prune and subject.prunable is None:
        raise InputError(
            f"A network of others ({subject.network}) cannot be pruned.", "Leave out --prune."
        )
    if options.target != CPU:
        check_scale(options.gpu.profiles, subject.scale)
    source = load_source(options.source, subject.scale, options.pictures)
    fresh = not options.out.parent.exists()
    work = work_folder(options.out)
    chain = _Chain(options, subject, source, work, tell or (lambda *_: None))
    try:
        bundle = chain.run()
    except InputError:
        # Nothing half-written stays behind; only a gate's verdict is worth keeping, and what was
        # measured and tuned before TensorRT refused, which another --workspace may mend.
        if not chain.gpu_compiles:
            shutil.rmtree(work, ignore_errors=True)
        if fresh:
            remove_if_empty(options.out.parent)
        raise
    shutil.rmtree(work, ignore_errors=True)
    return BuildResult(bundle, tuple(chain.resumed))


class _Chain:
    """The stages of one build, in order."""

    def __init__(
        self, options: BuildOptions, subject: Subject, source: Source, work: Path, tell: Tell
    ) -> None:
        self.options, self.subject, self.source = options, subject, source
        self.work, self.tell, self.scale = work, tell, subject.scale
        self.dialect = choose_dialect(options, lambda: self.pictures)
        self.resumed: list[str] = []
        self.gpu_compiles = False
        try:
            self.ledger = Ledger.load(work / LEDGER_FILE)
        except InputError:
            self.ledger = Ledger()
        self.key = cache_key(
            revision=_REVISION,
            weights=subject.sha256,
            source=source.digest,
            recipes=list(options.recipes),
        )

    @cached_property
    def cases(self) -> list[Case]:
        """The judging pictures; made only when a stage has to be judged."""
        return judge_cases(self.source, self.options.recipes, self.scale)

    def run(self) -> Bundle:
        trained = self._trained(self.subject)
        subject, tuned = self._smaller(self.subject, trained)
        store = None
        if self.dialect.words:
            store = self._quantized(subject, tuned)
        else:
            self._skip("quantized", "float32 was asked for")
        self._exported(subject)
        self.tell("compiled", 0, 1)
        files = self.dialect.files(subject, store)
        key = self._next_key(stage="compiled", target=self.options.target)
        shown = self.cases[0]
        votes = votes_sheet(subject.prunable, shown.low, f"degraded by {shown.recipe}")
        if self.options.target == CPU:
            bundle = compile_bundle(
                self.options,
                self.work / "trial",
                files,
                make_passport(self.options, subject, store),
                self.ledger,
                subject.counts,
                key,
                votes,
            )
            self.tell("compiled", 1, 1)
        else:
            # TensorRT's room is of no use to the others.
            from acf_edge.builder.finish_gpu import compile_gpu_bundle

            self.gpu_compiles = True
            bundle = compile_gpu_bundle(
                self.options, files, subject, store, self.ledger, key, self.tell, votes
            )
        return bundle

    @cached_property
    def pictures(self) -> list[Uint8Image]:
        """Degraded ones for calibration; made only when a stage has to look at them."""
        return calibration_pictures(self.source, self.options.recipes, self.scale)

    def _next_key(self, **parts: Any) -> str:
        self.key = cache_key(before=self.key, **parts)
        return self.key

    def _valid(self, stage: str, key: str) -> StageRow | None:
        row = self.ledger.valid(stage, key)
        if row is not None:
            self.resumed.append(stage)
        return row

    def _put(self, row: StageRow) -> None:
        self.ledger.put(row)
        self.ledger.save(self.work / LEDGER_FILE)

    def _judge(self, run: Run) -> tuple[DegradationQuality, ...]:
        return judge(run, self.cases, self.scale)

    def _gate(self, drop: float, usual: float) -> str:
        """The verdict on a drop of PSNR-Y in dB."""
        limit = usual if self.options.allow_drop is None else self.options.allow_drop
        if drop > limit:
            return "fail"
        return "allowed" if drop > usual else "pass"

    def _stop(self, row: StageRow, drop: float, usual: float) -> None:
        if row.verdict == "fail":
            limit = usual if self.options.allow_drop is None else self.options.allow_drop
            raise GateError(
                f"The stage '{row.stage}' costs {drop:.3f} dB of PSNR-Y, {limit:.3f} dB is "
                f"allowed.",
                f"Allow it with --allow-drop {drop + 0.005:.2f}, or ask for less; the rows so far "
                f"are in '{self.work / LEDGER_FILE}'.",
            )

    def _trained(self, subject: Subject) -> tuple[DegradationQuality, ...]:
        key = self._next_key(stage="trained")
        row = self._valid("trained", key)
        if row is None:
            self.tell("trained", 0, 1)
            begun = time.monotonic()
            quality = self._judge(subject.run)
            row = StageRow(
                "trained",
                "pass",
                time.monotonic() - begun,
                key,
                f"{subject.story}; "
                f"judged on {len(self.source.judge)} pictures of: {self.source.words}",
                params=subject.counts.params,
                macs=subject.counts.macs,
                mib=self.options.checkpoint.stat().st_size / 2**20,
                quality=quality,
            )
            self._put(row)
            self.tell("trained", 1, 1)
        return row.quality

    def _smaller(
        self, subject: Subject, trained: tuple[DegradationQuality, ...]
    ) -> tuple[Subject, tuple[DegradationQuality, ...]]:
        """Prune and fine-tune, if asked for."""
        options, network = self.options, subject.prunable
        if options.prune == 0.0 or network is None:
            for stage in ("pruned", "fine-tuned"):
                self._skip(stage, "not asked for")
            return subject, trained
        mix = tuple((name, 1.0) for name in options.recipes)
        recipe = finetune_recipe(network, self.source.learn, mix, max(options.finetune_steps, 1))
        pruned = self._pruned(network, lambda: batches(self.source.learn, recipe, 8))
        key = self._next_key(
            stage="fine-tuned", steps=options.finetune_steps, allowed=options.allow_drop
        )
        file = self.work / "fine-tuned.safetensors"
        row = self._valid("fine-tuned", key)
        if row is None or not file.is_file():
            begun = time.monotonic()
            if options.finetune_steps:
                pruned = finetune(
                    pruned,
                    network,
                    self.source.learn,
                    recipe,
                    lambda done, total: self.tell("fine-tuned", done, total),
                )
            save_checkpoint(file, pruned, {})
            small = pruned
            quality = self._judge(lambda image: run_network(small, image))
            drop = largest_drop(trained, quality)
            row = StageRow(
                "fine-tuned",
                self._gate(drop, PRUNE_GATE),
                time.monotonic() - begun,
                key,
                f"{options.finetune_steps} steps, taught by the unpruned network",
                quality=quality,
                **self._size(pruned, file),
            )
            self._put(row)
            self._stop(row, drop, PRUNE_GATE)
        return with_network(subject, load_checkpoint(file).network), row.quality

    def _pruned(self, network: AcfNetwork, make: Callable[[], Any]) -> AcfNetwork:
        key = self._next_key(stage="pruned", share=self.options.prune)
        file = self.work / "pruned.safetensors"
        row = self._valid("pruned", key)
        if row is None or not file.is_file():
            self.tell("pruned", 0, 1)
            begun = time.monotonic()
            scores = importance(network, make())
            keep = choose_channels(network.config, scores, self.options.prune)
            pruned = prune(network, keep)
            save_checkpoint(file, pruned, {})
            before, after = cost(network.config), cost(pruned.config)
            self._put(
                StageRow(
                    "pruned",
                    "pass",
                    time.monotonic() - begun,
                    key,
                    f"{1 - after.macs / before.macs:.0%} fewer multiply-accumulates",
                    quality=self._judge(lambda image: run_network(pruned, image)),
                    **self._size(pruned, file),
                )
            )
            self.tell("pruned", 1, 1)
        return load_checkpoint(file).network

    def _size(self, network: AcfNetwork, file: Path) -> dict[str, Any]:
        counts = cost(network.config)
        mib = file.stat().st_size / 2**20
        return {"params": counts.params, "macs": counts.macs, "mib": mib}

    def _skip(self, stage: str, note: str) -> None:
        key = self._next_key(skip=stage)
        if self._valid(stage, key) is None:
            self._put(StageRow(stage, "skipped", 0.0, key, note))

    def _quantized(
        self, subject: Subject, before: tuple[DegradationQuality, ...]
    ) -> ScaleStore | None:
        dialect = self.dialect
        key = self._next_key(
            stage="quantized",
            method=self.options.method,
            allowed=self.options.allow_drop,
            dialect=[self.options.backend, self.options.resolved, self.options.gpu.dla],
        )
        file = self.work / SCALES_FILE
        row = self._valid("quantized", key)
        if row is not None and (file.is_file() or not dialect.ranged):
            return load_scales(file, subject.sha256) if dialect.ranged else None
        begun = time.monotonic()
        store = None
        if dialect.ranged:
            store = calibrate(
                subject.inlined,
                dialect.values(subject),
                self.pictures,
                method=self.options.method,
                source=self.source.words,
                weights_sha256=subject.sha256,
                on_progress=lambda done, total: self.tell("quantized", done, total),
            )
            store.save(file)
        content = dialect.judged(subject, store).SerializeToString()
        engine = self._engine(content, self.options.resolved)
        quality = self._judge(engine.run)
        engine.close()
        drop = largest_drop(before, quality)
        ranges = (
            f", {store.method} ranges from {store.pictures} degraded pictures of: {store.source}"
            if store
            else ""
        )
        row = StageRow(
            "quantized",
            self._gate(drop, QUANTIZE_GATE),
            time.monotonic() - begun,
            key,
            f"{dialect.words}{ranges}; {drop:+.3f} dB at worst",
            params=subject.counts.params,
            macs=subject.counts.macs,
            mib=len(content) / 2**20,
            quality=quality,
        )
        self._put(row)
        self._stop(row, drop, QUANTIZE_GATE)
        return store

    def _engine(self, content: bytes, precision: str) -> OrtEngine:
        name = f"{self.subject.title} {precision}"
        return OrtEngine(content, name=name, scale=self.scale, threads=self.options.threads)

    def _exported(self, subject: Subject) -> None:
        """Check that the plain model says what torch says, at an odd size, too."""
        key = self._next_key(stage="exported")
        if self._valid("exported", key):
            return
        self.tell("exported", 0, 1)
        begun = time.monotonic()
        content = subject.plain.SerializeToString()
        engine = self._engine(content, "fp32")
        off = 0
        for case in self.cases[:2]:
            low = case.low[:-1, :-3]
            ours, theirs = engine.run(low).astype(int), subject.run(low).astype(int)
            off = max(off, int(abs(ours - theirs).max()))
        engine.close()
        row = StageRow(
            "exported",
            "pass" if off <= 1 else "fail",
            time.monotonic() - begun,
            key,
            f"{subject.written}; differs from torch by {off} code value(s) at most",
            mib=len(content) / 2**20,
        )
        self._put(row)
        if off > 1:
            raise GateError(
                f"The exported model differs from torch by {off} code values.",
                "This is a defect of acf-edge or of a library: run 'acf-edge doctor --json'.",
            )
        self.tell("exported", 1, 1)
