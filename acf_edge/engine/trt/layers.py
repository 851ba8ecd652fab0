"""What an engine runs: its layers and their data types.

Two sources tell it. The builder prints the table while it compiles (verbose log, detailed
verbosity), which needs no GPU; a loaded engine's inspector gives it as JSON.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_TYPES: Final = {
    "float": "fp32", "fp32": "fp32", "half": "fp16", "fp16": "fp16", "bfloat16": "bf16",
    "bf16": "bf16", "int8": "int8", "uint8": "uint8", "fp8": "fp8", "fp8e4m3": "fp8",
    "int32": "int32", "int64": "int64", "bool": "bool", "int4": "int4", "fp4": "fp4",
}  # fmt: skip
TABLE_WORDS: Final = ("LayerType: ", "Layers:", "Engine Layer Information:", "Layer(")
"""A message with none of these is no part of a layer table."""

_NARROW: Final = ("int8", "fp8", "uint8")

_HEAD: Final = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), (?=Inputs: \[)")
# The older form: "Layer(Kind): name, Tactic: 0x1, a[Half(1,8,4,4)] -> b[Half(1,8,4,4)]".
_OLD_HEAD: Final = re.compile(
    r"Layer\((?P<kind>\w+)\): (?P<name>.*), Tactic: (?P<tactic>\w+)(?:, (?P<rest>.*))?$"
)
_OLD_TYPE: Final = re.compile(r"\[(\w+)\(|\((\w+)\[")
# "Datatype: Half" (11, TensorRT-RTX) or "Format/Datatype: Row major linear FP16 format" (10).
_TENSOR_TYPE: Final = re.compile(r"(?:Format/)?Datatype: ([^,}]*)")
_ONNX_NAME: Final = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_CONVOLUTION: Final = re.compile(r"conv(?!ert)|corr(?:elation)?", re.IGNORECASE)
# TensorRT names fused kernels by four letters of each operation in them.
_FUSED_CONVOLUTION: Final = re.compile(r"__myl_\w*?(?:Corr|Conv)(?=[A-Z_0-9])")
_PLUGIN: Final = re.compile(r"plugin", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: TensorRT's.
        kind: in TensorRT's words, e.g. ``"CaskConvolution"``, ``"correlation"``, ``"kgen"``,
            ``"PluginV3"``.
        inputs, outputs: data types of its tensors, ``"fp16"``, ``"int8"``, ``"fp8"``,
            ``"fp32"``, ``"uint8"`` ...; ``"?"`` where the name is not known.
        constants: of its weights, where they are told.
        sources: names of the ONNX nodes that it came from, where they are told.
        tactic: the kernel that was chosen, where it is told.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    tactic: str = ""

    @property
    def convolution(self) -> bool:
        """Whether it convolves, alone or fused with other operations."""
        return bool(_CONVOLUTION.search(self.kind) or _FUSED_CONVOLUTION.search(self.name))

    @property
    def plugin(self) -> bool:
        """Whether it is one of the operators' own kernels."""
        return bool(_PLUGIN.search(self.kind))

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "constants": list(self.constants),
            "sources": list(self.sources),
            "tactic": self.tactic,
        }


