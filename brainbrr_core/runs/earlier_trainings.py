"""The trainings that the weights of a run went through before its own, and whom these know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from brainbrr_core.corpus.data_root import corpus_name
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.corpus.index import Index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.known_patients import KnownPatients
from brainbrr_core.runs.record import (
    PRETRAINED,
    RunRecord,
    find_run_folder,
    finished_runs,
)
from brainbrr_core.runs.run import open_model
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus

#: What the models that come with the package were trained on: no recording of anybody.
_SIMULATED = RunCorpus("simulated EEG", ())


@dataclass(frozen=True, slots=True)
class EarlierTraining:
    """A training with whose weights another one began.

    ``weights`` is their BLAKE3. ``corpus`` has the recordings of its train and dev; it is None
    where nothing on this machine records them.
    """

    name: str
    weights: str
    corpus: RunCorpus | None

    @property
    def of_the_package(self) -> bool:
        """Whether it is that of a model that comes with the package, on simulated EEG."""
        return self.corpus is _SIMULATED


def trainings_before(record: RunRecord, runs_dir: Path) -> tuple[EarlierTraining, ...]:
    """The trainings before that of ``record``, the latest first; none where weights were random.

    Raises :class:`BrainbrrError` where the file that says whom one of them used is damaged.
    """
    start = record.identity.start
    if start is None:
        return ()
    return tuple(trainings_of(start.weights, _recorded_start(record), runs_dir))


def trainings_of(weights: str, name: str | None, runs_dir: Path) -> Iterator[EarlierTraining]:
    """The training that led to ``weights`` (their BLAKE3), and those before it.

    ``name`` is the run or folder that they were read from, if that is known. An exported model does
    not list its recordings: they are those of the run in ``runs_dir`` with the same weights. Raises
    as :func:`trainings_before`.
    """
    passed = set[str]()
    # A training that changed no weight has those of the one before it.
    while weights not in passed:
        passed.add(weights)
        training, record = _find(weights, name, runs_dir)
        yield training
        if record is None or record.identity.start is None:
            return
        weights, name = record.identity.start.weights, _recorded_start(record)


def patients_known_before(trainings: Iterable[EarlierTraining], index: Index) -> set[str]:
    """The patients of an index whom earlier trainings used in their train or dev.

    They are known by the content of a recording or, in the same corpus, by name.
    """
    known = set[str]()
    for training in trainings:
        if training.corpus is not None:
            # Patients of two corpora may have the same name.
            same = set(training.corpus.name.split("+")) & set(corpus_name(index).split("+"))
            known |= KnownPatients.of(index, training.corpus, other_people=not same).reasons.keys()
    return known


def _find(
    weights: str, name: str | None, runs_dir: Path
) -> tuple[EarlierTraining, RunRecord | None]:
    """The training that led to ``weights``, with its record where a folder here has it."""
    folders = [*finished_runs(runs_dir), *PRETRAINED.values()]
    if name is not None:
        with suppress(BrainbrrError):
            folders.insert(0, find_run_folder(name, runs_dir))
    words, record = weights[:12] if name is None else Path(name).name, None
    for folder in folders:
        of_folder = _record_of(folder)
        if of_folder is None or of_folder.model_blake3 != weights:
            continue
        if record is None:
            words, record = folder.name, of_folder
        corpus = _SIMULATED if folder in PRETRAINED.values() else read_run_corpus(folder)
        if corpus is not None:
            if corpus is not _SIMULATED:
                used = (entry for entry in corpus.recordings if entry.split != HELD_OUT)
                corpus = replace(corpus, recordings=tuple(used))
            return EarlierTraining(folder.name, weights, corpus), of_folder
    return EarlierTraining(words, weights, None), record


def _recorded_start(record: RunRecord) -> str | None:
    training = record.configuration.get("training")
    name = training.get("start_from") if isinstance(training, dict) else None
    return name if isinstance(name, str) else None


def _record_of(folder: Path) -> RunRecord | None:
    """The record of a run or an exported model; None where it cannot be read."""
    try:
        return open_model(folder).record
    except BrainbrrError:
        # The command that uses that folder reports it.
        return None
