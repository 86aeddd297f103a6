"""Sums and sums of squares of signals, the same to the last bit on every processor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing import Signature
from numba.extending import intrinsic
from numpy.typing import NDArray

from brainbrr_core.machine.compiled import compiled
from brainbrr_core.signal.vectors import Generator, data_of, vector_at

#: Partial sums of a channel, and how many of them one instruction serves.
_LANES, _WIDTH = 16, 4
_SINGLES, _DOUBLES = (ir.VectorType(kind, _WIDTH) for kind in (ir.FloatType(), ir.DoubleType()))


@intrinsic
def _partial_sums(
    _context: BaseContext,
    samples: types.Array,
    start: types.Integer,
    steps: types.Integer,
    sums: types.Array,
) -> tuple[Signature, Generator]:
    """Write each 16th sample's sum, and that of its square, to ``sums`` (2, 16).

    ``samples`` is contiguous float32, read from ``start`` on for ``steps`` times 16 samples.
    """

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: Sequence[ir.Value],
    ) -> ir.Value:
        samples = data_of(context, builder, signature.args[0], arguments[0])
        sums = data_of(context, builder, signature.args[3], arguments[3])
        count = _LANES // _WIDTH
        # Variables that LLVM keeps in registers.
        kept = [
            cgutils.alloca_once_value(builder, ir.Constant(_DOUBLES, None))
            for _ in range(2 * count)
        ]
        with cgutils.for_range(builder, arguments[2]) as loop:
            step = builder.mul(loop.index, ir.Constant(loop.index.type, _LANES))
            first = builder.add(arguments[1], step)
            for n, (total, square) in enumerate(zip(kept[:count], kept[count:], strict=True)):
                position = builder.add(first, ir.Constant(first.type, n * _WIDTH))
                singles = builder.load(vector_at(builder, samples, position, _SINGLES), align=4)
                x = builder.fpext(singles, _DOUBLES)
                builder.store(builder.fadd(builder.load(total), x), total)
                builder.store(builder.fadd(builder.load(square), builder.fmul(x, x)), square)
        for n, value in enumerate(kept):
            target = vector_at(builder, sums, n * _WIDTH, _DOUBLES)
            builder.store(builder.load(value), target, align=8)
        return context.get_dummy_value()

    return types.void(samples, start, steps, sums), generate


@compiled
def add_moments(
    samples: NDArray[np.float32], sums: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Add the sum and sum of squares of each channel (channels, n) to ``sums`` (channels, 2).

    ``samples`` are contiguous. The filters leave no offset, so a plain sum of squares in float64
    loses nothing. Sixteen partial sums let the processor work on several samples at once, in a
    fixed order.
    """
    channels, count = samples.shape
    flat = samples.reshape(-1)
    partial = np.empty((2, _LANES))
    whole = count // _LANES * _LANES
    for channel in range(channels):
        _partial_sums(flat, channel * count, count // _LANES, partial)
        for t in range(whole, count):
            x = np.float64(samples[channel, t])
            partial[0, 0] += x
            partial[1, 0] += x * x
        sums[channel, 0] += partial[0].sum()
        sums[channel, 1] += partial[1].sum()
