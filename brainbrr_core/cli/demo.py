"""``brainbrr demo``."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cli.dagster import (
    dagster_program,
    prepare_dagster_home,
    variables,
    working_folder,
)
from brainbrr_core.cli.options import configuration
from brainbrr_core.cli.printing import count, ignore
from brainbrr_core.errors import BrainbrrError, WorkRemains

if TYPE_CHECKING:
    from brainbrr_core.configuration import Configuration

DEMO_RECORDINGS, DEMO_HOURS, DEMO_SEED = 48, 5.0, 1
#: Half of the steps of ``smoke``: training takes most of the demo's time.
_TRAINING = {"steps": 150, "warmup_steps": 20, "validate_every": 75}
#: Seconds between two looks at how far the graph is.
_LOOK_EVERY_S = 0.2
#: An error of this project in Dagster's log, where its module and class stand before its text.
_ERROR = re.compile(r"^brainbrr: (.+)$", re.MULTILINE)


def demo() -> int:
    """Write a small synthetic corpus, run the whole graph through Dagster, and show the scores."""
    from brainbrr_core.synthesis import write_corpus

    started = time.monotonic()
    settings, environment = _demo_settings()
    home = settings.cache_root.parent
    corpus = home / "tusz"
    print(f"1. write a synthetic corpus like TUSZ to {corpus}", flush=True)
    summary = write_corpus(corpus, recordings=DEMO_RECORDINGS, hours=DEMO_HOURS, seed=DEMO_SEED)
    print(
        f"   {count(summary.recordings, 'recording')}, {summary.hours:.1f} h, "
        f"{count(summary.seizures, 'seizure')}, {count(summary.patients, 'patient')}"
    )
    log = home / "dagster.log"
    print("2. run the graph: dagster asset materialize --select '*'", flush=True)
    print(f"   index, preprocess, train and score; Dagster's log is in {log}", flush=True)
    before = _outputs(home)
    _materialize(working_folder(settings.dagster_home), environment | variables(settings), log)
    new = _outputs(home) - before
    if new:
        print(f"   wrote {count(len(new), 'file')}: shards, manifest, model, report")
    else:
        print("   nothing was rebuilt: every shard, manifest, model and report is current")
    # Heavy imports, for which nobody waits here: _materialize has made them.
    from brainbrr_core.cli.evaluate import print_scores
    from brainbrr_core.evaluation.evaluate import evaluate

    print("3. show the scores", flush=True)
    print_scores(evaluate(settings, log=ignore))
    print(
        f"All of this took {time.monotonic() - started:.0f} s. To see the graph, run: brainbrr ui"
    )
    return 0


def _materialize(folder: Path, environment: dict[str, str], log: Path) -> None:
    """Materialize every asset; show the progress of each, and write Dagster's log to a file.

    Raises :class:`WorkRemains` with the log's last error when a step failed.
    """
    from brainbrr_core.progress import REPORT_VARIABLE, show_reports

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
            # Takes seconds, as does the start of Dagster meanwhile; the scores are shown with it.
            importlib.import_module("brainbrr_core.evaluation.evaluate")
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
    """The demo's settings, and the environment to start Dagster with.

    The settings are written to a file that later commands read. What variables of the shell set
    does not count.
    """
    from brainbrr_core.configuration import Overrides, load
    from brainbrr_core.configuration.load import DEMO_LAYERS
    from brainbrr_core.configuration.location import demo_config_path

    path = demo_config_path()
    if path is None:
        raise BrainbrrError("there is no home folder for the demo: set HOME to a folder")
    if not (path.parent / "cache").is_dir():
        _examine_machine()
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
    settings = {
        "evaluation": {"split": "eval", "allow_eval": True},
        "training": _TRAINING,
    }
    try:
        home.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "# Written by `brainbrr demo`: its folders and its short training.\n"
            + yaml.safe_dump(folders | settings),
            encoding="utf-8",
        )
    except OSError as error:
        raise BrainbrrError(
            f"the demo's folder {home} is not writable ({error.strerror}): set HOME, or "
            "XDG_DATA_HOME, to a folder that is"
        ) from None


def _examine_machine() -> None:
    """Print what this machine has, and what could be done instead of the demo."""
    from brainbrr_core.cli.doctor import print_examination
    from brainbrr_core.doctor.examination import examine

    try:
        print_examination(examine(configuration(uses_cache=False), look_only=True))
    except BrainbrrError as error:
        # A mistake in what the shell has set: the demo does not use it.
        print(f"the machine was not examined: {error}")
    print("The demo starts now.", flush=True)


def _outputs(home: Path) -> set[tuple[str, int]]:
    """Shards, manifests, models and reports, each with the time it was written, in ns."""
    patterns = ("*.arrow", "manifests/*.parquet", "model.safetensors", "report.html")
    return {
        (str(path), path.stat().st_mtime_ns)
        for folder in (home / "cache", home / "runs")
        for pattern in patterns
        for path in folder.rglob(pattern)
    }
