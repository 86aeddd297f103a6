"""``brainbrr sweep``."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    CacheVersion,
    Config,
    Json,
    Profile,
    RunsDir,
    configuration,
)
from brainbrr_core.cli.printing import count, log, print_json
from brainbrr_core.cli.tables import print_table
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from brainbrr_core.runs.run import Run
    from brainbrr_core.sweep.space import Value
    from brainbrr_core.sweep.study import SweepReport
    from brainbrr_core.training.report import StepReport
    from brainbrr_core.training.validation import Validation


def sweep(
    space: Annotated[
        Path,
        typer.Argument(metavar="SPACE.yaml", help="File that says which settings are searched."),
    ],
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials in all, those of earlier calls included (default: as SPACE.yaml)."
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Train nothing, and list the trials so far.")
    ] = False,
    config: Config = None,
    profile: Profile = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
    cache_version: CacheVersion = None,
    json: Json = False,
) -> int:
    """Search for better settings: train one run after another, each with settings that are drawn.

    Trials are compared by a figure of their validations on dev, and given up where others were
    better. The same command resumes an interrupted sweep. The best settings become a configuration
    file.
    """
    from brainbrr_core.cache.profile_cache import ProfileCache
    from brainbrr_core.cache.readiness import check
    from brainbrr_core.cli.train import train_with_bar
    from brainbrr_core.configuration.load import apply_values
    from brainbrr_core.files.canonical import digest
    from brainbrr_core.runs.identity import TrainingSettings
    from brainbrr_core.runs.run import run_directory
    from brainbrr_core.sweep.space import check_space, read_space
    from brainbrr_core.sweep.study import TrialTraining, run_sweep, show_sweep, sweep_folder
    from brainbrr_core.training.ranks import Ranks

    searched = read_space(space)
    settings = configuration(
        config, profile, cache_root=cache_root, runs_dir=runs_dir, cache_version=cache_version
    )
    folder = sweep_folder(settings.runs_dir, space)
    best = _best_options(settings.origin.layers, settings.origin.profile, folder)
    if show:
        _print(show_sweep(folder, searched), best, json=json)
        return 0
    if Ranks.from_environment(os.environ).world_size > 1:
        raise BrainbrrError(
            "a sweep trains in one process: run `brainbrr sweep` without torchrun, or train its "
            "best settings with it"
        )

    def training_settings(values: Mapping[str, Value]) -> TrainingSettings:
        return TrainingSettings.of(apply_values(settings, values, str(space)))

    def shaping(values: Mapping[str, Value]) -> dict[str, JsonValue]:
        return training_settings(values).shaping()

    def name(values: Mapping[str, Value]) -> str:
        return run_directory(settings.runs_dir, training_settings(values), manifest).name

    def train(
        values: Mapping[str, Value],
        on_validation: Callable[[Validation], None],
        on_step: Callable[[StepReport], None],
    ) -> Run:
        chosen = apply_values(settings, values, str(space))
        return train_with_bar(chosen, shown=True, on_step=on_step, on_validation=on_validation)

    check_space(searched, shaping)
    manifest = check(ProfileCache.of(settings)).manifest
    first = {key: dimension.ends[0] for key, dimension in searched.settings.items()}
    identity = digest(
        {
            "settings": {key: each.as_written() for key, each in searched.settings.items()},
            "search": [searched.objective, searched.seed, searched.sampler],
            "configuration": shaping(first),
            "manifest": manifest.source,
        }
    )
    report = run_sweep(
        searched, folder, identity, TrialTraining(name, train), trials or searched.trials, log
    )
    _print(report, best, json=json)
    return 0


def _best_options(layers: tuple[str, ...], profile: str | None, folder: Path) -> str:
    """The options that choose the best settings of a sweep."""
    from brainbrr_core.sweep.study import BEST

    chosen = "" if profile is None else f" --profile {shlex.quote(profile)}"
    return f" --config {shlex.quote(os.pathsep.join([*layers, str(folder / BEST)]))}{chosen}"


def _print(report: SweepReport, best: str, *, json: bool) -> None:
    if json:
        print_json(
            {
                "folder": str(report.folder),
                "objective": report.objective,
                "trials": [asdict(row) for row in report.trials],
                "best": None if report.best is None else report.best.number,
            }
        )
        return
    keys = list(dict.fromkeys(key for row in report.trials for key in row.settings))
    rows = []
    for row in report.trials:
        state = row.state if row.step is None else f"{row.state} at step {row.step:,}"
        value = "-" if row.value is None or math.isnan(row.value) else f"{row.value:.4f}"
        drawn = [_shown(row.settings[key]) if key in row.settings else "-" for key in keys]
        rows.append([f"{row.number}", state, value, *drawn, row.run])
    print_table(
        f"{count(len(rows), 'trial')} in {report.folder}",
        ["trial", "state", report.objective, *_short(keys), "run"],
        rows,
    )
    for row in report.trials:
        if row.remark:
            print(f"trial {row.number} failed: {row.remark}")
    if report.best is None:
        print("no trial has finished yet")
        return
    print(
        f"best: trial {report.best.number}, {report.objective} {report.best.value:.4f} on dev, the "
        "highest of these trials and so too high for other patients"
    )
    print(f"its settings: {report.best_layer}")
    log(f"next: brainbrr evaluate{best}")


def _short(keys: Sequence[str]) -> list[str]:
    """The last parts of keys where these tell them apart, otherwise the keys."""
    names = [key.rpartition(".")[2] for key in keys]
    return names if len(set(names)) == len(names) else list(keys)


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
