"""``brainbrr demo``, ``ui`` and ``env``: this project's folders and Dagster's own commands.

Dagster is started as a command here, never imported.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainbrr_core.cli.options import (
    CacheRoot,
    Config,
    DataDir,
    Profile,
    RunsDir,
    configuration,
)
from brainbrr_core.errors import BrainbrrError, WorkRemains

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

#: What ``dagster dev`` loads.
DEFINITIONS_MODULE = "brainbrr_pipeline.definitions"
#: Definitions without partitions, for ``dagster asset materialize`` alone.
COMMAND_LINE_MODULE = "brainbrr_pipeline.command_line"
#: ``dagster.yaml`` of a new DAGSTER_HOME.
INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
# What the assets say, without Dagster's own events: these are in its UI.
python_logs:
  python_log_level: INFO
# One run at a time in each pool: two trainings never share a card.
concurrency:
  pools:
    default_limit: 1
    granularity: op
"""
DEMO_RECORDINGS, DEMO_HOURS, DEMO_SEED = 48, 5.0, 1


def variables(settings: Configuration) -> dict[str, str]:
    """Variables that give these settings back, and make Dagster's own commands find this project.

    An empty one counts as not set: it undoes what the shell may have set before. Raises
    :class:`BrainbrrError` where a configuration file's path cannot stand in a list of them.
    """
    from brainbrr_core.configuration import checkout

    for layer in settings.origin.layers:
        if os.pathsep in layer:
            raise BrainbrrError(
                f"the path {layer} holds a {os.pathsep!r}, which separates configurations: rename "
                "its folder"
            )
    values = {
        "DAGSTER_HOME": str(settings.dagster_home),
        "BRAINBRR_CONFIG": os.pathsep.join(settings.origin.layers),
        "BRAINBRR_PROFILE": settings.origin.profile or "",
        "BRAINBRR_DATA_DIR": settings.data_dir or "",
        "BRAINBRR_CACHE_ROOT": str(settings.cache_root),
        "BRAINBRR_RUNS_DIR": str(settings.runs_dir),
        # Each for one command: the variable for all of them would redirect deployments too.
        "DAGSTER_CLI_ASSET_MATERIALIZE_MODULE_NAME": COMMAND_LINE_MODULE,
    }
    if checkout() is None:
        # A checkout says this in its pyproject.toml, and leaves `dagster dev -w` to its users.
        values["DAGSTER_CLI_DEV_MODULE_NAME"] = DEFINITIONS_MODULE
        values["DAGSTER_CLI_DEFINITIONS_VALIDATE_MODULE_NAME"] = DEFINITIONS_MODULE
    scripts = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "")
    if scripts not in path.split(os.pathsep):
        values["PATH"] = os.pathsep.join([scripts, path])
    return values


def prepare_dagster_home(home: Path) -> None:
    """Make DAGSTER_HOME with a ``dagster.yaml``, unless there is one."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").is_file():
            (home / "dagster.yaml").write_text(INSTANCE, encoding="utf-8")
    except OSError as error:
        raise BrainbrrError(
            f"DAGSTER_HOME {home} is not writable ({error.strerror}): set it to a folder that is"
        ) from None


def env(
    config: Config = None,
    profile: Profile = None,
    data_dir: DataDir = None,
    cache_root: CacheRoot = None,
    runs_dir: RunsDir = None,
) -> int:
    """Print shell lines for `eval "$(brainbrr env)"`; then `dagster` finds this project."""
    settings = configuration(config, profile, data_dir, cache_root, runs_dir)
    values = variables(settings)
    prepare_dagster_home(settings.dagster_home)
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    config: Config = None,
    profile: Profile = None,
) -> int:
    """Open Dagster's UI on this project's graph."""
    settings = configuration(config, profile)
    environment = os.environ | variables(settings)
    prepare_dagster_home(settings.dagster_home)
    command = [_dagster(), "dev", "--module-name", DEFINITIONS_MODULE, "--port", str(port)]
    typer.echo(f"http://127.0.0.1:{port} (stop with Ctrl+C)", err=True)
    os.chdir(_own_folder(settings))
    # In place of this process: a signal that ends it ends Dagster's services too.
    os.execve(command[0], command, environment)


def demo() -> int:
    """Write a small corpus, materialize the whole graph through Dagster, show the scores."""
    from brainbrr_core.cli.train import print_scores
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
        [_dagster(), "asset", "materialize", "--select", "*"],
        cwd=_own_folder(settings),
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


def _own_folder(settings: Configuration) -> Path:
    """Where Dagster's commands start: what lies in the user's current folder is not for them."""
    from brainbrr_core.configuration import checkout

    return checkout() or settings.dagster_home


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


def _dagster() -> str:
    """Dagster's command beside this Python."""
    command = Path(sys.executable).with_name("dagster")
    if not command.is_file():
        raise BrainbrrError(
            f"dagster is not installed beside {sys.executable}: run `make setup` in a checkout, or "
            "install this package again"
        )
    return str(command)
