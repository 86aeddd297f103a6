"""The results of an evaluation: everything a report shows, as plain values that survive JSON.

A figure that is undefined (sensitivity without seizures) is NaN here and null in JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from brainbrr_core.annotation import Event
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.runs.eval_ledger import EvalLooks
from brainbrr_core.scoring import (
    FEW_PATIENTS,
    Counts,
    Figures,
    Measure,
    Method,
    OperatingPoint,
    RecordingEvents,
    ReliabilityBin,
    SweepRow,
)

SECONDS_PER_HOUR = 3600.0
RESULTS = "results.json"
#: Bumped when what is kept of an evaluation changes.
FORMAT = 4
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class UnscoredRecording:
    """A recording of the split that is not in the figures, and why; ``seizures`` if known."""

    partition_key: str
    reason: str
    duration_s: float
    seizures: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its confidence interval.

    ``method`` says how the interval came about (see :func:`brainbrr_core.scoring.interval`), and is
    ``undefined`` where ``low`` and ``high`` are NaN. ``patients`` are those that have what the
    figure is about; ``few_patients`` where they are so few that the interval is too narrow.
    """

    value: Measure
    low: Measure = math.nan
    high: Measure = math.nan
    patients: int = 0
    method: Method = "undefined"
    few_patients: bool = True

    @staticmethod
    def of(
        value: float, low: float, high: float, patients: int, method: Method = "bootstrap"
    ) -> Estimate:
        """An estimate whose interval is undefined where one of its ends is NaN."""
        if math.isnan(low) or math.isnan(high) or math.isnan(value):
            low, high, method = math.nan, math.nan, "undefined"
        return Estimate(value, low, high, patients, method, patients < FEW_PATIENTS)

    def bracketed(self, digits: int = 3) -> str:
        """The interval in brackets with its marks (:data:`MARKS`); nothing for no figure."""
        if math.isnan(self.value):
            return ""
        if self.method == "undefined":
            return "[–]"
        exact = "" if self.method == "bootstrap" else "‡"
        few = "†" if self.few_patients else ""
        return f"[{self.low:,.{digits}f}, {self.high:,.{digits}f}]{exact}{few}"


#: What the marks next to an interval mean.
MARKS = (
    f"† Fewer than {FEW_PATIENTS} patients contribute to the figure: the interval is too narrow. "
    "‡ All or no seizures were detected, or there were no false alarms, so that a bootstrap "
    "interval would have no width: an exact interval is given instead, Clopper and Pearson's with "
    "patients as trials for a proportion, that of a Poisson count for a rate. [–] No interval: "
    "fewer than two patients, or all resamples agree."
)


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """One recording with what two of the rules count in it.

    ``ovlp`` counts events as they are written (NEDC, SEIZ only), ``szcore`` after SzCORE's
    merging and splitting. ``hypothesis`` has every detection, also those that ``unknown`` time
    leaves out of the counts.
    """

    partition_key: str
    patient: str
    montage: str
    duration_s: float
    reference: tuple[Event, ...]
    hypothesis: tuple[Event, ...]
    ovlp: Counts
    szcore: Counts
    unknown: tuple[tuple[float, float], ...] = ()

    @property
    def events(self) -> RecordingEvents:
        """What is scored against what."""
        return RecordingEvents(
            self.patient,
            self.duration_s,
            self.reference,
            self.hypothesis,
            self.partition_key,
            unknown=self.unknown,
        )


@dataclass(frozen=True, slots=True)
class SeizureOutcome:
    """One reference seizure: whether a detection overlaps it (OVLP), and how late.

    ``latency_s`` is the start of the first detection that overlaps it less its own, negative
    where the detection began before; NaN where there is none. ``covered`` is the share of its
    duration that detections overlap.
    """

    partition_key: str
    patient: str
    montage: str
    start_s: float
    stop_s: float
    label: str
    detected: bool
    latency_s: Measure
    covered: float


@dataclass(frozen=True, slots=True)
class SeizureGroup:
    """Seizures of one type or of one range of durations: how many OVLP detects, and how late."""

    name: str
    seizures: int
    detected: int
    patients: int
    sensitivity: Estimate
    median_latency_s: Estimate


