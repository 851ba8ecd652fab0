"""ONNX Runtime on the CPU: the engine that runs everywhere."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from acf_edge.engine.bundle import MODEL_FILE, Bundle
from acf_edge.engine.cores import usable_cores
from acf_edge.engine.frames import checked_frame
from acf_edge.engine.graph import Graph, read_graph
from acf_edge.engine.protocol import Uint8Image
from acf_edge.errors import InputError

INPUT: Final = "image"
OUTPUT: Final = "enhanced"
MAX_THREADS: Final = 1024
PROVIDERS: Final = ("CPUExecutionProvider",)

# The first ONNX Runtime that reads an opset, and an IR version. Beyond the
# table ONNX Runtime itself judges.
_OPSET_NEEDS: Final = {18: (1, 14), 19: (1, 15), 20: (1, 17), 21: (1, 18), 22: (1, 21), 23: (1, 22)}
_IR_NEEDS: Final = {9: (1, 15), 10: (1, 18), 11: (1, 22)}

# How ONNX Runtime says that memory ran out; it has no class for it.
_NO_MEMORY: Final = ("Failed to allocate memory", "bad_alloc", "bad allocation")


class OrtEngine:
    """An ONNX model, uint8 in and out, on ONNX Runtime's CPU provider.

    The model's input ``image`` and output ``enhanced`` are uint8 ``[N, H, W, 3]``.
    ``run`` may be called from several threads at once.

    Args:
        model: the bytes of a self-contained ONNX file.
        name: what :attr:`name` says.
        scale: up-sampling factor of the model.
        threads: threads for one operator; None = the physical cores that this
            process may use.
        spin: let idle threads wait busily: a little faster alone, worse where
            decoding and encoding want the same cores.
        profile: record every kernel; see :meth:`end_profiling`.
        optimized: write the graph that really runs to this file.

    Raises:
        InputError: no model, one with external data, one that this ONNX
            Runtime cannot run, or one with other inputs and outputs.
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str,
        scale: int,
        threads: int | None = None,
        spin: bool = True,
        profile: bool = False,
        optimized: Path | None = None,
    ) -> None:
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise InputError(f"{threads} threads are out of range.", f"Give 1 to {MAX_THREADS}.")
        check_graph(read_graph(model), name)
        self._name = name
        self._scale = scale
        self._threads = threads or usable_cores()
        self._traces: tempfile.TemporaryDirectory[str] | None = None
        options = session_options(self._threads, spin)
        if profile:
            self._traces = tempfile.TemporaryDirectory(prefix="acf-edge-")
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._traces.name) / "trace")
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=list(PROVIDERS))
        except Exception as error:  # its classes derive from Exception alone
            self.close()
            raise InputError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {name}: {one_line(error)}",
                "Update onnxruntime, or build the bundle again.",
            ) from error
        _check_ends(session, name)
        self._session: Any = session
        self._last_size: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Network, scale and precision, e.g. ``"acf-t-x4 int8"``."""
        return self._name

    @property
    def scale(self) -> int:
        """Up-sampling factor."""
        return self._scale

    @property
    def threads(self) -> int:
        """Threads that one operator is split over."""
        return self._threads

    def run(self, frame: Uint8Image) -> Uint8Image:
        """Enhance one picture.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB, any H and W >= 1; copied if it is
                not contiguous.

        Returns:
            ``(H * scale, W * scale, 3)`` uint8 RGB, owned by the caller.

        Raises:
            TypeError: not an array of uint8.
            InputError: another shape; too little memory.
            ValueError: the engine is closed.
        """
        session = self._session
        if session is None:
            raise ValueError(f"the engine {self._name} is closed")
        frame = checked_frame(frame)
        height, width = frame.shape[:2]
        run_options = onnxruntime.RunOptions()
        if frame.shape != self._last_size:
            # Pictures of many sizes would otherwise leave the arena as large as
            # the sum of their needs. A video pays for this once.
            run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            self._last_size = frame.shape
        try:
            # The result is written straight into the caller's array.
            result = np.empty((1, height * self._scale, width * self._scale, 3), np.uint8)
            binding = session.io_binding()
            binding.bind_cpu_input(INPUT, frame[None])
            binding.bind_output(OUTPUT, "cpu", 0, np.uint8, result.shape, result.ctypes.data)
            session.run_with_iobinding(binding, run_options)
        except Exception as error:
            if isinstance(error, MemoryError) or any(word in str(error) for word in _NO_MEMORY):
                raise InputError(
                    f"There is not enough memory to enhance a {width}x{height} picture.",
                    "Give a smaller picture or close other programs.",
                ) from error
            raise InputError(
                f"{self._name} cannot enhance a {width}x{height} picture: {one_line(error)}",
                "Build the bundle again.",
            ) from error
        image: Uint8Image = result[0]
        return image

    def end_profiling(self) -> str:
        """Stop recording and return the trace, a JSON text in Chrome's trace format.

        Raises:
            ValueError: the engine is closed, or was made without ``profile``.
        """
        if self._session is None or self._traces is None:
            raise ValueError("no profile is being recorded")
        return Path(self._session.end_profiling()).read_text(encoding="utf-8")

    def close(self) -> None:
        """Release threads and memory; once or more often."""
        self._session = None
        if self._traces is not None:
            self._traces.cleanup()
            self._traces = None


def load_ort(bundle: Bundle, threads: int | None, profile: bool, spin: bool) -> OrtEngine:
    """The engine of a bundle whose backend is ``onnxruntime``."""
    passport = bundle.passport
    return OrtEngine(
        bundle.read(MODEL_FILE),
        name=passport.name,
        scale=passport.scale,
        threads=threads,
        spin=spin,
        profile=profile,
    )


def session_options(threads: int, spin: bool) -> Any:
    """How ONNX Runtime runs our models; see :class:`OrtEngine`."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What goes wrong is raised; ONNX Runtime's own print of it would be a second line.
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    return options


def check_graph(graph: Graph, name: str) -> None:
    """Refuse a model that this ONNX Runtime cannot run.

    Raises:
        InputError: weights in another file, operators or a format that are too new.
    """
    if graph.external:
        raise InputError(
            f"The model of {name} keeps weights in another file, which is refused.",
            "Export it as one file.",
        )
    needs = max(_OPSET_NEEDS.get(graph.opset, (0, 0)), _IR_NEEDS.get(graph.ir_version, (0, 0)))
    has = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if has < needs:
        least = ".".join(map(str, needs))
        raise InputError(
            f"{name} (opset {graph.opset}, IR {graph.ir_version}) needs ONNX Runtime {least} or "
            f"newer; this is {onnxruntime.__version__}.",
            f"Run: pip install 'onnxruntime>={least}'",
        )


def _check_ends(session: Any, name: str) -> None:
    ends = [(end.name, end.type) for end in (*session.get_inputs(), *session.get_outputs())]
    if ends != [(INPUT, "tensor(uint8)"), (OUTPUT, "tensor(uint8)")]:
        raise InputError(
            f"The model of {name} has the inputs and outputs {ends}; an engine has one uint8 "
            f"'{INPUT}' and one uint8 '{OUTPUT}'.",
            "Build the bundle again.",
        )


def one_line(error: Exception) -> str:
    """What ONNX Runtime says, on one line of bounded length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
