"""The doctor's findings on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acf_edge.profile.doctor import Examination


def doctor_chart(found: Examination) -> RenderableType:
    """Three tables: the machine, the packages, what works and what is missing."""
    title = f"acf-edge {found.version}"
    machine = Table(title=title, show_header=False, title_justify="left", box=None)
    machine.add_column(style="bold", no_wrap=True)
    machine.add_column(overflow="fold")
    facts = {
        "system": f"{found.machine.os}, {found.machine.arch}",
        "CPU": f"{found.machine.cpu}, {found.machine.cores} of its cores usable",
        "instructions": " ".join(found.machine.flags) or "none that matter here",
        "memory": "unknown" if found.machine.memory_gib is None
        else f"{found.machine.memory_gib} GiB",
        "GPU": "; ".join(found.machine.gpus)
        or ("" if found.gpu.devices else "none seen by nvidia-smi"),
        "Jetson": found.machine.jetson,
        "power mode": found.machine.power_mode,
        "Python": found.machine.python,
    }  # fmt: skip
    for name, value in facts.items():
        if value:
            machine.add_row(name, Text(value))
    packages = Table(title="packages", show_header=False, title_justify="left", box=None)
    packages.add_column(style="bold", no_wrap=True)
    packages.add_column()
    for name, version in found.packages.items():
        packages.add_row(name, Text(version or "-"))
    features = Table(title="what works", title_justify="left", box=box.SIMPLE_HEAD)
    features.add_column("", no_wrap=True)
    features.add_column("feature", overflow="fold")
    features.add_column("found", overflow="fold")
    for feature in found.features:
        wrong = Text("missing", "bold red" if feature.core else "yellow")
        features.add_row(
            Text("ok", "green") if feature.ok else wrong,
            Text(feature.name),
            Text.assemble(
                feature.detail, (f"\n{feature.remedy}" if feature.remedy else "", "bold")
            ),
        )
    verdict = (
        Text("The core works.", "green")
        if found.ok
        else Text("The core does not work: see above for the commands.", "bold red")
    )
    return Group(machine, packages, features, verdict)
