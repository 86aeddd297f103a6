"""A lock that only one process has: what the second one is told, and what stays behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.one_process import one_process, only_writer
from tests.support.privileges import modes_apply

HOLDER = """
import sys
from pathlib import Path
from brainbrr_core.files.one_process import one_process
with one_process(Path(sys.argv[1]), "refused"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    lock = tmp_path / "work.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"locked\n"
        with pytest.raises(BrainbrrError, match="wait for it"), one_process(lock, "wait for it"):
            pytest.fail("two processes have the lock")
        # Killed, it leaves its file, which is taken over.
        first.kill()
        first.wait()
    assert lock.is_file()
    with one_process(lock, "wait for it"):
        assert lock.is_file()
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_another_holder_is_not_removed(tmp_path: Path) -> None:
    """Of one that began after somebody had removed the file as if it were left over."""
    lock = tmp_path / "work.lock"
    with one_process(lock, "wait for it"):
        lock.unlink()
        lock.write_bytes(b"another")
    assert lock.read_bytes() == b"another"


def test_a_writer_locks_its_output_beside_it_or_in_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with only_writer(out, "wait for it"):
        assert [path.name for path in out.parent.iterdir()] == [".out.lock"]
        # The folder is created while the first one writes, and has another address.
        out.mkdir()
        same = out.parent / "x" / ".." / "out"
        with pytest.raises(BrainbrrError, match="wait for it"), only_writer(same, "wait for it"):
            pytest.fail("two processes write to one folder")
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert list(out.iterdir()) == []
    with pytest.raises(BrainbrrError, match="/out cannot be written"):
        (tmp_path / "file").touch()
        only_writer(tmp_path / "file" / "out", "").__enter__()


def test_where_only_the_output_is_writable_its_lock_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    tmp_path.chmod(0o500)
    try:
        with modes_apply(), only_writer(out, "wait for it"):
            assert [path.name for path in out.iterdir()] == [".out.lock"]
    finally:
        tmp_path.chmod(0o700)
    assert list(out.iterdir()) == []


def test_an_error_of_the_work_is_not_taken_for_a_lock(tmp_path: Path) -> None:
    lock = tmp_path / "work.lock"
    with pytest.raises(BlockingIOError), one_process(lock, "wait for it"):
        raise BlockingIOError(errno.EAGAIN, "the work's own")
    assert not lock.exists()


def test_a_folder_that_the_work_leaves_empty_is_removed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    lock = there / "new" / "below" / "work.lock"
    with pytest.raises(ValueError, match="wrong"), one_process(lock, "wait for it"):
        raise ValueError("wrong")
    with pytest.raises(ValueError, match="wrong"), only_writer(lock, "wait for it"):
        raise ValueError("wrong")
    # One that was there is not.
    assert list(tmp_path.rglob("*")) == [there]
    with pytest.raises(ValueError, match="wrong"), one_process(lock, "wait for it"):
        (there / "new" / "written").touch()
        raise ValueError("wrong")
    assert {path.name for path in there.rglob("*")} == {"new", "written"}


def test_a_folder_that_another_process_removes_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work left the folder empty, between the creation of the folder and that of the file."""
    folder = tmp_path / "folder"
    left = [1]

    def opened(path: Path, flags: int, mode: int) -> int:
        if left:
            left.pop()
            folder.rmdir()
        return os_open(path, flags, mode)

    os_open = os.open
    monkeypatch.setattr("brainbrr_core.files.one_process.os.open", opened)
    with one_process(folder / "work.lock", "wait for it"):
        assert [path.name for path in folder.iterdir()] == ["work.lock"]
