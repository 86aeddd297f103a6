"""Shards whose content does not add up, or that cannot be read again or go while they are read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache import plan as plan_module
from brainbrr_core.cache import shard as shard_module
from brainbrr_core.cache import verify as verify_module
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.shard import (
    BATCH_BLOCKS,
    BLOCK_SAMPLES,
    DamagedShard,
    Shard,
    UnreadableShard,
    write_shard,
)
from brainbrr_core.cache.store import QUARANTINE, RECORDS, Store
from brainbrr_core.cache.unfinished import exclusive_partial
from brainbrr_core.cache.verify import check_shards, verify
from brainbrr_core.configuration import Configuration
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import read_index
from tests.support.privileges import modes_apply
from tests.support.stored_signals import header_of


def written(path: Path, header_blocks: int, blocks: int, clipped: int = 0) -> Path:
    """A shard of zeros whose header may tell of other blocks than there are."""
    counts = np.zeros((blocks, len(CHANNELS)), np.int32)
    counts[0, 3] = clipped
    zeros = np.zeros((blocks, len(CHANNELS), BLOCK_SAMPLES), np.int16)
    with path.open("wb") as file:
        write_shard(file, header_of(header_blocks * BLOCK_SAMPLES), [(zeros, counts)])
    return path


def test_a_shard_with_fewer_blocks_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    assert Shard(written(path, 3, 3)).verify() == 0
    shard = Shard(written(path, 3, 2))
    with pytest.raises(DamagedShard, match=r"^2 of 3 blocks$"):
        shard.verify()
    # A whole batch less is seen when it is opened.
    with pytest.raises(DamagedShard, match=r"^1 of 2 batches$"):
        Shard(written(path, BATCH_BLOCKS + 1, BATCH_BLOCKS))


def test_counts_of_clipped_samples_that_do_not_add_up_are_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a checksum of its own that holds: as a defect of the writer would leave them."""
    path = tmp_path / "a.arrow"
    assert Shard(written(path, 2, 2, clipped=7)).verify() == 7
    real = shard_module._packed_counts

    def one_more(header: bytes, number: int, counts: NDArray[np.int32]) -> bytes:
        return real(header, number, counts + (counts > 0))

    with monkeypatch.context() as patch:
        patch.setattr(shard_module, "_packed_counts", one_more)
        written(path, 2, 2, clipped=7)
    with pytest.raises(DamagedShard, match=r"^batch 0: its counts .* do not add up$"):
        Shard(path).verify()


@pytest.mark.parametrize("late", [False, True])
def test_an_error_of_the_system_without_a_number_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """As some FUSE clients and Python's own files raise it."""
    path = written(tmp_path / "a.arrow", 2, 2)
    shard = Shard(path) if late else None

    def fail(_descriptor: int, _size: int, _offset: int) -> bytes:
        raise OSError("the server is gone")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(UnreadableShard) as error:
        (shard or Shard(path)).verify()
    assert error.value.reason == "the server is gone"


def test_a_shard_that_cannot_be_read_again_is_not_moved(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    key = sorted(store.shard_keys())[0]
    os.truncate(store.shard_path(key), 5000)

    @contextmanager
    def on_a_failing_disk(target: Path) -> Iterator[IO[bytes]]:
        def fail(_descriptor: int, _size: int, _offset: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        with exclusive_partial(target) as file, monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail)
            yield file

    monkeypatch.setattr(verify_module, "exclusive_partial", on_a_failing_disk)
    result = check_shards(store, [key])
    assert (list(result.damaged), result.not_moved) == ([key], {key: "Input/output error"})
    assert store.shard_path(key).stat().st_size == 5000
    assert not (built.cache_root / QUARANTINE).exists()


def test_an_edf_that_may_not_be_read_is_named_and_not_called_changed(
    built: Configuration, tmp_path: Path
) -> None:
    recording = read_index(built.cache_root).recordings[0]
    copy = tmp_path / "a.edf"
    copy.write_bytes(Path(recording.path).read_bytes())
    recording = replace(recording, path=str(copy))
    assert verify(Store.of(built), [recording]).unreadable == {}
    copy.chmod(0)
    with modes_apply():
        result = verify(Store.of(built), [recording])
    assert result.unreadable == {recording.partition_key: "the EDF: Permission denied"}
    assert (result.sources, result.changed_sources) == (1, ())


def test_a_shard_that_goes_while_it_is_planned_is_missing(
    built: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.of(built)
    (store.folder / RECORDS).unlink()
    victim = store.shard_path(sorted(store.shard_keys())[4])

    def opened(path: Path) -> Shard:
        if path == victim:
            path.unlink()
        return Shard(path)

    monkeypatch.setattr(plan_module, "Shard", opened)
    plan = plan_profile(built)
    assert plan.reasons() == {"missing: not built": 1}
    assert plan.count(State.FRESH) == 11


def test_a_shard_in_quarantine_is_said_to_be_there_also_beside_another_version(
    built: Configuration,
) -> None:
    store = Store.of(built)
    key = sorted(store.shard_keys())[4]
    # Another version, as after a change of the settings, has shards of all recordings.
    earlier = built.cache_root / "v1_256hz_10-20_0123456789ab"
    shutil.copytree(store.folder, earlier)
    shard = store.shard_path(key)
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    plan = plan_profile(built)
    assert [*verify(store, [item.recording for item in plan.items]).damaged] == [key]
    plan = plan_profile(built)
    assert plan.reasons() == {"missing: damaged and moved to quarantine": 1}
    assert build(plan, built.preprocessing, workers=1).failed == []
    assert plan_profile(built).reasons() == {}
