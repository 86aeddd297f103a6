"""Checks of what a script gives to a function, so that a mistake is told in one line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from numbers import Integral, Real

from brainbrr_core.errors import BrainbrrError


def names_of(value: object, what: str) -> list[str]:
    """Names in their order. Raises :class:`BrainbrrError` for anything else."""
    # A set has no order, and the letters of one text are no names.
    if isinstance(value, str | set | frozenset) or not isinstance(value, Iterable):
        kind = type(value).__name__
        raise BrainbrrError(f"give {what} as a list of names, not as something of the type {kind}")
    names = []
    for name in value:
        if not isinstance(name, str):
            raise BrainbrrError(f"{what} has {name!r}, which is no name: give a list of names")
        names.append(name)
    return names


def number_of(value: object, what: str, unit: str) -> float | Fraction:
    """A number of any kind, also of numpy; a fraction stays exact.

    Raises :class:`BrainbrrError` for anything else, and for NaN.
    """
    # Booleans are numbers to Python.
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise BrainbrrError(f"{what} is {value!r}, which is no number: give {unit}")
    return value if isinstance(value, Fraction) else float(value)


def whole_number_of(value: object, what: str, least: int) -> int:
    """A whole number. Raises :class:`BrainbrrError` for anything else, and below ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise BrainbrrError(f"{what} is {value!r}: give a whole number of at least {least}")
    return int(value)
