"""``brainbrr score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import RuleFamily, UnmatchedChoice
from brainbrr_core.cli.options import Json
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import count, estimate_text, log, print_json
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brainbrr_core.evaluation.event_files import MatchedEvents
    from brainbrr_core.evaluation.event_scores import EventScores
    from brainbrr_core.scoring import Figures


def score(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Folder (or file) with annotated events.")
    ],
    hypothesis: Annotated[
        Path, typer.Argument(metavar="HYPOTHESIS", help="Folder (or file) with detected events.")
    ],
    rules: Annotated[
        RuleFamily, typer.Option(help="Whose rules the detections are scored by.")
    ] = RuleFamily.BOTH,
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression whose only group is the patient in the path of a file "
            "(default: sub-01 of BIDS, the first part of a name of TUSZ, or the topmost folder).",
        ),
    ] = None,
    unmatched: Annotated[
        UnmatchedChoice,
        typer.Option(
            help="A recording that only one folder has: refuse to score, skip it, or count a "
            "missing hypothesis as empty."
        ),
    ] = UnmatchedChoice.REFUSE,
    seizure_text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX",
            help="A text that means a seizure, in EDF+ and BIDS files; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write figures, recordings and seizures there, as CSV and Parquet.",
        ),
    ] = None,
    bootstrap_samples: Annotated[
        int, typer.Option(min=1, help="Resamples of the patients for the intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    json: Json = False,
) -> int:
    """Score the events of any detector against a reference, by the rules of SzCORE and NEDC.

    Both folders have a file for each recording, of the same name: csv_bi, csv, tse_bi, tse, the tsv
    of SzCORE or BIDS, or EDF+ with annotations. No corpus, cache or run is needed.
    """
    from brainbrr_core.evaluation.event_files import Unmatched, match_events
    from brainbrr_core.evaluation.event_scores import RULES, score_events, write_event_scores
    from brainbrr_core.files.atomic import replacing_together

    matched = match_events(
        reference,
        hypothesis,
        patient_pattern=patient_pattern,
        unmatched=Unmatched(unmatched.value),
        seizure_texts=seizure_text or (),
    )
    scores = score_events(
        matched.recordings,
        rules=RULES if rules is RuleFamily.BOTH else (rules.value,),
        bootstrap_samples=bootstrap_samples,
        bootstrap_seed=seed,
    )
    if out is not None:
        with replacing_together(out) as folder:
            write_event_scores(folder, scores)
    _log_unmatched(matched, unmatched)
    if json:
        print_json(_as_json(matched, scores))
    else:
        _print(scores)
        if out is not None:
            print(f"tables: {out}")
    return 0


def _log_unmatched(matched: MatchedEvents, unmatched: UnmatchedChoice) -> None:
    """Name on standard error what is not scored, or scored without a file."""
    empty = unmatched is UnmatchedChoice.EMPTY
    for names, what in (
        (matched.without_hypothesis, "scored without a detection" if empty else "not scored"),
        (matched.without_reference, "not scored, for want of a reference"),
    ):
        if names:
            log(f"{count(len(names), 'recording')} {what}: {', '.join(names)}")


def _print(scores: EventScores) -> None:
    from brainbrr_core.evaluation.results import MARKS
    from brainbrr_core.scoring import figures

    print_rules(
        f"{count(len(scores.recordings), 'recording')}, {count(scores.patients, 'patient')}, "
        f"{scores.hours:.2f} h, {count(len(scores.outcomes), 'seizure')}",
        {rule: figures(counts) for rule, counts in scores.counts.items()},
    )
    if scores.unknown_s:
        print(f"{scores.unknown_s:,.0f} s are neither seizure nor background and are not counted")
    for rule in ("szcore_event", "nedc_ovlp"):
        if rule in scores.counts:
            sensitivity, f1, rate = (
                estimate_text(scores.estimates[f"{rule}.{name}"], digits)
                for name, digits in (("sensitivity", 3), ("f1", 3), ("false_per_day", 1))
            )
            name = rule.replace("_", " ")
            print(f"{name}: sensitivity {sensitivity}, F1 {f1}, false alarms per 24 h {rate}")
    print(f"95% intervals over patients. {MARKS}")


def print_rules(title: str, by_rule: Mapping[str, Figures]) -> None:
    """Print the figures of each rule, without those of background alone."""
    from brainbrr_core.evaluation.statistics import Unit, unit_of

    rows = []
    for rule, values in by_rule.items():
        if rule.endswith("_bckg"):
            continue
        rate = f"{values.false_per_day:,.1f}"
        # Rules that count samples of time count false seconds, not false events.
        of_time = unit_of(f"{rule}.false_per_day") is Unit.FALSE_SECONDS
        rows.append(
            [
                rule.replace("_", " "),
                f"{values.sensitivity:.3f}",
                f"{values.precision:.3f}",
                f"{values.f1:.3f}",
                *(("", rate) if of_time else (rate, "")),
            ]
        )
    columns = ["rule", "sensitivity", "precision", "F1", "false/24 h", "false s/24 h"]
    print_table(title, columns, rows)


def _as_json(matched: MatchedEvents, scores: EventScores) -> dict[str, JsonValue]:
    from dataclasses import asdict

    return {
        "recordings": len(scores.recordings),
        "patients": scores.patients,
        "hours": scores.hours,
        "seizures": len(scores.outcomes),
        "unknown_s": scores.unknown_s,
        "without_hypothesis": list(matched.without_hypothesis),
        "without_reference": list(matched.without_reference),
        "counts": {rule: asdict(counts) for rule, counts in scores.counts.items()},
        "figures": {name: asdict(estimate) for name, estimate in scores.estimates.items()},
    }