@dataclass(frozen=True, slots=True)
class HourRow:
    """False alarms (OVLP) of an hour of the recordings: of each its first, its second, ...

    ``hours`` is how long the recordings last in it, unknown time apart; a false alarm is of the
    hour in which it begins. ``patients`` are those with a recording that long.
    """

    name: str
    hours: float
    patients: int
    false_alarms: int
    false_per_day: Estimate


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Figures of some of the recordings: those of a patient or of a montage.

    ``figures`` are SzCORE's event-based ones, pooled within the group.
    """

    name: str
    recordings: int
    hours: float
    seizures: int
    figures: Figures
    ovlp: Counts


@dataclass(frozen=True, slots=True)
class LimitRow:
    """Sensitivity at no more than ``limit`` false alarms per 24 h under one rule.

    ``tuned_point`` keeps the limit on the tuning split; ``tuned_*`` is what it gives on the
    scored split, where the rate may exceed the limit. ``sensitivity``, ``false_per_day`` and
    ``point`` are read off the scored split's own curve, which nothing else was chosen by; where
    no point keeps the limit nothing is detected. None and NaN where there is no tuning split.
    """

    rule: str
    limit: float
    tuned_point: OperatingPoint | None
    tuned_sensitivity: Estimate
    tuned_false_per_day: Estimate
    tuned_f1: Estimate
    point: OperatingPoint | None
    sensitivity: Estimate
    false_per_day: Measure


@dataclass(frozen=True, slots=True)
class SecondFigures:
    """Figures of the score of each second, without a threshold, and their curves."""

    seconds: int
    ictal_seconds: int
    auroc: Measure
    auprc: Measure
    calibration_error: Measure
    roc: Points
    precision_recall: Points
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The operating point in use and where it comes from.

    ``split`` is the split it was tuned on, None where it was set by hand; ``f1`` is the pooled
    event F1 it reached there, ``rows`` the curve it was chosen by, and ``at_limits`` the points
    that keep a limit of false alarms there, by name (None where none keeps it). ``precision`` is
    that of the scores it was tuned on, empty where it was set by hand or that is not recorded.
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


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """Everything a report shows.

    ``estimates`` has every figure by name, with its interval: ``<rule>.<figure>`` for the rules
    ``szcore_event``, ``szcore_sample`` (pooled), both with ``_subject_mean`` (SzCORE's average
    over subjects), ``nedc_ovlp``, ``nedc_taes``, ``nedc_taes_exact``, ``nedc_epoch``,
    ``nedc_alignment`` (SEIZ only, pooled) and these with ``_total`` (all classes);
    ``nedc_ira.kappa``; ``seconds.*``; sensitivity at limits of false alarms;
    ``<rule>_tuned_at_<limit>.<figure>`` at the points that keep the limit on the tuning split;
    latency; groups of seizures and montages; hours of the recordings. ``counts`` has the sums
    behind the pooled rules. ``operating_curve`` are figures of the scored split over all
    thresholds; nothing is chosen by it. ``weights_chosen_on`` is the split by which the network's
    weights were picked, if any. ``evaluation_set`` is a hash of what was scored
    against what: recordings, lengths, references and unknown time. ``unknown_s`` are the seconds
    of all recordings that are neither seizure nor background, and so in no figure. ``method`` are
    sentences on the signal chain and on detection.
    """

    format: int
    split: str
    profile: str
    evaluation_set: str
    threshold: ThresholdChoice
    weights_chosen_on: str | None
    eval_looks: EvalLooks | None
    estimates: dict[str, Estimate]
    counts: dict[str, Counts]
    bootstrap_samples: int
    bootstrap_seed: int
    seconds: SecondFigures
    operating_curve: tuple[SweepRow, ...]
    limits: tuple[LimitRow, ...]
    patients: tuple[GroupRow, ...]
    montages: tuple[GroupRow, ...]
    seizure_types: tuple[SeizureGroup, ...]
    seizure_durations: tuple[SeizureGroup, ...]
    false_alarm_hours: tuple[HourRow, ...]
    outcomes: tuple[SeizureOutcome, ...]
    recordings: tuple[RecordingResult, ...]
    unscored: tuple[UnscoredRecording, ...]
    provenance: dict[str, str]
    unknown_s: float = 0.0
    training: TrainingFacts | None = None
    method: tuple[str, ...] = ()
    #: The corpus, where it is another than that of the run.
    external: ExternalCorpus | None = None

    @property
    def hours(self) -> float:
        """Length of all recordings."""
        return sum(row.duration_s for row in self.recordings) / SECONDS_PER_HOUR

    @property
    def seizures(self) -> int:
        """Reference events as they are written."""
        return round(self.counts["nedc_ovlp"].reference)

    @property
    def headline(self) -> dict[str, Figures]:
        """The four figures of every rule, without intervals."""
        rules = sorted(
            {*self.counts, *(f"{rule}_subject_mean" for rule in ("szcore_event", "szcore_sample"))}
        )
        return {
            rule: Figures(
                *(
                    self.estimates[f"{rule}.{figure}"].value
                    for figure in ("sensitivity", "precision", "f1", "false_per_day")
                )
            )
            for rule in rules
        }

    def to_json(self) -> str:
        """JSON text; the same results give the same text."""
        return _adapter().dump_json(self, indent=1).decode() + "\n"

    @staticmethod
    def from_json(text: str, where: str = "results") -> EvaluationResults:
        """Results from :meth:`to_json`'s text; raises :class:`BrainbrrError` naming ``where``."""
        try:
            results = _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(str(key) for key in first["loc"])
            raise BrainbrrError(
                f"{where} does not hold evaluation results ({location}: {first['msg']}): "
                "evaluate again"
            ) from None
        if results.format != FORMAT:
            raise BrainbrrError(f"{where} is of another version of the program: evaluate again")
        return results


def read_results(folder: Path) -> EvaluationResults:
    """Read the results in a report's folder.

    Parameters
    ----------
    folder : Path
        The folder, such as ``report-dev`` of a run.

    Returns
    -------
    EvaluationResults
        Everything that the report shows.

    Raises
    ------
    WorkRemains
        Where the folder has no results.
    BrainbrrError
        Where they are damaged or of another version of the program.
    """
    path = folder / RESULTS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorkRemains(f"no report in {folder}: run `brainbrr evaluate`") from None
    except UnicodeDecodeError:
        raise BrainbrrError(f"{path} is damaged: evaluate again") from None
    return EvaluationResults.from_json(text, str(path))


@cache
def _adapter() -> TypeAdapter[EvaluationResults]:
    return TypeAdapter(EvaluationResults)
