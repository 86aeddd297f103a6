"""Evaluation of a run that the user names: with its own settings, on any corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration, apply_assignments
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.evaluation.evaluate import Evaluation
from brainbrr_core.evaluation.external import OnAnotherCorpus, corpus_plan, evaluate_run
from brainbrr_core.evaluation.own_corpus import OwnCorpus
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.own_settings import (
    OwnSettings,
    was_trained_from,
    with_network_settings,
    with_own_settings,
)
from brainbrr_core.runs.run import Run


def evaluate_named_run(
    configuration: Configuration,
    run: Run,
    split: str | None = None,
    asked: OnAnotherCorpus | None = None,
    *,
    data_dir: str | None = None,
    detection: Sequence[str] = (),
    log: Callable[[str], None] = print,
) -> Evaluation:
    """Score a run, with its own settings, on the corpus in the cache root of a configuration.

    Settings of the configuration that differ from the run's are named in the log by their keys. If
    the corpus is the run's own, the selection of recordings is the one that the run was trained
    with, and ``detection`` may replace settings of detection, each as ``detection.KEY=VALUE``. The
    other parameters and the errors are those of :func:`evaluate_run`.
    """
    own = with_own_settings(configuration, run)
    if _is_of_run(own, run, data_dir):
        _refuse_others(detection)
        used, settings = own, apply_assignments(own.configuration, detection)
    elif detection:
        raise BrainbrrError(
            "--set is for a run's own corpus: another one is scored with the settings that the "
            "run's threshold was tuned with"
        )
    else:
        used = with_network_settings(configuration, run)
        settings = used.configuration
    if used.differences:
        log(used.sentence(run))
    return evaluate_run(
        OwnCorpus.of(run, configuration),
        ProfileCache.of(settings),
        ReportSettings.of(settings),
        split,
        asked,
        data_dir=data_dir,
        log=log,
    )


def _is_of_run(own: OwnSettings, run: Run, data_dir: str | None) -> bool:
    """Whether the cache of a configuration is that of the corpus that a run was trained on.

    ``own`` is the configuration with the run's own settings. Raises as :func:`corpus_plan` does for
    a cache root that the run was trained from.
    """
    try:
        cache = ProfileCache.of(own.configuration)
        plan = corpus_plan(cache, run, data_dir)
    except BrainbrrError:
        if was_trained_from(run, own.configuration.cache_root):
            raise
        return False
    return run.was_trained_on(cache.training_source(plan))


def _refuse_others(assignments: Sequence[str]) -> None:
    """Raise :class:`BrainbrrError` for an assignment that is not to a setting of detection."""
    for assignment in assignments:
        if not assignment.startswith("detection."):
            raise BrainbrrError(
                f"--set {assignment}: only settings of detection can differ from those of the "
                "run's training, such as --set detection.min_duration_s=5"
            )
