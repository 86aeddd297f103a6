"""Patients of a corpus on disk."""

from __future__ import annotations

from pathlib import Path


def rename_patient(folder: Path, name: str) -> None:
    """Another name for a patient, in the folder and in the names of all files."""
    before = folder.name
    for path in sorted(folder.rglob(f"{before}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(before, name)))
    folder.rename(folder.with_name(name))
