"""Whether what is about to be written fits on its disk."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import free_bytes


def check_room(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    """Raise :class:`BrainbrrError` unless ``needed`` bytes are free where ``folder`` is or will be.

    ``purpose`` is what needs them, with the verb, such as "the build needs"; ``remedy`` says what
    the user can do.
    """
    free = free_bytes(folder)
    if free < needed:
        raise BrainbrrError(
            f"{folder} has {free / 1e9:.2f} GB free and {purpose} {needed / 1e9:.2f} GB: {remedy}"
        )
