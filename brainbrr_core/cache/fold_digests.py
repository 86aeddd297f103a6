"""What the trainings of many folds of one plan depend on, without a plan for each of them.

A fold holds out few patients, so that most recordings are in every fold: with one patient left out
at a time, 7,000 recordings of 700 patients are five million in all folds together.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainbrr_core.cache.manifest import around_split, digest_of
from brainbrr_core.cache.plan import Plan
from brainbrr_core.configuration.settings import ManifestSettings
from brainbrr_core.corpus.folds import HELD_OUT, Folds
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.files.canonical import json_text


@dataclass(frozen=True)
class FoldDigests:
    """The recordings of a plan as the digest of a training sees them, but for their splits.

    Attributes
    ----------
    folds : Folds
        The folds of the plan.
    """

    folds: Folds
    _settings: ManifestSettings
    #: Of each recording that can be used: the patient's name form, and its row around the split.
    _rows: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, plan: Plan, settings: ManifestSettings, folds: Folds) -> FoldDigests:
        """The recordings of a plan with these folds."""
        return cls(
            folds,
            settings,
            tuple(
                (name_form(item.recording.patient), *around_split(item))
                for item in plan.items
                if item.recording.reason is None
            ),
        )

    def digest(self, fold: int) -> str:
        """Digest of what the trainings of a fold depend on; ``fold`` counts from 1.

        It is that of :func:`~brainbrr_core.cache.manifest.training_digest` for the plan with the
        splits of the fold. Raises :class:`BrainbrrError` where there is no such fold.
        """
        splits = {
            name: None if split == HELD_OUT else json_text(split)
            for name, split in self.folds.splits(fold).items()
        }
        rows = (
            f"{before}{split}{after}"
            for name, before, after in self._rows
            if (split := splits[name]) is not None
        )
        return digest_of(rows, self._settings)
