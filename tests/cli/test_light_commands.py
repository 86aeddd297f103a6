"""What commands load: those that are asked for help, or that find nothing to do, answer at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.runs.identity import TrainingSettings
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.run import run_directory
from tests.support.run_records import run_values

#: Beside the command line itself: what starts a process and names its errors.
LIGHT = (
    "brainbrr_core.cli",
    "brainbrr_core.display",
    "brainbrr_core.errors",
    "brainbrr_core.machine",
)
HEAVY = {"dagster", "matplotlib", "mne", "numba", "numpy", "pandas", "pyarrow", "pydantic", "scipy"}
HEAVY |= {"torch", "yaml"}


PROGRAM = """\
import sys
from brainbrr_core.cli.app import main
try:
    main()
except SystemExit as end:
    print(end.code or 0, *sorted(sys.modules), sep="\\n", file=sys.stderr)
"""


def call(*words: str) -> tuple[str, int, list[str], list[str]]:
    """What a command prints, its status, what it says on standard error, and the loaded modules."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if line.isdigit())
    return done.stdout, int(lines[at]), lines[:at], lines[at + 1 :]


def smoke(built: Configuration, runs_dir: Path) -> tuple[Configuration, list[str]]:
    """The profile ``smoke`` of a cache, and the options that choose it."""
    folders = {"cache_root": str(built.cache_root), "runs_dir": str(runs_dir)}
    words = [f"--{name.replace('_', '-')}={folder}" for name, folder in folders.items()]
    return load(Overrides(config="smoke:cpu", **folders), {}), ["--config=smoke:cpu", *words]


def test_help_loads_neither_libraries_nor_what_commands_call() -> None:
    printed, _, _, loaded = call("--help")
    assert "cache" in printed
    own = [name for name in loaded if name.startswith("brainbrr_core.")]
    assert own
    assert [name for name in own if not name.startswith(LIGHT)] == []
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


def test_train_says_that_the_cache_is_not_ready_without_loading_torch(
    built: Configuration, tmp_path: Path
) -> None:
    _, words = smoke(built, tmp_path)
    _, status, said, loaded = call("train", *words)
    assert status == 1
    assert said[-1].startswith("brainbrr: no manifest at ")
    assert "torch" not in loaded


def test_train_names_a_finished_run_without_loading_torch(
    built: Configuration, tmp_path: Path
) -> None:
    settings, words = smoke(built, tmp_path)
    cache = ProfileCache.of(settings)
    made = update_manifest(cache.plan(), cache.settings)
    directory = run_directory(tmp_path, TrainingSettings.of(settings), made.manifest)
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(run_values()), encoding="utf-8")
    (directory / MODEL).touch()
    for further in ([], ["--seeds=0"]):
        printed, status, said, loaded = call("train", *words, *further)
        assert status == 0
        assert f"finished already: {directory}" in printed
        assert f"run {directory.name} is finished already: nothing to train" in said
        assert "torch" not in loaded


def test_a_build_and_a_status_with_nothing_to_do_load_no_pandas(built: Configuration) -> None:
    words = ["--config=full:cpu", f"--cache-root={built.cache_root}"]
    data_dir = f"--data-dir={built.data_dir}"
    for command in (("cache", "build", data_dir), ("cache", "status")):
        _, status, said, loaded = call(*command, *words)
        assert status == 0, said
        # Arrow loads it where it is installed, to hand over values that are none of its own.
        assert not {"pandas", "scipy", "torch"} & set(loaded), command
        # All of Arrow's functions, of which these commands use none.
        assert "pyarrow.compute" not in loaded, command


def test_a_section_of_the_settings_is_compiled_when_it_is_first_used() -> None:
    class Own(Section):
        number: int = 1

    assert not Own.__pydantic_complete__
    assert Own().number == 1
    assert Own.__pydantic_complete__


def test_the_list_of_runs_loads_no_torch(tmp_path: Path) -> None:
    directory = tmp_path / "a-run"
    directory.mkdir()
    (directory / "run.json").write_text(json.dumps(run_values()), encoding="utf-8")
    (directory / MODEL).touch()
    printed, status, said, loaded = call("runs", f"--runs-dir={tmp_path}")
    assert status == 0, said
    assert "a-run" in printed
    assert not {"pandas", "scipy", "torch"} & set(loaded)


def test_the_definitions_load_what_their_runs_may_not_need_later() -> None:
    code = "import sys, brainbrr_pipeline.definitions; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "brainbrr_pipeline.graph" in loaded
    assert not {"matplotlib", "mne", "numba", "pandas", "scipy", "torch"} & loaded
