"""The trials of a sweep: drawn by Optuna, kept in a journal, resumed, pruned and compared."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from brainbrr_core.configuration.load import set_value
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import replacing
from brainbrr_core.files.one_process import one_process
from brainbrr_core.sweep.space import Dimension, Space, Value

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import Trial

    from brainbrr_core.runs.record import ValidationRecord
    from brainbrr_core.runs.run import Run
    from brainbrr_core.training.report import StepReport
    from brainbrr_core.training.validation import Validation

JOURNAL, BEST, LOCK = "trials.log", "best.yaml", "sweep.lock"
#: The name of the study in the journal, and of what it keeps of each trial besides its settings.
_STUDY, _IDENTITY, _OBJECTIVE, _RUN, _REMARK = "sweep", "identity", "objective", "run", "remark"
#: Trials in a row that fail before the sweep ends: then it is not the drawn settings.
_FAILURES = 3


@dataclass(frozen=True)
class TrialTraining:
    """How the run of a trial is trained.

    ``name`` gives the name of the run with some settings. ``train`` trains it, and calls its second
    argument after each validation and the third after each step; what that raises ends the
    training.
    """

    name: Callable[[Mapping[str, Value]], str]
    train: Callable[
        [Mapping[str, Value], Callable[[Validation], None], Callable[[StepReport], None]], Run
    ]


@dataclass(frozen=True)
class TrialRow:
    """One trial of a sweep.

    Attributes
    ----------
    number : int
        Counted from 0.
    state : str
        ``finished``, ``pruned``, ``failed``, or ``unfinished``, which the same command resumes.
    value : float, optional
        The objective; of a pruned or unfinished trial that of its last validation.
    step : int, optional
        The step of that figure, None of a finished trial.
    settings : dict
        The settings that were drawn.
    run : str
        The name of its run.
    remark : str
        Why it failed.
    """

    number: int
    state: str
    value: float | None
    step: int | None
    settings: dict[str, Value]
    run: str
    remark: str = ""


@dataclass(frozen=True)
class SweepReport:
    """The trials of a sweep, and the best of those that finished."""

    folder: Path
    objective: str
    trials: tuple[TrialRow, ...] = field(default=())

    @property
    def best(self) -> TrialRow | None:
        """The finished trial with the largest objective, the first of equal ones."""
        finished = [row for row in self.trials if row.state == "finished" and row.value is not None]
        return max(finished, key=lambda row: (row.value, -row.number), default=None)

    @property
    def best_layer(self) -> Path:
        """The configuration file with the settings of the best trial."""
        return self.folder / BEST


class _Pruned(Exception):
    """A training is given up: other trials were better at the same step."""


def sweep_folder(runs_dir: Path, space: Path) -> Path:
    """The folder of the sweep of a file, in the folder of runs."""
    return runs_dir / f"sweep-{space.stem}"


def run_sweep(
    space: Space,
    folder: Path,
    identity: str,
    training: TrialTraining,
    trials: int,
    log: Callable[[str], None] = print,
) -> SweepReport:
    """Train trials until the sweep has as many as asked for, and write the best settings.

    A trial that was interrupted is resumed first. The settings of a trial follow from the seed, its
    number, and the trials before it. A trial whose training fails counts as failed.

    Parameters
    ----------
    space : Space
        What is searched.
    folder : Path
        The folder of the sweep.
    identity : str
        A digest of all that decides which settings are drawn and what they lead to.
    training : TrialTraining
        Trains the run of a trial.
    trials : int
        Trials of the sweep in all, those of earlier calls included.
    log : callable
        Called with a line for each trial.

    Returns
    -------
    SweepReport
        All trials.

    Raises
    ------
    BrainbrrError
        Where Optuna is not installed, another process runs the sweep, its folder is that of another
        sweep, or three trials in a row fail.
    WorkRemains
        As a training does that needs something done first; the trial is then resumed later.
    """
    _optuna()
    refusal = f"another process runs the sweep in {folder}: wait for it, or look with --show"
    with one_process(folder / LOCK, refusal):
        study, storage = _open(folder, space)
        _check_identity(study, folder, space, identity)
        # An earlier call may have ended between a trial and this file.
        _write_best(_report(study, folder))
        for _ in _trained(study, storage, space, training, trials, log):
            _write_best(_report(study, folder))
        return _report(study, folder)


def show_sweep(folder: Path, space: Space) -> SweepReport:
    """The trials of a sweep so far. Raises :class:`WorkRemains` where there is none."""
    _optuna()
    if not (folder / JOURNAL).is_file():
        raise WorkRemains(f"no sweep in {folder}: run `brainbrr sweep {space.path}`")
    study, _ = _open(folder, space)
    return _report(study, folder)


def _trained(
    study: Study,
    storage: BaseStorage,
    space: Space,
    training: TrialTraining,
    trials: int,
    log: Callable[[str], None],
) -> Iterator[int]:
    """Train the trials that remain; yield the number of each."""
    failures = 0
    while True:
        rows = study.trials
        running = [row.number for row in rows if row.state.name == "RUNNING"]
        if not running and len(rows) >= trials:
            return
        number = running[0] if running else len(rows)
        study.sampler = _sampler(space, number)
        trial = _resumed(study, storage, number) if running else study.ask()
        values = {key: _draw(trial, key, each) for key, each in space.settings.items()}
        drawn = ", ".join(f"{key} {_shown(value)}" for key, value in values.items())
        log(f"trial {number} ({number + 1} of {trials}): {drawn}")
        try:
            remark = _train_trial(study, trial, values, space.objective, training, log)
        except KeyboardInterrupt as interruption:
            done = sum(row.state.is_finished() for row in rows)
            interruption.add_note(
                f"{done} of {trials} trials are done: the same command resumes trial {number}"
            )
            raise
        failures = failures + 1 if remark else 0
        if failures == _FAILURES:
            raise BrainbrrError(f"{failures} trials in a row failed, the last with: {remark}")
        yield number


def _train_trial(
    study: Study,
    trial: Trial,
    values: Mapping[str, Value],
    objective: str,
    training: TrialTraining,
    log: Callable[[str], None],
) -> str:
    """Train one trial and record what came of it; why it failed, or nothing."""
    from optuna.trial import TrialState

    reported = set(study.trials[trial.number].intermediate_values)
    prunes = False

    def report(step: int, value: float | None) -> None:
        if value is not None and not math.isnan(value) and step not in reported:
            reported.add(step)
            trial.report(value, step)

    def on_validation(validation: Validation) -> None:
        nonlocal prunes
        report(validation.step, getattr(validation, objective))
        prunes = trial.should_prune()

    def on_step(step: StepReport) -> None:
        # The step's checkpoint is written: the run can be continued. After the last step there is
        # nothing to spare.
        if prunes and step.step < step.steps:
            raise _Pruned

    try:
        trial.set_user_attr(_RUN, training.name(values))
        run = training.train(values, on_validation, on_step)
    except _Pruned:
        last = study.trials[trial.number].last_step
        log(f"trial {trial.number} is pruned at step {last}: others were better there")
        study.tell(trial, state=TrialState.PRUNED)
        return ""
    except WorkRemains:
        raise
    except BrainbrrError as error:
        return _failed(study, trial, str(error), log)
    fit = run.record.fit
    for each in fit.validations:
        report(each.step, getattr(each, objective))
    value = best_value(fit.validations, fit.best_step, objective)
    if value is None:
        return _failed(study, trial, f"its validation has no {objective}", log)
    study.tell(trial, value)
    log(f"trial {trial.number} has {objective} {value:.4f}: {run.name}")
    return ""


def best_value(
    validations: tuple[ValidationRecord, ...], best_step: int | None, objective: str
) -> float | None:
    """The objective at the step whose weights the run has; None where that is undefined."""
    for validation in validations:
        if validation.step == best_step:
            value = getattr(validation, objective)
            return None if value is None else float(value)
    return None


def _failed(study: Study, trial: Trial, remark: str, log: Callable[[str], None]) -> str:
    from optuna.trial import TrialState

    trial.set_user_attr(_REMARK, remark)
    study.tell(trial, state=TrialState.FAIL)
    log(f"trial {trial.number} failed: {remark}")
    return remark


def _draw(trial: Trial, key: str, dimension: Dimension) -> Value:
    if dimension.kind == "choice":
        return trial.suggest_categorical(key, list(dimension.choices))
    if dimension.kind == "int":
        return trial.suggest_int(key, int(dimension.low), int(dimension.high))
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.kind == "log")


def _sampler(space: Space, number: int) -> BaseSampler:
    """What draws the settings of a trial: the same ones whether or not the sweep was resumed."""
    from optuna.samplers import RandomSampler, TPESampler

    digest = hashlib.sha256(f"{space.seed}/{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "little")
    return TPESampler(seed=seed) if space.sampler == "tpe" else RandomSampler(seed=seed)


def _optuna() -> None:
    """Raise :class:`BrainbrrError` where Optuna is not installed."""
    try:
        import_module("optuna")
    except ImportError:
        raise BrainbrrError(
            "a sweep draws its settings with Optuna, which is not installed: run "
            "`pip install 'brainbrr[sweep]'`"
        ) from None


def _open(folder: Path, space: Space) -> tuple[Study, BaseStorage]:
    """The study in the journal of a sweep, which is made where there is none."""
    import optuna
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    pruner: BasePruner = NopPruner()
    if space.pruner == "median":
        pruner = MedianPruner(space.startup_trials, space.warmup_steps)
    study = optuna.create_study(
        study_name=_STUDY,
        storage=storage,
        pruner=pruner,
        direction="maximize",
        load_if_exists=True,
    )
    return study, storage


def _resumed(study: Study, storage: BaseStorage, number: int) -> Trial:
    """A trial that an earlier process began."""
    from optuna.trial import Trial

    study_id = storage.get_study_id_from_name(_STUDY)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _check_identity(study: Study, folder: Path, space: Space, identity: str) -> None:
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        study.set_user_attr(_OBJECTIVE, space.objective)
        study.set_user_attr(_IDENTITY, identity)
    elif stored != identity:
        raise BrainbrrError(
            f"the trials in {folder} are of another space, seed, configuration or cache: rename "
            f"{space.path.name} to begin another sweep, or remove that folder (runs stay)"
        )


def _report(study: Study, folder: Path) -> SweepReport:
    states = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    rows = []
    for trial in study.trials:
        state = states.get(trial.state.name, "unfinished")
        step = None if state == "finished" else trial.last_step
        value = trial.value if state == "finished" else None
        if step is not None:
            value = trial.intermediate_values[step]
        rows.append(
            TrialRow(
                trial.number,
                state,
                value,
                step,
                dict(trial.params),
                str(trial.user_attrs.get(_RUN, "")),
                str(trial.user_attrs.get(_REMARK, "")),
            )
        )
    return SweepReport(folder, str(study.user_attrs.get(_OBJECTIVE, "")), tuple(rows))


def _write_best(report: SweepReport) -> None:
    """Write the settings of the best trial as a configuration file, where there is one."""
    best = report.best
    if best is None:
        return
    content: dict[str, object] = {}
    for key, value in best.settings.items():
        set_value(content, key, value)
    figure = f"{report.objective} {best.value} on dev"
    head = f"# Trial {best.number} of the sweep: {figure}, run {best.run}.\n"
    with replacing(report.best_layer) as temporary:
        temporary.write_text(head + yaml.safe_dump(content), encoding="utf-8")


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
