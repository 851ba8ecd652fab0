"""Twice the workspace of a profile's largest picture is enough for every smaller one.

TensorRT asks once, with the largest shapes, and hands the same memory to every call. A smaller
picture can be cut into more parts, whose sums need room; both plugins ask for twice the largest's.
"""

from __future__ import annotations

import pytest

from acf_edge.cuda.operators import Dtype, Layout, plan_attention, plan_junction_vote

# Around where parts of a picture begin to hold more pixels than the least, and at random.
PIXELS = (
    *(1, 340, 5000, 65536, 65537, 131072, 131073, 174079, 174080, 174081, 262144, 262145),
    *(348160, 348161, 522240, 522241, 921600, 1048576, 1048577, 2097152, 2097153, 3686400),
)
FORMS: tuple[tuple[Dtype, Layout], ...] = (
    ("fp16", "nhwc"),
    ("fp16", "nchw"),
    ("fp32", "nchw"),
    ("fp32", "nhwc"),
    ("int8", "chw32"),
    ("int8", "nhwc"),
)


@pytest.mark.parametrize("channels", [1, 8, 33, 600])
@pytest.mark.parametrize(("dtype", "layout"), FORMS)
def test_no_smaller_picture_needs_more_than_twice_the_largest(
    dtype: Dtype, layout: Layout, channels: int
) -> None:
    scales = (0.1, 0.1, 0.1) if dtype == "int8" else (0.0, 0.0, 0.0)
    votes = [
        plan_junction_vote(1, channels, 3, 1, pixels, dtype, layout, scales=scales).workspace
        for pixels in PIXELS
    ]
    gates = [
        plan_attention(2, channels, 8, 1, pixels, dtype, layout, scales=scales).workspace
        for pixels in PIXELS
    ]

    for rooms in (votes, gates):
        for last, room in enumerate(rooms):
            assert max(rooms[:last], default=0) <= 2 * room
