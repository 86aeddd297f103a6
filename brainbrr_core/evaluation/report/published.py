"""Published results of other detectors, and when an evaluation is comparable with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from brainbrr_core.display.counts import count
from brainbrr_core.evaluation.results import EvaluationResults


@dataclass(frozen=True, slots=True)
class Published:
    """A published result of one detector at one operating point.

    Figures that were not published are NaN. ``auroc`` is text as published, empty without one;
    ``remark`` is shown after the detector's name.
    """

    group: str
    model: str
    f1: float = math.nan
    sensitivity: float = math.nan
    false_per_day: float = math.nan
    auroc: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class PublishedGroup:
    """Published results of one protocol on one corpus.

    ``rule`` is the scoring rule that counts in the same way, None if there is none. ``obstacle``
    says why no evaluation is comparable with the group; it is empty for a group that is
    comparable with an evaluation on TUSZ's complete eval split.
    """

    description: str
    rule: str | None = None
    obstacle: str = ""


PUBLISHED_GROUPS = {
    "szcore_tusz": PublishedGroup(
        "SzCORE event-based, mean over subjects, timescoring 0.0.7 (April 2026): TUSZ",
        "szcore_event_subject_mean",
        "the source does not state which recordings of TUSZ were used",
    ),
    "szcore_dianalund": PublishedGroup(
        "SzCORE event-based (2025 challenge): Dianalund",
        obstacle="different corpus",
    ),
    "szcore_siena": PublishedGroup("SzCORE event-based: Siena", obstacle="different corpus"),
    "nedc_ovlp_tusz_eval": PublishedGroup(
        "NEDC OVLP, SEIZ only: TUSZ eval, 865 recordings", "nedc_ovlp"
    ),
    "window_auroc_tusz_1_5_2": PublishedGroup(
        "AUROC over windows of 12 s / 60 s: TUSZ 1.5.2",
        obstacle="different version of the corpus, and AUROC over windows instead of seconds",
    ),
}
#: TUSZ 2.0.3's eval split: recordings, patients, seizures, and hours to a tenth.
TUSZ_EVAL = (865, 43, 469, 127.7)
PUBLISHED = (
    Published("szcore_tusz", "SeizureTransformer", 0.410, 0.573, 18.2),
    Published("szcore_tusz", "DeepSOZ-HEM", 0.390, 0.622, 33.1),
    Published("szcore_tusz", "EventNet", 0.373, 0.539, 23.2),
    Published("szcore_tusz", "Zhu", 0.352, 0.600, 43.7),
    Published("szcore_tusz", "DCRNN", 0.222, 0.621, 94.5),
    Published("szcore_dianalund", "SeizureTransformer", 0.323, 0.369, 1.31),
    Published("szcore_dianalund", "DeepSOZ-HEM", 0.304),
    Published("szcore_dianalund", "Zhu", 0.188),
    Published("szcore_dianalund", "EventNet", 0.143),
    Published("szcore_siena", "DeepSOZ-HEM", 0.820),
    Published("szcore_siena", "SeizureTransformer", 0.706, remark="trained on Siena"),
    Published(
        "nedc_ovlp_tusz_eval",
        "SeizureTransformer",
        sensitivity=0.456,
        false_per_day=26.9,
        auroc=".902",
        remark="the source does not state what the AUROC is computed over",
    ),
    Published("nedc_ovlp_tusz_eval", "SeizureTransformer", sensitivity=0.339, false_per_day=10.3),
    Published("nedc_ovlp_tusz_eval", "SeizureTransformer", sensitivity=0.145, false_per_day=2.05),
    Published("window_auroc_tusz_1_5_2", "EvoBrain", auroc=".877 / .865"),
    Published("window_auroc_tusz_1_5_2", "GRU-GCN", auroc=".856 / .822"),
    Published("window_auroc_tusz_1_5_2", "LaBraM", auroc=".825 / .793"),
    Published("window_auroc_tusz_1_5_2", "DCRNN", auroc=".817 / .808"),
    Published("window_auroc_tusz_1_5_2", "BIOT", auroc=".726 / .651"),
)


@dataclass(frozen=True, slots=True)
class Ours:
    """Figures of this evaluation, as a row next to a group of published results."""

    name: str
    f1: float
    sensitivity: float
    false_per_day: float


def obstacle(results: EvaluationResults, group: str) -> str:
    """Why ``results`` are not comparable with a group of published ones; empty if they are.

    They are comparable if the rule is the same and the complete eval split of TUSZ 2.0.3 was
    scored, which is judged by its numbers of recordings, patients, seizures and hours.
    """
    published = PUBLISHED_GROUPS[group]
    if published.obstacle:
        return published.obstacle
    recordings, patients, seizures, hours = TUSZ_EVAL
    scored = (len(results.recordings), len(results.patients), results.seizures)
    complete = scored == (recordings, patients, seizures) and abs(results.hours - hours) < 0.1
    if results.split == "eval" and complete and not results.unscored and not results.unknown_s:
        return ""
    return (
        f"measured on TUSZ eval ({recordings} recordings, {seizures} seizures), this run on "
        f"“{results.split}” ({scored[0]} recordings, {scored[2]} seizures)"
        + (
            f" without {results.unknown_s / 3600:.2f} h of unknown time"
            if results.unknown_s
            else ""
        )
    )


def ours(results: EvaluationResults, group: str) -> list[Ours]:
    """Figures of an evaluation under a group's rule, each with its actual rate of false alarms.

    The first row is at the threshold in use. The next rows are at the operating points that were
    chosen for a limit of false alarms on the tuning split, and the last ones are read off the
    curve of the scored split itself. Empty if the group's rule is not one of the evaluation's.
    """
    rule = PUBLISHED_GROUPS[group].rule
    if rule is None:
        return []
    figures = results.headline[rule]
    rows = [
        Ours(
            "This run, at the threshold in use",
            figures.f1,
            figures.sensitivity,
            figures.false_per_day,
        )
    ]
    limits = [row for row in results.limits if row.rule == rule]
    chosen = f"“{results.threshold.split}”"
    if results.threshold.split == results.split:
        chosen += ", the same recordings,"
    for row in limits:
        if row.tuned_point is not None:
            rows.append(
                Ours(
                    f"This run, operating point chosen on {chosen} for at most "
                    f"{count(row.limit, 'false alarm')} per 24 h",
                    row.tuned_f1.value,
                    row.tuned_sensitivity.value,
                    row.tuned_false_per_day.value,
                )
            )
    for row in limits:
        rows.append(
            Ours(
                "This run, read off its curve on the scored recordings themselves, for at most "
                f"{count(row.limit, 'false alarm')} per 24 h",
                math.nan,
                row.sensitivity.value,
                row.false_per_day,
            )
        )
    return rows
