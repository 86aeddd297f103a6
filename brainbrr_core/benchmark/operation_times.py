"""Where a network spends its time on the CPU, by kind of operation, from torch's profiler.

The projections of the Mamba-2 layers are the network's only plain matrix products, so their time
is that of ``mm``, and the speed of one large matrix product of the same precision is their upper
limit. Batched products belong to the recurrence; its exponentials and sums are elementwise and
count among the others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

#: Kinds of operations, with torch's names of the operations; all others are "other".
KINDS: dict[str, tuple[str, ...]] = {
    "projections": ("aten::mm",),
    "convolutions": (
        "aten::mkldnn_convolution",
        "aten::convolution_backward",
        "aten::_slow_conv2d_forward",
        "aten::_slow_conv2d_backward",
    ),
    "batched products": ("aten::bmm", "aten::baddbmm"),
}
REST = "other"
_STEPS = 5


def operation_times(step: Callable[[], None]) -> dict[str, float]:
    """Seconds of one call of ``step`` by kind of operation: the mean of some calls."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(_STEPS):
            step()
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    seconds = dict.fromkeys([*KINDS, REST], 0.0)
    for row in profiled.key_averages():
        seconds[kind_of.get(row.key, REST)] += row.self_cpu_time_total / 1e6 / _STEPS
    return seconds


def operations_of_projections(step: Callable[[], None]) -> int:
    """Floating-point operations of the projections in one call of ``step``."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_flop_counts()["Global"].get(torch.ops.aten.mm, 0))
