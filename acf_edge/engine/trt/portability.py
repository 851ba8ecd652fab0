"""Whether an engine runs on this machine: its passport against what is here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acf_edge.engine.bundle import PLAN_FILE
from acf_edge.engine.passport import Passport
from acf_edge.engine.trt.targets import RTX
from acf_edge.errors import InputError

if TYPE_CHECKING:
    from acf_edge.cuda.driver import Device


@dataclass(frozen=True)
class Machine:
    """What an engine's passport is compared with.

    Attributes:
        backend: ``"tensorrt"`` or ``"tensorrt_rtx"``: the library that is loaded here.
        version: its version in full, e.g. ``"10.3.0.30"``.
        device: name of the GPU; None = there is none.
        sm: its compute capability without the dot, e.g. ``"87"``; None = there is no GPU.
        driver: the CUDA version that the driver serves, e.g. ``"12.6"``; None = no driver.
        cuda: the CUDA version that the library was made for, e.g. ``"13.0"``; None = not known.
        plugin_hash, kernel_hash: of what is installed here.
    """

    backend: str
    version: str
    device: str | None
    sm: str | None
    driver: str | None = None
    cuda: str | None = None
    plugin_hash: str | None = None
    kernel_hash: str | None = None


@dataclass(frozen=True)
class Difference:
    """One thing in which an engine and a machine differ.

    Attributes:
        field: e.g. ``"compute capability"``, ``"TensorRT"``.
        built: what the engine was built for.
        here: what this machine has.
        fatal: it cannot run; otherwise it runs, perhaps slower.
        remedy: what helps where a rebuild does not; empty = rebuild.
    """

    field: str
    built: str
    here: str
    fatal: bool = True
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.field}: built for {self.built}, here {self.here}"


def describe_here(
    backend: str,
    version: str,
    device: Device | None,
    *,
    cuda: str | None = None,
    plugin_hash: str | None = None,
    kernel_hash: str | None = None,
) -> Machine:
    """A :class:`Machine` from an opened GPU (None = there is none)."""
    return Machine(
        backend,
        version,
        device.name if device else None,
        device.sm if device else None,
        device.driver if device else None,
        cuda,
        plugin_hash,
        kernel_hash,
    )


def covers(built: str, sm: str) -> bool:
    """Whether an engine for ``built`` runs on a compute capability.

    Args:
        built: the passport's ``sm``: ``"87"``; several in one engine ``"75,86,120"``; all from
            one on ``"80+"`` (hardware-compatible mode).
        sm: e.g. ``"87"``.
    """
    for part in built.split(","):
        part = part.strip()
        if part == sm:
            return True
        # Boards are left out of the hardware-compatible mode.
        since = part[:-1] if part.endswith("+") else ""
        if since.isdecimal() and sm not in ("87", "110") and int(sm) >= int(since):
            return True
    return False


def differences(passport: Passport, machine: Machine) -> list[Difference]:
    """All in which a passport and a machine differ, what keeps the engine from running first.

    Only what the engine depends on is compared: hashes of the plugin and of the kernels count
    where the passport has them, the device's name where the engine was tuned for one device.
    """
    found = [
        _backend(passport, machine),
        _engine_file(passport),
        _gpu(passport, machine),
        _version(passport, machine),
        _hash("plugin", passport.plugin_hash, machine.plugin_hash),
        _hash("kernels", passport.kernel_hash, machine.kernel_hash),
        _driver(machine),
        _device(passport, machine),
    ]
    return sorted((one for one in found if one is not None), key=lambda one: not one.fatal)


def check_portable(passport: Passport, machine: Machine, what: str) -> list[Difference]:
    """Refuse an engine that cannot run here.

    Args:
        passport: of the engine.
        machine: this one.
        what: the bundle's folder, for the message.

    Returns:
        The differences that do no harm to the result, worth a warning.

    Raises:
        InputError: it cannot run; the message names every reason and the command that rebuilds.
    """
    found = differences(passport, machine)
    fatal = [one for one in found if one.fatal]
    if fatal:
        raise refusal(passport, fatal, what)
    return found


def refusal(passport: Passport, fatal: Sequence[Difference], what: str) -> InputError:
    """The error for differences that keep an engine from running.

    Args:
        passport: of the engine.
        fatal: at least one.
        what: the bundle's folder.
    """
    reasons = "; ".join(str(one) for one in fatal)
    remedies = list(dict.fromkeys(one.remedy for one in fatal if one.remedy))
    if any(not one.remedy for one in fatal):
        # From the bundle's own models: the checkpoint and torch need not be on this machine.
        folder = shlex.quote(what)
        command = f"acf-edge build {folder} -o {folder} --target auto"
        remedies.append(f"Rebuild it here: {command} (or add --rebuild auto).")
    return InputError(
        f"The engine '{what}' ({passport.name}) does not run here ({reasons}).", " ".join(remedies)
    )


def _backend(passport: Passport, machine: Machine) -> Difference | None:
    if passport.backend == machine.backend:
        return None
    remedy = (
        "Install its library: pip install 'acf-edge[rtx]'"
        if passport.backend == RTX
        else "Install its library: on a Jetson it comes with JetPack, "
        "elsewhere: pip install 'acf-edge[tensorrt]'"
    )
    return Difference("library", passport.backend, machine.backend, remedy=remedy)


def _engine_file(passport: Passport) -> Difference | None:
    if not passport.files or PLAN_FILE in passport.files:
        return None
    return Difference("engine file", "compilation on the board itself", "not compiled yet")


def _gpu(passport: Passport, machine: Machine) -> Difference | None:
    built = _sm_words(passport.sm)
    if machine.sm is None:
        remedy = "Run it on a machine with an NVIDIA GPU, or build for the target 'cpu'."
        return Difference("GPU", built, "none", remedy=remedy)
    if passport.sm is None or covers(passport.sm, machine.sm):
        return None
    return Difference("compute capability", built, f"SM {machine.sm} ({machine.device})")


def _version(passport: Passport, machine: Machine) -> Difference | None:
    """The standard runtime wants the very version, build number and all."""
    built = passport.tensorrt_version
    if built is None or passport.backend != machine.backend or built == machine.version:
        return None
    name = "TensorRT-RTX" if passport.backend == RTX else "TensorRT"
    return Difference(name, built, machine.version)


def _hash(name: str, built: str | None, here: str | None) -> Difference | None:
    if built is None or built == here:
        return None
    return Difference(name, built[:12], here[:12] if here else "none")


def _driver(machine: Machine) -> Difference | None:
    if machine.driver is None or machine.cuda is None:
        return None
    # Drivers serve every minor version of a major one (CUDA's minor version compatibility).
    if _major(machine.driver) >= _major(machine.cuda):
        return None
    return Difference(
        "driver",
        f"CUDA {machine.cuda}",
        f"CUDA {machine.driver}",
        remedy="Update the NVIDIA driver (on a Jetson: JetPack).",
    )


def _device(passport: Passport, machine: Machine) -> Difference | None:
    if passport.backend == RTX or passport.device is None or machine.device is None:
        return None
    if passport.device == machine.device or "+" in (passport.sm or ""):
        return None
    return Difference("device", passport.device, machine.device, fatal=False)


def _sm_words(sm: str | None) -> str:
    if sm is None:
        return "any GPU"
    return f"SM {sm[:-1]} and up" if sm.endswith("+") else f"SM {sm.replace(',', ', ')}"


def _major(version: str) -> int:
    head = version.split(".")[0]
    return int(head) if head.isdigit() else 0
