"""Evaluation of one configuration with several seeds: scores of each run, and their spread.

The spread over seeds shows the effect of chance in the training: initial weights, the order of the
windows, augmentation. The interval over patients shows the effect of the choice of patients.
Neither contains the other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.key_figures import KEY_FIGURES, KeyFigure, by_unit, key_figures
from brainbrr_core.evaluation.results import Estimate
from brainbrr_core.evaluation.several_runs import (
    ESTIMATE_COLUMNS,
    caveats,
    estimate_cells,
    evaluate_each,
    page_path,
    writing_page,
)
from brainbrr_core.evaluation.statistics import unit_of
from brainbrr_core.evaluation.tables import write_table
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.run import Run

#: Fewer than this many seeds say little about a standard deviation.
_FEW = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of a figure over seeds. All are NaN if it is undefined for a seed.

    Attributes
    ----------
    mean : float
        Mean over the seeds.
    standard_deviation : float
        Standard deviation of a sample (n - 1); NaN for a single seed.
    low, high : float
        The lowest and the highest value.
    """

    mean: float
    standard_deviation: float
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
    """The report over several seeds.

    Attributes
    ----------
    report : Path
        The HTML page. Its folder has the tables.
    split : str
        The scored split.
    seeds : tuple of SeedEvaluation
        The evaluation of each seed, in the order in which the seeds were given.
    """

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

    Every seed has its own threshold, tuned on dev. Each scoring of eval is recorded. Raises as
    :func:`evaluate_each` does.
    """
    named = {f"seed {seed}": run for seed, run in runs.items()}
    evaluations = evaluate_each(named, cache, settings, split, "seeds", log=log)
    report = SeedsReport(
        page_path(evaluations, cache.profile, "seeds"),
        evaluations[0].results.split,
        tuple(SeedEvaluation(seed, each) for seed, each in zip(runs, evaluations, strict=True)),
    )
    _write(report)
    return report


def spread(values: Sequence[float]) -> Spread:
    """The spread of a figure over seeds."""
    if any(map(math.isnan, values)):
        return Spread(math.nan, math.nan, math.nan, math.nan)
    sd = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), sd, min(values), max(values))


def _write(report: SeedsReport) -> None:
    with writing_page(
        report.report,
        "seeds.html.j2",
        [seed.evaluation for seed in report.seeds],
        report=report,
        by_unit=by_unit,
        first=report.seeds[0].evaluation.results,
        sentences=_sentences(report),
    ) as folder:
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
            ("seed", "run", *ESTIMATE_COLUMNS),
            [
                (seed.seed, seed.evaluation.run.name, *estimate_cells(name, value))
                for seed in report.seeds
                for name, value in seed.figures.items()
            ],
        )


def _sentences(report: SeedsReport) -> list[str]:
    """Sentences on how to read the figures."""
    count = len(report.seeds)
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
    return sentences + caveats(
        [seed.evaluation for seed in report.seeds], "detector", ", including the last of these."
    )
