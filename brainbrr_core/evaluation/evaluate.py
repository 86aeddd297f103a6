"""A run's scores on a split of its own corpus.

Each step is a module: the frozen threshold (``operating_threshold``), the network's scores on whole
recordings (``split_scores``), the figures (``score``), and the report with its tables
(``report_folder``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import Preflight, check
from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration import Evaluation as EvaluationSettings
from brainbrr_core.corpus.people import one_person
from brainbrr_core.display import counts
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.age_groups import age_groups
from brainbrr_core.evaluation.operating_threshold import threshold_of_run
from brainbrr_core.evaluation.provenance import weights_chosen_on
from brainbrr_core.evaluation.report_folder import (
    REPORT,
    shaping_of_report,
    stored_results,
    write_evaluation,
)
from brainbrr_core.evaluation.results import EvaluationResults, UnscoredRecording, report_folder
from brainbrr_core.evaluation.score import evaluation_set
from brainbrr_core.evaluation.split_scores import compute_scores
from brainbrr_core.evaluation.starting_weights import StartingWeights
from brainbrr_core.evaluation.unscored import log_unscored, unscored_recordings
from brainbrr_core.files.canonical import digest
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.eval_ledger import count_scoring, read_ledger
from brainbrr_core.runs.identity import ReportSettings, TrainingSettings
from brainbrr_core.runs.run import Run, current_run
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus


@dataclass(frozen=True)
class Evaluation:
    """A report and what it shows.

    Parameters
    ----------
    report : Path
        The HTML page. Its folder has the tables and the results.
    results : EvaluationResults
        Everything that the page shows.
    run : Run
        The run that was scored.
    identity : str
        Hash of everything that shaped the report.
    reused : bool
        Whether the report was already there.
    start : StartingWeights, optional
        The trainings whose weights the run's training started from; None where they were random.
    """

    report: Path
    results: EvaluationResults
    run: Run
    identity: str
    reused: bool
    start: StartingWeights | None = None


def evaluate(
    configuration: Configuration,
    split: str | None = None,
    *,
    log: Callable[[str], None] = print,
) -> Evaluation:
    """Score the current run of a configuration on a split of its corpus and write a report.

    The operating threshold is tuned on dev once and stored with the run; from then on it is frozen
    for these settings of detection. A report of the same run, cache, settings and split is reused.
    Eval is scored only where ``evaluation.allow_eval`` permits it, and each scoring of it is
    recorded in the runs folder.

    Parameters
    ----------
    configuration : Configuration
        The cache, the runs and the settings of detection and evaluation.
    split : {"dev", "eval"}, optional
        The split to score; by default ``evaluation.split``.
    log : callable
        Called with each remark, one line of text.

    Returns
    -------
    Evaluation
        The report and everything that it shows.

    Raises
    ------
    WorkRemains
        Where there is no current run, or the cache is not fresh.
    BrainbrrError
        Where eval is not permitted, and where the split has no recording to score.
    """
    cache, settings = ProfileCache.of(configuration), ReportSettings.of(configuration)
    runs_dir, split = configuration.runs_dir, split or configuration.evaluation.split
    with cache.hold("evaluate"):
        check_permission(settings.evaluation, runs_dir, split)
        preflight = check(cache)
        run = current_run(
            runs_dir,
            TrainingSettings.of(configuration),
            preflight.manifest,
            cache.split.fold,
        )
        return _evaluate(run, preflight, settings, split, log)


def evaluate_trained(
    run: Run,
    cache: ProfileCache,
    settings: ReportSettings,
    split: str,
    *,
    log: Callable[[str], None] = print,
) -> Evaluation:
    """Score a run on a split of the cache that it was trained on, as :func:`evaluate` does.

    Parameters
    ----------
    run : Run
        A run that was trained on ``cache``.
    cache : ProfileCache
        The shards and windows of its corpus.
    settings : ReportSettings
        Detection, bootstrap and device.
    split : {"dev", "eval"}
        The split to score.
    log : callable
        Called with each remark, one line of text.

    Returns
    -------
    Evaluation
        The report and everything that it shows.

    Raises
    ------
    WorkRemains
        Where the cache is not fresh.
    BrainbrrError
        Where eval is not permitted, and where the split has no recording to score.
    """
    with cache.hold("evaluate"):
        check_permission(settings.evaluation, run.directory.parent, split)
        return _evaluate(run, check(cache), settings, split, log)


def _evaluate(
    run: Run,
    preflight: Preflight,
    settings: ReportSettings,
    split: str,
    log: Callable[[str], None],
) -> Evaluation:
    plan, profile, assigned = preflight.plan, preflight.cache.profile, preflight.cache.split
    if read_run_corpus(run.directory) is None and os.access(run.directory, os.W_OK):
        # A run of an earlier version of the program: it was trained on this plan.
        RunCorpus.of(plan).write(run.directory)
    recordings = preflight.scorable(split)
    unscored = unscored_recordings(plan, preflight.cache.settings.seizure_labels, split)
    start = StartingWeights.of(run, plan.index, {row.patient for row in recordings})
    groups = age_groups(plan, recordings)
    shaping = shaping_of_report(run, settings, split, start, groups)
    people = one_person(plan.index)
    if people:
        shaping["people"] = dict(people)
        pairs = ", ".join(f"{patient} = {person}" for patient, person in sorted(people.items()))
        log(f"counted as one person, for a recording that two corpora have in common: {pairs}")
    if assigned.fold is not None:
        # A fold's run does not depend on the patients that the fold holds out; its report does.
        shaping["scored"] = _scored(recordings, unscored)
    identity = digest(shaping)
    folder = report_folder(run.directory, split)
    stored = stored_results(folder, identity)
    if stored is not None:
        log(f"the report of run {run.name} on {split} is current: nothing to score")
        return Evaluation(folder / REPORT, stored, run, identity, reused=True, start=start)
    if not recordings:
        remedy = "choose a larger --profile or another --split"
        if len(plan.items) == len(plan.index):
            remedy = (
                "choose another --split, or assign patients to it with corpus.split in a "
                "configuration file"
            )
        raise BrainbrrError(
            f"split {split} has no recording that can be scored in profile {profile}: {remedy}"
        )
    log_unscored(unscored, split, log)
    predictor = Predictor.load(
        run,
        plan.store.version,
        preflight.cache.preprocessing,
        settings.detection,
        settings.hardware,
    )
    dev = preflight.scorable("dev")
    choice, on_dev = threshold_of_run(run, predictor, plan.store, dev, log)
    looks = None
    if split == "eval":
        runs_dir = run.directory.parent
        looks = count_scoring(runs_dir, run.name, evaluation_set(recordings))
        log(f"eval is scored: {counts.count(looks.scorings, 'time')} so far from {runs_dir}")
    scores = on_dev if split == "dev" else None
    if scores is None:
        scores = compute_scores(predictor, plan.store, recordings, split)
    results = write_evaluation(
        folder,
        run,
        predictor,
        plan,
        recordings,
        scores,
        profile=profile,
        split=split,
        settings=settings,
        choice=choice,
        source=preflight.manifest.source,
        identity=identity,
        notes={} if assigned.fold is None else {"fold": f"{assigned.fold} ({assigned.scheme})"},
        weights_chosen_on=weights_chosen_on(run.record),
        unscored=unscored,
        eval_looks=looks,
        start=start,
        age_groups=groups,
    )
    return Evaluation(folder / REPORT, results, run, identity, reused=False, start=start)


def _scored(
    recordings: Sequence[ManifestRecording], unscored: Sequence[UnscoredRecording]
) -> JsonValue:
    """The data of a split that a report depends on."""
    return [
        evaluation_set(recordings),
        [recording.fingerprint for recording in recordings],
        [[row.partition_key, row.reason, row.duration_s, row.seizures] for row in unscored],
    ]


def check_permission(settings: EvaluationSettings, runs_dir: Path, split: str) -> None:
    """Raise :class:`BrainbrrError` for eval unless the settings allow scoring it."""
    if split == "eval":
        refuse_unasked_eval(settings, runs_dir, "; or choose --split dev")


def refuse_unasked_eval(settings: EvaluationSettings, runs_dir: Path, otherwise: str = "") -> None:
    """Raise :class:`BrainbrrError` unless the settings allow scoring eval.

    ``otherwise`` ends the message with what to do instead.
    """
    if not settings.allow_eval:
        scorings = len(read_ledger(runs_dir))
        raise BrainbrrError(
            "the eval split is scored only on purpose: add --allow-eval (evaluation.allow_eval "
            f"in a configuration), and each time is counted ({scorings} so far){otherwise}"
        )
