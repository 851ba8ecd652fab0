"""The workspace that a plugin asks for at a profile's largest size is enough for every smaller one.

TensorRT asks once, with the largest shapes, and hands the same memory to every call: a smaller
picture whose plan needs more would write beyond it.
"""

from __future__ import annotations

import pytest

from acf_edge.cuda.operators import Dtype, Layout, plan_attention, plan_junction_vote

# Around where parts of a picture begin to hold more pixels than the least.
PIXELS = (1, 340, 5000, 174079, 174080, 174081, 262144, 262145, 348160, 348161, 921600)
FORMS: tuple[tuple[Dtype, Layout], ...] = (
    ("fp16", "nhwc"),
    ("fp16", "nchw"),
    ("fp32", "nchw"),
    ("fp32", "nhwc"),
    ("int8", "chw32"),
)


@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_fewer_pixels_never_need_a_larger_workspace(dtype: Dtype, layout: Layout) -> None:
    scales = (0.1, 0.1, 0.1) if dtype == "int8" else (0.0, 0.0, 0.0)
    votes = [
        plan_junction_vote(1, 8, 3, 1, pixels, dtype, layout, scales=scales).workspace
        for pixels in PIXELS
    ]
    gates = [
        plan_attention(1, 32, 8, 1, pixels, dtype, layout, scales=scales).workspace
        for pixels in PIXELS
    ]

    assert votes == sorted(votes)
    assert gates == sorted(gates)
