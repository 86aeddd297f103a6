"""The corpus that a run was trained on: where it is now, and what the run knows from it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain

from pydantic import JsonValue, ValidationError

from brainbrr_core.cache.plan import Plan
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import fresh_plan
from brainbrr_core.cache.scorable import scorable
from brainbrr_core.configuration import Configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.evaluation.operating_threshold import threshold_of_run
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.earlier_trainings import trainings_before
from brainbrr_core.runs.identity import ReportSettings
from brainbrr_core.runs.own_settings import check_version, with_own_settings
from brainbrr_core.runs.run import Run
from brainbrr_core.runs.run_corpus import RunCorpus, read_run_corpus
from brainbrr_core.runs.threshold import OperatingThreshold, read_threshold

#: The sections and keys of a configuration that say which corpus is used and how.
_OF_THE_CORPUS = (
    *("profile", "data_dir", "cache_root", "version", "corpora", "corpus", "preprocessing"),
    *("labels", "windows", "selection", "sampling"),
)


@dataclass(frozen=True)
class OwnCorpus:
    """The corpus that a run was trained on.

    Attributes
    ----------
    run : Run
        The run.
    candidates : tuple of ProfileCache
        Where the corpus may be; none of them has it if it is not on this machine.
    settings : ReportSettings
        The run's settings of detection, and this machine's device.
    """

    run: Run
    candidates: tuple[ProfileCache, ...]
    settings: ReportSettings

    @classmethod
    def of(cls, run: Run, configuration: Configuration) -> OwnCorpus:
        """The corpus in the cache of a configuration, or in the cache that the run records."""
        here = with_own_settings(configuration, run).configuration
        candidates = []
        for candidate in (here, _recorded_configuration(run, here.model_dump(mode="json"))):
            if candidate is not None:
                # A preprocessing version that cannot be used is not that of the run.
                with suppress(BrainbrrError):
                    candidates.append(ProfileCache.of(candidate))
        return cls(run, tuple(candidates), ReportSettings.of(here))

    def locate(self) -> tuple[ProfileCache, Plan]:
        """The cache and the plan of the corpus. Raises :class:`WorkRemains` if it is not here."""
        run = self.run
        for candidate in self.candidates:
            try:
                check_version(run, candidate.store.version, candidate.preprocessing)
                plan = fresh_plan(candidate, candidate.settings.options)
            except BrainbrrError:
                # Another version, or incomplete here: the other candidate may be right.
                continue
            if run.was_trained_on(candidate.training_source(plan)):
                return candidate, plan
        recorded = run.record.configuration.get("cache_root", "unknown")
        raise WorkRemains(
            f"the corpus that run {run.name} was trained on is not here (its cache root was "
            f"{recorded}): run `brainbrr evaluate` once on the machine that has it, with the "
            "configuration of the training; that tunes the threshold on its dev and records its "
            "patients"
        )

    def frozen_threshold(self, log: Callable[[str], None]) -> OperatingThreshold:
        """The run's threshold, tuned on its own dev if it has none. Raises as :meth:`locate`."""
        threshold = read_threshold(self.run.directory)
        if threshold is not None:
            return threshold
        own, plan = self.locate()
        log(f"run {self.run.name} has no threshold yet: it is tuned on its own dev")
        with own.hold("evaluate"):
            predictor = Predictor.load(
                self.run,
                own.store.version,
                own.preprocessing,
                self.settings.detection,
                self.settings.hardware,
            )
            dev = scorable(plan, own.settings.seizure_labels, "dev")
            threshold_of_run(self.run, predictor, plan.store, dev, log)
        threshold = read_threshold(self.run.directory)
        if threshold is None:
            raise BrainbrrError(
                f"{self.run.directory} lost its threshold: run `brainbrr evaluate` again"
            )
        return threshold

    def recordings(self) -> RunCorpus:
        """The recordings that the run knows, from its own training and from earlier ones.

        An earlier training is one whose weights this one started from. The recordings are written
        to the run's folder if they are not there yet. Raises as :meth:`locate` does.
        """
        corpus = read_run_corpus(self.run.directory)
        if corpus is None:
            # A run of an earlier version of the program.
            _, plan = self.locate()
            corpus = RunCorpus.of(plan)
            corpus.write(self.run.directory)
        before = (
            training.corpus.recordings
            for training in trainings_before(self.run)
            if training.corpus is not None
        )
        every = dict.fromkeys((*corpus.recordings, *chain.from_iterable(before)))
        return replace(corpus, recordings=tuple(every))


def _recorded_configuration(run: Run, values: dict[str, JsonValue]) -> Configuration | None:
    """A configuration with the recorded settings of a run's corpus, and ``values`` for all others.

    None if the run has no record of them.
    """
    recorded = run.record.configuration
    if not recorded:
        return None
    of_corpus = {name: recorded[name] for name in _OF_THE_CORPUS if name in recorded}
    try:
        return Configuration.model_validate(values | of_corpus)
    except ValidationError:
        # Written by another version of the program.
        return None
