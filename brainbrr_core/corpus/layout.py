"""What a layout of a corpus must tell; a new kind of corpus is one class with these methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from brainbrr_core.annotation import Event, Finding

SPLITS = ("train", "dev", "eval")


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One EDF of a corpus and what its place says about it."""

    partition_key: str
    split: str
    patient: str
    session: str
    montage: str
    path: Path
    annotation_paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Labelling:
    """What a recording's annotation files say; ``reason`` is one of ``LABEL_REASONS`` or None."""

    events: tuple[Event, ...]
    duration_s: float | None
    source: str
    reason: str | None
    findings: tuple[Finding, ...]


class Layout(Protocol):
    """One way to lay a corpus out on disk."""

    name: str

    def recordings(self) -> Iterator[RecordingFile]:
        """Every EDF below the root, in the order of the partition keys."""

    def labelling(self, file: RecordingFile) -> Labelling:
        """Read the annotation files of one recording."""
