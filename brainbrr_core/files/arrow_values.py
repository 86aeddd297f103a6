"""The values of Arrow's arrays for Python and numpy.

Arrow's own ``to_numpy`` imports pandas wherever it is installed, which takes longer than all that
most commands read.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_NUMPY_TYPES: dict[pa.DataType, type[np.generic]] = {
    pa.int8(): np.int8,
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.uint8(): np.uint8,
    pa.uint16(): np.uint16,
    pa.uint32(): np.uint32,
    pa.uint64(): np.uint64,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}


def numbers(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers of an array, in its memory and read-only unless one is absent, which is NaN.

    Raises ``ValueError`` where an integer is absent, ``KeyError`` for values that are no numbers.
    """
    values = _stored_numbers(array)
    if array.null_count:
        values = values.copy()
        # An integer cannot be NaN.
        values[~_bits(array, 0)] = np.nan
    return values


def _stored_numbers(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers of an array, with any value where one is absent."""
    kind = np.dtype(_NUMPY_TYPES[array.type])
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def flags(array: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """The truth values of an array. Raises ``ValueError`` where one is absent."""
    if array.null_count:
        raise ValueError("a truth value is absent")
    return _bits(array, 1)


def texts(array: pa.StringArray) -> list[str]:
    """The texts of an array, none of which is absent. Raises ``ValueError`` where one is."""
    if array.null_count:
        raise ValueError("a text is absent")
    if not len(array):
        return []
    _, offsets, content = array.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(array) + 1, 4 * array.offset).tolist()
    stored = b"" if content is None else memoryview(content)
    whole = str(stored[: bounds[-1]], "utf-8")
    if len(whole) == bounds[-1]:
        # A character is a byte.
        return [whole[start:stop] for start, stop in pairwise(bounds)]
    return [str(stored[start:stop], "utf-8") for start, stop in pairwise(bounds)]


def codes(array: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """The position of each value in the array's dictionary; -1 where the value is absent."""
    positions = _stored_numbers(array.indices).astype(np.int32)
    if array.indices.null_count:
        positions[~_bits(array.indices, 0)] = -1
    return positions


def _bits(array: pa.Array, buffer: int) -> npt.NDArray[np.bool_]:
    """One bit for each value: of buffer 0 whether it is there, of 1 a truth value."""
    if not len(array):
        return np.empty(0, np.bool_)
    packed = np.frombuffer(array.buffers()[buffer], np.uint8)
    stop = array.offset + len(array)
    return np.unpackbits(packed, count=stop, bitorder="little")[array.offset :].astype(np.bool_)
