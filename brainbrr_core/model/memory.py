"""A device whose memory is too small for what it is given: one line with the settings to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from brainbrr_core.errors import BrainbrrError

#: How CUDA's libraries and torch on a CPU say it, where it is not torch's own error.
_SIGNS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


class OutOfMemory(BrainbrrError):
    """The device has too little memory."""


@contextmanager
def fits_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn torch's errors of memory that is full into one line, until the block ends.

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
