"""What a command prints of a run that fails: a mistake in one line, a fault with its trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import read_index
from brainbrr_pipeline import terminal
from tests.support.pipeline_graph import Graph, wide_graph

pytestmark = pytest.mark.usefixtures("one_worker")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def as_in_a_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process in which ``print_mistakes_last`` was called, but for its last lines."""
    monkeypatch.setattr(terminal, "_mistakes", {})
    monkeypatch.setattr(terminal, "_crashed", set())
    before = logging.getLoggerClass()
    logging.setLoggerClass(terminal.ConsoleLogger)
    yield
    logging.setLoggerClass(before)


def printed(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """What a run has printed, and the lines with which its command would end."""
    said = capsys.readouterr().err.splitlines()
    terminal._print_mistakes()
    return said, capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("as_in_a_command")
def test_a_recording_that_fails_is_named_in_the_last_line(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    key = read_index(graph.settings.cache_root).recordings[1].partition_key
    shard = Store.of(graph.settings).shard_path(key)
    shard.unlink()
    # In the way of the shard, which can therefore not be written.
    shard.mkdir()
    (shard / "file").write_text("")
    capsys.readouterr()
    assert not graph.materialize("windowed_cache").success
    said, [last] = printed(capsys)
    assert last.startswith("brainbrr: 1 of 3 recordings failed: ")
    assert key in last
    assert not [line for line in said if line.startswith(("Stack Trace", "  File"))]
    for event in ("STEP_FAILURE", "RUN_FAILURE"):
        assert len([line for line in said if f" - {event} - " in line]) == 1


@pytest.mark.usefixtures("as_in_a_command")
def test_a_failed_check_is_the_last_line_with_its_reason(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
) -> None:
    graph = wide_graph(one_built, tmp_path, instance, 3)
    key = read_index(graph.settings.cache_root).recordings[1].partition_key
    Store.of(graph.settings).shard_path(key).unlink()
    capsys.readouterr()
    assert not graph.check("windowed_cache").success
    said, [last] = printed(capsys)
    assert last.startswith(
        "brainbrr: the check complete_for_the_profile of windowed_cache failed: 1 of 3 are not "
        f"fresh: {key}; materialize windowed_cache or run `brainbrr cache build"
    )
    assert not [line for line in said if line.startswith(("Stack Trace", "  File"))]


@pytest.mark.usefixtures("as_in_a_command")
def test_a_check_without_an_index_says_how_to_make_one(
    one_built: Configuration,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = one_built.model_copy(update={"cache_root": tmp_path / "empty"})
    for name in ("raw_edf_index", "windowed_cache", "cache_manifest"):
        assert not Graph(empty, instance).check(name).success
    said, last = printed(capsys)
    assert len(last) == 3
    assert all("no index" in line and "brainbrr index" in line for line in last), last
    assert not [line for line in said if line.startswith(("Stack Trace", "  File"))]


@pytest.mark.usefixtures("as_in_a_command")
def test_a_fault_of_the_program_keeps_its_stack_trace(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    @dg.asset
    def wrong() -> None:
        raise ZeroDivisionError

    @dg.asset
    def mistaken() -> None:
        raise dg.Failure("turn it on")

    assert not dg.materialize([wrong, mistaken], instance=instance, raise_on_error=False).success
    said, last = printed(capsys)
    assert last == ["brainbrr: turn it on"]
    assert [line for line in said if "in wrong" in line]
    [number] = [n for n, line in enumerate(said) if '"mistaken" failed.' in line]
    assert " - dagster - " in said[number + 1]
