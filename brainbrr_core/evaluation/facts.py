"""What lies behind the figures of a report: threshold, training, and external corpus."""

from __future__ import annotations

import math
from dataclasses import dataclass

from brainbrr_core.scoring import Measure, OperatingPoint, SweepRow


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The operating point in use and where it comes from.

    Parameters
    ----------
    point : OperatingPoint
        The two thresholds, in the unit of the scores (logits).
    split : str or None
        The split that it was tuned on, None where it was set by hand.
    f1 : float
        Its pooled event F1 on that split; NaN where it was set by hand.
    rows : tuple of SweepRow
        The curve by which it was chosen; empty where it was set by hand.
    at_limits : dict of OperatingPoint or None, optional
        The points that keep a limit of false alarms on that split, by the name of the figure; None
        where no point keeps it.
    precision : str
        Precision of the scores that it was tuned on, such as ``float32``; empty where it was set by
        hand or the precision is not recorded.
    """

    point: OperatingPoint
    split: str | None
    f1: Measure = math.nan
    rows: tuple[SweepRow, ...] = ()
    at_limits: dict[str, OperatingPoint | None] | None = None
    precision: str = ""


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """The data of one split that a training used.

    Attributes
    ----------
    split : str
        Name of the split.
    recordings, patients, seizures : int
        Numbers of each.
    hours, ictal_hours : float
        Length of the recordings, and of their seizures, in hours.
    masked_s : float
        Seconds whose label is unknown, which are left out.
    """

    split: str
    recordings: int
    patients: int
    hours: float
    seizures: int
    ictal_hours: float
    masked_s: float


@dataclass(frozen=True, slots=True)
class ValidationPoint:
    """Figures on dev at one step of a training.

    Attributes
    ----------
    step : int
        Optimizer steps so far.
    score : float
        The figure by which the weights are chosen.
    f1, auroc, auprc : float
        The best event F1 over all thresholds, and AUROC and average precision over seconds.
    """

    step: int
    score: Measure
    f1: Measure
    auroc: Measure
    auprc: Measure


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """How the network was trained.

    Attributes
    ----------
    seed : int
        Seed of the training.
    planned_steps, steps : int
        Optimizer steps that were planned and that were done.
    kept_step : int
        The step whose weights, running averages, are in use: the one at which ``rule`` was highest
        on dev, or the last one without validations.
    rule : str
        Name of the figure by which the weights were chosen; empty without validations.
    stopped : str
        Why the training ended early; empty if it did not.
    data : tuple of SplitFacts
        The recordings of train and dev.
    validations : tuple of ValidationPoint
        The figures on dev, in order.
    """

    seed: int
    planned_steps: int
    steps: int
    kept_step: int
    rule: str
    stopped: str
    data: tuple[SplitFacts, ...]
    validations: tuple[ValidationPoint, ...]


@dataclass(frozen=True, slots=True)
class ExternalCorpus:
    """A scored corpus that the run was not trained on.

    Attributes
    ----------
    name, layout : str
        Name and layout of the corpus.
    split : str
        The scored split, or "all".
    recordings, selected : int
        Recordings in the index of the corpus, and those of them that the profile selects.
    own_name : str
        Name of the corpus that the run was trained on.
    known_recordings, known_patients : int
        Recordings and patients that the run knows from its own corpus, with which those of this
        corpus were compared.
    left_out : dict of int
        Recordings of this corpus that are not scored because the run knows them, by reason.
    left_out_patients : int
        Patients of these recordings.
    same_names : int
        Scored patients with the same name as one whom the run knows, who are other people according
        to the user.
    adapted : str or None
        What was tuned on dev of this corpus; None for nothing.
    scorings, scoring_runs : int
        How often these recordings were scored from the runs folder, including this time, and by how
        many runs.
    """

    name: str
    layout: str
    split: str
    recordings: int
    selected: int
    own_name: str
    known_recordings: int
    known_patients: int
    left_out: dict[str, int]
    left_out_patients: int
    same_names: int
    adapted: str | None
    scorings: int
    scoring_runs: int
