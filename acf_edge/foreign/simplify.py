"""The same network in fewer and quicker operations; every rewriting is exact but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from acf_edge.foreign.steps import Array, Step, Steps, Value, is_value

PICTURE = 0
"""The value that is the network's input."""
COLOURS = 3
ANCHOR = "(anchor)"
"""Module path of the picture that a network adds its result to; no real module is called so."""


def simplify(steps: Steps) -> int:
    """Rewrite a network in place.

    * Factors and sums with constants go into the convolutions beside them.
    * Leaky slopes that are all equal are one slope; slopes above one are turned below it.
    * A picture repeated to the result's size is added before the shuffle to pixels, not after.
    * Shuffles get the order of channels in which a channels-last engine moves whole runs.
    * The last shuffle and the last clipping are left to the picture's end of the graph.

    Returns:
        By how much the last shuffle enlarges: the result's channels are ordered row, column,
        colour. 1 if there is none.
    """
    _until_settled(steps, (_fold_behind, _fold_before, _one_slope))
    for rewriting in (_turn_slopes, _anchor_before_shuffle, _anchor_by_gathering, _drop_last_clip):
        rewriting(steps)
    factor = _drop_last_shuffle(steps)
    _order_shuffles(steps)
    steps.sweep()
    return factor


def _until_settled(steps: Steps, rewritings: tuple[Callable[[Steps], bool], ...]) -> None:
    changed = True
    while changed:
        changed = False
        for rewriting in rewritings:
            changed |= rewriting(steps)
        steps.sweep()


def _per_channel(value: Value | None, channels: int) -> Array | None:
    """A constant as one number per channel, if it is that."""
    if not isinstance(value, np.ndarray):
        return None
    shape = (1,) * (4 - value.ndim) + value.shape
    if value.ndim > 4 or shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(value.reshape(-1), (channels,)).astype(np.float32)


def _weight(step: Step) -> Array:
    weight = step.inputs[1]
    assert isinstance(weight, np.ndarray)
    return weight


def _set_bias(step: Step, bias: Array) -> None:
    step.inputs = [*step.inputs[:2], bias.astype(np.float32)]


def _bias(step: Step) -> Array:
    bias = step.inputs[2] if len(step.inputs) > 2 else None
    return bias if isinstance(bias, np.ndarray) else np.zeros(len(_weight(step)), np.float32)


def _scale_rows(step: Step, factor: Array) -> None:
    """Multiply a convolution's output channels."""
    step.inputs[1] = _weight(step) * factor[:, None, None, None]
    if len(step.inputs) > 2:
        _set_bias(step, _bias(step) * factor)


