"""Ctrl+C, SIGTERM and SIGKILL: a command ends soon, says what is done, and leaves no process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.configuration import Configuration
from tests.support.edf_files import another_copy
from tests.support.machines import with_all_recordings
from tests.support.process_group import BRAINBRR, Command, last_line
from tests.support.small_run import small_config, small_settings

#: Recordings of a corpus that takes long to build: links to those of the small one.
LINKS = 3
#: A run of Dagster in its process, as its launcher starts one.
RUN = """\
import sys
import dagster as dg
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers
from brainbrr_core.configuration import Overrides, load
from brainbrr_pipeline.graph import build_defs
setup_interrupt_handlers()
settings = load(Overrides(config=sys.argv[1], profile="full"), {})
job = build_defs(settings, partitioned=False, resources={}).resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.ephemeral() as instance, capture_interrupts():
    job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("windowed_cache")], raise_on_error=False
    )
"""


@pytest.fixture
def large(master_corpus: Path, tmp_path: Path) -> Configuration:
    """A corpus of 36 recordings, of which no shard is built."""
    for edf in sorted(master_corpus.rglob("*.edf")):
        folder = tmp_path / "tusz" / edf.parent.relative_to(master_corpus)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(LINKS):
            for path in edf.parent.glob(f"{edf.stem}.*"):
                another_copy(path, folder / f"{edf.stem}{number:02}{path.suffix}", number)
    return with_all_recordings(small_settings(tmp_path, tmp_path / "tusz"))


@pytest.fixture
def shards(large: Configuration) -> Callable[[], int]:
    store = Store.of(large)
    return lambda: len(store.shard_keys())


def building(large: Configuration, tmp_path: Path, shards: Callable[[], int]) -> Command:
    plan_corpus(large)
    command = Command(tmp_path, "cache", "build", "--profile", "full", "--workers", "2")
    command.when(lambda: shards() > 0)
    return command


def built_after(large: Configuration) -> int:
    """Shards that a second build had to make; none of the first was torn, none is missing."""
    assert verify(Store.of(large)).damaged == {}
    before = plan_profile(large)
    summary = build(before, large.preprocessing, workers=2)
    assert summary.failed == []
    assert plan_profile(large).count(State.FRESH) == 36
    assert list(Store.of(large).folder.rglob("*.partial")) == []
    return len(summary.built)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_asked_to_stop_stops(
    large: Configuration, tmp_path: Path, shards: Callable[[], int], number: signal.Signals
) -> None:
    command = building(large, tmp_path, shards)
    at_signal = shards()
    if number == signal.SIGINT:
        command.ctrl_c()
    else:
        command.process.send_signal(number)
    status, said = command.ended()
    assert status == 128 + number
    match = re.fullmatch(
        r"brainbrr: stopped: (\d+) of 36 recordings are built, (\d+) remain: .*", last_line(said)
    )
    assert match is not None, said
    told, remaining = map(int, match.groups())
    assert told + remaining == 36
    # What was under way in the two workers may have been finished, and no more begun.
    assert at_signal - 2 <= told <= shards() <= at_signal + 8
    done = shards()
    assert built_after(large) == 36 - done


def test_a_killed_builder_takes_its_workers_along(
    large: Configuration, tmp_path: Path, shards: Callable[[], int]
) -> None:
    command = building(large, tmp_path, shards)
    assert len(command.started) >= 2
    command.process.kill()
    status, said = command.ended()
    assert status == -signal.SIGKILL
    assert "Traceback" not in said
    assert 0 < built_after(large) < 36


def test_a_second_ctrl_c_ends_at_once(
    large: Configuration, tmp_path: Path, shards: Callable[[], int]
) -> None:
    command = building(large, tmp_path, shards)
    while command.process.poll() is None:
        command.ctrl_c()
        with suppress(subprocess.TimeoutExpired):
            command.process.wait(0.1)
    status, said = command.ended()
    assert status == 130
    assert "Traceback" not in said
    built_after(large)


def test_a_terminated_run_of_dagster_stops(
    large: Configuration, tmp_path: Path, shards: Callable[[], int]
) -> None:
    program = [sys.executable, "-c", RUN, small_config(tmp_path)]
    run = Command(tmp_path, program=program)
    run.when(lambda: shards() > 0)
    run.process.terminate()
    _, said = run.ended()
    assert re.search(r"\d+ of 36 recordings are built, \d+ remain", said), said
    assert built_after(large) > 0


def test_a_corpus_that_is_being_written_stops(tmp_path: Path) -> None:
    out = tmp_path / "synthetic"
    options = ["--recordings", "60", "--hours", "3", "--workers", "2"]
    command = Command(tmp_path, "synth", str(out), *options)
    command.when(lambda: any(out.rglob("*.edf")))
    command.ctrl_c()
    status, said = command.ended()
    assert status == 130
    told = last_line(said)
    assert re.fullmatch(
        r"brainbrr: stopped: writing recordings: \d+ of 60 recordings are done, \d+ remain", told
    )
    assert not (out / "synthesis.json").exists()


WAITING = """\
import pathlib, signal, sys
from brainbrr_core.cli import app

class LetGoOf:
    def __del__(self) -> None:
        # Python drops what is raised here.
        pathlib.Path("waiting").touch()
        signal.pause()

@app.app.command()
def wait() -> None:
    pathlib.Path("waiting").touch()
    signal.pause()

@app.app.command()
def wait_within() -> None:
    LetGoOf()
    signal.pause()

app.main()
"""


@pytest.mark.parametrize("name", ["wait", "wait-within"])
def test_a_command_without_work_to_name_stops_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    small_settings(tmp_path, tmp_path)
    monkeypatch.chdir(tmp_path)
    command = Command(tmp_path, name, program=[sys.executable, "-c", WAITING])
    command.when((tmp_path / "waiting").exists)
    command.ctrl_c()
    status, said = command.ended()
    assert (status, said) == (130, "brainbrr: stopped\n")


@pytest.mark.slow
def test_ctrl_c_ends_all_seeds_and_the_same_command_goes_on(
    settings: Configuration, tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    longer = "training: {steps: 12, warmup_steps: 1, checkpoint_every: 1}"
    path.write_text(path.read_text().replace("training: {steps: 3, warmup_steps: 1}", longer))
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    update_manifest(plan_corpus(settings), settings.manifest_settings)
    runs = settings.runs_dir

    def checkpoints() -> list[Path]:
        return list(runs.glob("*/checkpoint.safetensors"))

    command = Command(tmp_path, "train", "--seeds", "0,1")
    # Seed 1 is at work.
    command.when(lambda: len(checkpoints()) == 2)
    command.ctrl_c()
    status, said = command.ended()
    assert status == 130
    [line] = [line for line in said.splitlines() if line.startswith("brainbrr: stopped: ")]
    assert "finished seeds: 0; remaining: 1; the same command resumes with seed 1" in line
    assert len(list(runs.glob("*/run.json"))) == 1
    words = ("train", "--seeds", "0,1", "--json", "--config", small_config(tmp_path))
    done = subprocess.run([*BRAINBRR, *words], capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)["seeds"]
    assert first["reused"] and not second["reused"]
    assert second["fit"]["resumed_from"] > 0
