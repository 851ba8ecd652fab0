"""Milliseconds per layer, as TensorRT's profiler tells them.

They come out as the text that ONNX Runtime's profiler writes (Chrome's trace events: one
``model_run`` per frame, one ``..._kernel_time`` per layer), so that whatever reads one reads
the other (``acf_edge/profile/trace.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from acf_edge.engine.trt.engine_file import LoadedEngine

PROVIDER: Final = "TensorRT"
_KERNEL: Final = "_kernel_time"
_COPY: Final = re.compile(r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to ")
_WRAPPER: Final = re.compile(r"^\{?(?:PWN|ForeignNode|__myl_\w+|__mye\w*)[(\[]")
_BETWEEN: Final = re.compile(r"(?:\.\.\.|[\s,(){}\[\]])+")


@dataclass
class LayerClock:
    """Collects layer times, frame by frame. One frame at a time.

    Args:
        kinds: layer name -> its kind, e.g. ``"CaskConvolution"``; what is not there is told
            by its name.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    _layers: list[tuple[str, float]] = field(default_factory=list)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _now: float = 0.0

    def add(self, name: str, milliseconds: float) -> None:
        """One layer of the frame under way; what TensorRT's profiler calls."""
        self._layers.append((name, milliseconds))

    def end_frame(self, seconds: float) -> None:
        """The frame is done; it took so long on the host's clock."""
        layers, self._layers = self._layers, []
        start, at = self._now, self._now
        found = []
        for name, milliseconds in layers:
            end = at + milliseconds * 1e3
            # Whole microseconds that add up: layers are shorter than a few of them.
            first, last = round(at), round(end)
            found.append((name, first, last - first))
            at = end
        # No layer may lie beyond its frame, however the two clocks disagree.
        length = max(round(seconds * 1e6), round(at - start) + 1)
        self._events.append(_event("Session", "model_run", round(start), length, {}))
        for name, ts, duration in found:
            arguments = {"op_name": self.kinds.get(name, kind_of(name)), "provider": PROVIDER}
            self._events.append(_event("Node", trace_name(name) + _KERNEL, ts, duration, arguments))
        self._now = round(start) + length + 1

    def trace(self) -> str:
        """The JSON text of all frames."""
        return json.dumps(self._events)


def layer_kinds(engine: LoadedEngine) -> dict[str, str]:
    """What each layer does, e.g. ``"CaskConvolution"``, as far as the engine tells."""
    trt = engine.api.module
    try:
        inspector = engine.engine.create_engine_inspector()
        told = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        layers = told["Layers"]
        # An engine that was built without details lists bare names.
        return {
            str(layer["Name"]): str(layer.get("LayerType", ""))
            for layer in layers
            if isinstance(layer, dict) and layer.get("LayerType")
        }
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return {}


def trace_name(layer: str) -> str:
    """A layer's name in the form that names of nodes have: words hang together with ``_``.

    TensorRT joins the names of the nodes that it fuses with ``" + "`` and puts words around
    them; the first node's name has to lead, for by it the network's module is found.

    >>> trace_name("sharing.stem/Conv + sharing.stem/Relu")
    'sharing.stem/Conv_+_sharing.stem/Relu'
    >>> trace_name("Reformatting CopyNode for Input Tensor 0 to sharing.stem/Conv")
    'sharing.stem/Conv'
    >>> trace_name("PWN(sharing.gate/Sigmoid, sharing.gate/Mul)")
    'sharing.gate/Sigmoid_sharing.gate/Mul'
    """
    return "_".join(_words(layer)) or layer


def kind_of(layer: str) -> str:
    """What a layer does, by its name alone: the operator of its first node, or ``"Reformat"``."""
    if _COPY.match(layer):
        return "Reformat"
    first = (_words(layer) or [layer])[0]
    return re.split(r"[_.]", first.rpartition("/")[2].strip("_"))[0] or first


def _words(layer: str) -> list[str]:
    """The names of nodes in a layer's name, and what stands between them."""
    bare = _WRAPPER.sub("", _COPY.sub("", layer))
    return [word for word in _BETWEEN.split(bare) if word]


def _event(
    category: str, name: str, ts: int, duration: int, arguments: dict[str, str]
) -> dict[str, Any]:
    return {"cat": category, "name": name, "ts": ts, "dur": duration, "ph": "X", "args": arguments}
