"""Evaluation of a cross-validation: each fold on its held-out patients, and all folds together.

The figures over all folds are computed from the events of all held-out patients, by the same rules
as for one run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from brainbrr_core.cache.readiness import Preflight
from brainbrr_core.corpus.folds import HELD_OUT
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.age_groups import age_groups
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained, refuse_unasked_eval
from brainbrr_core.evaluation.event_scores import EventScores, score_events, write_event_scores
from brainbrr_core.evaluation.key_figures import OPERATING_FIGURES, KeyFigure, by_unit
from brainbrr_core.evaluation.results import EvaluationResults, GroupRow
from brainbrr_core.evaluation.score import evaluation_set
from brainbrr_core.evaluation.several_runs import page_path, writing_page
from brainbrr_core.evaluation.tables import write_table
from brainbrr_core.runs.eval_ledger import read_ledger
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run


@dataclass(frozen=True)
class FoldEvaluation:
    """The evaluation of one fold's run on the patients whom the fold holds out."""

    fold: int
    evaluation: Evaluation

    @property
    def results(self) -> EvaluationResults:
        """The results of that evaluation."""
        return self.evaluation.results


@dataclass(frozen=True)
class FoldsReport:
    """The report of a cross-validation.

    Attributes
    ----------
    report : Path
        The HTML page. Its folder has the tables.
    folds : tuple of FoldEvaluation
        The evaluation of each fold, in order.
    scores : EventScores
        Scores of the events of all patients together, with intervals over these patients.
    scorings : dict of int to int
        How often the held-out patients of each fold were scored from this runs folder.
    """

    report: Path
    folds: tuple[FoldEvaluation, ...]
    scores: EventScores
    scorings: dict[int, int]

    @property
    def patients(self) -> list[tuple[int, GroupRow]]:
        """Each patient's fold and figures, by the patient's name."""
        rows = ((one.fold, row) for one in self.folds for row in one.results.patients)
        return sorted(rows, key=lambda pair: pair[1].name)

    @property
    def figures(self) -> tuple[KeyFigure, ...]:
        """The key figures of the events of all patients.

        Figures over seconds, such as AUROC, are not among them: the scores of different networks
        have different scales and cannot be ranked together.
        """
        return tuple(figure for figure in OPERATING_FIGURES if figure.name in self.scores.estimates)


def evaluate_folds(
    runs: Mapping[int, Run],
    folds: Mapping[int, Preflight],
    settings: ReportSettings,
    *,
    log: Callable[[str], None] = print,
) -> FoldsReport:
    """Score the run of each fold on its held-out patients, and write a report over all folds.

    ``folds`` are those that :func:`~brainbrr_core.cache.readiness.check_folds` returned. Every fold
    has its own threshold, tuned on its dev. Each scoring is recorded, and a report of a fold that
    is up to date is reused. Raises as :func:`evaluate_trained` does.
    """
    runs_dir = next(iter(runs.values())).directory.parent
    refuse_unasked_eval(settings.evaluation, runs_dir)
    evaluations = []
    for fold, run in runs.items():
        log(f"fold {fold}: run {run.name}")
        evaluation = evaluate_trained(run, folds[fold].cache, settings, HELD_OUT, log=log)
        if evaluation.results.evaluation_set != evaluation_set(folds[fold].scorable(HELD_OUT)):
            raise BrainbrrError(
                "the cache changed while the folds were scored: give the same command again"
            )
        evaluations.append(FoldEvaluation(fold, evaluation))
    scored = (recording for one in folds.values() for recording in one.scorable(HELD_OUT))
    scores = score_events(
        (row.events for one in evaluations for row in one.results.recordings),
        # A fold alone may have one group, and so no row for it.
        age_groups=age_groups(next(iter(folds.values())).plan, scored),
        bootstrap_samples=settings.evaluation.bootstrap_samples,
        bootstrap_seed=settings.evaluation.bootstrap_seed,
    )
    times = Counter(scoring.evaluation_set for scoring in read_ledger(runs_dir))
    report = FoldsReport(
        page_path([one.evaluation for one in evaluations], evaluations[0].results.profile, "folds"),
        tuple(evaluations),
        scores,
        {one.fold: times[one.results.evaluation_set] for one in evaluations},
    )
    _write(report)
    return report


