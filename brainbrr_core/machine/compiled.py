"""Functions compiled by numba, cached on disk for later processes where possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: Maps each wrapper that :func:`compiled` returns to a callable that gives its numba function.
_DISPATCHERS: dict[Callable[..., object], Callable[[], Callable[..., object]]] = {}


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function when it is first called; it runs without the global interpreter lock.

    Numba is imported at the first call, too, so commands that only inspect recordings or shards
    do without it. A compiled function may call other compiled functions of its module.

    Where neither the installation nor the user's cache folder is writable, each process compiles
    for itself, which takes a few seconds and gives the same results.

    A function copies element by element and not ``a[:n] = b``: numba would compile the message of
    the error that shapes differ, which takes two seconds.
    """
    made = cache(lambda: _compile(function))

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return made()(*args, **kwargs)

    _DISPATCHERS[call] = made
    return call


def _compile(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    from numba import njit

    # Numba can call its own functions but not the wrappers around them.
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
        # Numba has no writable folder for its cache.
        made = njit(nogil=True)(plain)
    return cast(Callable[Arguments, Result], made)
