"""What functions have in common that are written as LLVM instructions on whole vectors.

Numba keeps the running values of an inner loop in memory, where each step waits for the one before.
Instructions on vectors of a fixed length keep them in registers, in the same order of operations on
every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.typing import Signature

#: Writes the LLVM instructions of one call, given the values of its arguments.
Generator = Callable[[BaseContext, ir.IRBuilder, Signature, Sequence[ir.Value]], ir.Value]


#: Whether this processor has AVX-512: twice the registers, of twice the width, of one without.
#: It decides how much is computed side by side, and no result.
HAS_AVX512 = bool(binding.get_host_cpu_features().get("avx512f"))


def data_of(
    context: BaseContext, builder: ir.IRBuilder, kind: types.Array, value: ir.Value
) -> ir.Value:
    """A pointer to the first element of an array."""
    return context.make_array(kind)(context, builder, value).data


def vector_at(
    builder: ir.IRBuilder, pointer: ir.Value, position: ir.Value | int, kind: ir.VectorType
) -> ir.Value:
    """A pointer to the vector that begins ``position`` elements behind ``pointer``."""
    offset = ir.Constant(ir.IntType(64), position) if isinstance(position, int) else position
    return builder.bitcast(builder.gep(pointer, [offset]), kind.as_pointer())


def shuffled(
    builder: ir.IRBuilder, first: ir.Value, second: ir.Value, elements: Sequence[int]
) -> ir.Value:
    """The elements of two vectors with these numbers."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(32), len(elements)), list(elements))
    return builder.shuffle_vector(first, second, numbers)


def repeated(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A vector of one value."""
    empty = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return shuffled(builder, one, one, [0] * kind.count)


def element(builder: ir.IRBuilder, pointer: ir.Value, number: int) -> ir.Value:
    """The element with this number of what begins at ``pointer``."""
    return builder.load(cgutils.gep_inbounds(builder, pointer, number))
