"""Whether the weights that a training begins with know the patients who are held out of it."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.earlier_trainings import patients_known_before, trainings_of
from brainbrr_core.runs.starting_point import StartingPoint


def check_unseen(start: StartingPoint, preflight: Preflight, runs_dir: Path) -> list[str]:
    """Check that the weights of ``start`` know nobody whom a training holds out.

    Who is in train or dev of that run, or of one that it began with itself, is known: by the
    content of a recording or, in the same corpus, by name. Returns remarks for the log, about dev
    and about runs that do not record their patients.

    Raises :class:`BrainbrrError` where somebody in eval is known.
    """
    plan = preflight.plan
    trainings = [*trainings_of(start.checksum, str(start.directory), runs_dir)]
    known = patients_known_before(trainings, plan.index)
    remarks = [
        f"warning: {training.name} does not say on whom it was trained, so that it may know "
        "patients of dev and eval"
        for training in trainings
        if training.corpus is None
    ]
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
