"""What commands take that find nothing to do in a wide cache: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from brainbrr_core.benchmark.many_recordings import wide_cache
from brainbrr_core.configuration import Configuration
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


#: Python that is measured, by what a table calls it. The first manifest is written, not measured.
_MEASURED = {
    "reading the index": (
        "from brainbrr_core.corpus.index_file import read_index\nread_index(load().cache_root)"
    ),
    "a plan": "from brainbrr_core.cache.plan import plan_profile\nplan_profile(load())",
    "cache status": _command("cache", "status", "--json"),
    "manifest": _command("manifest", "--json"),
    "cache build": _command("cache", "build", "--json"),
    "a training's pre-flight": (
        "from brainbrr_core.data import WindowDataset\n"
        "from brainbrr_core.cache.readiness import check\n"
        "fit = check(load())\nWindowDataset(fit.manifest, fit.plan.store)"
    ),
}


def run(recordings: int, log: Callable[[str], None] = print) -> dict[str, dict[str, float]]:
    """CPU seconds, and peak resident MB, of each; all below a temporary folder.

    Raises :class:`BrainbrrError` for one that fails.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder:
        log(f"a cache of {recordings:,} recordings")
        settings = wide_cache(Path(folder), recordings)
        _measured(_MEASURED["manifest"], settings)
        figures = {}
        for name, program in _MEASURED.items():
            log(name)
            seconds, peak = _measured(program, settings)
            figures[name] = {"cpu_s": round(seconds, 2), "peak_mb": round(peak)}
        return figures


def _measured(program: str, settings: Configuration) -> tuple[float, float]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BRAINBRR_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program + _END],
        env=clean
        | {
            "BRAINBRR_CONFIG": "full:cpu",
            "BRAINBRR_DATA_DIR": str(settings.data_dir),
            "BRAINBRR_CACHE_ROOT": str(settings.cache_root),
            "BRAINBRR_RUNS_DIR": str(settings.runs_dir),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BrainbrrError(f"a measured command failed: {done.stderr[-2000:]}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak
