"""CPU time and memory of commands that find nothing to do in a cache of many recordings.

Each command runs in its own process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from brainbrr_core.benchmark.many_recordings import wide_cache
from brainbrr_core.benchmark.result import Figures, Table
from brainbrr_core.errors import BrainbrrError

_BEGIN = """\
import json, sys, time
from brainbrr_core.configuration import load
"""
_END = """
seconds = time.process_time()
from brainbrr_core.benchmark.peak_memory import peak_mb
print(json.dumps([seconds, peak_mb()]))
"""
_COMMAND = """\
from brainbrr_core.cli.app import main
sys.argv = ["brainbrr", *{words!r}]
try:
    main()
except SystemExit as done:
    if done.code:
        raise
"""


def _command(*words: str) -> str:
    return _COMMAND.format(words=words)


#: The Python code that is measured, by its name in the table.
_MEASURED = {
    "reading the index": (
        "from brainbrr_core.corpus.index_file import read_index\nread_index(load().cache_root)"
    ),
    "a plan": "from brainbrr_core.cache.plan import plan_profile\nplan_profile(load())",
    "cache status": _command("cache", "status", "--json"),
    "manifest": _command("manifest", "--json"),
    "cache build": _command("cache", "build", "--json"),
    # As `brainbrr train` begins: torch is loaded after it.
    "a training's pre-flight": (
        "from brainbrr_core.training import run\n"
        "from brainbrr_core.cache.profile_cache import ProfileCache\n"
        "from brainbrr_core.cache.readiness import check\n"
        "check(ProfileCache.of(load()))"
    ),
    "a training's windows": (
        "from brainbrr_core.data import WindowDataset\n"
        "from brainbrr_core.cache.profile_cache import ProfileCache\n"
        "from brainbrr_core.cache.readiness import check\n"
        "fit = check(ProfileCache.of(load()))\nWindowDataset(fit.manifest, fit.plan.store)"
    ),
}


class Consumption(Figures):
    """Seconds of CPU and the peak resident memory of a process."""

    cpu_s: float
    peak_mb: int


class IdleCommands(Figures):
    """What each command consumes in a cache of so many recordings."""

    recordings: int
    commands: dict[str, Consumption]

    def table(self) -> Table:
        """One row for each command."""
        rows = [
            [name, f"{consumed.cpu_s:.2f}", f"{consumed.peak_mb:,}"]
            for name, consumed in self.commands.items()
        ]
        title = f"nothing to do in a cache of {self.recordings:,} recordings"
        return Table(title, ["", "CPU, s", "peak, MB"], rows)


def run(recordings: int, log: Callable[[str], None] = print) -> IdleCommands:
    """Measure each command in a cache below a temporary folder.

    Raises :class:`BrainbrrError` for a command that fails.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder:
        log(f"a cache of {recordings:,} recordings")
        configuration = wide_cache(Path(folder), recordings)
        environment = {
            "BRAINBRR_CONFIG": "full:cpu",
            "BRAINBRR_DATA_DIR": str(configuration.data_dir),
            "BRAINBRR_CACHE_ROOT": str(configuration.cache_root),
            "BRAINBRR_RUNS_DIR": str(configuration.runs_dir),
        }
        # The first call writes the manifest.
        _measure(_MEASURED["manifest"], environment)
        commands = {}
        for name, program in _MEASURED.items():
            log(name)
            commands[name] = _measure(program, environment)
        return IdleCommands(recordings=recordings, commands=commands)


def _measure(program: str, environment: Mapping[str, str]) -> Consumption:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BRAINBRR_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program + _END],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BrainbrrError(f"a measured command failed: {done.stderr[-2000:]}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return Consumption(cpu_s=round(seconds, 2), peak_mb=round(peak))
