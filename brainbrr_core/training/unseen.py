"""Whether the weights that a training begins with know the patients who are held out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.corpus.data_root import corpus_name
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.known_patients import KnownPatients
from brainbrr_core.runs.record import PRETRAINED
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus
from brainbrr_core.runs.starting_point import StartingPoint, find_starting_point


def check_unseen(start: StartingPoint, preflight: Preflight, runs_dir: Path) -> list[str]:
    """Check that the weights of ``start`` know nobody whom a training holds out.

    Who is in train or dev of that run, or of one that it began with itself, is known: by the
    content of a recording or, in the same corpus, by name. Returns remarks for the log, about dev
    and about runs that do not record their patients.

    Raises :class:`BrainbrrError` where somebody in eval is known.
    """
    plan = preflight.plan
    known = set[str]()
    remarks: list[str] = []
    for name, own in _corpora(start, runs_dir):
        if own is None:
            remarks.append(
                f"warning: {name} does not say on whom it was trained, so that it may know "
                "patients of dev and eval"
            )
            continue
        used = tuple(entry for entry in own.recordings if entry.split != HELD_OUT)
        known |= KnownPatients.of(
            plan.index,
            replace(own, recordings=used),
            # Patients of two corpora may have the same name.
            other_people=not set(own.name.split("+")) & set(corpus_name(plan.index).split("+")),
        ).reasons.keys()
    by_split = {
        split: {i.recording.patient for i in plan.items if i.recording.split == split} & known
        for split in ("dev", HELD_OUT)
    }
    fold = preflight.cache.split.fold
    held_out = HELD_OUT if fold is None else f"those whom fold {fold} holds out"
    if by_split[HELD_OUT]:
        raise BrainbrrError(
            f"training.start_from: {start.directory.name} was trained on "
            f"{count(len(by_split[HELD_OUT]), 'patient')} of {held_out}, who would not be unseen: "
            "begin with a model that does not know them, or leave it out"
        )
    if by_split["dev"]:
        remarks.append(
            f"warning: {start.directory.name} was trained on "
            f"{count(len(by_split['dev']), 'patient')} of dev, on whom weights and threshold are "
            "chosen: they look better there than on unseen patients"
        )
    return remarks


def _corpora(start: StartingPoint, runs_dir: Path) -> Iterator[tuple[str, RunCorpus | None]]:
    """The corpus of a run and of those that it began with, each after the run's name."""
    seen = set[Path]()
    current: StartingPoint | None = start
    while current is not None and current.directory not in (*seen, *PRETRAINED.values()):
        seen.add(current.directory)
        yield current.directory.name, read_run_corpus(current.directory)
        training = current.record.configuration.get("training")
        earlier = training.get("start_from") if isinstance(training, dict) else None
        try:
            current = find_starting_point(str(earlier), runs_dir) if earlier else None
        except BrainbrrError:
            # Whatever it began with is not on this machine any more.
            yield str(earlier), None
            return
