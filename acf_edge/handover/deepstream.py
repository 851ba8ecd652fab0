"""A folder for DeepStream's ``nvinfer``: model, configuration, the command that makes the engine.

Facts that decide what is written (the plugin's manual and its source, read):

* ``nvinfer`` gives planar float pictures and hands out the raw output as tensor meta
  (``network-type=100``, ``output-tensor-meta=1``).
* ``custom-lib-path`` is opened with ``dlopen``, so the library registers its plugins by itself.
* Left to itself, ``nvinfer`` before the key ``strongly-typed`` builds with types of its own choice.
  So the engine is made by ``trtexec`` and named in ``model-engine-file``. A version that does not
  know the key says so on stderr and goes on.
* Paths are relative to the configuration file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acf_edge.engine.bundle import MODEL_FILE, PLUGIN_FILE, Bundle
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.plugin_library import PRELOADED, PluginLibrary
from acf_edge.engine.trt.profiles import SizeProfile, check_scale, parse_profile
from acf_edge.engine.trt.targets import TARGETS
from acf_edge.errors import InputError
from acf_edge.files import atomic_folder
from acf_edge.handover.planar import planar_ends
from acf_edge.handover.readme import deepstream_readme
from acf_edge.handover.source import (
    CPU,
    OUTPUT,
    default_name,
    profiles_of,
    take_bundle,
    take_library,
    uses_dla,
)

CONFIG_FILE = "config_infer.txt"
SCRIPT_FILE = "build_engine.sh"
README_FILE = "README.md"
# nvinfer's numbers; they count only where it builds an engine itself.
_MODES = {"fp32": 0, "int8": 1, "fp16": 2, "fp8": 3}
_OTHER_NETWORK = 100


@dataclass(frozen=True)
class DeepStreamFolder:
    """What was written.

    Attributes:
        folder: where.
        width, height: of the pictures that the network takes, in pixels.
        command: the command that makes the engine, as words.
        notes: what has to be known.
    """

    folder: Path
    width: int
    height: int
    command: tuple[str, ...]
    notes: tuple[str, ...]


def export_deepstream(
    source: Path, folder: Path, size: str | None = None, library: Path | None = None
) -> DeepStreamFolder:
    """Write a folder for ``nvinfer``, whole or not at all.

    Args:
        source: a bundle for a GPU; its engine is not needed.
        folder: where; one that this function wrote before is replaced.
        size: of the pictures, ``"WIDTHxHEIGHT"``; None = the usual size of the bundle.
        library: ``libacf_plugins_preload.so``; None = the operators are inlined.

    Raises:
        InputError: a bundle for a CPU, a library that does not fit or a bundle without the form
            for plugins, a size that is not understood, a folder that holds something else.
        MissingExtraError: the package onnx is not installed.
    """
    bundle = take_bundle(source)
    passport = bundle.passport
    if passport.backend == CPU:
        raise InputError(
            f"'{source}' is built for a CPU, and DeepStream runs TensorRT.",
            "Build from the checkpoint: acf-edge build CHECKPOINT -o BUNDLE --target ...",
        )
    profile = _size(passport, size)
    plugins = None if library is None else _library(bundle, library)
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG_FILE).is_file():
        raise InputError(f"'{folder}' holds something else already.", "Name another folder.")
    width, height = profile.optimum
    model = bundle.read(PLUGIN_FILE if plugins else MODEL_FILE)
    onnx = planar_ends(model, width, height, passport.scale)
    names = _Names.of(passport, width, height)
    words = _trtexec(passport, names)
    command = ("env", f"LD_PRELOAD=./{PRELOADED}", *words) if plugins else words
    script = _SCRIPT.format(
        engine=names.engine,
        preload=_PRELOAD if plugins else "",
        words=" \\\n    ".join(words[1:]),
    )
    config = _key_file({"property": _properties(passport, names, plugins is not None)})
    with atomic_folder(folder) as temporary:
        (temporary / names.model).write_bytes(onnx)
        (temporary / CONFIG_FILE).write_text(config, encoding="utf-8")
        (temporary / SCRIPT_FILE).write_text(script, encoding="utf-8")
        (temporary / SCRIPT_FILE).chmod(0o755)
        if plugins is not None:
            shutil.copyfile(plugins.path, temporary / PRELOADED)
        text = deepstream_readme(passport, width, height, plugins is not None)
        (temporary / README_FILE).write_text(text, encoding="utf-8")
    return DeepStreamFolder(folder, width, height, command, _notes(bundle, plugins))


@dataclass(frozen=True)
class _Names:
    """Files of the folder, and the size in pixels that they are for."""

    model: str
    engine: str
    width: int
    height: int

    @classmethod
    def of(cls, passport: Passport, width: int, height: int) -> _Names:
        model = f"{default_name(passport)}-{width}x{height}.onnx"
        # As nvinfer names what it builds: pictures at a time, GPU, precision.
        return cls(model, f"{model}_b1_gpu0_{passport.precision}.engine", width, height)


def _size(passport: Passport, size: str | None) -> SizeProfile:
    profile = profiles_of(passport)[0] if size is None else parse_profile(size)
    if size is not None and not profile.fixed:
        raise InputError(
            f"DeepStream takes pictures of one size, and '{size}' is a range.",
            "Give one, e.g. --size 320x180.",
        )
    width, height = profile.optimum
    fixed = SizeProfile((width, height), (width, height), (width, height))
    check_scale([fixed], passport.scale)
    return fixed


def _library(bundle: Bundle, path: Path) -> PluginLibrary:
    if PLUGIN_FILE not in bundle.passport.files:
        raise InputError(
            f"'{bundle.path}' has no form of its network for plugins.",
            "Leave --plugin-library out: the operators are inlined then.",
        )
    return take_library(path, bundle.passport)


def _properties(passport: Passport, names: _Names, plugins: bool) -> dict[str, object]:
    properties: dict[str, object] = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "process-mode": 1,
        "network-type": _OTHER_NETWORK,
        "output-tensor-meta": 1,
        "batch-size": 1,
        "interval": 0,
        "onnx-file": names.model,
        "model-engine-file": names.engine,
        "network-mode": _MODES[passport.precision],
        "strongly-typed": 1,
        "infer-dims": f"3;{names.height};{names.width}",
        "network-input-order": 0,
        "model-color-format": 0,
        "net-scale-factor": 1.0,
        "maintain-aspect-ratio": 0,
        "output-blob-names": OUTPUT,
    }
    if plugins:
        properties["custom-lib-path"] = PRELOADED
    if uses_dla(passport):
        properties |= {"enable-dla": 1, "use-dla-core": 0}
    return properties


def _key_file(groups: Mapping[str, Mapping[str, object]]) -> str:
    lines = ["# For DeepStream's nvinfer. Written by acf-edge export deepstream.\n"]
    for group, keys in groups.items():
        lines.append(f"[{group}]\n")
        lines += [f"{key}={value}\n" for key, value in keys.items()]
    return "".join(lines)


def _trtexec(passport: Passport, names: _Names) -> tuple[str, ...]:
    words = [
        "trtexec",
        f"--onnx={names.model}",
        f"--saveEngine={names.engine}",
        "--stronglyTyped",
        "--skipInference",
    ]
    target = TARGETS.get(passport.target)
    if target is not None:
        words.append(f"--memPoolSize=workspace:{target.workspace >> 20}M")
    if uses_dla(passport):
        words += ["--useDLACore=0", "--allowGPUFallback"]
    return tuple(words)


def _notes(bundle: Bundle, plugins: PluginLibrary | None) -> tuple[str, ...]:
    notes = ["Make the engine on the GPU that runs it: ./build_engine.sh"]
    if plugins is None and bundle.passport.plugin_hash is not None:
        notes.append(
            "The bundle's own engine runs plugins, this one inlines them: "
            "--plugin-library takes them along."
        )
    return tuple(notes)


_PRELOAD = f'LD_PRELOAD="$PWD/{PRELOADED}${{LD_PRELOAD:+:$LD_PRELOAD}}"\nexport LD_PRELOAD\n'
_SCRIPT = """#!/bin/sh
# Makes {engine}, on the GPU that will run it.
# TRTEXEC names TensorRT's trtexec where it is not in PATH.
set -eu
cd "$(dirname "$0")"
trtexec=${{TRTEXEC:-$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)}}
[ -x "$trtexec" ] || {{ echo "There is no trtexec: set TRTEXEC." >&2; exit 2; }}
{preload}exec "$trtexec" \\
    {words}
"""
