"""Memory management for code that creates very many objects or reallocates large arrays."""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

#: New objects before a search among them, and how many searches before one among older objects.
#: A step of a training makes no garbage, so no large array stays in memory until a search.
_THRESHOLDS = 10_000, 10, 10
#: Parameters of glibc's ``mallopt`` (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
#: Advice of Linux's ``madvise`` (mman.h), and the size of the pages that it is about.
_HUGE_PAGES, _HUGE_PAGE = 14, 1 << 21
#: In bytes: freed memory that a process keeps, memory that it requests from the system at once,
#: and the size below which arrays are allocated from kept memory (the most that glibc accepts).
_KEPT, _AT_ONCE, _LARGEST = 1 << 29, 1 << 26, 1 << 25


@contextmanager
def no_collection() -> Iterator[None]:
    """Turn off garbage collection while the block runs.

    In code that keeps all the objects it creates, looking for garbage takes half of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def collect_rarely() -> None:
    """Make this process look for garbage less often, and not once more when it ends.

    To be called before the imports: they make most of a command's objects, which all stay. With
    Python's default thresholds, and the last search, looking for garbage takes a fifth of the time
    of ``brainbrr predict`` for one recording, and of a run of Dagster with nothing to build.
    """
    gc.set_threshold(*_THRESHOLDS)
    atexit.register(gc.freeze)


def release_arrow_memory() -> None:
    """Return freed Arrow memory to the system, as after converting Parquet columns to objects."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


@cache
def keep_freed_memory() -> None:
    """Make this process reuse freed memory that glibc would otherwise return to the system.

    The system fills every page that it hands out with zeros. For arrays of a few MB that are
    allocated and freed for each minute of signal, that took a quarter of the time of a build and
    up to a tenth of the time of a network on the CPU. Has no effect with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_TOP_PAD, _AT_ONCE)
    mallopt(_MMAP_THRESHOLD, _LARGEST)


def use_huge_pages(address: int, size: int) -> None:
    """Ask for pages of 2 MB for memory that was just allocated, and not yet written to.

    A processor knows where a few thousand pages are. In a large array of small ones, finding them
    takes longer than writing. Does nothing for less than two pages of 2 MB, or on other systems
    than Linux.
    """
    if size < 2 * _HUGE_PAGE or not sys.platform.startswith("linux"):
        return
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    first = -(-address // _HUGE_PAGE) * _HUGE_PAGE
    last = (address + size) // _HUGE_PAGE * _HUGE_PAGE
    madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _HUGE_PAGES)