def _scale_columns(step: Step, factor: Array) -> None:
    """Multiply a convolution's input channels."""
    weight, groups = _weight(step), int(step.attributes["group"])
    table = factor.reshape(groups, weight.shape[1])
    rows = np.repeat(table, len(weight) // groups, axis=0)
    step.inputs[1] = weight * rows[:, :, None, None]


def _inputs_of(step: Step) -> int:
    return int(_weight(step).shape[1] * step.attributes["group"])


def _fold_behind(steps: Steps) -> bool:
    """Convolution, then times or plus a constant."""
    makers, uses, changed = steps.makers(), steps.uses(), False
    for step in steps.steps:
        if step.op not in ("Mul", "Add") or not isinstance(step.inputs[0], int):
            continue
        conv = makers.get(step.inputs[0])
        if conv is None or conv.op != "Conv" or uses[conv.output] != 1:
            continue
        numbers = _per_channel(step.inputs[1], len(_weight(conv)))
        if numbers is None:
            continue
        if step.op == "Mul":
            _scale_rows(conv, numbers)
        else:
            _set_bias(conv, _bias(conv) + numbers)
        # The sum's number lives on as the convolution's.
        conv.outputs, step.outputs = step.outputs, []
        makers[conv.output] = conv
        changed = True
    steps.steps = [step for step in steps.steps if step.outputs]
    return changed


def _fold_before(steps: Steps) -> bool:
    """Times a constant, then convolutions alone. (Plus does not go: their padding is zero.)"""
    users, changed = steps.users(), False
    for step in steps.steps:
        if step.op != "Mul" or not isinstance(step.inputs[0], int):
            continue
        takers = users.get(step.output, [])
        if step.output == steps.result or not takers or any(t.op != "Conv" for t in takers):
            continue
        channels = _inputs_of(takers[0])
        numbers = _per_channel(step.inputs[1], channels)
        if numbers is None:
            continue
        for taker in takers:
            _scale_columns(taker, numbers)
            taker.inputs[0] = step.inputs[0]
        users.setdefault(step.inputs[0], []).extend(takers)
        changed = True
    return changed


def _one_slope(steps: Steps) -> bool:
    changed = False
    for step in steps.steps:
        slopes = step.inputs[1] if step.op == "PRelu" else None
        if isinstance(slopes, np.ndarray) and slopes.size and (slopes == slopes.flat[0]).all():
            slope = float(slopes.flat[0])
            step.op, step.inputs = ("LeakyRelu" if slope else "Relu"), step.inputs[:1]
            step.attributes = {"alpha": slope} if slope else {}
            changed = True
    return changed


def _turn_slopes(steps: Steps) -> None:
    """Channels whose slope is above one change sign: ``prelu(y, a) = -a * prelu(-y, 1 / a)``."""
    makers, users, uses = steps.makers(), steps.users(), steps.uses()
    for step in steps.steps:
        slopes = step.inputs[1] if step.op == "PRelu" else None
        if not isinstance(slopes, np.ndarray) or not (slopes > 1.0).any():
            continue
        assert isinstance(step.inputs[0], int)
        conv, takers = makers.get(step.inputs[0]), users.get(step.output, [])
        if conv is None or conv.op != "Conv" or uses[conv.output] != 1:
            continue
        if step.output == steps.result or any(t.op != "Conv" for t in takers):
            continue
        flat = slopes.reshape(-1)
        steep = flat > 1.0
        _scale_rows(conv, np.where(steep, -1.0, 1.0).astype(np.float32))
        for taker in takers:
            _scale_columns(taker, np.where(steep, -flat, 1.0).astype(np.float32))
        turned = np.where(steep, 1.0 / np.where(steep, flat, 1.0), flat)
        step.inputs[1] = turned.astype(np.float32).reshape(slopes.shape)


def _anchor_before_shuffle(steps: Steps) -> None:
    """``shuffle(y) + enlarge(picture)`` is ``shuffle(y + repeat(picture))``."""
    makers, uses = steps.makers(), steps.uses()
    for index, step in enumerate(steps.steps):
        if step.op != "Add" or not all(isinstance(value, int) for value in step.inputs):
            continue
        pair = [makers.get(value) for value in step.inputs if isinstance(value, int)]
        pair.sort(key=lambda maker: maker is None or maker.op != "DepthToSpace")
        shuffle, base = pair
        if shuffle is None or base is None or shuffle.op != "DepthToSpace":
            continue
        factor = int(shuffle.attributes["blocksize"])
        if not _enlarges(base, factor) or uses[shuffle.output] != 1:
            continue
        maker = makers.get(shuffle.inputs[0]) if isinstance(shuffle.inputs[0], int) else None
        if maker is None or maker.op != "Conv" or len(_weight(maker)) != COLOURS * factor**2:
            continue
        total = steps.number()
        anchor = Step("Conv", ANCHOR, [], [steps.number()])
        _repeat_picture(anchor, factor)
        added = Step("Add", step.module, [shuffle.inputs[0], anchor.output], [total])
        step.op, step.attributes, step.module = "DepthToSpace", shuffle.attributes, shuffle.module
        step.inputs = [total]
        steps.steps[index:index] = [anchor, added]
        steps.sweep()
        return


def _anchor_by_gathering(steps: Steps) -> None:
    """The same for networks that repeat the picture's channels themselves."""
    if any(step.module == ANCHOR for step in steps.steps):
        return
    for step in steps.steps:
        index = step.inputs[1] if step.op == "Gather" and len(step.inputs) > 1 else None
        if not isinstance(index, np.ndarray) or not is_value(step.inputs[0], PICTURE):
            continue
        factor = round((index.size / COLOURS) ** 0.5)
        if np.array_equal(index, np.repeat(np.arange(COLOURS), factor**2)):
            _repeat_picture(step, factor)
            return


def _repeat_picture(step: Step, factor: int) -> None:
    """Make a step the convolution that repeats every colour ``factor`` x ``factor`` times."""
    weight = np.repeat(np.eye(COLOURS, dtype=np.float32), factor**2, axis=0)[:, :, None, None]
    step.op, step.module, step.inputs = "Conv", ANCHOR, [PICTURE, weight]
    sides: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1]}
    step.attributes = {**sides, "pads": [0, 0, 0, 0], "group": 1}
    step.macs = Fraction(weight.size)


