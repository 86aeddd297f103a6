"""``brainbrr evaluate``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    RUN_HELP,
    CacheRoot,
    Config,
    Json,
    Profile,
    RunsDir,
    Version,
    configuration,
    log,
    print_json,
    print_table,
    run_folder,
)

if TYPE_CHECKING:
    from brainbrr_core.evaluation.evaluate import Evaluation
    from brainbrr_core.evaluation.results import Estimate


_ELSEWHERE = "On other corpora"


def evaluate(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help=f"{RUN_HELP} The configuration's by default."),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    data_dir: Annotated[
        str | None,
        typer.Option(help="The corpus that RUN is scored on; with its own --cache-root."),
    ] = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    split: Annotated[
        str | None,
        typer.Option(help="dev or eval; of another corpus also train or all, its default."),
    ] = None,
    allow_eval: Annotated[
        bool, typer.Option("--allow-eval", help="Score the eval split; every time is counted.")
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds such as 0,1,2: the runs that `train --seeds` gave, and a report."),
    ] = None,
    across: Annotated[
        str | None,
        typer.Option(
            help="Cache roots or configuration files of other corpora, joined by commas, each "
            "as it is or as NAME=PATH: one report with a row for each.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = None,
    adapt: Annotated[
        str | None,
        typer.Option(
            help="threshold: tune it on dev of the other corpus, which every output then says.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = None,
    other_people: Annotated[
        bool,
        typer.Option(
            "--other-people",
            help="Patients of the other corpus who have the name of one of the run's own (sub-01) "
            "are other people, and are scored.",
            rich_help_panel=_ELSEWHERE,
        ),
    ] = False,
    version: Version = None,
    json: Json = False,
) -> int:
    """Score a run on whole recordings and write the report.

    The threshold is tuned on dev, once, and frozen. With RUN and the cache root of another corpus,
    the run is scored there as it is: nothing of that corpus tunes anything, and patients that the
    run knows are left out.
    """
    from brainbrr_core.cli import several

    settings = configuration(config, profile, data_dir, cache_root, runs_dir, version)
    if allow_eval:
        allowed = settings.evaluation.model_copy(update={"allow_eval": True})
        settings = settings.model_copy(update={"evaluation": allowed})
    asked = several.asked_elsewhere(adapt, other_people=other_people)
    if seeds is not None:
        if run is not None or across is not None or data_dir is not None or asked is not None:
            raise typer.BadParameter(
                "--seeds scores the runs of the configuration: leave out RUN, --across, "
                "--data-dir, --adapt and --other-people"
            )
        return several.evaluate_seeds(settings, seeds, _own_split(split), json=json)
    if across is not None:
        given = several.Given(config, profile, runs_dir)
        return several.evaluate_across(settings, run, across, given, split, asked, json=json)
    if run is None and (data_dir is not None or asked is not None):
        raise typer.BadParameter(
            "name the RUN that is scored on another corpus: brainbrr evaluate RUN --cache-root ..."
        )
    if run is None:
        from brainbrr_core.evaluation.evaluate import evaluate as run_evaluation

        evaluation = run_evaluation(settings, _own_split(split), log=log)
    else:
        from brainbrr_core.evaluation.external import evaluate_run
        from brainbrr_core.runs.run import open_run

        chosen = open_run(run_folder(run, settings.runs_dir))
        where = None if data_dir is None else settings.data_dir
        evaluation = evaluate_run(settings, chosen, split, asked, data_dir=where, log=log)
    if json:
        print_json(several.as_json(evaluation))
    else:
        print_scores(evaluation)
    return 0


def _own_split(split: str | None) -> str | None:
    """A split that a run may be scored on of its own corpus."""
    if split is not None and split not in ("dev", "eval"):
        raise typer.BadParameter("--split is dev or eval")
    return split


def print_scores(evaluation: Evaluation) -> None:
    """The headline scores as a table, and where the report lies."""
    from brainbrr_core.evaluation.external_words import external_sentences
    from brainbrr_core.evaluation.results import MARKS
    from brainbrr_core.evaluation.statistics import Unit, unit_of

    results = evaluation.results
    rows = []
    for rule, values in results.headline.items():
        if rule.endswith("_bckg"):
            continue
        rate = f"{values.false_per_day:.1f}"
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
    seen = (
        "the split the threshold was tuned on"
        if results.split == results.threshold.split
        else f"threshold from {results.threshold.split}"
    )
    if results.eval_looks is not None:
        seen += f"; scoring {results.eval_looks.scorings} of eval"
    print_table(
        f"{results.split}: {len(results.recordings)} recordings, {results.hours:.2f} h, "
        f"{results.seizures} seizures ({seen})",
        columns,
        rows,
    )
    if results.external is not None:
        for sentence in external_sentences(results):
            print(sentence)
    if results.limits:
        print_table(
            f"operating points chosen on {results.threshold.split or 'no split'} for a limit of "
            f"false alarms, applied to {results.split}",
            ["rule", "limit/24 h", "sensitivity", "false/24 h"],
            [
                [
                    row.rule.replace("_", " "),
                    f"{row.limit:g}",
                    _estimate(row.tuned_sensitivity, 3),
                    _estimate(row.tuned_false_per_day, 2),
                ]
                for row in results.limits
            ],
        )
    if results.unknown_s:
        print(
            f"masked: {results.unknown_s / 3600:.2f} h of these are unknown, neither seizure nor "
            "background"
        )
    if results.unscored:
        hours = sum(row.duration_s for row in results.unscored) / 3600
        seizures = sum(row.seizures for row in results.unscored)
        print(
            f"not scored: {len(results.unscored)} recordings, {hours:.2f} h, {seizures} known "
            "seizures; the report lists them with their reasons"
        )
    f1 = results.estimates["szcore_event.f1"]
    print(f"F1, szcore event: {_estimate(f1, 3)} (95% interval over patients)")
    print(f"AUROC {results.seconds.auroc:.3f}, AUPRC {results.seconds.auprc:.3f} (by the second)")
    print(MARKS)
    print(f"report: {evaluation.report}")


def _estimate(part: Estimate, digits: int) -> str:
    """A figure and its interval."""
    return "-" if math.isnan(part.value) else f"{part.value:.{digits}f} {part.bracketed(digits)}"
