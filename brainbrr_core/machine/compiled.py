"""Functions compiled by numba, kept on disk for the next process where that can be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function when it is first called; it runs without holding Python's lock.

    Numba is imported then, too: what only looks at recordings and shards needs none of it. So a
    function cannot be called from another that is compiled.

    Where neither the installation nor the user's cache folder can be written to, each process
    compiles for itself, which takes some seconds and gives the same results.
    """
    made = cache(lambda: _compile(function))

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return made()(*args, **kwargs)

    return call


def _compile(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    from numba import njit

    try:
        made = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Numba finds no folder for its cache.
        made = njit(nogil=True)(function)
    return cast(Callable[Arguments, Result], made)
