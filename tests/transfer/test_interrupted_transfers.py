"""Transfers that are interrupted end at once, leave nothing torn, and can be continued."""

from __future__ import annotations

import re
import signal
import threading
from itertools import count
from pathlib import Path

import pytest

from brainbrr_core.configuration import Configuration
from brainbrr_core.machine.memory import no_collection
from brainbrr_core.remote import retry
from brainbrr_core.remote.connect import open_remote
from brainbrr_core.remote.interface import Stopped
from brainbrr_core.transfer import archive as archive_module
from brainbrr_core.transfer.parallel import run_parallel
from tests.support.machines import (
    URL,
    export_to,
    import_from,
    machine,
    pull_from,
    push_to,
    stored_shards,
)
from tests.support.object_store import FaultyProxy


def interrupted_at(s3: FaultyProxy, method: str, number: int) -> None:
    """Ctrl+C at that object; it and every later one get no answer."""
    asked = count(1)

    def rule(verb: str, path: str) -> str:
        if verb != method or "/objects/" not in path or "list-type" in path:
            return ""
        place = next(asked)
        if place == number:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return "hang" if place >= number else ""

    s3.rule = rule


@pytest.mark.parametrize("command", ["push", "pull"])
def test_an_interrupted_transfer_ends_at_once_and_is_gone_on_with(
    small: Configuration,
    tmp_path: Path,
    s3: FaultyProxy,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """No request that hangs is waited for, and none is begun after it."""
    other = machine(small, tmp_path)
    if command == "pull":
        push_to(small)
        s3.calm()
    # Whoever waits for an answer waits for 30 s, and tries again seven times.
    ending = threading.Timer(120, s3.released.set)
    ending.daemon = True
    ending.start()
    # The second object that a pull asks for is a shard; the first is the index.
    interrupted_at(s3, "PUT" if command == "push" else "GET", 2)
    # Hypothesis counts collections in a callback, in which an interruption would be lost.
    with no_collection(), pytest.raises(KeyboardInterrupt) as interrupted:
        if command == "push":
            push_to(small, transfers=2)
        else:
            pull_from(other)
    assert not s3.released.is_set()
    # The line that the command ends with, and no other.
    (note,) = interrupted.value.__notes__
    assert re.fullmatch(rf"{command}: \d+ of \d+ objects done and kept: .*", note)
    assert command not in capsys.readouterr().err
    ending.cancel()
    s3.released.set()
    s3.calm()
    assert not list(other.cache_root.rglob("*.partial"))
    assert stored_shards(other).items() <= stored_shards(small).items()
    push_to(small)
    pull_from(other)
    assert stored_shards(other) == stored_shards(small)


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("url", ["folder", URL, "memory://place/stopping"])
def test_a_place_that_is_stopped_begins_nothing_until_it_goes_on(tmp_path: Path, url: str) -> None:
    remote = open_remote(str(tmp_path / "share") if url == "folder" else url)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with remote.stopping(), pytest.raises(Stopped):
        remote.put("a", path)
    assert remote.states("") == {}
    assert not list((tmp_path / "share").rglob("*.part"))
    remote.put("a", path)
    assert remote.read("a", 0, 7) == b"content"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_work_goes_on_after_an_interruption_at_any_moment(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A pool does not wait for a thread in whose very start the interruption falls."""
    start, starts = threading.Thread.start, count(1)

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if next(starts) == number:
            raise KeyboardInterrupt

    stopped = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def work(job: int) -> None:
        begun.append(job)
        assert stopped.wait(120)
        # It takes a while to put away what is half done.
        threading.Event().wait(0.2)
        ended.append(job)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_parallel("work", range(9), work, lambda _job: 1, 3, lambda: retry.set_during(stopped))
    assert len(begun) <= number
    assert sorted(begun) == sorted(ended)


def test_an_interrupted_export_and_import_leave_nothing_torn(
    small: Configuration, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def __init__(self) -> None:
            self.calls = 0

        def advance(self, *_: object) -> None:
            self.calls += 1
            if self.calls == 2:
                signal.raise_signal(signal.SIGINT)

        def __enter__(self) -> Interrupting:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(archive_module, "progress", lambda *_: Interrupting())
    other, path = machine(small, tmp_path), tmp_path / "out" / "archive.tar.zst"
    with pytest.raises(KeyboardInterrupt):
        export_to(small, path)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        import_from(other, exported)
    assert stored_shards(other).items() <= stored_shards(small).items()
    assert not list(other.cache_root.rglob("*.partial"))
    monkeypatch.undo()
    export_to(small, path)
    assert path.read_bytes() == exported.read_bytes()
    import_from(other, path)
    assert stored_shards(other) == stored_shards(small)
