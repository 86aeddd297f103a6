"""``brainbrr runs``: the runs of a folder, and what differs between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import RUN_HELP, Config, Json, RunsDir, configuration, run_folder
from brainbrr_core.cli.printing import Json as JsonValue
from brainbrr_core.cli.printing import count, print_json
from brainbrr_core.errors import BrainbrrError

if TYPE_CHECKING:
    from pathlib import Path

    from brainbrr_core.evaluation.results import Estimate
    from brainbrr_core.evaluation.run_list import ListedRun
    from brainbrr_core.runs.run_folder import RunFolder


def runs(
    run_a: Annotated[
        str | None, typer.Argument(metavar="RUN_A", help=f"{RUN_HELP} (default: list all runs).")
    ] = None,
    run_b: Annotated[
        str | None,
        typer.Argument(metavar="RUN_B", help="Another run: print the settings that differ."),
    ] = None,
    config: Config = None,
    runs_dir: RunsDir = None,
    json: Json = False,
) -> int:
    """List all runs with their scores, or print the settings that differ between two runs.

    The list has finished, unfinished and damaged runs, the newest first.
    """
    settings = configuration(config, runs_dir=runs_dir, uses_cache=False)
    if run_a is not None and run_b is None:
        raise BrainbrrError("name two runs to compare their settings, or none to list all of them")
    if run_a is not None and run_b is not None:
        return _compare(run_a, run_b, settings.runs_dir, json=json)
    from brainbrr_core.evaluation.results import MARKS
    from brainbrr_core.evaluation.run_list import list_runs
    from brainbrr_core.runs.identity import EVALUATION_VERSION

    listed = list_runs(settings.runs_dir)
    if json:
        print_json([_as_json(run) for run in listed])
        return 0
    if not listed:
        print(f"no runs in {settings.runs_dir}: `brainbrr train` makes the first one")
    current = str(EVALUATION_VERSION)
    for run in listed:
        _print(run, current)
    if any(run.scores for run in listed):
        print(f"Scores are SzCORE's, of events. {MARKS}")
    if any({*run.evaluations.values()} - {current} for run in listed):
        print(
            f"Scores of another evaluation version than {current} do not compare with those of "
            "today: score these runs again with `brainbrr evaluate RUN --split SPLIT`"
        )
    return 0


def _compare(run_a: str, run_b: str, runs_dir: Path, *, json: bool) -> int:
    from brainbrr_core.runs.run_folder import run_differences

    a, b = (_open(run, runs_dir) for run in (run_a, run_b))
    differences = run_differences(a, b)
    if json:
        print_json(
            {"run_a": a.name, "run_b": b.name, "differences": [asdict(one) for one in differences]}
        )
        return 0
    print(f"{a.name} against {b.name}:")
    for one in differences:
        print(f"  {one}")
    if not differences:
        print("  no setting differs")
    return 0


def _open(run: str, runs_dir: Path) -> RunFolder:
    """What the folder of a run says of its settings. Raises :class:`BrainbrrError` without any."""
    from brainbrr_core.runs.run_folder import RunState, read_run_folder

    directory = run_folder(run, runs_dir)
    folder = read_run_folder(directory)
    if folder is None:
        raise BrainbrrError(f"{directory} is not the folder of a run: see `brainbrr runs`")
    if folder.record is None and not folder.configuration:
        reason = f"is {folder.state}" if folder.state is RunState.DAMAGED else "has no checkpoint"
        raise BrainbrrError(
            f"the settings of run {folder.name} are not known, since it {reason}: see "
            "`brainbrr runs`"
        )
    return folder


def _as_json(run: ListedRun) -> dict[str, JsonValue]:
    folder = run.folder
    return {
        "run": str(folder.directory),
        "name": folder.name,
        "state": folder.state.value,
        "latest": run.latest,
        "at": folder.at,
        "profile": folder.profile or None,
        "steps": folder.steps,
        "planned_steps": folder.planned_steps,
        "corpus": run.corpus or None,
        "version": folder.version or None,
        "scores": {
            split: {name: asdict(value) for name, value in figures.items()}
            for split, figures in run.scores.items()
        },
        "evaluation_versions": dict(run.evaluations),
        "remarks": run.remarks,
    }


def _print(run: ListedRun, evaluation_version: str) -> None:
    """Print a run; its scores say their version of the evaluation where it is another one."""
    folder = run.folder
    when = f"{folder.at[:16].replace('T', ' ')} UTC"
    print(f"{folder.name}: {folder.state} {when}{', the latest' if run.latest else ''}")
    facts = []
    if folder.profile:
        facts.append(f"profile {folder.profile}")
    if folder.steps is not None:
        facts.append(
            count(folder.steps, "step")
            if folder.planned_steps is None
            else f"{folder.steps:,} of {count(folder.planned_steps, 'step')}"
        )
    if run.corpus:
        facts.append(f"corpus {run.corpus}")
    if folder.version:
        facts.append(folder.version)
    if facts:
        print(f"  {', '.join(facts)}")
    for split, figures in run.scores.items():
        version = run.evaluations[split]
        mark = "" if version == evaluation_version else f" (evaluation version {version})"
        print(f"  {split}: {_scores(figures)}{mark}")
    for remark in run.remarks:
        print(f"  {remark}")


def _scores(figures: Mapping[str, Estimate]) -> str:
    """The figures of SzCORE's event score on one split, with the interval of F1."""
    named = {
        "szcore_event.f1": ("F1", 3),
        "szcore_event.sensitivity": ("sensitivity", 3),
        "szcore_event.false_per_day": ("false alarms per 24 h", 1),
    }
    texts = []
    for name, estimate in figures.items():
        title, digits = named[name]
        value = "-" if math.isnan(estimate.value) else f"{estimate.value:.{digits}f}"
        interval = f" {estimate.bracketed(digits)}".rstrip() if title == "F1" else ""
        texts.append(f"{title} {value}{interval}")
    return ", ".join(texts)
