"""The corpus that a run was trained on: where it is now, and what the run knows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.manifest import source_digest
from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import fresh_plan
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.cache.version import is_imported
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.operating_threshold import threshold_of_run
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus
from brainbrr_core.runs.threshold import OperatingThreshold, read_threshold
from brainbrr_core.runs.used_versions import RUN

#: The sections and keys of a configuration that say which corpus is used and how.
_OF_THE_CORPUS = (
    *("profile", "data_dir", "cache_root", "version", "corpus", "preprocessing", "labels"),
    *("windows", "selection", "sampling"),
)


def check_version(run: Run, version: str) -> None:
    """Raise :class:`BrainbrrError` unless a run was trained on a preprocessing version."""
    trained = run.record.identity.preprocessing_version
    if trained == version:
        return
    remedy = (
        "its signal chain is not known, so only imported signals can be scored (--cache-version)"
        if is_imported(trained)
        else f"use the preprocessing section in {run.directory / RUN} for this corpus too"
    )
    raise BrainbrrError(
        f"run {run.name} was trained on {trained} and the configuration says {version}: {remedy}"
    )


@dataclass(frozen=True)
class OwnCorpus:
    """The corpus that a run was trained on.

    It is looked for where ``configuration`` says and where the run's record says that it was.
    Detection and device are those of ``configuration``.
    """

    run: Run
    configuration: Configuration

    def locate(self) -> tuple[Configuration, Plan]:
        """The corpus's configuration and plan; :class:`WorkRemains` where it is not here."""
        run = self.run
        for candidate in (self.configuration, self._recorded()):
            if candidate is None:
                continue
            try:
                cache = ProfileCache.of(candidate)
                check_version(run, cache.store.version)
                plan = fresh_plan(cache, cache.settings.options)
            except BrainbrrError:
                # Another version, or incomplete here: the other candidate may be right.
                continue
            if run.was_trained_on(source_digest(plan, candidate.manifest_settings)):
                return candidate, plan
        recorded = run.record.configuration.get("cache_root", "unknown")
        raise WorkRemains(
            f"the corpus that run {run.name} was trained on is not here (its cache root was "
            f"{recorded}): run `brainbrr evaluate` once on the machine that has it, with the "
            "configuration of the training; that tunes the threshold on its dev and records its "
            "patients"
        )

    def frozen_threshold(self, log: Callable[[str], None]) -> OperatingThreshold:
        """The run's threshold from its own dev, tuned now if it has none. Raises as `locate`."""
        threshold = read_threshold(self.run.directory)
        if threshold is not None:
            return threshold
        own, plan = self.locate()
        log(f"run {self.run.name} has no threshold yet: it is tuned on its own dev")
        with hold(plan.store, f"evaluate, profile {own.profile}"):
            predictor = Predictor.of(self.run, own)
            dev = scorable(plan, own.labels.seizure, "dev")
            threshold_of_run(self.run, predictor, plan.store, dev, log)
        threshold = read_threshold(self.run.directory)
        if threshold is None:
            raise BrainbrrError(
                f"{self.run.directory} lost its threshold: run `brainbrr evaluate` again"
            )
        return threshold

    def recordings(self) -> RunCorpus:
        """The recordings that the run knows, recorded in its folder now where they are not yet.

        Raises as :meth:`locate`.
        """
        corpus = read_run_corpus(self.run.directory)
        if corpus is None:
            # A run of an earlier version of the program.
            _, plan = self.locate()
            corpus = RunCorpus.of(plan)
            corpus.write(self.run.directory)
        return corpus

    def _recorded(self) -> Configuration | None:
        """The configuration of the training on this machine's device; None if not recorded."""
        recorded = self.run.record.configuration
        if not recorded:
            return None
        values = self.configuration.model_dump(mode="json")
        values |= {name: recorded[name] for name in _OF_THE_CORPUS if name in recorded}
        try:
            return Configuration.model_validate(values)
        except ValidationError:
            # Written by another version of the program.
            return None
