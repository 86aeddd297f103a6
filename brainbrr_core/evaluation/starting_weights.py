"""With which weights the training of a scored run began, and whether these know who is scored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

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
    """The trainings before that of a run, the latest first.

    ``known`` counts the scored patients on whom one of them was trained or chosen.
    """

    trainings: tuple[EarlierTraining, ...]
    known: int

    @classmethod
    def of(cls, run: Run, index: Index, scored: Collection[str]) -> StartingWeights | None:
        """Those of a run of which patients of an index are scored; None where they were random.

        Raises :class:`BrainbrrError` where a file that says whom a training used is damaged.
        """
        trainings = trainings_before(run)
        if not trainings:
            return None
        return cls(trainings, len(patients_known_before(trainings, index).intersection(scored)))

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """The names of the trainings of which it is not recorded on whom they were."""
        return tuple(training.name for training in self.trainings if training.corpus is None)

    @property
    def know_nobody(self) -> bool:
        """Whether no scored patient is among those whom the weights know from before."""
        return not self.known and not self.unrecorded

    def sentence(self) -> str:
        """What a report says of them."""
        began = ", and that with those of ".join(
            f"{training.name} (BLAKE3 {training.weights[:12]})" for training in self.trainings
        )
        said = [f"The training began with the weights of {began}."]
        if all(training.of_the_package for training in self.trainings):
            said.append("These were trained on simulated EEG alone, and know no patient.")
        elif self.know_nobody:
            said.append("None of the scored patients was in train or dev there.")
        if self.known:
            said.append(
                f"Of the scored patients, {count(self.known, 'patient')} had been in train or dev "
                "there: the figures flatter the detector."
            )
        if self.unrecorded:
            said.append(
                f"On whom {' and '.join(self.unrecorded)} was trained is not recorded here: where "
                "scored patients are among them, the figures flatter the detector."
            )
        return " ".join(said)
