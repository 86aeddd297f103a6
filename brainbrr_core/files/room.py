"""Check for free disk space before writing."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import free_bytes


def check_room(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    """Raise :class:`BrainbrrError` unless ``needed`` bytes are free where ``folder`` is or will be.

    ``purpose`` names what needs the space, including the verb ("the build needs"); ``remedy``
    tells the user what to do.
    """
    free = free_bytes(folder)
    if free < needed:
        raise BrainbrrError(
            f"{folder} has {free / 1e9:.2f} GB free and {purpose} {needed / 1e9:.2f} GB: {remedy}"
        )
