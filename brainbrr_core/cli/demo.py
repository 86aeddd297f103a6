"""``brainbrr demo``."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cli.dagster import dagster_program, own_folder, prepare_dagster_home, variables
from brainbrr_core.cli.options import (
    configuration,
)
from brainbrr_core.errors import BrainbrrError, WorkRemains

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

DEMO_RECORDINGS, DEMO_HOURS, DEMO_SEED = 48, 5.0, 1


def demo() -> int:
    """Write a small corpus, materialize the whole graph through Dagster, show the scores."""
    from brainbrr_core.cli.evaluate import print_scores
    from brainbrr_core.evaluation.evaluate import evaluate
    from brainbrr_core.synthesis import write_corpus

    started = time.monotonic()
    settings, environment = _demo_settings()
    home = settings.cache_root.parent
    corpus = home / "tusz"
    print(f"1. a TUSZ-like corpus in {corpus}", flush=True)
    summary = write_corpus(corpus, recordings=DEMO_RECORDINGS, hours=DEMO_HOURS, seed=DEMO_SEED)
    print(
        f"   {summary.recordings} recordings, {summary.hours:.1f} h, {summary.seizures} seizures, "
        f"{summary.patients} patients"
    )
    print("2. the graph, by `dagster asset materialize --select '*'`", flush=True)
    before = _made(home)
    finished = subprocess.run(
        [dagster_program(), "asset", "materialize", "--select", "*"],
        cwd=own_folder(settings),
        env=environment | variables(settings),
        check=False,
    )
    if finished.returncode != 0:
        raise WorkRemains("a step of the graph failed; its reason stands above")
    new = _made(home) - before
    if new:
        print(f"   made {len(new)} files: shards, manifest, model, report")
    else:
        print("   nothing was rebuilt: every shard, manifest, model and report is current")
    print("3. the scores", flush=True)
    print_scores(evaluate(settings, log=lambda _line: None))
    print(f"the graph: brainbrr ui    (all of this took {time.monotonic() - started:.0f} s)")
    return 0


def _demo_settings() -> tuple[Configuration, dict[str, str]]:
    """The demo's settings, written where later commands find them, and an environment for it.

    The demo is the same whatever the shell has set.
    """
    from brainbrr_core.configuration import Overrides, load
    from brainbrr_core.configuration.load import DEMO_LAYERS
    from brainbrr_core.configuration.location import demo_config_path

    path = demo_config_path()
    if path is None:
        raise BrainbrrError("this user has no home folder for the demo: set HOME to a folder")
    if not (path.parent / "cache").is_dir():
        _say_what_is_here()
    _write_demo_config(path)
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("BRAINBRR_", "DAGSTER_"))
    }
    settings = load(Overrides(config=os.pathsep.join([*DEMO_LAYERS, str(path)])), environment)
    prepare_dagster_home(settings.dagster_home)
    return settings, environment


def _write_demo_config(path: Path) -> None:
    import yaml

    home = path.parent
    folders = {
        "data_dir": str(home / "tusz"),
        "cache_root": str(home / "cache"),
        "runs_dir": str(home / "runs"),
        "dagster_home": str(home / "dagster"),
    }
    scored = {"evaluation": {"split": "eval", "allow_eval": True}}
    try:
        home.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "# Written by `brainbrr demo`: the folders of the demo.\n"
            + yaml.safe_dump(folders | scored),
            encoding="utf-8",
        )
    except OSError as error:
        raise BrainbrrError(
            f"the demo's folder {home} is not writable ({error.strerror}): set HOME, or "
            "XDG_DATA_HOME, to a folder that is"
        ) from None


def _say_what_is_here() -> None:
    """What this machine has, and what could be done instead of the demo."""
    from brainbrr_core.cli.doctor import print_examination
    from brainbrr_core.doctor.examination import examine

    try:
        print_examination(examine(configuration(uses_cache=False), look_only=True))
    except BrainbrrError as error:
        # The demo needs none of what the shell has set.
        print(f"this machine was not looked at: {error}")
    print("now the demo:", flush=True)


def _made(home: Path) -> set[tuple[str, int]]:
    """Shards, manifests, models and reports, each with the time it was written."""
    patterns = ("*.arrow", "manifests/*.parquet", "model.safetensors", "report.html")
    return {
        (str(path), path.stat().st_mtime_ns)
        for folder in (home / "cache", home / "runs")
        for pattern in patterns
        for path in folder.rglob(pattern)
    }
