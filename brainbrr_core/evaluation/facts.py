"""How the figures of a report came about: the threshold, the training, and another corpus."""

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
        The pooled event F1 that it reached there; NaN where it was set by hand.
    rows : tuple of SweepRow
        The curve that it was chosen by; empty where it was set by hand.
    at_limits : dict of OperatingPoint or None, optional
        The points that keep a limit of false alarms on that split, by the name of the figure; None
        where no point keeps it.
    precision : str
        In which precision the scores were computed that it was tuned on, such as ``float32``;
        empty where it was set by hand or that is not recorded.
    """

    point: OperatingPoint
    split: str | None
    f1: Measure = math.nan
    rows: tuple[SweepRow, ...] = ()
    at_limits: dict[str, OperatingPoint | None] | None = None
    precision: str = ""


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What of a split a training saw; ``masked_s`` are its seconds of unknown label."""

    split: str
    recordings: int
    patients: int
    hours: float
    seizures: int
    ictal_hours: float
    masked_s: float


@dataclass(frozen=True, slots=True)
class ValidationPoint:
    """Figures of dev during a training; ``score`` is the one by which weights were picked."""

    step: int
    score: Measure
    f1: Measure
    auroc: Measure
    auprc: Measure


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """How the network was trained.

    Of ``planned_steps`` optimizer steps ``steps`` were done; ``stopped`` says why no more were.
    The weights are running averages, of ``kept_step``, where ``rule`` was highest on dev; without
    validations they are those of the last step.
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
    """What is scored, where it is not the corpus that the run was trained on.

    ``split`` is one of that corpus's splits or "all"; ``recordings`` are those of its index, of
    which the profile selects ``selected``. ``known_recordings`` and ``known_patients`` count what
    was compared: the recordings and patients that the run knows from its own corpus.
    ``left_out`` counts recordings of ``left_out_patients`` that are among them, by reason.
    ``same_names`` counts scored patients who have the name of one of the run's own corpus, and are
    other people as the user says. ``adapted`` names what was tuned on dev of this corpus, None
    where nothing was. ``scorings`` says how often these recordings were scored from the runs
    folder, this time included, by ``scoring_runs`` runs.
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
