"""What seldom befalls a cache root, and must neither hang, nor lose anything, nor be silent."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brainbrr_core.cache import verify as verify_module
from brainbrr_core.cache.build import link_latest
from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.store import RECORDS, RUNS, Store
from brainbrr_core.cache.verify import verify
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.hash_memo import INDEX_HASHES, IndexMemo
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.atomic import append_line
from brainbrr_core.files.state import FileState
from brainbrr_core.locking import Process, this_process
from brainbrr_core.transfer.catalog import Catalog
from brainbrr_core.transfer.pull import shards_to_fetch


def refuse_to_append(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder of another user, whose files are not there."""
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *others: Any, **named: Any) -> Any:
        if "a" in mode:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode, *others, **named)

    monkeypatch.setattr(Path, "open", refuse)


def test_a_version_of_another_user_without_a_marker_is_no_endless_wait(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    store.marker.unlink(missing_ok=True)
    refuse_to_append(monkeypatch)
    with pytest.raises(PermissionError), store.exclusive():
        raise AssertionError("taken")
    with pytest.raises(PermissionError):
        append_line(store.folder / "none.jsonl", "{}")


def test_a_process_that_is_hidden_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_process()
    other = Process(here.host, here.kernel, here.pids, os.getppid(), "4711")
    # A later process of the same number is not the one that held something.
    assert other.is_dead()

    def hidden(path: Path, *_others: Any, **_named: Any) -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_text", hidden)
    assert not other.is_dead()
    assert replace(other, pid=2**22 + 1).is_dead()


def test_a_file_named_latest_that_is_not_the_stores_stays(
    built: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    latest = built.cache_root / "latest"
    latest.unlink()
    latest.write_text("mine")
    link_latest(plan_profile(built), built.preprocessing)
    assert latest.read_text() == "mine"
    assert not latest.is_symlink()
    assert "was not set" in capsys.readouterr().err
    assert latest in Store.of(built).foreign()


def test_recordings_that_vanish_after_they_were_unreadable_are_vanished(
    settings: Configuration, corpus: Path
) -> None:
    update_index(settings.data_dir, settings.cache_root)
    victims = sorted(corpus.rglob("*.edf"))[:4]
    for path in victims:
        path.unlink()
        path.symlink_to(corpus / "unmounted" / path.name)
    forced = update_index(settings.data_dir, settings.cache_root, force=True)
    assert sum(recording.is_unreadable_now for recording in forced) == 4
    for path in victims:
        path.unlink()
    with pytest.raises(BrainbrrError, match="4 of 12 indexed recordings are gone"):
        update_index(settings.data_dir, settings.cache_root)
    assert read_index(settings.cache_root) == forced


def test_a_line_that_is_not_text_is_skipped(built: Configuration) -> None:
    store = Store.of(built)
    for path in (store.folder / RECORDS, store.folder / RUNS, built.cache_root / INDEX_HASHES):
        before = path.read_bytes() if path.exists() else b""
        path.write_bytes(b'\xff\xfe{"run": 1}\n' + before)
    assert plan_profile(built).count(State.FRESH) == 12
    assert store.noted_runs() == []
    assert IndexMemo(built.cache_root).get(Path("a"), FileState(1, 2, 3)).content == ""
    # It is the store's own all the same.
    assert store.foreign() == []


def test_no_memo_needs_no_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_others: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    IndexMemo(tmp_path).clear()


def test_an_edf_that_is_being_written_does_not_end_a_deep_verification(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = read_index(built.cache_root)

    def written(path: Path) -> str:
        raise WorkRemains(f"{path} changed while it was read")

    monkeypatch.setattr(verify_module, "content_hash", written)
    result = verify(Store.of(built), index)
    assert result.checked == 12
    assert set(result.unreadable.values()) == {"the EDF: it is being written"}


def test_a_pull_names_shards_that_could_not_be_read(built: Configuration) -> None:
    plan = plan_profile(built)
    first = replace(plan.items[0], state=State.UNREADABLE, reason="Permission denied")
    plan = Plan(plan.store, plan.index, (first, *plan.items[1:]), plan.sources_unseen)
    nothing = Catalog.__new__(Catalog)
    object.__setattr__(nothing, "shards", {})
    found = shards_to_fetch(plan, nothing)
    assert found.absent == {
        first.recording.partition_key: "the shard here could not be read: Permission denied"
    }


def test_an_unknown_inode_is_not_a_change() -> None:
    state = FileState(10, 20, 30)
    assert state.is_of_same_file(state._replace(inode=0))
    assert state._replace(inode=0).is_of_same_file(state)
    for other in (state._replace(size=11), state._replace(mtime_ns=21), state._replace(inode=31)):
        assert not state.is_of_same_file(other)
