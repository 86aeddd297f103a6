"""Findings: what a file says that it should not, with where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about a file; it never carries the file's free text.

    ``code`` is from a closed list (``policy`` for annotations, ``corpus.recording`` for signals),
    ``where`` names the file (and line), ``detail`` gives the figures.
    """

    code: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.code}" + (f" ({self.detail})" if self.detail else "")
