"""``brainbrr demo``."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cli.dagster import dagster_program, own_folder, prepare_dagster_home, variables
from brainbrr_core.cli.options import configuration
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.progress import REPORT_VARIABLE, show_reports

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

DEMO_RECORDINGS, DEMO_HOURS, DEMO_SEED = 48, 5.0, 1
#: Seconds between two looks at how far the graph is.
_LOOK_EVERY_S = 0.2
#: An error of this project in Dagster's log, where its module and class stand before its text.
_ERROR = re.compile(r"^brainbrr_core\.errors\.\w+: (.+)$", re.MULTILINE)


def demo() -> int:
    """Write a small corpus, materialize the whole graph through Dagster, show the scores."""
    from brainbrr_core.cli.evaluate import print_scores
    from brainbrr_core.evaluation.evaluate import evaluate
    from brainbrr_core.synthesis import write_corpus

    started = time.monotonic()
    settings, environment = _demo_settings()
    home = settings.cache_root.parent
    corpus = home / "tusz"
    print(f"1. write a TUSZ-like corpus of synthetic EEG in {corpus}", flush=True)
    summary = write_corpus(corpus, recordings=DEMO_RECORDINGS, hours=DEMO_HOURS, seed=DEMO_SEED)
    print(
        f"   {summary.recordings} recordings, {summary.hours:.1f} h, {summary.seizures} seizures, "
        f"{summary.patients} patients"
    )
    log = home / "dagster.log"
    print("2. run the graph: dagster asset materialize --select '*'", flush=True)
    print(f"   index, preprocess, train and score; Dagster's log is in {log}", flush=True)
    before = _products(home)
    _materialize(own_folder(settings), environment | variables(settings), log)
    new = _products(home) - before
    if new:
        print(f"   {len(new)} files are new: shards, manifest, model, report")
    else:
        print("   nothing was rebuilt: every shard, manifest, model and report is current")
    print("3. the scores", flush=True)
    print_scores(evaluate(settings, log=lambda _line: None))
    print(f"the graph: brainbrr ui    (all of this took {time.monotonic() - started:.0f} s)")
    return 0


def _materialize(folder: Path, environment: dict[str, str], log: Path) -> None:
    """Materialize every asset; show the progress of each, and write Dagster's log to a file.

    Raises :class:`WorkRemains` with the log's last error when a step failed.
    """
    with (
        log.open("w", encoding="utf-8") as output,
        tempfile.TemporaryDirectory(prefix="brainbrr-demo-") as temporary,
    ):
        reports = Path(temporary) / "progress.jsonl"
        process = subprocess.Popen(
            [dagster_program(), "asset", "materialize", "--select", "*"],
            cwd=folder,
            env=environment | {REPORT_VARIABLE: str(reports)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )

        def running() -> bool:
            try:
                process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                return True
            return False

        try:
            show_reports(reports, running)
        except BaseException:
            # Ctrl+C went to the process too; after anything else it must not outlive its display.
            process.terminate()
            process.wait()
            raise
    if process.returncode != 0:
        errors = _ERROR.findall(log.read_text(encoding="utf-8", errors="replace"))
        reason = f": {errors[-1]}" if errors else ""
        raise WorkRemains(f"a step of the graph failed{reason} (the log is {log})")


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


def _products(home: Path) -> set[tuple[str, int]]:
    """Shards, manifests, models and reports, each with the time it was written."""
    patterns = ("*.arrow", "manifests/*.parquet", "model.safetensors", "report.html")
    return {
        (str(path), path.stat().st_mtime_ns)
        for folder in (home / "cache", home / "runs")
        for pattern in patterns
        for path in folder.rglob(pattern)
    }
