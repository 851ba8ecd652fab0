"""A model repository of Triton Inference Server.

Facts that decide what is written (Triton's tensorrt_backend and model_config.proto, read):

* A plan is loaded by the TensorRT that it was made with, on the kind of GPU it was made on.
* Libraries named in ``--backend-config=tensorrt,plugins=A;B`` are opened with ``dlopen`` and asked
  for nothing, so they have to register their plugins by themselves.
* ``max_batch_size`` 0: the dimensions are the whole shape. Engines take one picture at a time.
* CUDA graphs without a ``graph_spec``: one for each profile, at the size that it is tuned for.
* A folder of the repository is a model; further files within it do no harm.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acf_edge.engine.bundle import MODEL_FILE, PLAN_FILE, Bundle
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.plugin_library import PRELOADED, PluginLibrary, build_hint
from acf_edge.engine.trt.profiles import SizeProfile
from acf_edge.engine.trt.targets import RTX
from acf_edge.errors import InputError
from acf_edge.files import atomic_folder
from acf_edge.handover.source import (
    CPU,
    INPUT,
    OUTPUT,
    check_name,
    default_name,
    profiles_of,
    take_bundle,
    take_library,
    uses_dla,
)
from acf_edge.handover.textproto import Message, Word, write_message

CONFIG_FILE = "config.pbtxt"
README_FILE = "README.md"
_UINT8 = Word("TYPE_UINT8")
_WARM_UPS = 3


@dataclass(frozen=True)
class TritonModel:
    """What was written.

    Attributes:
        folder: of the model, in the repository.
        name: of the model.
        command: the command line that serves the repository, as words.
        notes: what has to be known.
    """

    folder: Path
    name: str
    command: tuple[str, ...]
    notes: tuple[str, ...]


def export_triton(
    source: Path, repository: Path, name: str | None = None, library: Path | None = None
) -> TritonModel:
    """Write a model into a model repository, whole or not at all; others in it are left alone.

    Args:
        source: the bundle: with a TensorRT plan, or for a CPU.
        repository: the folder; made where it is not there.
        name: of the model; None = network, scale, precision and target.
        library: ``libacf_plugins_preload.so``; needed where the engine runs plugins.

    Raises:
        InputError: no such bundle, one without a plan or for TensorRT-RTX, plugins without their
            library, a name that is taken by something else, a place that cannot be written.
    """
    bundle = take_bundle(source)
    passport = bundle.passport
    name = check_name(default_name(passport) if name is None else name)
    plugins = _plugins(bundle, library)
    model = bundle.read(MODEL_FILE if passport.backend == CPU else _plan(bundle))
    folder = repository / name
    if folder.exists() and not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"'{folder}' is there already and is no model of Triton.", "Give another --name."
        )
    config = write_message(model_config(passport, name))
    with atomic_folder(folder) as temporary:
        (temporary / "1").mkdir()
        (temporary / "1" / _file_name(passport)).write_bytes(model)
        (temporary / CONFIG_FILE).write_text(config, encoding="utf-8")
        if plugins is not None:
            shutil.copyfile(plugins.path, temporary / PRELOADED)
        text = _readme(passport, name, plugins is not None)
        (temporary / README_FILE).write_text(text, encoding="utf-8")
    command = _command(str(repository.resolve()), name, plugins is not None)
    return TritonModel(folder, name, command, _notes(passport))


def _plan(bundle: Bundle) -> str:
    passport = bundle.passport
    if passport.backend == RTX:
        raise InputError(
            f"'{bundle.path}' is built for TensorRT-RTX, and Triton runs classic TensorRT.",
            f"On the server: acf-edge build {shlex.quote(str(bundle.path))} -o NEW_BUNDLE "
            "--target auto --runtime tensorrt",
        )
    if PLAN_FILE not in passport.files:
        raise InputError(
            f"'{bundle.path}' holds no engine yet: it is compiled on the GPU that runs it.",
            f"There: acf-edge build {shlex.quote(str(bundle.path))} -o NEW_BUNDLE --target auto",
        )
    return PLAN_FILE


def _plugins(bundle: Bundle, path: Path | None) -> PluginLibrary | None:
    """The library that the engine needs; None where it needs none."""
    passport = bundle.passport
    if passport.plugin_hash is None:
        if path is not None:
            raise InputError(
                f"'{bundle.path}' runs no plugins.", "Leave the plugin library out for it."
            )
        return None
    if path is None:
        raise InputError(
            f"The engine of '{bundle.path}' runs plugins, and no library with them is named.",
            f"Give --plugin-library {PRELOADED}, or build with --no-plugins. {build_hint()}",
        )
    library = take_library(path, passport)
    if library.kernel_hash and passport.kernel_hash not in (None, library.kernel_hash):
        raise InputError(
            f"'{path}' holds other kernels than the engine of '{bundle.path}' was built with.",
            "Build the library and the bundle from the same acf-edge.",
        )
    return library


def _file_name(passport: Passport) -> str:
    return "model.onnx" if passport.backend == CPU else "model.plan"


def model_config(passport: Passport, name: str) -> Message:
    """Triton's ``ModelConfig`` of a bundle, as a message."""
    gpu = passport.backend != CPU
    profiles = profiles_of(passport)
    shape = _shape(profiles) if gpu else [-1, -1, -1, 3]
    enlarged = [shape[0], *(_times(side, passport.scale) for side in shape[1:3]), 3]
    config: dict[str, Any] = {
        "name": name,
        "platform": "tensorrt_plan" if gpu else "onnxruntime_onnx",
        "backend": "tensorrt" if gpu else "onnxruntime",
        # Not one picture per request: no batching at all, so that shapes are whole.
        "max_batch_size": 0,
        "input": [{"name": INPUT, "data_type": _UINT8, "dims": shape}],
        "output": [{"name": OUTPUT, "data_type": _UINT8, "dims": enlarged}],
        "instance_group": [_instances(passport, len(profiles))],
        "model_warmup": [_warm_up(*size) for size in dict.fromkeys(p.optimum for p in profiles)],
    }
    if gpu:
        # Without specifications each profile's graph is of the size that it is tuned for.
        config["optimization"] = {"cuda": {"graphs": not uses_dla(passport)}}
    return config


