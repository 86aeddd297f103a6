"""The weights that the training of a run started from, and whether they know scored patients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import JsonValue

from brainbrr_core.corpus.index import Index
from brainbrr_core.display.counts import count
from brainbrr_core.runs.earlier_file import EarlierTraining
from brainbrr_core.runs.earlier_trainings import (
    patients_known_before,
    trainings_before,
)
from brainbrr_core.runs.run import Run


@dataclass(frozen=True)
class StartingWeights:
    """The trainings whose weights a run's training started from.

    Attributes
    ----------
    trainings : tuple of EarlierTraining
        The trainings, the latest first.
    known_patients : int
        Number of scored patients who were in train or dev of one of them.
    """

    trainings: tuple[EarlierTraining, ...]
    known_patients: int

    @classmethod
    def of(cls, run: Run, index: Index, scored: Collection[str]) -> StartingWeights | None:
        """The starting weights of a run; None if its training started from random weights.

        ``index`` is that of the scored corpus, and ``scored`` are the patients who are scored.
        Raises :class:`BrainbrrError` if the record of an earlier training's patients is damaged.
        """
        trainings = trainings_before(run)
        if not trainings:
            return None
        return cls(trainings, len(patients_known_before(trainings, index).intersection(scored)))

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Names of the trainings whose patients are not recorded."""
        return tuple(training.name for training in self.trainings if training.corpus is None)

    @property
    def know_nobody(self) -> bool:
        """Whether no scored patient was in an earlier training."""
        return not self.known_patients and not self.unrecorded

    def shaping(self) -> list[JsonValue]:
        """What a report depends on: each training, and how many scored patients were in them."""
        trainings: list[JsonValue] = [
            [training.name, training.weights, training.corpus is None]
            for training in self.trainings
        ]
        return [self.known_patients, trainings]

    def sentence(self) -> str:
        """The starting weights in words, for a report."""
        sources = ", which started from those of ".join(
            f"{training.name} (BLAKE3 {training.weights[:12]})" for training in self.trainings
        )
        sentences = [f"The training started from the weights of {sources}."]
        if all(training.of_the_package for training in self.trainings):
            sentences.append("These were trained on simulated EEG only, and know no patient.")
        elif self.know_nobody:
            sentences.append("None of the scored patients was in train or dev there.")
        if self.known_patients:
            sentences.append(
                f"{count(self.known_patients, 'scored patient')} had been in train or dev there: "
                "the figures flatter the detector."
            )
        if self.unrecorded:
            sentences.append(
                f"The patients of {' and '.join(self.unrecorded)} are not recorded here: if scored "
                "patients are among them, the figures flatter the detector."
            )
        return " ".join(sentences)
