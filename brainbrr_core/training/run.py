"""Training: the checks of a cache, then a run that is reused, resumed or new.

The same cache, configuration and seed give the same folder, so a finished run is reused and an
interrupted one resumes. torch is imported only if there is something to train, so that a cache that
is not ready is reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import Preflight, check
from brainbrr_core.configuration import Configuration
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.record import is_finished
from brainbrr_core.runs.run import (
    Run,
    earlier_runs,
    open_run,
    run_directory,
    run_identity,
)
from brainbrr_core.training.unseen import check_unseen

if TYPE_CHECKING:
    from brainbrr_core.training.report import StepReport
    from brainbrr_core.training.validation import Validation


def train(
    configuration: Configuration,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    on_validation: Callable[[Validation], None] | None = None,
    log: Callable[[str], None] = print,
) -> Run:
    """Train the network of a configuration, or return the finished run of the same identity.

    In processes that ``torchrun`` has started, all of them train together, and the main one writes
    files and logs.

    Parameters
    ----------
    configuration : Configuration
        The cache to train on, and how.
    on_step : callable, optional
        Called with a :class:`StepReport` after each optimizer step.
    on_validation : callable, optional
        Called with a ``Validation`` after each validation. An exception ends the training.
    log : callable
        Called with lines on the progress of the training.

    Returns
    -------
    Run
        The finished run. Its attribute ``reused`` says whether it existed before.

    Raises
    ------
    WorkRemains
        If the cache or the manifest is not up to date, or a file cannot be written.
    BrainbrrError
        If the device is not the requested one, if the splits cannot be trained on, if the starting
        weights know a patient of eval, if the loss or gradient is not finite, or if anything else
        ends the training early.
    """
    settings = TrainingSettings.of(configuration)
    cache = ProfileCache.of(configuration)
    if settings.start is not None:
        # Checked first, so that nobody builds a cache for weights that do not fit it.
        settings.start.check(settings.model, cache.store.version)
    with cache.hold("train"):
        return train_on(
            check(cache),
            settings,
            configuration.runs_dir,
            recorded=configuration.model_dump(mode="json"),
            on_step=on_step,
            on_validation=on_validation,
            log=log,
        )


def train_on(
    preflight: Preflight,
    settings: TrainingSettings,
    runs_dir: Path,
    *,
    recorded: Mapping[str, JsonValue] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    on_validation: Callable[[Validation], None] | None = None,
    log: Callable[[str], None] = print,
) -> Run:
    """Train a network on a checked cache, as :func:`train` does, without a lease on its version.

    Parameters
    ----------
    preflight : Preflight
        The recordings and windows to train on.
    settings : TrainingSettings
        Network, optimizer, sampling, validation and device.
    runs_dir : Path
        The folder in which the run has its folder.
    recorded : mapping, optional
        The configuration that ``run.json`` records. It does not affect the training.
    on_step, on_validation, log : callable, optional
        As in :func:`train`.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    WorkRemains, BrainbrrError
        As :func:`train` does, once the cache is checked.
    """
    directory = run_directory(runs_dir, settings, preflight.manifest)
    if is_finished(directory):
        log(f"run {directory.name} is finished already: nothing to train")
        return replace(open_run(directory), reused=True)
    for line in earlier_runs(runs_dir, run_identity(settings, preflight.manifest)):
        log(f"{line}; a new run is trained")
    if settings.start is not None:
        for line in check_unseen(settings.start, preflight, runs_dir):
            log(line)
    # Imported here because it needs torch, which is of no use if the cache is not ready.
    from brainbrr_core.training.new_run import train_anew

    values = dict(recorded or {})
    trained = train_anew(preflight, settings, directory, values, on_step, on_validation, log)
    return replace(open_run(directory), reused=not trained)
