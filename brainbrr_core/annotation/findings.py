"""Findings: irregularities of a file, and where in it they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """An irregularity of a file. It never quotes free text of the file.

    Attributes
    ----------
    code : str
        From a closed list: ``annotation.policy`` for annotations, ``corpus.recording`` for signals.
    where : str
        The file name and, for an annotation, its line.
    detail : str
        Figures that describe it; may be empty.
    """

    code: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.code}" + (f" ({self.detail})" if self.detail else "")
