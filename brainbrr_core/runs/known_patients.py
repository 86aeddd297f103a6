"""Which recordings of another corpus a run knows from its own: the same content, or the same name.

A patient whose recordings trained the run, or helped to choose its weights or threshold, is no
test of the run, in whichever corpus that patient appears.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brainbrr_core.corpus.patients import name_alone, name_form
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
        the corpora are called. Names do not count with ``other_people``, as those of two corpora
        that both begin with sub-01.
        """
        splits = {split: number for number, split in enumerate(_USES)}
        content: dict[str, str] = {}
        names: dict[str, str] = {}
        for entry in sorted(own.recordings, key=lambda entry: splits[entry.split], reverse=True):
            # The most serious use is written last.
            for mark in filter(None, (entry.content_hash, entry.data_hash)):
                content[mark] = entry.split
            names[name_form(name_alone(entry.patient, entry.partition_key))] = entry.split
        by_content: dict[str, set[str]] = {}
        patients: dict[str, str] = {}
        for recording in recordings:
            alone = name_alone(recording.patient, recording.partition_key)
            patients.setdefault(recording.patient, alone)
            for mark in (recording.content_hash, recording.data_hash):
                if mark in content:
                    by_content.setdefault(recording.patient, set()).add(content[mark])
        reasons, namesakes = {}, set()
        for patient, alone in patients.items():
            if patient in by_content:
                split = min(by_content[patient], key=splits.__getitem__)
                reasons[patient] = _reason(split, _CONTENT)
            elif (form := name_form(alone)) in names:
                if other_people:
                    namesakes.add(patient)
                else:
                    reasons[patient] = _reason(names[form], _NAME)
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