def _enlarges(step: Step, factor: int) -> bool:
    """Whether a step repeats the picture's pixels ``factor`` x ``factor`` times."""
    if step.op != "Resize" or not is_value(step.inputs[0], PICTURE):
        return False
    if step.attributes["mode"] != "nearest":
        return False
    factors = step.inputs[2]
    return isinstance(factors, np.ndarray) and factors.tolist() == [1, 1, factor, factor]


def _drop_last_clip(steps: Steps) -> None:
    """The picture's end of the graph clips to 0..1 anyway."""
    last = steps.makers().get(steps.result)
    if last is None or last.op != "Clip" or not isinstance(last.inputs[0], int):
        return
    ends = [float(end) for end in last.inputs[1:] if isinstance(end, np.ndarray)]
    if ends == [0.0, 1.0]:
        steps.result = last.inputs[0]
        steps.sweep()


def _drop_last_shuffle(steps: Steps) -> int:
    last = steps.makers().get(steps.result)
    if last is None or last.op != "DepthToSpace" or not isinstance(last.inputs[0], int):
        return 1
    factor = int(last.attributes["blocksize"])
    if last.attributes["mode"] == "CRD" and not _reorder(steps, last.inputs[0], factor):
        return 1
    steps.result = last.inputs[0]
    steps.sweep()
    return factor


def _order_shuffles(steps: Steps) -> None:
    for step in steps.steps:
        if step.op == "DepthToSpace" and step.attributes["mode"] == "CRD":
            assert isinstance(step.inputs[0], int)
            if _reorder(steps, step.inputs[0], int(step.attributes["blocksize"])):
                step.attributes = {**step.attributes, "mode": "DCR"}


def _reorder(steps: Steps, value: int, factor: int) -> bool:
    """Let a value's channels come ordered row, column, channel instead of channel, row, column.

    Returns:
        Whether it could be done: the value comes from convolutions, alone or added up, and has
        one user.
    """
    makers, uses = steps.makers(), steps.uses()
    found: list[Step] = []
    queue = [value]
    while queue:
        number = queue.pop()
        maker = makers.get(number)
        if maker is None or uses[number] != 1:
            return False
        if maker.op == "Conv" and maker.attributes["group"] == 1:
            found.append(maker)
        elif maker.op == "Add" and all(isinstance(v, int) for v in maker.inputs):
            queue += [v for v in maker.inputs if isinstance(v, int)]
        else:
            return False
    for conv in found:
        weight = _weight(conv)
        order = np.arange(len(weight)).reshape(-1, factor**2).T.reshape(-1)
        bias = _bias(conv)[order] if len(conv.inputs) > 2 else None
        conv.inputs[1] = np.ascontiguousarray(weight[order])
        if bias is not None:
            _set_bias(conv, bias)
    return True
