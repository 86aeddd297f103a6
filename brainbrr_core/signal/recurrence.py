"""Second-order filter sections over many channels, the same to the last bit on every processor.

A recursive filter needs each output for the next one, so a processor has to wait for each step. It
computes the channels side by side meanwhile, which are independent: 20 of them lie next to each
other in memory, and the state of all stays in registers. No operation is fused or reordered.
"""

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
from brainbrr_core.signal.vectors import (
    Generator,
    data_of,
    element,
    repeated,
    shuffled,
    vector_at,
)

#: Channels of one instruction, and channels that are filtered side by side.
_WIDTH, _LANES = 4, 20
#: Samples after which a state that has faded becomes zero, and samples that fit into the nearest
#: memory of a processor with all lanes.
_TILE, _PART = 512, 128

_SINGLES, _DOUBLES = (ir.VectorType(kind, _WIDTH) for kind in (ir.FloatType(), ir.DoubleType()))


def _transposed(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """The columns of four vectors of four elements."""
    a, b, c, d = rows
    left = [shuffled(builder, one, two, (0, 4, 1, 5)) for one, two in ((a, b), (c, d))]
    right = [shuffled(builder, one, two, (2, 6, 3, 7)) for one, two in ((a, b), (c, d))]
    return [
        shuffled(builder, upper, lower, lanes)
        for upper, lower in (left, right)
        for lanes in ((0, 1, 4, 5), (2, 3, 6, 7))
    ]


@intrinsic
def _filter_lanes(
    _context: BaseContext,
    work: types.Array,
    size: types.Integer,
    coefficients: types.Array,
    state: types.Array,
) -> tuple[Signature, Generator]:
    """Run one section over ``work`` (``size``, 20) in place, in transposed direct form II.

    ``coefficients`` are b0, b1, b2, a1 and a2, ``state`` is (2, 20); all float64 and contiguous.
    """

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: Sequence[ir.Value],
    ) -> ir.Value:
        work, coefficients, state = (
            data_of(context, builder, signature.args[n], arguments[n]) for n in (0, 2, 3)
        )
        b0, b1, b2, a1, a2 = (
            repeated(builder, element(builder, coefficients, n), _DOUBLES) for n in range(5)
        )
        stored = [vector_at(builder, state, n, _DOUBLES) for n in range(0, 2 * _LANES, _WIDTH)]
        # Variables that LLVM keeps in registers.
        kept = [
            cgutils.alloca_once_value(builder, builder.load(pointer, align=8)) for pointer in stored
        ]
        half = len(kept) // 2
        with cgutils.for_range(builder, arguments[1]) as loop:
            sample = builder.mul(loop.index, ir.Constant(loop.index.type, _LANES))
            for number, (one, two) in enumerate(zip(kept[:half], kept[half:], strict=True)):
                lane = builder.add(sample, ir.Constant(sample.type, number * _WIDTH))
                at = vector_at(builder, work, lane, _DOUBLES)
                x = builder.load(at, align=8)
                y = builder.fadd(builder.fmul(b0, x), builder.load(one))
                builder.store(y, at, align=8)
                difference = builder.fsub(builder.fmul(b1, x), builder.fmul(a1, y))
                builder.store(builder.fadd(difference, builder.load(two)), one)
                builder.store(builder.fsub(builder.fmul(b2, x), builder.fmul(a2, y)), two)
        for pointer, value in zip(stored, kept, strict=True):
            builder.store(builder.load(value), pointer, align=8)
        return context.get_dummy_value()

    return types.void(work, size, coefficients, state), generate


def _transposing(
    samples: types.Array,
    starts: types.Array,
    work: types.Array,
    lane: types.Integer,
    fours: types.Integer,
    *,
    back: bool,
) -> tuple[Signature, Generator]:
    """How four lanes of ``work`` are copied from four rows of ``samples``, or ``back`` to them."""

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: Sequence[ir.Value],
    ) -> ir.Value:
        samples, starts, work = (
            data_of(context, builder, signature.args[n], arguments[n]) for n in range(3)
        )
        rows = [builder.gep(samples, [element(builder, starts, row)]) for row in range(_WIDTH)]
        with cgutils.for_range(builder, arguments[4]) as loop:
            sample = builder.mul(loop.index, ir.Constant(loop.index.type, _WIDTH))
            of_rows = [vector_at(builder, row, sample, _SINGLES) for row in rows]
            of_lanes = []
            for n in range(_WIDTH):
                number = builder.add(sample, ir.Constant(sample.type, n))
                first = builder.mul(number, ir.Constant(sample.type, _LANES))
                of_lanes.append(
                    vector_at(builder, work, builder.add(first, arguments[3]), _DOUBLES)
                )
            if back:
                doubles = [builder.load(pointer, align=8) for pointer in of_lanes]
                singles = [builder.fptrunc(vector, _SINGLES) for vector in doubles]
                for vector, pointer in zip(_transposed(builder, singles), of_rows, strict=True):
                    builder.store(vector, pointer, align=4)
            else:
                singles = [builder.load(pointer, align=4) for pointer in of_rows]
                for vector, pointer in zip(_transposed(builder, singles), of_lanes, strict=True):
                    builder.store(builder.fpext(vector, _DOUBLES), pointer, align=8)
        return context.get_dummy_value()

    return types.void(samples, starts, work, lane, fours), generate


