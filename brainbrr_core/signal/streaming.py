"""Stored samples in standard deviations, written past the caches of the processor."""

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
from brainbrr_core.signal.vectors import Generator, data_of, repeated, vector_at

#: Samples of one instruction, and the bytes at multiples of which it must write.
_WIDTH, _ALIGNMENT = 16, 64


@intrinsic
def _write(
    _context: BaseContext,
    stored: types.Array,
    first: types.Integer,
    steps: types.Integer,
    scale: types.Float,
    out: types.Array,
    start: types.Integer,
) -> tuple[Signature, Generator]:
    """Write ``steps`` times 16 samples of ``stored`` from ``first`` on, times ``scale``.

    They go to ``out`` from ``start`` on, which must lie at a multiple of 64 bytes.
    """

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: Sequence[ir.Value],
    ) -> ir.Value:
        stored = data_of(context, builder, signature.args[0], arguments[0])
        out = data_of(context, builder, signature.args[4], arguments[4])
        short, wide, single = (
            ir.VectorType(kind, _WIDTH) for kind in (ir.IntType(16), ir.IntType(32), ir.FloatType())
        )
        factor = repeated(builder, arguments[3], single)
        past_caches = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        with cgutils.for_range(builder, arguments[2]) as loop:
            offset = builder.mul(loop.index, ir.Constant(loop.index.type, _WIDTH))
            source = vector_at(builder, stored, builder.add(arguments[1], offset), short)
            samples = builder.sext(builder.load(source, align=2), wide)
            target = vector_at(builder, out, builder.add(arguments[5], offset), single)
            product = builder.fmul(builder.sitofp(samples, single), factor)
            store = builder.store(product, target, align=_ALIGNMENT)
            store.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.void(stored, first, steps, scale, out, start), generate


@intrinsic
def _complete(_context: BaseContext) -> tuple[Signature, Generator]:
    """Wait until every thread sees what was written: such writes are in no order with others."""

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        _signature: Signature,
        _arguments: Sequence[ir.Value],
    ) -> ir.Value:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@compiled
def widen_past_caches(
    blocks: NDArray[np.int16], scale: np.float32, out: NDArray[np.float32], first: int
) -> None:  # pragma: no cover - compiled
    """Write what ``signal.quantization.widen`` writes, without a place in the processor's caches.

    For more samples than caches hold: otherwise the processor reads what was in memory before it
    overwrites it. ``blocks`` and ``out`` are contiguous.
    """
    count, channels, length = blocks.shape
    samples = out.shape[1]
    stored, made = blocks.reshape(-1), out.reshape(-1)
    # Otherwise no instruction of this kind may write there.
    aligned = out.ctypes.data % _ALIGNMENT == 0 and samples % _WIDTH == 0 and length % _WIDTH == 0
    for block in range(count):
        for channel in range(channels):
            source = (block * channels + channel) * length
            target = channel * samples + (first + block) * length
            if aligned:
                _write(stored, source, length // _WIDTH, scale, made, target)
            else:
                for t in range(length):
                    made[target + t] = np.float32(stored[source + t]) * scale
    # Once for all: after each row, it would add a third to the time.
    _complete()
