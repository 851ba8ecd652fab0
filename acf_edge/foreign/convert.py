"""From what was recorded to ONNX' operations."""

from __future__ import annotations

from acf_edge.errors import InputError
from acf_edge.foreign.operations import OPERATIONS
from acf_edge.foreign.record import Recording
from acf_edge.foreign.steps import Steps, Value
from acf_edge.foreign.work import Work

_NOTHING = ("alias", "detach", "clone", "contiguous", "lift_fresh")


def convert(recording: Recording, picture: tuple[int, int], name: str) -> Steps:
    """Translate a recording.

    Args:
        recording: of a run on one picture.
        picture: its height and width.
        name: of the network, for messages.

    Raises:
        InputError: an operation that cannot be taken; the message names it and its module.
    """
    work = Work(picture, name)
    for call in recording.calls:
        work.call = call
        _take(work)
    result = work.value(recording.result)
    if not isinstance(result, int) or len(recording.result.shape) != 4:
        raise InputError(f"{name} does not give a picture.", "Give a super-resolution network.")
    steps = Steps(work.steps, result, work.count)
    steps.sweep()
    return steps


def _take(work: Work) -> None:
    """Translate the call at hand."""
    call = work.call
    shapes = [ref.shape for ref in call.outputs]
    idle = call.name.endswith("dropout") and not work.get("train")
    if call.name in _NOTHING or idle:
        results: list[Value] = [work.tensor("self" if work.has("self") else "input")]
    elif call.name in OPERATIONS:
        results = OPERATIONS[call.name](work)
    else:
        raise work.refused()
    if any(len(shape) != 4 for shape in shapes):
        raise work.refused()
    # The places of the largest values come second, and nobody may ask for them.
    for ref, result in zip(call.outputs, results, strict=False):
        work.values[ref.index] = result