@intrinsic
def _to_lanes(
    _context: BaseContext,
    samples: types.Array,
    starts: types.Array,
    work: types.Array,
    lane: types.Integer,
    fours: types.Integer,
) -> tuple[Signature, Generator]:
    """Copy ``4 * fours`` float32 from each of four rows of ``samples`` to four lanes of ``work``.

    ``starts`` (4,) are the rows' positions in ``samples``, ``lane`` is the first of the lanes.
    """
    return _transposing(samples, starts, work, lane, fours, back=False)


@intrinsic
def _from_lanes(
    _context: BaseContext,
    samples: types.Array,
    starts: types.Array,
    work: types.Array,
    lane: types.Integer,
    fours: types.Integer,
) -> tuple[Signature, Generator]:
    """Copy four lanes of ``work``, rounded to float32, back to where :func:`_to_lanes` read."""
    return _transposing(samples, starts, work, lane, fours, back=True)


@compiled
def filter_in_place(
    samples: NDArray[np.float32], sos: NDArray[np.float64], state: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Filter ``samples`` (channels, n), contiguous, in place; ``state`` serves the next call.

    Transposed direct form II with state in float64: float32 state in transfer-function form is
    5.7 µV off on clinical EEG. ``sos`` are second-order sections (s, 6), ``state`` is (s, channels,
    2). After a signal has become zero, the state would fade into numbers so small that processors
    take 100 times as long for each: it is zero from 1e-30 µV on.
    """
    channels, count = samples.shape
    sections = sos.shape[0]
    flat = samples.reshape(-1)
    coefficients = np.empty((sections, 5))
    for section in range(sections):
        for n in range(5):
            # The denominator begins with 1.
            coefficients[section, n] = sos[section, n if n < 3 else n + 1]
    work = np.empty((_PART, _LANES))
    kept = np.empty((sections, 2, _LANES))
    # Lanes without a channel repeat the last one: they write what that writes.
    rows = np.empty(_LANES, np.int64)
    starts = np.empty(_WIDTH, np.int64)
    for first in range(0, channels, _LANES):
        for lane in range(_LANES):
            rows[lane] = min(first + lane, channels - 1)
            for section in range(sections):
                for n in range(2):
                    kept[section, n, lane] = state[section, rows[lane], n]
        for begin in range(0, count, _PART):
            size = min(_PART, count - begin)
            fours = size // _WIDTH
            for lane in range(0, _LANES, _WIDTH):
                for n in range(_WIDTH):
                    starts[n] = rows[lane + n] * count + begin
                _to_lanes(flat, starts, work, lane, fours)
            for t in range(fours * _WIDTH, size):
                for lane in range(_LANES):
                    work[t, lane] = samples[rows[lane], begin + t]
            for section in range(sections):
                _filter_lanes(work, size, coefficients[section], kept[section])
            for lane in range(0, _LANES, _WIDTH):
                for n in range(_WIDTH):
                    starts[n] = rows[lane + n] * count + begin
                _from_lanes(flat, starts, work, lane, fours)
            for t in range(fours * _WIDTH, size):
                for lane in range(_LANES):
                    samples[rows[lane], begin + t] = work[t, lane]
            if (begin + size) % _TILE == 0 or begin + size == count:
                for section in range(sections):
                    for n in range(2):
                        for lane in range(_LANES):
                            value = kept[section, n, lane]
                            kept[section, n, lane] = value if abs(value) > 1e-30 else 0.0
        for section in range(sections):
            for lane in range(min(_LANES, channels - first)):
                for n in range(2):
                    state[section, first + lane, n] = kept[section, n, lane]
