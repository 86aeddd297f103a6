"""``brainbrr train``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    Json,
    Profile,
    RunsDir,
    Version,
    configuration,
    log,
    print_json,
)

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration
    from brainbrr_core.runs.run import Run


def train(
    replay: Annotated[
        Path | None, typer.Option(help="A saved step that was not finite, to do again.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds such as 0,1,2: a run for each, one after the other. What is finished is "
            "not trained again."
        ),
    ] = None,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    version: Version = None,
    json: Json = False,
) -> int:
    """Train the network on the profile's cache, or say that this run is finished already.

    Under `torchrun`, which is given the path of this command, all its processes train together.
    """
    if replay is not None:
        if seeds is not None:
            raise typer.BadParameter("--replay does one saved step again: leave --seeds out")
        return _replay(replay, json)
    from brainbrr_core.training.distributed import ProcessGroup
    from brainbrr_core.training.seeds import parse_seeds, train_seeds

    chosen = None if seeds is None else parse_seeds(seeds)
    settings = configuration(config, profile, None, cache_root, runs_dir, version)
    first = ProcessGroup.from_environment(os.environ).is_main
    train_one = _train_with_progress if first else _train_silently
    if chosen is None:
        run = train_one(settings)
        if first and json:
            print_json(_as_json(run))
        elif first:
            print(_outcome(run))
        return 0
    runs = []
    say = log if first else _say_nothing
    for seed, run in train_seeds(settings, chosen, train_one, log=say):
        runs.append({"seed": seed, **_as_json(run)})
        if first and not json:
            print(f"seed {seed}: {_outcome(run)}", flush=True)
    if first and json:
        print_json({"seeds": runs})
    return 0


def _train_with_progress(settings: Configuration) -> Run:
    from brainbrr_core.progress import progress
    from brainbrr_core.training.report import StepReport
    from brainbrr_core.training.run import train as run_training

    with progress("train", settings.training.steps, "steps") as bar:

        def show(step: StepReport) -> None:
            if step.step == step.resumed_from + 1:
                bar.resume_from(step.resumed_from)
            bar.advance(note=step.note())

        return run_training(settings, on_step=show, log=log)


def _train_silently(settings: Configuration) -> Run:
    from brainbrr_core.training.run import train as run_training

    return run_training(settings, log=_say_nothing)


def _say_nothing(_line: str) -> None:
    """What the processes after the first one say."""


def _outcome(run: Run) -> str:
    return f"{'reused' if run.reused else 'trained'}: {run.directory}"


def _as_json(run: Run) -> dict[str, Any]:
    return {"run": str(run.directory), "reused": run.reused, **run.record.as_written()}


def _replay(path: Path, json: bool) -> int:
    """Do a saved step again and say where it goes wrong; exit status 1 where it does."""
    from brainbrr_core.training.nonfinite import replay

    diagnosis, saved = replay(path)
    if json:
        # As text: JSON has no number that is not finite.
        figures = {"loss": str(diagnosis.loss), "gradient_norm": str(diagnosis.gradient_norm)}
        values = {"step": saved.step, "finite": diagnosis.finite, **asdict(diagnosis), **figures}
        print_json(values)
        return 0 if diagnosis.finite else 1
    print(
        f"step {saved.step}: loss {diagnosis.loss:g} (then {saved.loss}), gradient norm "
        f"{diagnosis.gradient_norm:g} (then {saved.norm})"
    )
    for name in saved.names:
        print(f"{'not finite' if name in diagnosis.windows else 'finite    '}  {name}")
    if diagnosis.module is not None:
        print(f"the first output that is not finite: {diagnosis.module}")
    if diagnosis.parameters:
        print(f"gradients that are not finite: {', '.join(diagnosis.parameters)}")
    return 0 if diagnosis.finite else 1