@dataclass(frozen=True)
class Summary:
    """A layer table in a few figures.

    Attributes:
        layers: how many read or write something (others only wait for each other).
        dla: of them, parts of the network that the deep-learning accelerator runs.
        convolutions: data type of their input -> how many.
        widened: convolutions that read 8 bits and write more: another kernel has to narrow
            their result, which costs the memory traffic that 8 bits were to save.
        plugins: names of the layers that are plugins.
    """

    layers: int
    convolutions: Mapping[str, int]
    widened: int
    plugins: tuple[str, ...]
    dla: int = 0

    def __str__(self) -> str:
        types = sorted(self.convolutions.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{count} in {name}" for name, count in types] or ["none"]
        text = f"{self.layers} layers; convolutions: {', '.join(parts)}"
        if self.widened:
            text += f"; {self.widened} of them widen their result"
        if self.dla:
            text += f"; on the deep-learning accelerator: {self.dla}"
        return f"{text}; plugins: {len(self.plugins)}"


def summarize(layers: Iterable[Layer]) -> Summary:
    """Count what a layer table says of precision."""
    layers = tuple(layers)
    counts: Counter[str] = Counter()
    widened = 0
    for layer in layers:
        if layer.convolution:
            first = layer.inputs[0] if layer.inputs else "?"
            counts[first] += 1
            widened += first in _NARROW and not set(layer.outputs) & set(_NARROW)
    plugins = tuple(layer.name for layer in layers if layer.plugin)
    dla = sum("dla" in layer.kind.lower() for layer in layers)
    working = sum(bool(layer.inputs or layer.outputs) for layer in layers)
    return Summary(working or len(layers), dict(counts), widened, plugins, dla)


def layers_from_log(messages: Iterable[str]) -> tuple[Layer, ...]:
    """The layer table in the messages of a build; the last one where there are several.

    Args:
        messages: of every severity, in order; the table is one message of many lines, or
            several messages of one line each.

    Returns:
        Empty where no table was printed.
    """
    found: list[Layer] = []
    inside = False
    for message in messages:
        lines = message.splitlines()
        for number, line in enumerate(lines):
            if line.strip().endswith(("Layers:", "Engine Layer Information:")):
                found, inside = [], True
                continue
            if not inside:
                continue
            layer = parse_layer(line)
            if layer is not None:
                found.append(layer)
            elif line.strip() or number < len(lines) - 1:
                inside = False
    return tuple(found)


def parse_layer(line: str) -> Layer | None:
    """One line of the table; None where it is something else."""
    head = _HEAD.search(line)
    if head is None:
        return _parse_old(line)
    rest = line[head.end() :]
    lists: dict[str, str] = {}
    at = 0
    # Names may hold any character, so the lists are found by their brackets' balance.
    for key in ("Inputs", "Constants", "Outputs"):
        start = rest.find(f"{key}: [", at)
        if start < 0:
            continue
        end = _closing(rest, start + len(key) + 2)
        lists[key] = rest[start:end]
        at = end
    tactic = re.search(r"TacticName: (.*?)(?:, (?:TacticValue|StreamId|Metadata): |$)", rest[at:])
    return Layer(
        name=head["name"],
        kind=head["kind"].strip(),
        inputs=_tensor_types(lists.get("Inputs", "")),
        outputs=_tensor_types(lists.get("Outputs", "")),
        constants=_tensor_types(lists.get("Constants", "")) or _weight_type(rest[at:]),
        sources=tuple(dict.fromkeys(_ONNX_NAME.findall(rest[at:]))),
        tactic=tactic[1].strip() if tactic else "",
    )


def _parse_old(line: str) -> Layer | None:
    head = _OLD_HEAD.search(line)
    if head is None:
        return None
    before, _, behind = (head["rest"] or "").partition(" -> ")
    inputs, outputs = (
        tuple(data_type(one or other) for one, other in _OLD_TYPE.findall(side))
        for side in (before, behind)
    )
    return Layer(head["name"], head["kind"], inputs, outputs, tactic=head["tactic"])


def layers_from_inspector(text: str) -> tuple[Layer, ...]:
    """The layer table of ``EngineInspector.get_engine_information(JSON)``.

    Returns:
        Layers with names alone where the engine was compiled without details; empty where
        the text is something else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    items = data.get("Layers") if isinstance(data, dict) else None
    return tuple(_inspected(items)) if isinstance(items, list) else ()


def _inspected(items: list[Any]) -> Iterator[Layer]:
    for item in items:
        if isinstance(item, str):
            yield Layer(item, "?", (), ())
        elif isinstance(item, dict):
            weights = item.get("Weights")
            kind = weights.get("Type") if isinstance(weights, dict) else None
            constants = _json_types(item.get("Constants"))
            yield Layer(
                name=str(item.get("Name", "")),
                kind=str(item.get("LayerType", "?")),
                inputs=_json_types(item.get("Inputs")),
                outputs=_json_types(item.get("Outputs")),
                constants=constants or ((data_type(str(kind)),) if kind else ()),
                sources=tuple(dict.fromkeys(_ONNX_NAME.findall(str(item.get("Metadata", ""))))),
                tactic=str(item.get("TacticName", "")),
            )


def _json_types(items: object) -> tuple[str, ...]:
    if not isinstance(items, list):
        return ()
    tensors = [item for item in items if isinstance(item, dict)]
    return tuple(
        data_type(str(item.get("Datatype") or item.get("Format/Datatype") or ""))
        for item in tensors
    )


def data_type(text: str) -> str:
    """The data type in TensorRT's description, e.g. ``"int8"`` of
    ``"Thirty-two wide channel vectorized row major Int8 format"``; ``"?"`` if there is none."""
    for word in reversed(_WORD.findall(text)):
        if word.lower() in _TYPES:
            return _TYPES[word.lower()]
    return "?"


def _tensor_types(text: str) -> tuple[str, ...]:
    return tuple(data_type(part) for part in _TENSOR_TYPE.findall(text))


def _weight_type(text: str) -> tuple[str, ...]:
    weights = re.search(r'Weights: \{"Type": "(\w+)"', text)
    return (data_type(weights[1]),) if weights else ()


def _closing(text: str, start: int) -> int:
    """The place behind the bracket that closes the one at ``start``."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)
