"""What is handed over: a bundle, checked for whoever takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from acf_edge.engine.bundle import Bundle, open_bundle
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.plugin_library import PluginLibrary, build_hint, read_library
from acf_edge.engine.trt.profiles import DEFAULT_SIZE, SizeProfile, parse_profile
from acf_edge.engine.trt.targets import CLASSIC, RTX, TARGETS, Target, sm_target
from acf_edge.errors import InputError

INPUT: Final = "image"
OUTPUT: Final = "enhanced"
CPU: Final = "onnxruntime"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def take_bundle(path: Path) -> Bundle:
    """Open a bundle for handing over; every file of it is checked.

    Raises:
        InputError: no bundle, a damaged one, or one for a backend that is not known here.
    """
    bundle = open_bundle(path)
    backend = bundle.passport.backend
    if backend not in (CPU, CLASSIC, RTX):
        raise InputError(
            f"'{path}' is built for the backend '{backend}', which cannot be handed over.",
            f"There are: {CPU}, {CLASSIC}, {RTX}.",
        )
    return bundle


def default_name(passport: Passport) -> str:
    """The name of a model, e.g. ``"acf-t-x4-int8-orin-nano"``."""
    words = f"{passport.name} {passport.target}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-.") or "acf"


def check_name(name: str) -> str:
    """A model's name, which becomes a folder's name.

    Raises:
        InputError: it has other letters than that takes.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be the name of a model.",
            "Use letters, digits, '.', '_' and '-', a letter or a digit first.",
        )
    return name


def profiles_of(passport: Passport) -> tuple[SizeProfile, ...]:
    """The sizes that a bundle is for; where it takes any, the usual ones."""
    found = tuple(SizeProfile.from_passport(one) for one in passport.input_profiles)
    return found or (parse_profile(DEFAULT_SIZE),)


def target_of_passport(passport: Passport) -> Target | None:
    """The board or card of a bundle; None where it is none that is known."""
    if passport.target in TARGETS:
        return TARGETS[passport.target]
    sm = (passport.sm or "").split(",")[0].rstrip("+")
    try:
        return sm_target(sm) if sm else None
    except InputError:
        return None


def uses_dla(passport: Passport) -> bool:
    """Whether a bundle was built for the deep-learning accelerator."""
    return "--dla" in passport.source_command


def take_library(path: Path, passport: Passport) -> PluginLibrary:
    """A plugin library for programs that just open it.

    Args:
        path: the file.
        passport: of the bundle that it is for.

    Raises:
        InputError: no plugin library, one that does not register by itself, or one for another
            machine or another TensorRT.
    """
    library = read_library(path)
    if not library.registers:
        raise InputError(
            f"'{path}' registers its plugins only where it is asked for them.",
            "Give libacf_plugins_preload.so, which the same build makes.",
        )
    target = target_of_passport(passport)
    if target is not None and target.integrated and library.machine != "aarch64":
        raise InputError(
            f"'{path}' is for {library.machine}, and {target.title} is aarch64.",
            "Build it on the board, or with kernels/plugin/aarch64-linux-gnu.cmake.",
        )
    version = passport.tensorrt_version or ""
    major = version.partition(".")[0]
    if library.major is not None and major.isdigit() and int(major) != library.major:
        raise InputError(
            f"'{path}' belongs to TensorRT {library.major}, the engine to TensorRT {version}.",
            build_hint(),
        )
    return library
