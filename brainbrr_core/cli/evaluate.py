"""``brainbrr evaluate``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import AdaptChoice, AnySplit
from brainbrr_core.cli.options import (
    FOLD,
    RUN_HELP,
    CacheRoot,
    CacheVersion,
    Config,
    Fold,
    Json,
    Profile,
    RunsDir,
    configuration,
    next_command,
    run_folder,
)
from brainbrr_core.cli.printing import count, estimate_text, log, print_json
from brainbrr_core.cli.score import print_rules
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from brainbrr_core.evaluation.evaluate import Evaluation


_OTHER_CORPORA = "On other corpora"


def evaluate(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help=f"{RUN_HELP} (default: the run of the configuration)."),
    ] = None,
    split: Annotated[
        AnySplit | None,
        typer.Option(
            help="The split to score (default: evaluation.split). Of the run's own corpus dev or "
            "eval; of another one any split, by default all."
        ),
    ] = None,
    allow_eval: Annotated[
        bool,
        typer.Option("--allow-eval", help="Allow scoring the eval split; every time is counted."),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="SEEDS",
            help="Score the runs that `train --seeds` trained for these seeds, such as 0,1,2, and "
            "write a report of their spread.",
        ),
    ] = None,
    fold: Fold = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            help="Score every fold of the cross-validation on the patients whom it holds out, and "
            "write a report of all of them; needs --allow-eval.",
        ),
    ] = False,
    data_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The other corpus that RUN is scored on; give its --cache-root too.",
            rich_help_panel=_OTHER_CORPORA,
        ),
    ] = None,
    across: Annotated[
        str | None,
        typer.Option(
            metavar="CORPORA",
            help="Cache roots or configuration files of other corpora, joined by commas, each "
            "as PATH or NAME=PATH: one report with a row for each.",
            rich_help_panel=_OTHER_CORPORA,
        ),
    ] = None,
    adapt: Annotated[
        AdaptChoice | None,
        typer.Option(
            help="Tune the threshold on dev of the other corpus, which every output then states.",
            rich_help_panel=_OTHER_CORPORA,
        ),
    ] = None,
    other_people: Annotated[
        bool,
        typer.Option(
            "--other-people",
            help="Patients of the other corpus who have the name of one of the run's own (sub-01) "
            "are other people: score them.",
            rich_help_panel=_OTHER_CORPORA,
        ),
    ] = False,
    detection: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another setting of detection than the run's, such as "
            "detection.min_duration_s=5. The threshold is tuned again with it. May be repeated.",
        ),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Score a run on whole recordings and write the report.

    The threshold is tuned on dev once and then fixed. RUN is scored with its own preprocessing,
    detection and recordings, whatever the configuration says. With the cache root of another
    corpus, it is scored there unchanged: nothing of that corpus tunes anything, and patients of the
    run's own corpus are left out.
    """
    from brainbrr_core.cli import several

    settings = configuration(config, profile, data_dir, cache_root, runs_dir, cache_version)
    if allow_eval:
        allowed = settings.evaluation.model_copy(update={"allow_eval": True})
        settings = settings.model_copy(update={"evaluation": allowed})
    asked = several.asked_of_other_corpora(adapt, other_people=other_people)
    if folds or fold is not None:
        others = (run, across, data_dir, asked, detection)
        beside_folds = (fold, seeds, split) if folds else ()
        if any(value is not None for value in (*others, *beside_folds)):
            raise BrainbrrError(
                "--fold and --folds score the runs of the configuration: leave out RUN, --across, "
                "--data-dir, --adapt, --other-people and --set, and with --folds also --fold, "
                "--seeds and --split"
            )
    if folds:
        from brainbrr_core.cache.profile_cache import ProfileCache
        from brainbrr_core.runs.identity import ReportSettings, TrainingSettings

        training, report = TrainingSettings.of(settings), ReportSettings.of(settings)
        cache = ProfileCache.of(settings)
        return several.evaluate_folds(cache, settings.runs_dir, training, report, json=json)
    if fold is not None:
        from brainbrr_core.configuration.load import apply_values

        settings = apply_values(settings, {FOLD: fold}, "--fold")
    if seeds is not None:
        given = (run, across, data_dir, asked, detection)
        if any(value is not None for value in given):
            raise BrainbrrError(
                "--seeds scores the runs of the configuration: leave out RUN, --across, "
                "--data-dir, --adapt, --other-people and --set"
            )
        return several.evaluate_seeds(settings, seeds, _own_split(split), json=json)
    if across is not None and detection:
        raise BrainbrrError("--set is for one corpus, the run's own: leave --across or --set out")
    if across is not None:
        shared = several.SharedOptions(config, profile, runs_dir)
        return several.evaluate_across(settings, run, across, shared, split, asked, json=json)
    if run is None and (data_dir is not None or asked is not None):
        raise BrainbrrError(
            "name the RUN that is scored on another corpus: brainbrr evaluate RUN --cache-root ..."
        )
    if detection and run is None:
        raise BrainbrrError(
            "--set changes the detection of a named RUN: give RUN, or change the configuration"
        )
    if run is None:
        from brainbrr_core.evaluation.evaluate import evaluate as run_evaluation

        evaluation = run_evaluation(settings, _own_split(split), log=log)
    else:
        from brainbrr_core.evaluation.named_run import evaluate_named_run
        from brainbrr_core.runs.run import open_run

        chosen = open_run(run_folder(run, settings.runs_dir))
        corpus = None if data_dir is None else settings.data_dir
        evaluation = evaluate_named_run(
            *(settings, chosen, split, asked), data_dir=corpus, detection=detection or (), log=log
        )
    if json:
        print_json(several.as_json(evaluation))
    else:
        print_scores(evaluation)
        # By its name: the latest run, or that of the configuration, may be another one tomorrow.
        scored = shlex.quote(run or evaluation.run.name)
        next_command(f"predict RECORDING OUT --run {scored}", "", config=config, runs_dir=runs_dir)
    return 0


