"""Folds for cross-validation: whom each of them holds out, and who is in its train and dev.

Everything follows from the recordings and the settings of the splits. The index does not depend on
folds: the splits of a fold replace those of its recordings where a network is trained or scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from brainbrr_core.configuration.settings import Split
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.patients import name_form
from brainbrr_core.corpus.people import one_person
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.splits import seeded_fraction
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError

#: The split of a fold that has the patients whom it holds out.
HELD_OUT = "eval"


@dataclass
class _Patient:
    """What of a patient decides about the fold: usable recordings alone are counted."""

    recordings: int = 0
    seconds: float = 0.0
    seizures: int = 0


@dataclass(frozen=True)
class SplitTotals:
    """The usable recordings in one split of a fold, and whose they are."""

    patients: int
    recordings: int
    seconds: float
    seizures: int


@dataclass(frozen=True)
class Folds:
    """The folds of some recordings.

    Attributes
    ----------
    held_out : tuple of frozenset of str
        Whom each fold holds out, the first one first, by name form
        (:func:`~brainbrr_core.corpus.patients.name_form`). Each patient is in one of them.
    settings : Split
        The settings of the splits.
    """

    held_out: tuple[frozenset[str], ...]
    settings: Split
    _patients: Mapping[str, _Patient]
    #: The name of the person in ``_patients``, by the name of the patient.
    _people: Mapping[str, str]

    @classmethod
    def of(
        cls, recordings: Iterable[Recording], settings: Split, everyone: Iterable[Recording] = ()
    ) -> Folds:
        """The folds of recordings by the scheme of ``settings``.

        ``everyone`` are all recordings of the corpora where ``recordings`` are some of them.
        Patients of two corpora who have a recording in common are one person, held out once.

        With ``kfold``, patients with seizures are spread first, so that the folds differ by at most
        one of them and have similar numbers of seizures. Then the others are spread, so that the
        folds differ by at most one patient and have similar hours. A patient without any usable
        recording is in one of the folds, but has no fold alone.

        Raises :class:`BrainbrrError` where there are fewer patients than folds.
        """
        recordings = list(recordings)
        merged = {
            name_form(patient): name_form(person)
            for patient, person in one_person([*recordings, *everyone]).items()
        }
        people: dict[str, str] = {}
        patients: dict[str, _Patient] = {}
        for recording in recordings:
            name = name_form(recording.patient)
            people[name] = merged.get(name, name)
            patient = patients.setdefault(people[name], _Patient())
            if recording.reason is None:
                patient.recordings += 1
                patient.seconds += recording.duration_s
                patient.seizures += len(recording.all_seizures)
        usable = sorted(name for name, patient in patients.items() if patient.recordings)
        if settings.scheme == "leave_one_patient_out":
            held_out = [[name] for name in usable]
        else:
            held_out = _spread(usable, patients, settings)
        if len(held_out) < 2:
            raise BrainbrrError(
                f"{count(len(usable), 'patient')} with usable recordings: folds need several; "
                "choose a larger --profile, or see `brainbrr index --list`"
            )
        for number, name in enumerate(sorted(patients.keys() - set(usable))):
            held_out[number % len(held_out)].append(name)
        fold_of = {name: number for number, names in enumerate(held_out) for name in names}
        return cls(
            tuple(
                frozenset(name for name, person in people.items() if fold_of[person] == number)
                for number in range(len(held_out))
            ),
            settings,
            patients,
            people,
        )

    def __len__(self) -> int:
        return len(self.held_out)

    def splits(self, fold: int) -> dict[str, str]:
        """The split of each patient in a fold, by name form; ``fold`` counts from 1.

        The patients who are held out are eval. Of the others, a fraction of those with seizures
        and of those without is dev, at random by the seed, and at least one with seizures.

        Raises :class:`BrainbrrError` where there is no such fold.
        """
        if not 1 <= fold <= len(self):
            raise BrainbrrError(
                f"there is no fold {fold}: corpus.split.scheme {self.settings.scheme} gives "
                f"{len(self)} folds for these recordings, from 1 on"
            )
        held_out = {self._people[name] for name in self.held_out[fold - 1]}
        others = sorted(
            self._patients.keys() - held_out,
            key=lambda name: (seeded_fraction(f"{name} in fold {fold}", self.settings.seed), name),
        )
        dev_fraction = self.settings.fractions["dev"]
        ictal = [name for name in others if self._patients[name].seizures]
        silent = [name for name in others if not self._patients[name].seizures]
        # Train needs one, too.
        dev = ictal[: max(1, min(round(dev_fraction * len(ictal)), len(ictal) - 1))]
        dev += silent[: round(dev_fraction * len(silent))]
        splits = dict.fromkeys(self._patients, "train")
        splits |= dict.fromkeys(dev, "dev") | dict.fromkeys(held_out, HELD_OUT)
        return {name: splits[person] for name, person in self._people.items()}

    def totals(self, fold: int) -> dict[str, SplitTotals]:
        """What is in each split of a fold; ``fold`` counts from 1.

        Raises :class:`BrainbrrError` where there is no such fold.
        """
        splits = self.splits(fold)
        people: dict[str, list[_Patient]] = {split: [] for split in SPLITS}
        for name, patient in self._patients.items():
            if patient.recordings:
                people[splits[name]].append(patient)
        return {
            split: SplitTotals(
                len(patients),
                sum(patient.recordings for patient in patients),
                math.fsum(patient.seconds for patient in patients),
                sum(patient.seizures for patient in patients),
            )
            for split, patients in people.items()
        }


def _spread(
    usable: list[str], patients: Mapping[str, _Patient], settings: Split
) -> list[list[str]]:
    """The patients of each fold of ``kfold``."""
    folds = settings.folds
    if len(usable) < folds:
        raise BrainbrrError(
            f"corpus.split.folds is {folds}, and the profile has usable recordings of "
            f"{count(len(usable), 'patient')}: set it to no more than that, or choose a larger "
            "--profile"
        )

    def chance(name: str) -> tuple[float, str]:
        return seeded_fraction(name, settings.seed), name

    held_out: list[list[str]] = [[] for _ in range(folds)]
    ictal = [name for name in usable if patients[name].seizures]
    seizures = [0] * folds
    for name in sorted(ictal, key=lambda name: (-patients[name].seizures, *chance(name))):
        target = min(range(folds), key=lambda n: (len(held_out[n]), seizures[n], n))
        held_out[target].append(name)
        seizures[target] += patients[name].seizures
    seconds = [math.fsum(patients[name].seconds for name in names) for names in held_out]
    silent = [name for name in usable if not patients[name].seizures]
    for name in sorted(silent, key=lambda name: (-patients[name].seconds, *chance(name))):
        target = min(range(folds), key=lambda n: (len(held_out[n]), seconds[n], n))
        held_out[target].append(name)
        seconds[target] += patients[name].seconds
    return held_out
