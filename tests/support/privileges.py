"""The rights of an ordinary user, for tests of what the modes of files forbid."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: Linux's capabilities 1 to 3, by which the superuser passes over the modes of files.
_OVER_MODES = 0b1110
_VERSION_3 = 0x20080522


@contextmanager
def modes_apply() -> Iterator[None]:
    """Have the modes of files bind this thread, the superuser's too, while the block runs.

    Threads that it starts meanwhile are bound as well, and stay so.
    """
    if os.geteuid() != 0:
        yield
        return
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    # Effective, permitted and inheritable capabilities, of the first 32 and of the others.
    before = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, before) == 0, os.strerror(ctypes.get_errno())
    bound = (ctypes.c_uint32 * 6)(*before)
    bound[0] &= ~_OVER_MODES
    assert libc.capset(header, bound) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0, os.strerror(ctypes.get_errno())