def _shape(profiles: tuple[SizeProfile, ...]) -> list[int]:
    sizes = {one.optimum for one in profiles if one.fixed}
    if len(sizes) == 1 and all(one.fixed for one in profiles):
        ((width, height),) = sizes
        return [1, height, width, 3]
    return [1, -1, -1, 3]


def _times(side: int, scale: int) -> int:
    return side if side < 0 else side * scale


def _instances(passport: Passport, profiles: int) -> dict[str, Any]:
    if passport.backend == CPU:
        return {"count": 1, "kind": Word("KIND_CPU")}
    group: dict[str, Any] = {
        "count": 1,
        "kind": Word("KIND_GPU"),
        "profile": [str(index) for index in range(profiles)],
    }
    if uses_dla(passport):
        group["secondary_devices"] = [{"kind": Word("KIND_NVDLA"), "device_id": 0}]
    return group


def _warm_up(width: int, height: int) -> dict[str, Any]:
    """A few pictures of a usual size, before the first request waits for them."""
    picture = {"data_type": _UINT8, "dims": [1, height, width, 3], "random_data": True}
    return {
        "name": f"{width}x{height}",
        "batch_size": 1,
        "inputs": [{"key": INPUT, "value": picture}],
        "count": _WARM_UPS,
    }


def _command(repository: str, name: str, plugins: bool) -> tuple[str, ...]:
    words = ["tritonserver", f"--model-repository={repository}"]
    if plugins:
        words.append(f"--backend-config=tensorrt,plugins={repository}/{name}/{PRELOADED}")
    return tuple(words)


def _notes(passport: Passport) -> tuple[str, ...]:
    if passport.backend == CPU:
        return ()
    where = passport.device or f"SM {passport.sm}"
    return (
        f"The server's TensorRT has to be {passport.tensorrt_version}, its GPU: {where}. "
        "Another one refuses the plan.",
    )


def _readme(passport: Passport, name: str, plugins: bool) -> str:
    served = " ".join(
        f'"{word}"' if "$" in word else word for word in _command("$PWD", name, plugins)
    )
    preloaded = (
        f"\nor, where the server takes no such option:\n\n"
        f'    LD_PRELOAD="$PWD/{name}/{PRELOADED}" tritonserver "--model-repository=$PWD"\n\n'
        "A library that cannot be opened is only an error line in Triton's log; the model then "
        "fails to load.\n"
        if plugins
        else ""
    )
    sizes = ", ".join(str(profile) for profile in profiles_of(passport))
    taken = f"sizes {sizes}" if passport.input_profiles else "any size"
    notes = "".join(f"\n{note}\n" for note in _notes(passport))
    return f"""# {name}

{passport.name}, for {passport.target}: enlarges RGB pictures {passport.scale} times.

| tensor | type | shape | |
|---|---|---|---|
| `{INPUT}` | UINT8 | `[1, H, W, 3]` | RGB, rows from the top; {taken} |
| `{OUTPUT}` | UINT8 | `[1, {passport.scale} H, {passport.scale} W, 3]` | RGB |

In the repository's folder (the one above this):

    {served}
{preloaded}{notes}"""
