"""A run and its own corpus: the one it was trained on, tuned on, and must not meet elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest import source_digest
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.readiness import fresh_plan
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.evaluate import threshold_of_run
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus
from brainbrr_core.runs.threshold import OperatingThreshold, read_threshold
from brainbrr_core.runs.used_versions import RUN

#: Sections and keys of a configuration that say which corpus it is, and how it is used.
_OF_THE_CORPUS = (
    *("profile", "data_dir", "cache_root", "version", "corpus", "preprocessing", "labels"),
    *("windows", "selection", "sampling"),
)


def check_version(run: Run, configuration: Configuration) -> None:
    """Raise :class:`BrainbrrError` unless a run was trained on a configuration's version."""
    trained = run.record.identity.preprocessing_version
    wanted = Store.of(configuration).version
    if trained == wanted:
        return
    remedy = (
        "its signal chain is not known, so only imported signals can be scored (--version)"
        if is_imported(trained)
        else f"use its preprocessing section, which {run.directory / RUN} has, for this corpus too"
    )
    raise BrainbrrError(
        f"run {run.name} was trained on {trained} and the configuration says {wanted}: {remedy}"
    )


def is_own(run: Run, plan: Plan, configuration: Configuration) -> bool:
    """Whether a run was trained on the recordings, annotations and windows of a plan."""
    return source_digest(plan, configuration) == run.record.identity.manifest


def own_corpus(run: Run, configuration: Configuration) -> tuple[Configuration, Plan]:
    """The configuration and the plan of the corpus that a run was trained on.

    It is looked for where ``configuration`` says, and where the run says that it was. Detection
    and device are those of ``configuration``. Raises :class:`WorkRemains` where it is in neither.
    """
    for candidate in (configuration, _recorded(run, configuration)):
        if candidate is None:
            continue
        try:
            check_version(run, candidate)
            plan = fresh_plan(candidate, candidate.options)
        except BrainbrrError:
            # Of another version, or not whole here: the other candidate may do.
            continue
        if is_own(run, plan, candidate):
            return candidate, plan
    recorded = run.record.configuration.get("cache_root", "unknown")
    raise WorkRemains(
        f"the corpus that run {run.name} was trained on is not here (its cache root was "
        f"{recorded}): run `brainbrr evaluate` once where it is, with the configuration of the "
        "training, which tunes the threshold on its dev and notes its patients"
    )


def frozen_threshold(
    run: Run, configuration: Configuration, log: Callable[[str], None]
) -> OperatingThreshold:
    """The threshold that a run has from its own dev; tuned now, where it has none and can be.

    Raises as :func:`own_corpus` does.
    """
    kept = read_threshold(run.directory)
    if kept is not None:
        return kept
    own, plan = own_corpus(run, configuration)
    log(f"run {run.name} has no threshold yet: it is tuned on its own dev")
    with hold(plan.store, f"evaluate, profile {own.profile}"):
        predictor = Predictor.of(run, own)
        dev = scorable(plan, own.labels.seizure, "dev")
        threshold_of_run(own.detection, predictor, plan.store, dev, run, log)
    kept = read_threshold(run.directory)
    if kept is None:
        raise BrainbrrError(f"{run.directory} lost its threshold: run `brainbrr evaluate` again")
    return kept


def corpus_of_run(run: Run, configuration: Configuration) -> RunCorpus:
    """The recordings that a run knows; noted now, where it is of an earlier version.

    Raises as :func:`own_corpus` does.
    """
    kept = read_run_corpus(run.directory)
    if kept is None:
        _, plan = own_corpus(run, configuration)
        kept = RunCorpus.of(plan)
        kept.write(run.directory)
    return kept


def _recorded(run: Run, configuration: Configuration) -> Configuration | None:
    """The configuration of a run's training, with this machine's device; None: not known."""
    recorded = run.record.configuration
    if not recorded:
        return None
    values = configuration.model_dump(mode="json")
    values |= {name: recorded[name] for name in _OF_THE_CORPUS if name in recorded}
    try:
        return Configuration.model_validate(values)
    except ValidationError:
        # Written by another version of the program.
        return None
