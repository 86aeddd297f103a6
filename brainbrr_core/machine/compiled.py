"""Functions compiled by numba, kept on disk for the next process where that can be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: What numba makes of a function when first asked, by the function that stands before it.
_DISPATCHERS: dict[Callable[..., object], Callable[[], Callable[..., object]]] = {}


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function when it is first called; it runs without holding Python's lock.

    Numba is imported then, too: what only looks at recordings and shards needs none of it. What
    is compiled may call what is compiled in the same file.

    Where neither the installation nor the user's cache folder can be written to, each process
    compiles for itself, which takes some seconds and gives the same results.
    """
    made = cache(lambda: _compile(function))

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return made()(*args, **kwargs)

    _DISPATCHERS[call] = made
    return call


def _compile(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    from numba import njit

    # Numba knows what it compiled itself, not the functions that stand before it.
    called = {
        name: _DISPATCHERS[value]()
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names
        and isinstance(value, FunctionType)
        and value in _DISPATCHERS
    }
    plain = FunctionType(function.__code__, function.__globals__ | called, function.__name__)
    plain.__qualname__, plain.__module__ = function.__qualname__, function.__module__
    try:
        made = njit(cache=True, nogil=True)(plain)
    except RuntimeError:
        # Numba finds no folder for its cache.
        made = njit(nogil=True)(plain)
    return cast(Callable[Arguments, Result], made)
