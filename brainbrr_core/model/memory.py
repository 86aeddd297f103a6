"""A device with too little memory: one line that names the settings to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from brainbrr_core.errors import BrainbrrError

#: Texts of the errors of CUDA's libraries, and of torch on a CPU.
_SIGNS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


class OutOfMemory(BrainbrrError):
    """The device has too little memory."""


@contextmanager
def fits_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one line, until the block ends.

    Raises :class:`OutOfMemory`, which says that ``what`` does not fit and that ``remedy`` helps.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        full = isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in _SIGNS)
        if not full:
            raise
        reason = " ".join((text.splitlines() or ["no reason given"])[0].split())
        raise OutOfMemory(f"the memory is too small for {what} ({reason}): {remedy}") from None
