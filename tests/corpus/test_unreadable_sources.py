"""A recording that could be read before and cannot be read now keeps its row and its shard."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest_file import update_manifest
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus import sources as files_module
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.corpus.summary import explain, summarize
from brainbrr_core.errors import BrainbrrError
from tests.support.edf_files import another_copy

Break = Callable[[Path], None]


def dangle(path: Path) -> None:
    """As if links pointed to a drive that is not mounted."""
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.parent / "nowhere" / path.name)


def loop(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path)


def restore(path: Path) -> None:
    path.unlink()
    path.with_suffix(".away").rename(path)


def many(corpus: Path) -> list[Path]:
    """A corpus of 60 recordings, of which 5 % are more than one."""
    originals = sorted(corpus.rglob("*.edf"))
    for edf in originals:
        for number in range(4):
            for path in edf.parent.glob(f"{edf.stem}.*"):
                another_copy(path, path.with_stem(f"{path.stem}{number}"), number)
    return sorted(corpus.rglob("*.edf"))


def forbid_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(files_module, "edf_hashes", forbidden)


@pytest.mark.parametrize("breaks", [dangle, loop])
@pytest.mark.parametrize("suffix", [".edf", ".csv_bi"])
def test_a_drive_behind_links_that_is_not_mounted_changes_nothing(
    settings: Configuration, corpus: Path, breaks: Break, suffix: str
) -> None:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    manifest = update_manifest(plan_profile(settings), settings.manifest_settings)
    before = index_path(settings.cache_root).read_bytes()
    dev = sorted((corpus / "edf" / "dev").rglob(f"*{suffix}"))
    for path in dev:
        breaks(path)
    with pytest.raises(BrainbrrError, match=f"{len(dev)} of 12 indexed .* mounted") as error:
        plan_corpus(settings)
    assert "\n" not in str(error.value)
    assert index_path(settings.cache_root).read_bytes() == before
    # With --force, no row is lost either.
    update_index(str(corpus), settings.cache_root, force=True)
    plan = plan_profile(settings)
    assert (plan.count(State.FRESH), plan.orphans) == (12, ())
    again = update_manifest(plan, settings.manifest_settings)
    assert (again.rewritten, len(again.manifest)) == (False, len(manifest.manifest))


@pytest.mark.parametrize("breaks", [dangle, loop])
def test_a_few_unreadable_files_keep_their_rows(
    corpus: Path, tmp_path: Path, breaks: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, cache = many(corpus), tmp_path / "cache"
    first = update_index(str(corpus), cache)
    lost = [path for path in paths if first_of(first, path).events][:2]
    for path in lost:
        breaks(path)
    forbid_hashing(monkeypatch)
    second = update_index(str(corpus), cache)
    assert read_index(cache) == second
    marked = {r.path for r in second if r.is_unreadable_now}
    assert marked == set(map(str, lost))
    for before, after in zip(first, second, strict=True):
        assert (after.content_hash, after.events, after.state, after.reason, after.matched) == (
            before.content_hash,
            before.events,
            before.state,
            before.reason,
            before.matched,
        )
    summary = summarize(second, ("seiz",))
    assert summary.findings["unreadable_now"] == 2
    assert explain("unreadable_now")
    # These two are known to be unreadable now, and a third one is noticed on its own.
    assert not changes(str(corpus), cache, _corpus(), second)
    assert update_index(str(corpus), cache) == second
    # When they are back, they are not read again.
    for path in lost:
        restore(path)
    assert len(changes(str(corpus), cache, _corpus(), second).changed) == 2
    assert update_index(str(corpus), cache) == first


def test_a_limit_of_five_percent_holds_for_gone_and_unreadable_together(
    corpus: Path, tmp_path: Path
) -> None:
    paths, cache = many(corpus), tmp_path / "cache"
    update_index(str(corpus), cache)
    dangle(paths[0])
    paths[10].unlink()
    dangle(paths[20])
    index = update_index(str(corpus), cache)
    assert (len(index), sum(r.is_unreadable_now for r in index)) == (59, 2)
    # 57 remain, of which 2 may vanish.
    dangle(paths[30])
    paths[40].unlink()
    paths[50].unlink()
    with pytest.raises(
        BrainbrrError, match=r"2 of 59 .* gone .*1 of 57 .* cannot be read"
    ) as error:
        update_index(str(corpus), cache)
    assert str(paths[30]) in str(error.value)
    assert sum(r.is_unreadable_now for r in update_index(str(corpus), cache, force=True)) == 3


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_changed_file_that_cannot_be_read_keeps_its_row(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    paths = many(corpus)
    first = scan(corpus)
    victim = paths[3]
    shutil.copy(victim, tmp_path / "copy")
    (tmp_path / "copy").replace(victim)

    def failing(path: Path) -> str:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(files_module, "edf_hashes", failing)
    second = scan(corpus, first)
    (kept,) = (r for r in second if r.is_unreadable_now)
    before = first_of(first, victim)
    assert (kept.content_hash, kept.events, kept.state) == (
        before.content_hash,
        before.events,
        before.state,
    )
    assert os.strerror(number) in str(kept.findings[-1])


def test_a_file_without_read_permission_counts_as_unreadable(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scan(corpus)
    dev = {r.path for r in first if r.split == "dev"}
    real: Callable[..., bool] = os.access
    monkeypatch.setattr(
        "os.access", lambda path, mode, **_: str(path) not in dev and real(path, mode)
    )
    with pytest.raises(BrainbrrError, match="Permission denied"):
        scan(corpus, first)
    assert len(dev) == sum(r.is_unreadable_now for r in scan(corpus, first, force=True))


def test_a_file_that_is_no_longer_an_edf_is_damaged_not_unreadable(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = many(corpus)
    first = scan(corpus)
    paths[0].unlink()
    paths[0].write_bytes(b"nothing")
    second = scan(corpus, first)
    damaged = first_of(second, paths[0])
    assert (damaged.reason, damaged.is_unreadable_now) == ("unreadable", False)
    assert damaged.content_hash not in ("", first_of(first, paths[0]).content_hash)
    # It was hashed, and is not hashed again until it changes.
    forbid_hashing(monkeypatch)
    assert scan(corpus, second) == second


def test_an_unreadable_source_without_a_shard_fails_alone(
    settings: Configuration, corpus: Path
) -> None:
    many(corpus)
    plan = plan_corpus(settings)
    victim = Path(plan.items[0].recording.path)
    dangle(victim)
    plan = plan_corpus(settings)
    assert plan.sources_unseen == 1
    limited: Any = plan.items[0:2]
    summary = build(replace(plan, items=limited), settings.preprocessing, workers=1)
    assert [len(summary.built), len(summary.failed)] == [1, 1]
    assert "No such file" in summary.failed[0].error


def first_of(index: Index, path: Path) -> Recording:
    return next(r for r in index if r.path == str(path))


def _corpus() -> Any:
    from brainbrr_core.configuration.settings import Corpus

    return Corpus()


@pytest.mark.parametrize("suffix", [".edf", ".csv_bi", ".csv"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_running_out_of_file_descriptors_excludes_no_recording(
    settings: Configuration, monkeypatch: pytest.MonkeyPatch, suffix: str, number: int
) -> None:
    data = Path(str(settings.data_dir))
    victim = sorted(data.rglob(f"*{suffix}"))[3]
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == victim:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *arguments, **options)

    def refused() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refuse)
            with pytest.raises(BrainbrrError, match=os.strerror(number)) as error:
                update_index(str(data), settings.cache_root)
        assert victim.name in str(error.value)
        assert "same command again" in str(error.value)

    refused()
    assert not index_path(settings.cache_root).exists()
    whole = update_index(str(data), settings.cache_root)
    before = index_path(settings.cache_root).read_bytes()
    # It must be read again.
    os.utime(victim, ns=(1, 1))
    refused()
    assert index_path(settings.cache_root).read_bytes() == before
    assert len(whole) == 12
