"""Products of signals with small matrices, summed in one order on every processor.

A BLAS adds in the order that suits the processor at hand, so its last bits differ from one to
another. Here each output is the sum over the inputs from the first to the last, one fused
multiplication and addition each, which IEEE 754 rounds in one way only. What a processor does at
once are several outputs, never several terms of one sum: so its width changes no bit.
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
from brainbrr_core.signal.product_width import COLUMNS
from brainbrr_core.signal.vectors import (
    HAS_AVX512,
    Generator,
    data_of,
    element,
    repeated,
    vector_at,
)

#: Rows of a matrix's ``COLUMNS`` outputs that are made at a time: as many as the registers hold, or
#: as a processor needs that begins two multiplications in each cycle and ends them four later.
_ROWS = 8 if HAS_AVX512 else 6


@intrinsic
def _rows_of_products(
    _context: BaseContext,
    signal: types.Array,
    starts: types.Array,
    matrix: types.Array,
    out: types.Array,
    targets: types.Array,
) -> tuple[Signature, Generator]:
    """Write ``_ROWS`` times ``signal[start:start + len(matrix)] @ matrix``, (16,), to ``out``.

    ``signal`` and ``out`` are contiguous float32, ``starts`` and ``targets`` (``_ROWS``,) positions
    in them, ``matrix`` (taps, 16) float32.
    """

    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        arguments: Sequence[ir.Value],
    ) -> ir.Value:
        signal, starts, matrix, out, targets = (
            data_of(context, builder, kind, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        )
        shape = context.make_array(signature.args[2])(context, builder, arguments[2]).shape
        [taps, _] = cgutils.unpack_tuple(builder, shape)
        wide = ir.VectorType(ir.FloatType(), COLUMNS)
        sources = [builder.gep(signal, [element(builder, starts, row)]) for row in range(_ROWS)]
        sums = [cgutils.alloca_once_value(builder, ir.Constant(wide, None)) for _ in sources]
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(wide, [wide, wide, wide]), f"llvm.fma.v{COLUMNS}f32"
        )
        with cgutils.for_range(builder, taps) as loop:
            column = builder.mul(loop.index, ir.Constant(loop.index.type, COLUMNS))
            weights = builder.load(vector_at(builder, matrix, column, wide), align=4)
            for source, total in zip(sources, sums, strict=True):
                sample = builder.load(builder.gep(source, [loop.index]))
                same = repeated(builder, sample, wide)
                builder.store(builder.call(fused, [same, weights, builder.load(total)]), total)
        for row, total in enumerate(sums):
            target = vector_at(builder, out, element(builder, targets, row), wide)
            builder.store(builder.load(total), target, align=4)
        return context.get_dummy_value()

    return types.void(signal, starts, matrix, out, targets), generate


@compiled
def banded_products(
    signal: NDArray[np.float32],
    first: int,
    step: int,
    matrix: NDArray[np.float32],
    width: int,
    out: NDArray[np.float32],
    column: int,
) -> None:  # pragma: no cover - compiled
    """Write ``width`` columns of ``signal[channel, first + period * step:] @ matrix`` to ``out``.

    ``signal`` is (channels, n), ``matrix`` (taps, 16), ``out`` (channels, periods, columns), from
    ``column`` on; all are contiguous.
    """
    channels, periods, columns = out.shape
    count = channels * periods
    length = signal.shape[1]
    starts = np.empty(_ROWS, np.int64)
    targets = np.empty(_ROWS, np.int64)
    # Fewer columns than a vector has are written aside first.
    narrow = np.empty(_ROWS * COLUMNS, np.float32)
    aside = COLUMNS * np.arange(_ROWS)
    samples, made = signal.reshape(-1), out.reshape(-1)
    for begin in range(0, count, _ROWS):
        for row in range(_ROWS):
            # The last rows are made again where there are not enough.
            number = min(begin + row, count - 1)
            channel, period = number // periods, number % periods
            starts[row] = channel * length + first + period * step
            targets[row] = number * columns + column
        if width == COLUMNS:
            _rows_of_products(samples, starts, matrix, made, targets)
            continue
        _rows_of_products(samples, starts, matrix, narrow, aside)
        for row in range(_ROWS):
            for n in range(width):
                made[targets[row] + n] = narrow[aside[row] + n]


@compiled
def weighted_sums(
    weights: NDArray[np.float64], signal: NDArray[np.float32], out: NDArray[np.float32]
) -> None:  # pragma: no cover - compiled
    """Write ``weights @ signal``, (rows, channels) and (channels, n), to ``out`` (rows, n)."""
    tile = 512
    totals = np.empty(tile)
    for start in range(0, signal.shape[1], tile):
        size = min(tile, signal.shape[1] - start)
        for row in range(weights.shape[0]):
            totals[:] = 0.0
            for channel in range(weights.shape[1]):
                weight = weights[row, channel]
                for t in range(size):
                    totals[t] += weight * signal[channel, start + t]
            for t in range(size):
                out[row, start + t] = totals[t]


@compiled
def solve(
    system: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Solve ``system @ x = right`` for ``x`` (n, k), by Gaussian elimination with pivots.

    ``system`` (n, n) must not be singular. For small systems: LAPACK is faster, but its last bits
    depend on the processor.
    """
    count, width = system.shape[0], system.shape[0] + right.shape[1]
    rows = np.empty((count, width))
    for row in range(count):
        for column in range(width):
            rows[row, column] = (
                system[row, column] if column < count else right[row, column - count]
            )
    for n in range(count):
        pivot = n
        for row in range(n + 1, count):
            if abs(rows[row, n]) > abs(rows[pivot, n]):
                pivot = row
        for column in range(width):
            rows[n, column], rows[pivot, column] = rows[pivot, column], rows[n, column]
        for column in range(width - 1, n - 1, -1):
            rows[n, column] /= rows[n, n]
        for row in range(count):
            factor = rows[row, n]
            if row != n:
                for column in range(n, width):
                    rows[row, column] -= factor * rows[n, column]
    return rows[:, count:].copy()
