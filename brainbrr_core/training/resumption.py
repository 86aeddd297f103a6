"""The choice of the checkpoint that a training resumes from.

That is the last checkpoint or, if it is damaged or missing, the newest undamaged one of those that
are named after their step. A damaged file is never deleted: it is renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.weights import DamagedFile
from brainbrr_core.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    periodic_checkpoints,
    read_checkpoint,
)


@dataclass(frozen=True)
class Resumption:
    """The checkpoint to resume from, its file, and the newer files that are damaged."""

    checkpoint: Checkpoint
    path: Path
    damaged: tuple[Path, ...]


def find_resumption(directory: Path) -> Resumption | None:
    """Find the checkpoint that a training in ``directory`` resumes from; None without one.

    Files are only read, so several processes may call this at once. Raises :class:`DamagedFile` if
    every checkpoint is damaged, and :class:`BrainbrrError` if one cannot be read.
    """
    candidates = [directory / CHECKPOINT_NAME, *(p for _, p in periodic_checkpoints(directory))]
    damaged: list[Path] = []
    for path in candidates:
        if not path.is_file():
            continue
        try:
            return Resumption(read_checkpoint(path), path, tuple(damaged))
        except DamagedFile:
            damaged.append(path)
    if not damaged:
        return None
    names = ", ".join(path.name for path in damaged)
    raise DamagedFile(
        f"every checkpoint in {directory} is damaged ({names}): copy one of them again, or remove "
        "them to train from the first step"
    )


def steps_done(directory: Path) -> int:
    """Number of steps in the checkpoint to resume from; 0 without a checkpoint.

    Raises as :func:`find_resumption` does.
    """
    resumption = find_resumption(directory)
    return 0 if resumption is None else resumption.checkpoint.step


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is not mistaken for an intact one; return the new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        return path.rename(aside)
    except OSError as error:
        raise BrainbrrError(
            f"{path} is damaged and could not be renamed ({error.strerror or error}): move it away"
        ) from None