def _write(report: FoldsReport) -> None:
    with writing_page(
        report.report,
        "folds.html.j2",
        [one.evaluation for one in report.folds],
        report=report,
        figures=by_unit(report.figures),
        sentences=list(sentences(report)),
        profile=report.folds[0].results.profile,
    ) as folder:
        write_event_scores(folder, report.scores)
        write_table(
            folder / "folds",
            (
                *("fold", "run", "threshold", "threshold_from", "patients", "recordings", "hours"),
                *(
                    "seizures",
                    "szcore_event_reference",
                    "szcore_event_detected",
                    "szcore_event_false",
                ),
                "scorings",
            ),
            [
                (
                    *(one.fold, one.evaluation.run.name, one.results.threshold.point.probability),
                    *(one.results.threshold.split, len(one.results.patients)),
                    *(len(one.results.recordings), one.results.hours, one.results.seizures),
                    *(counts.reference, counts.detected, counts.false, report.scorings[one.fold]),
                )
                for one in report.folds
                for counts in [one.results.counts["szcore_event"]]
            ],
        )
        write_table(
            folder / "patients",
            (
                *("patient", "fold", "recordings", "hours", "seizures"),
                *("szcore_event_sensitivity", "szcore_event_precision", "szcore_event_f1"),
                *("szcore_event_false_per_day", "nedc_ovlp_reference", "nedc_ovlp_detected"),
                "nedc_ovlp_false",
            ),
            [
                (
                    *(row.name, fold, row.recordings, row.hours, row.seizures),
                    *(row.figures.sensitivity, row.figures.precision, row.figures.f1),
                    *(
                        row.figures.false_per_day,
                        row.ovlp.reference,
                        row.ovlp.detected,
                        row.ovlp.false,
                    ),
                )
                for fold, row in report.patients
            ],
        )


def sentences(report: FoldsReport) -> Iterator[str]:
    """Sentences on how to read the figures."""
    patients = report.scores.patients
    thresholds = [one.results.threshold.point.probability for one in report.folds]
    starts = [one.evaluation.start for one in report.folds if one.evaluation.start is not None]
    unseen = all(start.know_nobody for start in starts)
    exception = "" if unseen else " (except for its starting weights)"
    yield (
        f"{len(report.folds)} trainings with the same configuration, each without the patients of "
        "one fold. "
        f"The figures are of all {patients:,} patients, each scored by the network that was "
        f"trained without that patient{exception}."
    )
    yield from dict.fromkeys(start.sentence() for start in starts)
    yield (
        "Each fold has its own threshold, tuned on its own dev, which has none of the patients "
        f"whom it holds out. As probabilities, the thresholds are {min(thresholds):.3f} to "
        f"{max(thresholds):.3f}."
    )
    yield (
        "The intervals show how much the figures of these networks would vary on other patients. "
        "They do not show how much another training would vary, and since the networks share most "
        "of their training patients, the folds are not independent trials. The figures describe "
        "the method, not any single network."
    )
    yield (
        "Figures without a threshold, such as AUROC, are in the report of each fold: the scores of "
        "different networks cannot be ranked together."
    )
    unscored = [row for one in report.folds for row in one.results.unscored]
    if unscored:
        yield (
            f"Not scored: {count(len(unscored), 'recording')} of these patients; the report of "
            "each fold lists them with their reasons."
        )
    often = max(report.scorings.values())
    yield (
        "The patients of each fold have been scored "
        f"{'once' if often == 1 else f'up to {often:,} times'} from this runs folder so far."
    )
