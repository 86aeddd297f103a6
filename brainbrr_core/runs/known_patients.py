"""Which recordings of another corpus a run knows from its own: the same content, or the same name.

A patient whose recordings trained the run, or helped to choose its weights or threshold, is no
test of the run, in whichever corpus that patient appears.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brainbrr_core.corpus.patients import name_alone, name_form
from brainbrr_core.corpus.people import one_person
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.runs.run_corpus import RunCorpus

#: How a run used each split of its own corpus, the most serious use first.
_USES = {
    "train": "the run was trained on this patient",
    "dev": "the run's weights or threshold were chosen on this patient",
    "eval": "this patient is in eval of the run's own corpus",
}
_CONTENT, _NAME = "content", "name"


@dataclass(frozen=True)
class KnownPatients:
    """Patients of a corpus whom a run knows from its own, each with how (see :meth:`reason`).

    ``namesakes`` are those that only share a name and are other people, as the user says.
    """

    reasons: dict[str, str]
    namesakes: frozenset[str]

    @classmethod
    def of(
        cls, recordings: Iterable[Recording], own: RunCorpus, *, other_people: bool
    ) -> KnownPatients:
        """The patients of some ``recordings``, all of a corpus, that a run's ``own`` corpus has.

        A patient is known of whom one recording has the bytes or the samples of one of the run's,
        or whose name is that of one of its patients, by case and Unicode form alike, and whatever
        the corpora are called. Whoever is the same person as one of these
        (:func:`~brainbrr_core.corpus.people.one_person`) is known, too. Names do not count with
        ``other_people``, as those of two corpora that both begin with sub-01.
        """
        splits = {split: number for number, split in enumerate(_USES)}
        content: dict[str, str] = {}
        names: dict[str, str] = {}
        for entry in sorted(own.recordings, key=lambda entry: splits[entry.split], reverse=True):
            # The most serious use is written last.
            for mark in filter(None, (entry.content_hash, entry.data_hash)):
                content[mark] = entry.split
            names[name_form(name_alone(entry.patient, entry.partition_key))] = entry.split
        recordings = list(recordings)
        people = one_person(recordings)
        patients: dict[str, str] = {}
        by_content: dict[str, set[str]] = {}
        by_name: dict[str, set[str]] = {}
        for recording in recordings:
            patient = recording.patient
            person = patients.setdefault(patient, people.get(patient, patient))
            form = name_form(name_alone(patient, recording.partition_key))
            if form in names:
                by_name.setdefault(person, set()).add(names[form])
            for mark in (recording.content_hash, recording.data_hash):
                if mark in content:
                    by_content.setdefault(person, set()).add(content[mark])
        reasons, namesakes = {}, set()
        for patient, person in patients.items():
            if person in by_content:
                split = min(by_content[person], key=splits.__getitem__)
                reasons[patient] = _reason(split, _CONTENT)
            elif person in by_name and other_people:
                namesakes.add(patient)
            elif person in by_name:
                split = min(by_name[person], key=splits.__getitem__)
                reasons[patient] = _reason(split, _NAME)
        return cls(reasons, frozenset(namesakes))

    def reason(self, patient: str) -> str | None:
        """Why a patient's recordings are not scored; None where the run does not know them."""
        return self.reasons.get(patient)

    @property
    def by_name_alone(self) -> bool:
        """Whether some patients are known by their name and by nothing else."""
        return any(reason.endswith(f"{_NAME})") for reason in self.reasons.values())


def _reason(split: str, how: str) -> str:
    return f"{_USES[split]} (the same {how})"
