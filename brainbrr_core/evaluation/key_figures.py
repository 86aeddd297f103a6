"""The figures that tables of several evaluations show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brainbrr_core.display.counts import count
from brainbrr_core.evaluation.results import Estimate, EvaluationResults
from brainbrr_core.evaluation.statistics import (
    LIMITED_RULES,
    SUBJECT_MEAN,
    Unit,
    tuned_name,
    unit_of,
)
from brainbrr_core.scoring import FALSE_ALARM_LIMITS

_RULES = {"szcore_event": "SzCORE event", "nedc_ovlp": "NEDC OVLP"}


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A figure's name, its title in a table, and the decimals that it is shown with."""

    name: str
    title: str
    digits: int = 3


def by_unit(figures: Iterable[KeyFigure]) -> dict[Unit, list[KeyFigure]]:
    """Group figures by unit, in their order: figures of one unit may share a column."""
    groups: dict[Unit, list[KeyFigure]] = {}
    for figure in figures:
        groups.setdefault(unit_of(figure.name), []).append(figure)
    return groups


def _at_limits() -> list[KeyFigure]:
    return [
        figure
        for rule in LIMITED_RULES
        for limit in sorted(FALSE_ALARM_LIMITS)
        for figure in (
            KeyFigure(
                f"{tuned_name(rule, limit)}.sensitivity",
                f"{_RULES[rule]} sensitivity at the threshold tuned for "
                f"{count(limit, 'false alarm')} per 24 h",
            ),
            KeyFigure(
                f"{tuned_name(rule, limit)}.false_per_day",
                f"{_RULES[rule]} false alarms per 24 h at that threshold",
                2,
            ),
        )
    ]


#: The figures of one threshold, then those at the thresholds of limits of false alarms.
OPERATING_FIGURES = (
    KeyFigure("szcore_event.f1", "SzCORE event F1, pooled"),
    KeyFigure(f"szcore_event{SUBJECT_MEAN}.f1", "SzCORE event F1, mean over patients"),
    KeyFigure("szcore_event.sensitivity", "SzCORE event sensitivity, pooled"),
    KeyFigure(
        f"szcore_event{SUBJECT_MEAN}.sensitivity", "SzCORE event sensitivity, mean over patients"
    ),
    KeyFigure("szcore_event.false_per_day", "SzCORE false alarms per 24 h, pooled", 2),
    KeyFigure(
        f"szcore_event{SUBJECT_MEAN}.false_per_day",
        "SzCORE false alarms per 24 h, mean over patients",
        2,
    ),
    KeyFigure("nedc_ovlp.f1", "NEDC OVLP F1"),
    KeyFigure("nedc_ovlp.sensitivity", "NEDC OVLP sensitivity"),
    KeyFigure("nedc_ovlp.false_per_day", "NEDC OVLP false alarms per 24 h", 2),
    KeyFigure("seconds.auroc", "AUROC of each second"),
    KeyFigure("seconds.auprc", "Average precision of each second"),
)
LIMIT_FIGURES = tuple(_at_limits())
KEY_FIGURES = (*OPERATING_FIGURES, *LIMIT_FIGURES)


def key_figures(results: EvaluationResults) -> dict[str, Estimate]:
    """The key figures of an evaluation by name, in their order; undefined ones are NaN.

    Figures at tuned thresholds are there only if the results have limits of false alarms.
    """
    figures = {figure.name: results.estimates[figure.name] for figure in OPERATING_FIGURES}
    for row in results.limits:
        name = tuned_name(row.rule, row.limit)
        figures[f"{name}.sensitivity"] = row.tuned_sensitivity
        figures[f"{name}.false_per_day"] = row.tuned_false_per_day
    return {figure.name: figures[figure.name] for figure in KEY_FIGURES if figure.name in figures}
