"""The file that becomes a shard: what others left of it, took away, or do not let us write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from brainbrr_core.cache import unfinished
from brainbrr_core.cache.unfinished import exclusive_partial, partial_path
from brainbrr_core.files.atomic import LEFTOVER_S
from brainbrr_core.locking import locked, open_to_lock
from tests.support.privileges import modes_apply


def left(tmp_path: Path, mode: int, *, seconds_old: float = 0.0) -> Path:
    """What a killed builder left of the shard ``x.arrow``, touched so long ago."""
    partial = partial_path(tmp_path / "x.arrow")
    partial.write_bytes(b"half")
    partial.chmod(mode)
    touched = partial.stat().st_mtime - seconds_old
    os.utime(partial, (touched, touched))
    return partial


def take(tmp_path: Path) -> int:
    """Take the lock of ``x.arrow`` once; how many bytes the file had that was handed out."""
    with exclusive_partial(tmp_path / "x.arrow") as file:
        file.write(b"mine")
        file.flush()
        assert partial_path(tmp_path / "x.arrow").read_bytes() == b"mine"
        return os.fstat(file.fileno()).st_size - len(b"mine")


def test_what_a_killed_builder_left_that_may_not_be_written_is_replaced(tmp_path: Path) -> None:
    left(tmp_path, 0o444)
    with modes_apply():
        assert take(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_may_not_be_looked_at_is_replaced_when_it_is_surely_left(tmp_path: Path) -> None:
    partial = left(tmp_path, 0, seconds_old=LEFTOVER_S - 60)
    with modes_apply(), pytest.raises(PermissionError, match="Permission denied"):
        take(tmp_path)
    assert partial.stat().st_size == len(b"half")
    left(tmp_path, 0, seconds_old=LEFTOVER_S + 60)
    with modes_apply():
        assert take(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with modes_apply(), pytest.raises(PermissionError, match="Permission denied"):
        take(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_may_not_be_written_and_goes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> int:
        path.unlink()
        return open_to_lock(path)

    monkeypatch.setattr(unfinished, "open_to_lock", gone)
    left(tmp_path, 0o444)
    with modes_apply():
        assert take(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_another_builder_puts_in_its_stead_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = left(tmp_path, 0o444)
    sizes: list[int] = []

    @contextmanager
    def replaced(descriptor: int, path: Path, *, wait: bool = True) -> Iterator[None]:
        with locked(descriptor, path, wait=wait):
            if not sizes:
                # The builder that was waited for made its shard, and another one is at work.
                partial.rename(tmp_path / "x.arrow")
                partial.write_bytes(b"of the next builder")
            sizes.append(path.stat().st_size)
            yield

    monkeypatch.setattr(unfinished, "locked", replaced)
    with modes_apply():
        assert take(tmp_path) == 0
    # It was still there when the lock was asked for again.
    assert sizes == [len(b"of the next builder")] * 2
    assert (tmp_path / "x.arrow").read_bytes() == b"half"


def test_a_folder_that_is_removed_before_its_lock_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "train" / "p" / "x.arrow"
    real = os.open
    opens = []

    def opened(path: Path | str, *args: int, **others: int) -> int:
        if path == partial_path(target):
            opens.append(path)
            if len(opens) == 1:
                target.parent.rmdir()
        return real(path, *args, **others)

    monkeypatch.setattr(os, "open", opened)
    with exclusive_partial(target):
        assert partial_path(target).is_file()
    assert len(opens) == 2
    assert list(target.parent.iterdir()) == []
