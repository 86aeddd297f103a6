"""The results of an evaluation: everything that a report shows, as values that JSON can store.

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
from brainbrr_core.evaluation.facts import ExternalCorpus, ThresholdChoice, TrainingFacts
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
#: Version of the format, raised when the content of the results changes.
FORMAT = 4
#: The entry of a report's provenance with the version of scoring, detection and report, which are
#: named since version 7.
EVALUATION = "version of the evaluation"
UNNAMED_EVALUATION = "before 7"
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class UnscoredRecording:
    """A recording of the split that is not scored, and why.

    Attributes
    ----------
    partition_key : str
        The recording.
    reason : str
        Why its signal or its annotation cannot be used.
    duration_s : float
        Length in seconds; 0 where it is unknown.
    seizures : int
        Number of its annotated seizures; 0 also where its annotation cannot be read.
    """

    partition_key: str
    reason: str
    duration_s: float
    seizures: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % confidence interval over patients.

    Parameters
    ----------
    value : float
        The figure, in its own unit; NaN where it is undefined.
    low, high : float
        Ends of the interval in the same unit; NaN where it is undefined.
    patients : int
        Number of patients who contribute to the figure.
    method : str
        How the interval was computed: ``bootstrap`` (see :func:`brainbrr_core.scoring.interval`),
        ``clopper-pearson``, ``poisson``, or ``undefined`` where its ends are NaN.
    few_patients : bool
        Whether the patients are so few that the interval is too narrow.
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
        """The interval in brackets with its marks (:data:`MARKS`); empty without a figure."""
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
    """One recording with its counts under two of the rules.

    Attributes
    ----------
    partition_key : str
        The recording.
    patient : str
        The patient.
    montage : str
        Name of the recording's montage, such as ``01_tcp_ar``; may be empty.
    duration_s : float
        Length in seconds, unknown time included.
    reference : tuple of Event
        The annotated seizures, times in seconds.
    hypothesis : tuple of Event
        All detections, including those that unknown time leaves out of the counts.
    ovlp : Counts
        Counts by NEDC's OVLP (SEIZ only), of seizures as annotated.
    szcore : Counts
        Counts by SzCORE's event rule, after merging and splitting.
    unknown : tuple of (float, float)
        Intervals, start and stop in seconds, that are neither seizure nor background.
    corpus : str
        Name of its corpus, where there are several; otherwise empty.
    age_group : str
        The group of its patient's age, where the recordings are of several; otherwise empty.
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
    corpus: str = ""
    age_group: str = ""

    @property
    def events(self) -> RecordingEvents:
        """Reference and hypothesis of the recording."""
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
    """One reference seizure: whether a detection overlaps it (OVLP), and with what latency.

    Attributes
    ----------
    partition_key : str
        Its recording.
    patient : str
        The patient.
    montage : str
        Name of the recording's montage, such as ``01_tcp_ar``; may be empty.
    start_s, stop_s : float
        Its start and stop, in seconds from the start of the recording.
    label : str
        Its type, as annotated.
    detected : bool
        Whether any detection overlaps it.
    latency_s : float
        Seconds from its start to that of the first detection that overlaps it: negative where the
        detection began before, NaN where there is none.
    covered : float
        Share of its duration that detections overlap, from 0 to 1.
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
    """Seizures of one type or one range of durations: how many OVLP detects, and the latency.

    Attributes
    ----------
    name : str
        The type, or the range of durations in words.
    seizures, detected : int
        Number of these seizures, and of those that a detection overlaps.
    patients : int
        Number of patients that have such a seizure.
    sensitivity : Estimate
        Detected share of the seizures, from 0 to 1.
    median_latency_s : Estimate
        Median latency of the detected seizures, in seconds; NaN where none is detected.
    """

    name: str
    seizures: int
    detected: int
    patients: int
    sensitivity: Estimate
    median_latency_s: Estimate


@dataclass(frozen=True, slots=True)
class HourRow:
    """False alarms (OVLP) of all recordings in their first hour, their second hour, and so on.

    Attributes
    ----------
    name : str
        The hour, such as ``0 to 1 h``; what comes after a day is one row.
    hours : float
        Recorded time in that hour, over all recordings and without unknown time, in hours.
    patients : int
        Number of patients with a recording that lasts until that hour.
    false_alarms : int
        False alarms that begin in it.
    false_per_day : Estimate
        False alarms per 24 hours.
    """

    name: str
    hours: float
    patients: int
    false_alarms: int
    false_per_day: Estimate


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Figures of the recordings of one patient, montage, corpus or age group.

    Attributes
    ----------
    name : str
        The patient, the montage, the corpus or the group.
    recordings : int
        Number of recordings.
    hours : float
        Their length in hours, unknown time included.
    seizures : int
        Number of their reference seizures under OVLP, which merges seizures that touch.
    figures : Figures
        SzCORE's event-based figures, pooled within the group.
    ovlp : Counts
        Sums of the counts of NEDC's OVLP (SEIZ only).
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

    Attributes
    ----------
    rule : str
        ``szcore_event`` or ``nedc_ovlp``.
    limit : float
        False alarms per 24 hours.
    tuned_point : OperatingPoint or None
        The point that keeps the limit on the tuning split. None where none does or there is no
        tuning split.
    tuned_sensitivity, tuned_false_per_day, tuned_f1 : Estimate
        Figures at that point on the scored split, where the rate may exceed the limit. NaN where
        there is no tuning split.
    point : OperatingPoint or None
        The point that keeps the limit on the scored split's own curve, for comparison only. None
        where none does, so that nothing is detected.
    sensitivity : Estimate
        Sensitivity at ``point``.
    false_per_day : float
        False alarms per 24 hours at ``point``.
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
    """Figures of the scores of seconds, without a threshold, and their curves.

    Attributes
    ----------
    seconds, ictal_seconds : int
        Number of scored seconds, and of those that are ictal.
    auroc, auprc, calibration_error : float
        Area under the ROC curve, average precision, and expected calibration error.
    roc : tuple of (float, float)
        Points of the ROC curve: false positive rate, sensitivity.
    precision_recall : tuple of (float, float)
        Points of the precision-recall curve: recall, precision.
    reliability : tuple of ReliabilityBin
        Mean probability and share of ictal seconds by bin of probability.
    """

    seconds: int
    ictal_seconds: int
    auroc: Measure
    auprc: Measure
    calibration_error: Measure
    roc: Points
    precision_recall: Points
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class EvaluationResults:
    """Everything that a report shows.

    An undefined figure (sensitivity without seizures) is NaN here and null in JSON.

    Attributes
    ----------
    format : int
        Version of the format of the results.
    split : str
        What was scored: a split of the run's own corpus, or the name and split of another corpus.
    profile : str
        The profile that selected the recordings.
    evaluation_set : str
        Hash of what was scored against what: recordings, lengths, references and unknown time.
    threshold : ThresholdChoice
        The operating point of all figures, and where it comes from.
    weights_chosen_on : str or None
        The split on which the network's weights were chosen, if any.
    eval_looks : EvalLooks or None
        How often the eval split was scored from the runs folder; None for another split.
    estimates : dict of Estimate
        Every figure by name, with its interval: ``<rule>.<figure>`` for the rules
        ``szcore_event``, ``szcore_sample`` (pooled), both with ``_subject_mean`` (SzCORE's average
        over subjects), ``nedc_ovlp``, ``nedc_taes``, ``nedc_taes_exact``, ``nedc_epoch``,
        ``nedc_alignment`` (SEIZ only, pooled) and these with ``_total`` (all classes);
        ``nedc_ira.kappa``; ``seconds.*``; sensitivity at limits of false alarms;
        ``<rule>_tuned_at_<limit>.<figure>`` at the points that keep the limit on the tuning split;
        latency; groups of seizures, montages and corpora; hours of the recordings.
    counts : dict of Counts
        Sums of the counts of all recordings, by rule.
    bootstrap_samples, bootstrap_seed : int
        Number of resamples behind the intervals, and the seed of their random generator.
    seconds : SecondFigures
        Figures of the score of each second, without a threshold.
    operating_curve : tuple of SweepRow
        Figures of the scored split over all thresholds; nothing is chosen by it.
    limits : tuple of LimitRow
        Operating points at limits of false alarms.
    patients, montages : tuple of GroupRow
        Figures of each patient and of each montage.
    seizure_types, seizure_durations : tuple of SeizureGroup
        Seizures by type and by duration.
    false_alarm_hours : tuple of HourRow
        False alarms by hour of the recordings.
    outcomes : tuple of SeizureOutcome
        Whether each seizure is detected, and with what latency.
    recordings : tuple of RecordingResult
        The scored recordings, ordered by partition key.
    unscored : tuple of UnscoredRecording
        Recordings of the split that are in no figure.
    provenance : dict of str
        Code, data, weights, settings and hardware, in the order in which a report shows them.
    unknown_s : float
        Seconds of all recordings that are neither seizure nor background, and so in no figure.
    training : TrainingFacts or None
        How the network was trained, where that is known.
    method : tuple of str
        Sentences on the signal chain and on detection.
    external : ExternalCorpus or None
        The scored corpus, if the run was not trained on it.
    corpora : tuple of GroupRow
        Figures of each corpus, if the corpora have names.
    ages : tuple of GroupRow
        Figures of each age group, if the index has ages of at least two.
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
    external: ExternalCorpus | None = None
    corpora: tuple[GroupRow, ...] = ()
    ages: tuple[GroupRow, ...] = ()

    @property
    def hours(self) -> float:
        """Length of all scored recordings in hours, unknown time included."""
        return math.fsum(row.duration_s for row in self.recordings) / SECONDS_PER_HOUR

    @property
    def seizures(self) -> int:
        """Number of reference seizures under OVLP."""
        return round(self.counts["nedc_ovlp"].reference)

    @property
    def headline(self) -> dict[str, Figures]:
        """The four figures of every rule, without intervals; SzCORE's rule for events first."""
        rules = sorted(
            {*self.counts, *(f"{rule}_subject_mean" for rule in ("szcore_event", "szcore_sample"))},
            key=lambda rule: (not rule.startswith("szcore_event"), rule),
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
                f"{where} has no valid evaluation results ({location}: {first['msg']}): "
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
        raise WorkRemains(f"no report in {folder}") from None
    except UnicodeDecodeError:
        raise BrainbrrError(f"{path} is damaged: evaluate again") from None
    return EvaluationResults.from_json(text, str(path))


@cache
def _adapter() -> TypeAdapter[EvaluationResults]:
    return TypeAdapter(EvaluationResults)


def report_folder(run_directory: Path, split: str) -> Path:
    """The folder of a run's report on a split of its own corpus."""
    return run_directory / f"report-{split}"
