"""Values of Arrow arrays are those that Arrow itself gives, without pandas."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainbrr_core.files import arrow_values

PLACES = st.integers(0, 40)
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16()]
#: Some of them of several bytes.
TEXTS = st.text(st.sampled_from("ab µ漢😀"), max_size=5)


def sliced(array: pa.Array, first: int, stop: int) -> pa.Array:
    """A part of an array, which begins within its memory."""
    return array.slice(min(first, len(array)), max(0, stop - first))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 127), max_size=40), PLACES, PLACES, st.sampled_from(INTEGERS))
def test_integers(values: list[int], first: int, stop: int, kind: pa.DataType) -> None:
    part = sliced(pa.array(values, kind), first, stop)
    numbers = arrow_values.numbers(part)
    assert numbers.dtype == np.dtype(str(kind))
    assert numbers.tolist() == part.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.floats(width=32, allow_nan=False), max_size=40), PLACES, PLACES)
def test_an_absent_number_is_nan(values: list[float | None], first: int, stop: int) -> None:
    for kind in (pa.float32(), pa.float64()):
        part = sliced(pa.array(values, kind), first, stop)
        expected = [math.nan if value is None else value for value in part.to_pylist()]
        assert np.array_equal(arrow_values.numbers(part), np.array(expected, float), equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=40), PLACES, PLACES)
def test_texts(values: list[str], first: int, stop: int) -> None:
    part = sliced(pa.array(values, pa.string()), first, stop)
    assert arrow_values.texts(part) == part.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), max_size=40), PLACES, PLACES)
def test_truth_values(values: list[bool], first: int, stop: int) -> None:
    part = sliced(pa.array(values, pa.bool_()), first, stop)
    assert arrow_values.flags(part).tolist() == part.to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | TEXTS, max_size=40), PLACES, PLACES)
def test_codes_of_a_dictionary(values: list[str | None], first: int, stop: int) -> None:
    part = sliced(pa.array(values, pa.string()).dictionary_encode(), first, stop)
    codes = arrow_values.codes(part)
    texts = [*part.dictionary.to_pylist(), None]
    assert codes.dtype == np.int32
    assert [texts[code] for code in codes] == part.to_pylist()


@pytest.mark.parametrize(
    ("read", "array"),
    [
        (arrow_values.numbers, pa.array([1, None], pa.int64())),
        (arrow_values.texts, pa.array(["a", None])),
        (arrow_values.flags, pa.array([True, None])),
    ],
)
def test_what_must_be_there_and_is_absent_is_an_error(read: object, array: pa.Array) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=r"absent|NaN"):
        read(array)


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, pyarrow as pa; from brainbrr_core.files import arrow_values\n"
        # As from a file: making an array of a list imports pandas.
        "array = pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(bytes(8))])\n"
        "print(arrow_values.numbers(array).tolist(), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[0]", "False"]
