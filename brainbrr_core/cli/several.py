"""``brainbrr evaluate`` with ``--seeds``, ``--folds`` or ``--across``: runs, or corpora."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cli.choices import AdaptChoice, AnySplit, ProfileName
from brainbrr_core.cli.options import run_folder
from brainbrr_core.cli.printing import Json, count, estimate_text, log, print_json
from brainbrr_core.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.configuration import Configuration
    from brainbrr_core.evaluation.across import AcrossReport
    from brainbrr_core.evaluation.corpus_row import CorpusRow
    from brainbrr_core.evaluation.evaluate import Evaluation
    from brainbrr_core.evaluation.external import OnAnotherCorpus
    from brainbrr_core.evaluation.folds import FoldsReport
    from brainbrr_core.evaluation.results import Estimate
    from brainbrr_core.evaluation.seeds import SeedsReport
    from brainbrr_core.runs.identity import ReportSettings, TrainingSettings


@dataclass(frozen=True)
class SharedOptions:
    """The options that hold for every corpus of a command."""

    config: str | None
    profile: ProfileName | None
    runs_dir: str | None


def asked_of_other_corpora(
    adapt: AdaptChoice | None, *, other_people: bool
) -> OnAnotherCorpus | None:
    """What the options for other corpora ask for; None where none is given."""
    from brainbrr_core.evaluation.external import OnAnotherCorpus

    if adapt is None:
        return OnAnotherCorpus(other_people=True) if other_people else None
    return OnAnotherCorpus(adapt="threshold", other_people=other_people)


def as_json(evaluation: Evaluation) -> dict[str, Json]:
    """The scores of one evaluation, as ``--json`` prints them."""
    results = evaluation.results
    return {
        "report": str(evaluation.report),
        "run": evaluation.run.name,
        "reused": evaluation.reused,
        "split": results.split,
        "on_threshold": results.threshold.point.probability,
        "operating_point_logits": asdict(results.threshold.point),
        "threshold_from": results.threshold.split,
        "scores": {rule: asdict(values) for rule, values in results.headline.items()},
        "intervals": {name: [each.low, each.high] for name, each in results.estimates.items()},
        "estimates": _figures(results.estimates),
        "operating_points": [asdict(row) for row in results.limits],
        "unscored": [asdict(row) for row in results.unscored],
        "eval_looks": asdict(results.eval_looks) if results.eval_looks else None,
        "external": asdict(results.external) if results.external else None,
    }


def evaluate_seeds(
    settings: Configuration, seeds: str, split: AnySplit | None, *, json: bool
) -> int:
    """Score the runs of several seeds and print the spread of their figures."""
    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.evaluation.seeds import evaluate_seeds as run_evaluation
    from brainbrr_core.runs.identity import ReportSettings, TrainingSettings
    from brainbrr_core.training.seeds import parse_seeds, runs_of_seeds

    chosen, cache = parse_seeds(seeds), ProfileCache.of(settings)
    runs = runs_of_seeds(
        settings.runs_dir,
        TrainingSettings.of(settings),
        check(cache).manifest,
        chosen,
        settings.options,
    )
    report = run_evaluation(
        runs,
        cache,
        ReportSettings.of(settings),
        split or settings.evaluation.split,
        log=log,
    )
    if json:
        print_json(
            {
                "report": str(report.report),
                "split": report.split,
                "figures": {name: asdict(spread) for name, spread in report.spreads.items()},
                "seeds": [
                    {
                        "seed": seed.seed,
                        "run": seed.evaluation.run.name,
                        "report": str(seed.evaluation.report),
                        "reused": seed.evaluation.reused,
                        "figures": _figures(seed.figures),
                    }
                    for seed in report.seeds
                ],
            }
        )
    else:
        _print_seeds(report)
    return 0


def _print_seeds(report: SeedsReport) -> None:
    from brainbrr_core.evaluation.key_figures import by_unit

    results = report.seeds[0].evaluation.results
    print(
        f"{report.split}: {count(len(results.recordings), 'recording')}, {results.hours:.2f} h, "
        f"{count(results.seizures, 'seizure')}; {count(len(report.seeds), 'seed')}"
    )
    seeds = [f"seed {seed.seed}" for seed in report.seeds]
    for unit, figures in by_unit(report.figures).items():
        rows = []
        for figure in figures:
            spread = report.spreads[figure.name]
            own = [seed.figures[figure.name].value for seed in report.seeds]
            values = (spread.mean, spread.standard_deviation, spread.low, spread.high, *own)
            rows.append([figure.title, *(_number(value, figure.digits) for value in values)])
        print_table(unit.heading, ["figure", "mean", "SD", "lowest", "highest", *seeds], rows)
    print(
        "The spread over seeds is that of other trainings on these patients; the intervals in each "
        "seed's report are those of other patients. Neither includes the other."
    )
    print(f"report: {report.report}")


def evaluate_folds(
    cache: ProfileCache,
    runs_dir: Path,
    training: TrainingSettings,
    settings: ReportSettings,
    *,
    json: bool,
) -> int:
    """Score the runs of all folds and print the figures of all patients who are held out."""
    from brainbrr_core.cache.readiness import check_folds
    from brainbrr_core.evaluation.folds import evaluate_folds as run_evaluation
    from brainbrr_core.training.seeds import runs_of_folds

    folds = check_folds(cache)
    manifests = {fold: checked.manifest for fold, checked in folds.items()}
    runs = runs_of_folds(runs_dir, training, manifests, cache.settings.options)
    report = run_evaluation(runs, folds, settings, log=log)
    if json:
        print_json(
            {
                "report": str(report.report),
                "scores": {rule: asdict(counts) for rule, counts in report.scores.counts.items()},
                "figures": _figures(report.scores.estimates),
                "folds": [
                    {
                        "fold": one.fold,
                        "run": one.evaluation.run.name,
                        "report": str(one.evaluation.report),
                        "reused": one.evaluation.reused,
                        "on_threshold": one.results.threshold.point.probability,
                        "threshold_from": one.results.threshold.split,
                        "scorings": report.scorings[one.fold],
                    }
                    for one in report.folds
                ],
                "patients": [
                    {"fold": fold, **asdict(patient)} for fold, patient in report.patients
                ],
            }
        )
    else:
        _print_folds(report)
    return 0


def _print_folds(report: FoldsReport) -> None:
    from brainbrr_core.evaluation.folds import sentences
    from brainbrr_core.evaluation.key_figures import by_unit
    from brainbrr_core.evaluation.results import MARKS

    scores = report.scores
    print(
        f"{count(len(report.folds), 'fold')}, each scored on the patients whom it holds out: "
        f"{count(scores.patients, 'patient')}, {count(len(scores.recordings), 'recording')}, "
        f"{scores.hours:.2f} h, {count(len(scores.outcomes), 'seizure')}"
    )
    for unit, figures in by_unit(report.figures).items():
        print_table(
            f"all held-out patients, {unit.heading} (in brackets 95% intervals over patients)",
            ["figure", "value"],
            [[one.title, estimate_text(scores.estimates[one.name], one.digits)] for one in figures],
        )
    print_table(
        "each patient, SzCORE events",
        ["patient", "fold", "hours", "seizures", "sensitivity", "F1", "false/24 h"],
        [
            [
                *(row.name, str(fold), f"{row.hours:.1f}", str(row.seizures)),
                *(_number(row.figures.sensitivity, 3), _number(row.figures.f1, 3)),
                _number(row.figures.false_per_day, 1),
            ]
            for fold, row in report.patients
        ],
    )
    for sentence in sentences(report):
        print(sentence)
    print(MARKS)
    print(f"report: {report.report}")


def evaluate_across(
    settings: Configuration,
    run: str | None,
    across: str,
    shared: SharedOptions,
    split: AnySplit | None,
    asked: OnAnotherCorpus | None,
    *,
    json: bool,
) -> int:
    """Score one run on several other corpora and print a row for each."""
    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.evaluation.across import OtherCorpus
    from brainbrr_core.evaluation.across import evaluate_across as run_evaluation
    from brainbrr_core.evaluation.own_corpus import OwnCorpus
    from brainbrr_core.runs.identity import ReportSettings, TrainingSettings
    from brainbrr_core.runs.own_settings import with_network_settings
    from brainbrr_core.runs.run import current_run, open_run

    if run is None:
        manifest = check(ProfileCache.of(settings)).manifest
        chosen = current_run(settings.runs_dir, TrainingSettings.of(settings), manifest)
    else:
        chosen = open_run(run_folder(run, settings.runs_dir))
    corpora = []
    for word in across.split(","):
        name, configured = _corpus(
            word.strip(), shared, settings.origin.layers, settings.cache_root
        )
        used = with_network_settings(configured, chosen).configuration
        corpora.append(OtherCorpus(name, ProfileCache.of(used), ReportSettings.of(used)))
    report = run_evaluation(OwnCorpus.of(chosen, settings), corpora, split, asked, log=log)
    if json:
        print_json(
            {
                "report": str(report.report),
                "run": chosen.name,
                "corpora": [
                    {
                        "name": row.name,
                        "split": row.evaluation.results.split,
                        "own": row.own,
                        "patients": len(row.evaluation.results.patients),
                        "recordings": len(row.evaluation.results.recordings),
                        "hours": row.evaluation.results.hours,
                        "seizures": row.evaluation.results.seizures,
                        "report": str(row.evaluation.report),
                        "reused": row.evaluation.reused,
                        "threshold_from": row.evaluation.results.threshold.split,
                        "external": asdict(row.evaluation.results.external)
                        if row.evaluation.results.external
                        else None,
                        "figures": _figures(row.figures),
                    }
                    for row in report.rows
                ],
            }
        )
    else:
        _print_across(report)
    return 0


def _corpus(
    word: str, shared: SharedOptions, layers: tuple[str, ...], own_cache_root: Path
) -> tuple[str | None, Configuration]:
    """One of the corpora of ``--across``, a cache root or a configuration file, and its name.

    ``layers`` are the configuration files of the command, ``own_cache_root`` what they lead to.
    """
    from brainbrr_core.configuration import Overrides, load
    from brainbrr_core.errors import BrainbrrError

    name, equals, path = word.rpartition("=")
    if not path or (equals and not name):
        raise BrainbrrError(
            f"--across has {word!r}: name cache roots or configuration files, joined by commas, "
            "each as PATH or NAME=PATH"
        )
    if Path(path).is_dir():
        overrides = Overrides(
            config=shared.config, profile=shared.profile, runs_dir=shared.runs_dir, cache_root=path
        )
        return name or None, load(overrides)
    if not path.endswith((".yaml", ".yml")):
        raise BrainbrrError(
            f"--across has {path}, which is neither a folder nor a .yaml file: name the cache root "
            "of a corpus that `brainbrr cache build` made, or a configuration file"
        )
    # This file decides where the corpus is, not the environment.
    environment = {
        variable: value
        for variable, value in os.environ.items()
        if variable not in ("BRAINBRR_CACHE_ROOT", "BRAINBRR_DATA_DIR")
    }
    overrides = Overrides(
        config=os.pathsep.join([*layers, path]), profile=shared.profile, runs_dir=shared.runs_dir
    )
    corpus = load(overrides, environment)
    if corpus.cache_root == own_cache_root:
        raise BrainbrrError(
            f"{path} sets no cache root of its own: set its cache_root to that of the other corpus"
        )
    return name or None, corpus


def _print_across(report: AcrossReport) -> None:
    from brainbrr_core.evaluation.results import MARKS

    def table(title: str, columns: dict[str, Callable[[CorpusRow], str]]) -> None:
        rows = [
            [row.name if row.own else row.evaluation.results.split]
            + [cell(row) for cell in columns.values()]
            for row in report.rows
        ]
        print_table(title, ["corpus", *columns], rows)

    def figure(name: str, digits: int = 3) -> Callable[[CorpusRow], str]:
        return lambda row: estimate_text(row.figures[name], digits)

    # Three tables: with their intervals, all of it in one would not fit a terminal.
    table(
        f"run {report.run.name} across corpora (in brackets 95% intervals over patients)",
        {
            "patients": lambda row: str(len(row.evaluation.results.patients)),
            "hours": lambda row: f"{row.evaluation.results.hours:.1f}",
            "seizures": lambda row: str(row.evaluation.results.seizures),
            "AUROC": figure("seconds.auroc"),
        },
    )
    table(
        "SzCORE events, pooled",
        {"F1": figure("szcore_event.f1"), "sensitivity": figure("szcore_event.sensitivity")},
    )
    table(
        "false alarms of these events, and NEDC OVLP",
        {
            "false/24 h": figure("szcore_event.false_per_day", 1),
            "OVLP sensitivity": figure("nedc_ovlp.sensitivity"),
        },
    )
    print(MARKS)
    for sentence in report.sentences:
        print(sentence)
    print(f"report: {report.report}")


def _figures(figures: Mapping[str, Estimate]) -> dict[str, Json]:
    return {name: asdict(value) for name, value in figures.items()}


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
