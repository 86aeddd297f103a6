"""A run's evaluation on one of several corpora."""

from __future__ import annotations

from dataclasses import dataclass

from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.key_figures import key_figures
from brainbrr_core.evaluation.results import Estimate


@dataclass(frozen=True)
class CorpusRow:
    """A run's evaluation on one corpus.

    Attributes
    ----------
    name : str
        Name of the row.
    own : bool
        Whether the run was trained on this corpus.
    evaluation : Evaluation
        The report and its results.
    """

    name: str
    own: bool
    evaluation: Evaluation

    @property
    def figures(self) -> dict[str, Estimate]:
        """The key figures with their intervals over patients."""
        return key_figures(self.evaluation.results)
