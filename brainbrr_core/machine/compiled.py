"""Functions compiled by numba, kept on disk for the next process where that can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Result = TypeVar("Result")


def compiled(function: Callable[..., Result]) -> Callable[..., Result]:
    """Compile a function, which then runs without holding Python's lock.

    Where neither the installation nor the user's cache folder can be written to, each process
    compiles for itself, which takes some seconds and gives the same results.
    """
    try:
        made = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Numba finds no folder for its cache.
        made = njit(nogil=True)(function)
    return cast(Callable[..., Result], made)
