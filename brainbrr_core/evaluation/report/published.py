"""Published results to compare with ours, and when the two are comparable."""

from __future__ import annotations

import math
from dataclasses import dataclass

from brainbrr_core.evaluation.results import EvaluationResults


@dataclass(frozen=True, slots=True)
class Published:
    """A published result; figures that were not given are NaN, ``remark`` says what else."""

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

    ``rule`` is the one of ours that counts in the same way, None where there is none;
    ``obstacle`` says why ours never compare, whatever was scored, and is empty where they do
    compare on TUSZ's whole eval split.
    """

    description: str
    rule: str | None = None
    obstacle: str = ""


PUBLISHED_GROUPS = {
    "szcore_tusz": PublishedGroup(
        "SzCORE event-based, mean over subjects, timescoring 0.0.7 (April 2026): TUSZ",
        "szcore_event_subject_mean",
        "which recordings of TUSZ they were measured on is not stated",
    ),
    "szcore_dianalund": PublishedGroup(
        "SzCORE event-based (challenge of 2025): Dianalund",
        obstacle="other corpus",
    ),
    "szcore_siena": PublishedGroup("SzCORE event-based: Siena", obstacle="other corpus"),
    "nedc_ovlp_tusz_eval": PublishedGroup(
        "NEDC OVLP, SEIZ only: TUSZ eval, 865 recordings", "nedc_ovlp"
    ),
    "window_auroc_tusz_1_5_2": PublishedGroup(
        "AUROC of windows of 12 s / 60 s: TUSZ 1.5.2",
        obstacle="other version of the corpus, and windows where ours are seconds",
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
        remark="what its AUROC is taken over is not stated",
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
    """A row of our own results next to a group of published ones."""

    name: str
    f1: float
    sensitivity: float
    false_per_day: float


def obstacle(results: EvaluationResults, group: str) -> str:
    """Why ``results`` do not compare with a group of published ones; empty where they do.

    They compare where the rule is the same and what was scored is TUSZ 2.0.3's eval split, the
    whole of it, by its recordings, patients, seizures and hours.
    """
    known = PUBLISHED_GROUPS[group]
    if known.obstacle:
        return known.obstacle
    recordings, patients, seizures, hours = TUSZ_EVAL
    found = (len(results.recordings), len(results.patients), results.seizures)
    whole = found == (recordings, patients, seizures) and abs(results.hours - hours) < 0.1
    if results.split == "eval" and whole and not results.unscored and not results.unknown_s:
        return ""
    return (
        f"measured on TUSZ eval ({recordings} recordings, {seizures} seizures), ours on "
        f"{found[0]} recordings of “{results.split}” with {found[2]} seizures"
        + (f", less {results.unknown_s / 3600:.2f} h of unknown time" if results.unknown_s else "")
    )


def ours(results: EvaluationResults, group: str) -> list[Ours]:
    """Our figures under the rule of a group, each with the rate of false alarms it really had.

    At the threshold in use, at the operating points that were chosen elsewhere for a limit, and
    at those read off the scored split's own curve.
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
        chosen += ", these very recordings,"
    for row in limits:
        if row.tuned_point is not None:
            rows.append(
                Ours(
                    f"This run, operating point chosen on {chosen} for at most {row.limit:g} per "
                    "24 h",
                    row.tuned_f1.value,
                    row.tuned_sensitivity.value,
                    row.tuned_false_per_day.value,
                )
            )
    for row in limits:
        rows.append(
            Ours(
                f"This run, read off its own curve on these recordings at no more than "
                f"{row.limit:g} per 24 h",
                math.nan,
                row.sensitivity.value,
                row.false_per_day,
            )
        )
    return rows
