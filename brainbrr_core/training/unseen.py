"""Check that the starting weights of a training do not know the patients whom it holds out."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.runs.earlier_trainings import patients_known_before, trainings_of
from brainbrr_core.runs.starting_point import StartingPoint


def check_unseen(start: StartingPoint, preflight: Preflight, runs_dir: Path) -> list[str]:
    """Check that starting weights do not know a patient whom a training holds out.

    Weights know the patients in train or dev of their own training and of earlier ones that it
    started from. Patients are recognized by the content of a recording or, in the same corpus, by
    name. Returns remarks for the log, about dev and about runs that do not record their patients.

    Raises :class:`BrainbrrError` if a patient of eval is known.
    """
    plan = preflight.plan
    trainings = [*trainings_of(start.checksum, str(start.directory), runs_dir)]
    known_patients = patients_known_before(trainings, plan.index)
    remarks = [
        f"warning: {training.name} does not record its patients, so it may know patients of dev "
        "and eval"
        for training in trainings
        if training.corpus is None
    ]

    def known_in(split: str) -> str:
        """How many known patients a split has, in words; empty for none."""
        patients = {i.recording.patient for i in plan.items if i.recording.split == split}
        known = len(known_patients & patients)
        return count(known, "patient") if known else ""

    fold = preflight.cache.split.fold
    held_out = f"of {HELD_OUT}" if fold is None else f"whom fold {fold} holds out"
    if known_in(HELD_OUT):
        raise BrainbrrError(
            f"training.start_from: {start.directory.name} was trained on "
            f"{known_in(HELD_OUT)} {held_out}, who would not be unseen: start from a model that "
            "does not know them, or remove the setting"
        )
    if known_in("dev"):
        remarks.append(
            f"warning: {start.directory.name} was trained on "
            f"{known_in('dev')} of dev, on which weights and threshold are "
            "chosen: figures on dev are better than on unseen patients"
        )
    return remarks
