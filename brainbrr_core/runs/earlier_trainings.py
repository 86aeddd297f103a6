"""The trainings that the weights of a run went through before its own, and whom these know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from brainbrr_core.corpus.data_root import corpus_name
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.corpus.index import Index
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.earlier_file import (
    SIMULATED,
    EarlierTraining,
    read_earlier_trainings,
    write_earlier_trainings,
)
from brainbrr_core.runs.known_patients import KnownPatients
from brainbrr_core.runs.record import (
    PRETRAINED,
    RunRecord,
    find_run_folder,
    finished_runs,
)
from brainbrr_core.runs.run import Run, open_model
from brainbrr_core.runs.run_corpus import read_run_corpus


def trainings_before(run: Run) -> tuple[EarlierTraining, ...]:
    """The trainings before that of a run, the latest first; none where weights were random.

    Raises :class:`BrainbrrError` where the file that says whom one of them used is damaged.
    """
    start, runs_dir = run.record.identity.start, run.directory.parent
    if start is None:
        return ()
    stored = read_earlier_trainings(run.directory)
    if stored is not None:
        return tuple(_completed(stored, runs_dir))
    return tuple(trainings_of(start.weights, _recorded_start(run.record), runs_dir))


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
        training, run = _find(weights, name, runs_dir)
        yield training
        if run is None or run.record.identity.start is None:
            return
        stored = read_earlier_trainings(run.directory)
        if stored is not None:
            yield from _completed(stored, runs_dir)
            return
        weights, name = run.record.identity.start.weights, _recorded_start(run.record)


def record_trainings_before(directory: Path, weights: str, name: str) -> None:
    """Write to a run's folder the training that led to its first weights, and those before it.

    They are known from then on, whichever runs are removed. What a folder has of them stays as it
    is. Raises as :func:`trainings_before`.
    """
    if read_earlier_trainings(directory) is None:
        write_earlier_trainings(directory, trainings_of(weights, name, directory.parent))


def _completed(trainings: Iterable[EarlierTraining], runs_dir: Path) -> Iterator[EarlierTraining]:
    """Trainings, with the recordings of runs that are here now where none were stored."""
    for training in trainings:
        known = training.corpus is not None
        yield training if known else _find(training.weights, training.name, runs_dir)[0]


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


def _find(weights: str, name: str | None, runs_dir: Path) -> tuple[EarlierTraining, Run | None]:
    """The training that led to ``weights``, with its run or exported model where that is here."""
    folders = [*finished_runs(runs_dir), *PRETRAINED.values()]
    if name is not None:
        with suppress(BrainbrrError):
            folders.insert(0, find_run_folder(name, runs_dir))
    here, words = None, weights[:12] if name is None else Path(name).name
    for folder in folders:
        run = _open(folder)
        if run is None or run.record.model_blake3 != weights:
            continue
        if here is None:
            here, words = run, folder.name
        corpus = SIMULATED if folder in PRETRAINED.values() else read_run_corpus(folder)
        if corpus is not None:
            used = (entry for entry in corpus.recordings if entry.split != HELD_OUT)
            corpus = replace(corpus, recordings=tuple(used))
            return EarlierTraining(folder.name, weights, corpus), run
    for folder in folders:
        # A run that is gone may be one that another run began with.
        with suppress(BrainbrrError):
            for training in read_earlier_trainings(folder) or ():
                if training.weights == weights and training.corpus is not None:
                    return training, here
    return EarlierTraining(words, weights, None), here


def _recorded_start(record: RunRecord) -> str | None:
    training = record.configuration.get("training")
    name = training.get("start_from") if isinstance(training, dict) else None
    return name if isinstance(name, str) else None


def _open(folder: Path) -> Run | None:
    """A run or an exported model; None where it cannot be read."""
    try:
        return open_model(folder)
    except BrainbrrError:
        # The command that uses that folder reports it.
        return None
