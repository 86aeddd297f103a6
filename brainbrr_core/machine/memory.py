"""How memory is looked after where very many objects, or the same large arrays, come and go."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

#: Parameters of glibc's ``mallopt`` (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
#: Bytes of freed memory that a process keeps, that it asks for at once, and (the most that glibc
#: takes) below which an array comes from what was kept.
_KEPT, _AT_ONCE, _LARGEST = 1 << 29, 1 << 26, 1 << 25


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile.

    Where everything that is made is kept, looking for garbage takes half of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def release_arrow_memory() -> None:
    """Give back to the system what Arrow has freed: columns of Parquet that became objects."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


@cache
def keep_freed_memory() -> None:
    """Let this process use freed memory again, where glibc would give it back at once.

    Every page that comes back from the system is filled with zeros first: for arrays of some MB
    that are made and freed for each minute of signal, that took a quarter of a build's time, and
    up to a tenth of a network's on the CPU. Has no effect with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_TOP_PAD, _AT_ONCE)
    mallopt(_MMAP_THRESHOLD, _LARGEST)
