"""How a network is written for what runs it: which ranges it needs, which files it gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx

from acf_edge.builder.options import CPU, BuildOptions
from acf_edge.builder.subject import Subject
from acf_edge.compress.scales import ScaleStore
from acf_edge.engine.bundle import MODEL_FILE, NETWORK_FILE, PLUGIN_FILE, SCALES_FILE
from acf_edge.export import qdq_ort
from acf_edge.export.lower import lower_for_cpu
from acf_edge.export.trt import write as trt
from acf_edge.export.trt.judged import for_onnxruntime

Files = Mapping[str, bytes]
Pictures = Callable[[], Sequence[npt.NDArray[np.uint8]]]


class Dialect(Protocol):
    """One way to write a network down.

    Attributes:
        ranged: it needs a scale store.
        words: what is done to the numbers, for the ledger; empty where nothing is.
    """

    @property
    def ranged(self) -> bool: ...

    @property
    def words(self) -> str: ...

    def values(self, subject: Subject) -> list[str]:
        """Names of the activations whose ranges are needed."""
        ...

    def judged(self, subject: Subject, store: ScaleStore | None) -> onnx.ModelProto:
        """The model that ONNX Runtime runs on a CPU to judge it."""
        ...

    def files(self, subject: Subject, store: ScaleStore | None) -> Files:
        """The bundle's models and, where there is one, its scale store."""
        ...


@dataclass(frozen=True)
class CpuDialect:
    """For ONNX Runtime on a CPU: INT8 or float32."""

    precision: str

    @property
    def ranged(self) -> bool:
        return self.precision == "int8"

    @property
    def words(self) -> str:
        return "INT8" if self.ranged else ""

    def values(self, subject: Subject) -> list[str]:
        return qdq_ort.quantized_values(subject.inlined)

    def judged(self, subject: Subject, store: ScaleStore | None) -> onnx.ModelProto:
        model = subject.inlined
        return lower_for_cpu(qdq_ort.write_qdq(model, store) if store else model)

    def files(self, subject: Subject, store: ScaleStore | None) -> Files:
        return {MODEL_FILE: self.judged(subject, store).SerializeToString()} | _common(
            subject, store
        )


@dataclass(frozen=True)
class GpuDialect:
    """For TensorRT and TensorRT-RTX.

    Attributes:
        precision: one of :data:`acf_edge.export.trt.write.PRECISIONS`.
        plugins: write the form with plugin nodes, too.
        int8_plugins: plugin nodes read and write INT8 codes.
        dla: for the deep-learning accelerator.
        pictures: gives degraded ones, from which a DLA's constants are taken.
    """

    precision: str
    plugins: bool
    int8_plugins: bool
    dla: bool
    pictures: Pictures

    @property
    def ranged(self) -> bool:
        return self.precision in trt.QUANTIZED

    @property
    def words(self) -> str:
        return "" if self.precision == "fp32" else self.precision.upper()

    def values(self, subject: Subject) -> list[str]:
        return trt.quantized_values(subject.plain)

    def judged(self, subject: Subject, store: ScaleStore | None) -> onnx.ModelProto:
        return for_onnxruntime(self._write(subject, store, plugins=False))

    def files(self, subject: Subject, store: ScaleStore | None) -> Files:
        model = self._write(subject, store, plugins=False)
        files = {MODEL_FILE: model.SerializeToString()}
        if self.plugins and any(node.domain for node in subject.plain.graph.node):
            model = self._write(subject, store, plugins=True)
            files[PLUGIN_FILE] = model.SerializeToString()
        return files | _common(subject, store)

    def _write(self, subject: Subject, store: ScaleStore | None, plugins: bool) -> onnx.ModelProto:
        means = trt.measure_means(subject.plain, self.pictures()) if self.dla else None
        return trt.write_tensorrt(
            subject.plain,
            precision=self.precision,
            store=store,
            plugins=plugins,
            int8_plugins=plugins and self.int8_plugins,
            dla=self.dla,
            means=means,
        )


def choose_dialect(options: BuildOptions, pictures: Pictures) -> Dialect:
    """What the target asks for."""
    if options.target == CPU:
        return CpuDialect(options.resolved)
    plugins = options.backend == "tensorrt" and options.gpu.plugins != "off"
    dla = options.gpu.dla
    int8_plugins = options.gpu.int8_plugins
    return GpuDialect(options.resolved, plugins and not dla, int8_plugins, dla, pictures)


def _common(subject: Subject, store: ScaleStore | None) -> dict[str, bytes]:
    files = {NETWORK_FILE: subject.plain.SerializeToString()}
    if store is not None:
        files[SCALES_FILE] = (json.dumps(store.to_json(), indent=1) + "\n").encode()
    return files
