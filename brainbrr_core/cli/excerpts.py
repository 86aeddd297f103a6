"""``brainbrr excerpts``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import RUN_HELP, Config, Json, RunsDir
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import count, print_json
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from brainbrr_core.evaluation.excerpts import ExcerptScores, Rate, Share


def excerpts(
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP}.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="A table with the columns file, label, start_s and stop_s, separated by tabs or, "
            "as .csv, by commas; files are named from its folder.",
        ),
    ],
    seizure_label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="A label that means a seizure; may be repeated (default: SZ, seiz and seizure).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="PROBABILITY",
            help="Probability at which an event begins, instead of the run's operating point.",
        ),
    ] = None,
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """Score a network on excerpts of recordings of which only some seconds are labeled.

    For collections of clips with seizures and with patterns that resemble them. A labeled seizure
    is detected by an event that overlaps it. In recordings without one, every event is a false
    alarm. Nothing else is counted where no label is.
    """
    from brainbrr_core.api.detector import load_model
    from brainbrr_core.evaluation.excerpts import SEIZURE_LABELS, read_intervals, score_excerpts

    intervals = read_intervals(table)
    detector = load_model(run, threshold=threshold, config=config, runs_dir=runs_dir)
    scores = score_excerpts(intervals, detector.analyze, seizure_label or SEIZURE_LABELS)
    if json:
        print_json(_as_json(scores, detector.run, detector.threshold))
        return 0
    rows = [
        [
            result.interval.file.name,
            result.interval.label,
            f"{result.interval.start_s:g}–{result.interval.stop_s:g}",
            "yes" if result.detected else "no",
            "" if math.isnan(result.latency_s) else f"{result.latency_s:.1f}",
        ]
        for result in scores.results
    ]
    print_table("Labeled intervals", ["file", "label", "seconds", "detected", "after, s"], rows)
    by_label = [[label, *_share_cells(scores.share(label))] for label in scores.labels]
    print_table("By label", ["label", "intervals", "detected", "share, 95% interval"], by_label)
    ictal_s, other_s = scores.seconds
    print(
        f"seizures detected: {_share_text(scores.share())}\n"
        f"recordings without a labeled seizure and without an event: "
        f"{_share_text(scores.without_events)}\n"
        f"false alarms in these: {_rate_text(scores.false_alarms)}\n"
        f"AUROC by second: {scores.auroc:.3f} ({count(ictal_s, 'second')} of seizure, "
        f"{other_s:,} of another label)\n"
        f"{detector.run}, threshold {detector.threshold:.4g}. Intervals are exact: Clopper and "
        "Pearson's of shares, Garwood's of rates."
    )
    return 0


def _share_cells(share: Share) -> list[str]:
    low, high = share.interval
    return [f"{share.trials:,}", f"{share.hits:,}", f"{low:.2f}–{high:.2f}"]


def _share_text(share: Share) -> str:
    low, high = share.interval
    return f"{share.hits:,} of {share.trials:,} [{low:.2f}, {high:.2f}]"


def _rate_text(rate: Rate) -> str:
    events = count(rate.events, "event")
    if not rate.hours:
        return f"{events} in no time"
    low, high = rate.interval
    return f"{events} in {rate.hours:.2f} h, {rate.per_hour:.1f} per hour [{low:.1f}, {high:.1f}]"


def _as_json(scores: ExcerptScores, run: str, threshold: float) -> dict[str, JsonValue]:
    ictal_s, other_s = scores.seconds
    return {
        "run": run,
        "threshold": threshold,
        "intervals": [
            {
                "file": str(result.interval.file),
                "label": result.interval.label,
                "start_s": result.interval.start_s,
                "stop_s": result.interval.stop_s,
                "is_seizure": result.is_seizure,
                "detected": result.detected,
                "latency_s": None if math.isnan(result.latency_s) else result.latency_s,
            }
            for result in scores.results
        ],
        "seizures": _share_json(scores.share()),
        "by_label": {label: _share_json(scores.share(label)) for label in scores.labels},
        "without_events": _share_json(scores.without_events),
        "false_alarms": {
            "events": scores.false_alarms.events,
            "hours": scores.false_alarms.hours,
            "per_hour": None if not scores.false_alarms.hours else scores.false_alarms.per_hour,
            "interval": list(scores.false_alarms.interval) if scores.false_alarms.hours else None,
        },
        "auroc": None if math.isnan(scores.auroc) else scores.auroc,
        "seconds": {"seizure": ictal_s, "other": other_s},
    }


def _share_json(share: Share) -> dict[str, JsonValue]:
    return {"hits": share.hits, "trials": share.trials, "interval": list(share.interval)}
