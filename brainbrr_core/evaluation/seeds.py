"""One configuration under several seeds: each run's scores, and how far they lie apart.

The spread over seeds is of what chance in the training does: initial weights, the order of the
windows, augmentation. The interval over patients is of what chance in the choice of patients does.
Neither contains the other.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.evaluate import Evaluation, evaluate_trained
from brainbrr_core.evaluation.key_figures import KEY_FIGURES, KeyFigure, by_unit, key_figures
from brainbrr_core.evaluation.report.page import report_environment
from brainbrr_core.evaluation.report_folder import REPORT
from brainbrr_core.evaluation.results import MARKS, Estimate
from brainbrr_core.evaluation.statistics import unit_of
from brainbrr_core.evaluation.tables import write_table
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.canonical import digest
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

#: Fewer than this many seeds say little about a standard deviation.
_FEW = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds: its mean, its standard deviation (of a sample: n - 1), its range.

    NaN where the figure is undefined for a seed; the deviation also where there is one seed.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedEvaluation:
    """The evaluation of one seed's run."""

    seed: int
    evaluation: Evaluation

    @property
    def figures(self) -> dict[str, Estimate]:
        """The key figures with their intervals over patients."""
        return key_figures(self.evaluation.results)


@dataclass(frozen=True)
class SeedsReport:
    """Where the report over seeds lies and what it says, in the order of the seeds given."""

    report: Path
    split: str
    seeds: tuple[SeedEvaluation, ...]

    @property
    def figures(self) -> tuple[KeyFigure, ...]:
        """The key figures that every seed has."""
        return tuple(
            figure
            for figure in KEY_FIGURES
            if all(figure.name in seed.figures for seed in self.seeds)
        )

    @property
    def spreads(self) -> dict[str, Spread]:
        """The spread of each figure over the seeds, by name."""
        return {
            figure.name: spread([seed.figures[figure.name].value for seed in self.seeds])
            for figure in self.figures
        }


def evaluate_seeds(
    runs: Mapping[int, Run],
    cache: ProfileCache,
    settings: ReportSettings,
    split: str,
    *,
    log: Callable[[str], None] = print,
) -> SeedsReport:
    """Score the runs of some seeds on a split of the cache they were trained on; write a report.

    Every seed has a threshold of its own, tuned on dev. Each scoring of eval is put on record.
    Raises what :func:`evaluate_trained` raises.
    """
    evaluations = []
    for seed, run in runs.items():
        log(f"seed {seed}: run {run.name}")
        evaluation = evaluate_trained(run, cache, settings, split, log=log)
        evaluations.append(SeedEvaluation(seed, evaluation))
    results = [one.evaluation.results for one in evaluations]
    if len({scored.evaluation_set for scored in results}) > 1:
        raise BrainbrrError(
            "the cache changed while the seeds were scored, each on other recordings: give the "
            "same command again"
        )
    name = digest(sorted(run.name for run in runs.values()))[:12]
    runs_dir = next(iter(runs.values())).directory.parent
    folder = runs_dir / f"{cache.profile}-seeds-{name}"
    report = SeedsReport(
        folder / f"report-{results[0].split}" / REPORT, results[0].split, tuple(evaluations)
    )
    _write(report)
    return report


def spread(values: Sequence[float]) -> Spread:
    """The spread of a figure over seeds."""
    if any(map(math.isnan, values)):
        return Spread(math.nan, math.nan, math.nan, math.nan)
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), deviation, min(values), max(values))


def _write(report: SeedsReport) -> None:
    folder = report.report.parent
    write_table(
        folder / "figures",
        ("figure", "unit", "mean", "standard_deviation", "lowest", "highest", "seeds"),
        [
            (name, str(unit_of(name)), *astuple(over_seeds), len(report.seeds))
            for name, over_seeds in report.spreads.items()
        ],
    )
    write_table(
        folder / "seeds",
        ("seed", "run", "figure", "unit", "value", "low", "high", "interval", "few_patients"),
        [
            (
                *(seed.seed, seed.evaluation.run.name, name, str(unit_of(name))),
                *(value.value, value.low, value.high, value.method, value.few_patients),
            )
            for seed in report.seeds
            for name, value in seed.figures.items()
        ],
    )
    results = [seed.evaluation.results for seed in report.seeds]
    text = (
        report_environment()
        .get_template("seeds.html.j2")
        .render(
            report=report,
            by_unit=by_unit,
            first=results[0],
            sentences=_sentences(report),
            marks=MARKS,
            links=[
                os.path.relpath(seed.evaluation.report, folder).replace(os.sep, "/")
                for seed in report.seeds
            ],
        )
    )
    with replacing(report.report) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _sentences(report: SeedsReport) -> list[str]:
    """What the figures mean, and what they do not."""
    count, results = len(report.seeds), report.seeds[0].evaluation.results
    sentences = [
        f"{count} trainings with the same configuration and recordings, which differ only in "
        "their seed: initial weights, order of the windows and augmentation. Each has its own "
        "threshold, tuned on dev.",
        "The spread over seeds and the interval over patients are different things. The spread "
        "shows how much the figures of another training of the same network would vary on the "
        "same patients. The interval, in brackets for each seed, shows how much those of the same "
        "trained network would vary on other patients. Neither contains the other: the figures of "
        "a new training on the patients of another hospital vary by both.",
        "The standard deviation is that of a sample (n - 1). It is not a standard error: it does "
        "not shrink with more seeds. The mean is the expected figure of one training, not that of "
        "an ensemble.",
    ]
    if count < _FEW:
        sentences.append(
            f"{count} {'seed says' if count == 1 else 'seeds say'} little about a standard "
            "deviation."
        )
    if results.split == results.threshold.split:
        sentences.append(
            f"The split “{results.split}” was used to choose the thresholds: its figures flatter "
            "the detector."
        )
    looks = report.seeds[-1].evaluation.results.eval_looks
    if looks is not None:
        sentences.append(
            f"“eval” has been scored {looks.scorings:,} times from this runs folder, with "
            f"{looks.runs:,} runs, including the last of these."
        )
    return sentences
