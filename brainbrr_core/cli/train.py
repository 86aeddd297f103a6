"""``brainbrr train``."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.choices import FrozenPart
from brainbrr_core.cli.options import (
    FOLD,
    CacheRoot,
    CacheVersion,
    Config,
    Fold,
    Json,
    Profile,
    RunsDir,
    configuration,
    next_command,
)
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import ignore, log, print_json
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from collections.abc import Callable

    from brainbrr_core.configuration import Configuration
    from brainbrr_core.runs.run import Run
    from brainbrr_core.training.report import StepReport
    from brainbrr_core.training.validation import Validation


def train(
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="SEEDS",
            help="Seeds such as 0,1,2: one run for each, one after the other. A run that is "
            "finished is not trained again.",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with the weights of a run or an exported model: its folder, or a run's "
            "name (default: training.start_from).",
        ),
    ] = None,
    freeze: Annotated[
        FrozenPart | None,
        typer.Option(
            help="Part of the network whose weights stay as they are (default: training.freeze)."
        ),
    ] = None,
    fold: Fold = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds",
            help="Train every fold of the cross-validation, one after the other. A run that is "
            "finished is not trained again.",
        ),
    ] = False,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Train the network on the cached recordings of a profile.

    An interrupted training resumes from its last checkpoint, and a finished one is not repeated.
    Started by `torchrun`, which takes the path of this program, all its processes train one network
    together.
    """
    from brainbrr_core.configuration.load import apply_values
    from brainbrr_core.training.ranks import Ranks
    from brainbrr_core.training.seeds import parse_seeds, train_each

    if folds and (fold is not None or seeds is not None):
        raise BrainbrrError(
            "--folds trains every fold with the seed of the configuration: leave out --fold and "
            "--seeds"
        )
    chosen = None if seeds is None else parse_seeds(seeds)
    settings = configuration(
        config, profile, cache_root=cache_root, runs_dir=runs_dir, cache_version=cache_version
    )
    given = {"training.start_from": start_from, "training.freeze": freeze and freeze.value}
    values = {key: value for key, value in given.items() if value is not None}
    if values:
        settings = apply_values(settings, values, "--from and --freeze")
    if fold is not None:
        settings = apply_values(settings, {FOLD: fold}, "--fold")
    # Of several processes, the first one prints for all.
    first = Ranks.from_environment(os.environ).is_main
    train_one = partial(train_with_bar, shown=first)
    suggest = partial(
        next_command,
        options=settings.options,
        runs_dir=runs_dir,
        cache_version=cache_version,
        fold=None if fold is None else str(fold),
    )
    if chosen is None and not folds:
        run = train_one(settings)
        if first and json:
            print_json(_as_json(run))
        elif first:
            print(_outcome(run))
            # What the configuration does not say, the run's name does.
            if values:
                suggest(f"evaluate {run.name}", fold=None)
            else:
                suggest("evaluate")
        return 0
    if chosen is None:
        from brainbrr_core.cache.profile_cache import ProfileCache
        from brainbrr_core.cache.readiness import check_folds
        from brainbrr_core.runs.identity import TrainingSettings
        from brainbrr_core.training.unseen import check_unseen

        checked = check_folds(ProfileCache.of(settings))
        start = TrainingSettings.of(settings).start
        if start is not None:
            # Said before the first of them is trained for hours.
            for preflight in checked.values():
                check_unseen(start, preflight, settings.runs_dir)
        kind, numbers = "fold", tuple(checked)
    else:
        kind, numbers = "seed", chosen

    def train_number(number: int) -> Run:
        if kind == "fold":
            return train_one(apply_values(settings, {FOLD: number}, "--folds"))
        return train_one(apply_values(settings, {"training.seed": number}, "--seeds"))

    runs = []
    for number, run in train_each(kind, numbers, train_number, log=log if first else ignore):
        runs.append({kind: number, **_as_json(run)})
        if first and not json:
            print(f"{kind} {number}: {_outcome(run)}", flush=True)
    if first and json:
        print_json({f"{kind}s": runs})
    elif first and not values and kind == "fold":
        suggest("evaluate --folds --allow-eval")
    elif first and not values:
        suggest("evaluate", seeds=seeds)
    return 0


def train_with_bar(
    settings: Configuration,
    *,
    shown: bool,
    on_step: Callable[[StepReport], None] | None = None,
    on_validation: Callable[[Validation], None] | None = None,
) -> Run:
    """Train, with a progress bar and remarks where they are ``shown``."""
    from brainbrr_core.progress import progress
    from brainbrr_core.training.run import train as run_training

    if not shown:
        return run_training(settings, on_step=on_step, on_validation=on_validation, log=ignore)
    with progress("train", settings.training.steps, "steps") as bar:

        def show(step: StepReport) -> None:
            if step.step == step.resumed_from + 1:
                bar.resume_from(step.resumed_from)
            bar.advance(note=step.note())
            if on_step is not None:
                on_step(step)

        return run_training(settings, on_step=show, on_validation=on_validation, log=log)


def _outcome(run: Run) -> str:
    return f"{'finished already' if run.reused else 'trained'}: {run.directory}"


def _as_json(run: Run) -> dict[str, JsonValue]:
    return {"run": str(run.directory), "reused": run.reused, **run.record.as_written()}