def _own_split(split: AnySplit | None) -> AnySplit | None:
    """A split that a run may be scored on of its own corpus."""
    if split not in (None, AnySplit.DEV, AnySplit.EVAL):
        raise BrainbrrError(
            f"--split {split} is for another corpus than the run's: give RUN and the other "
            "--cache-root, or --split dev or eval"
        )
    return split


def print_scores(evaluation: Evaluation) -> None:
    """Print the headline scores as a table, and where the report is."""
    from brainbrr_core.evaluation.external_words import external_sentences
    from brainbrr_core.evaluation.results import MARKS

    results = evaluation.results
    note = (
        "the split that the threshold was tuned on"
        if results.split == results.threshold.split
        else f"threshold tuned on {results.threshold.split}"
    )
    if results.eval_looks is not None:
        note += f"; eval was scored {count(results.eval_looks.scorings, 'time')}"
    print_rules(
        f"{results.split}: {count(len(results.recordings), 'recording')}, {results.hours:.2f} h, "
        f"{count(results.seizures, 'seizure')} ({note})",
        results.headline,
    )
    if results.external is not None:
        for sentence in external_sentences(results):
            print(sentence)
    if results.corpora:
        names = ("sensitivity", "precision", "f1", "false_per_day")
        print_table(
            "SzCORE events of each corpus",
            ["corpus", "recordings", "seizures", "sensitivity", "precision", "F1", "false/24 h"],
            [
                [
                    row.name,
                    f"{row.recordings:,}",
                    f"{row.seizures:,}",
                    *(
                        estimate_text(results.estimates[f"corpus.{row.name}.{name}"], digits)
                        for name, digits in zip(names, (3, 3, 3, 2), strict=True)
                    ),
                ]
                for row in results.corpora
            ],
        )
    if results.limits:
        print_table(
            f"Sensitivity at a limit of false alarms, chosen on "
            f"{results.threshold.split or 'no split'} and applied to {results.split}",
            ["rule", "limit/24 h", "sensitivity", "false/24 h"],
            [
                [
                    row.rule.replace("_", " "),
                    f"{row.limit:g}",
                    estimate_text(row.tuned_sensitivity, 3),
                    estimate_text(row.tuned_false_per_day, 2),
                ]
                for row in results.limits
            ],
        )
    if results.unknown_s:
        print(
            f"masked: {results.unknown_s / 3600:.2f} h of these recordings are unknown, neither "
            "seizure nor background"
        )
    if results.unscored:
        hours = sum(row.duration_s for row in results.unscored) / 3600
        seizures = sum(row.seizures for row in results.unscored)
        print(
            f"not scored: {count(len(results.unscored), 'recording')}, {hours:.2f} h, "
            f"{count(seizures, 'known seizure')}; the report lists them with their reasons"
        )
    f1 = results.estimates["szcore_event.f1"]
    print(f"F1 of SzCORE events: {estimate_text(f1, 3)} (95% interval over patients)")
    print(f"AUROC {results.seconds.auroc:.3f}, AUPRC {results.seconds.auprc:.3f}, second by second")
    print(MARKS)
    print(f"report: {evaluation.report}")
