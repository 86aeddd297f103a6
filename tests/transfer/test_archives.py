"""A cache in an archive: exported, imported, damaged, or with members that are refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import index_path
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.files.checked_parquet import encode_checked
from brainbrr_core.transfer.portable_index import parse_index
from tests.support.machines import (
    export_to,
    import_from,
    machine,
    portable_rows,
    stored_shards,
    with_recordings,
)


def test_an_archive_brings_a_cache_along(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.tar.zst", tmp_path / "b.tar.zst"
    outcome = export_to(built, first)
    export_to(built, second)
    assert first.read_bytes() == second.read_bytes()
    assert (outcome.moved, outcome.bytes) == (12, sum(map(len, stored_shards(built).values())))
    assert import_from(with_recordings(other, 4), first).moved == 4
    imported = import_from(other, first)
    assert (imported.moved, imported.skipped, imported.verified) == (8, 4, 8)
    assert stored_shards(other) == stored_shards(built)
    assert portable_rows(other) == portable_rows(built)
    assert plan_profile(other).count(State.FRESH) == 12
    assert import_from(other, first).moved == 0


def test_an_archive_of_a_cache_that_is_not_whole_is_not_written(
    built: Configuration, tmp_path: Path
) -> None:
    store = Store.of(built)
    store.shard_path(sorted(store.shard_keys())[0]).unlink()
    with pytest.raises(WorkRemains, match="brainbrr cache build"):
        export_to(built, tmp_path / "a.tar.zst")
    assert list(tmp_path.glob("*.zst*")) + list(tmp_path.glob(".*")) == []


Members = list[tuple[tarfile.TarInfo, bytes]]


def unpacked(path: Path) -> Members:
    with (
        pa.CompressedInputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        files = ((member, archive.extractfile(member)) for member in archive)
        return [(member, data.read()) for member, data in files if data is not None]


def packed(path: Path, members: Members) -> Path:
    with (
        pa.CompressedOutputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member, b""


def renamed(member: tuple[tarfile.TarInfo, bytes], name: str) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, member[1])


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "absolute": lambda m: [*m[:2], renamed(m[2], "/tmp/escaped.arrow"), *m[3:]],
    "parents": lambda m: [*m[:2], renamed(m[2], "../../escaped.arrow"), *m[3:]],
    "link": lambda m: [*m[:2], special(m[2][0].name, tarfile.SYMTYPE, "/etc/passwd"), *m[3:]],
    "hard link": lambda m: [*m[:2], special(m[2][0].name, tarfile.LNKTYPE, "x"), *m[3:]],
    "device": lambda m: [*m[:2], special(m[2][0].name, tarfile.CHRTYPE), *m[3:]],
    "pipe": lambda m: [*m[:2], special(m[2][0].name, tarfile.FIFOTYPE), *m[3:]],
    "folder": lambda m: [*m[:2], special("train", tarfile.DIRTYPE), *m[2:]],
    "more": lambda m: [*m, file("v1/more.arrow")],
    "longer": lambda m: [*m[:2], file(m[2][0].name, m[2][1] + b"x"), *m[3:]],
    "twice": lambda m: [*m[:3], m[2], *m[3:]],
    "without catalog": lambda m: m[1:],
    "link as catalog": lambda m: [special(m[0][0].name, tarfile.SYMTYPE, "/etc/passwd")],
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_archive_is_refused_by_the_name_of_its_member(
    built: Configuration, other: Configuration, tmp_path: Path, how: str
) -> None:
    good = unpacked(_exported(built, tmp_path))
    bad = HOSTILE[how](good)
    place = tmp_path / "import"
    place.mkdir()
    target = machine(other, place)
    with pytest.raises(BrainbrrError, match="is refused because of its member") as raised:
        import_from(target, packed(tmp_path / "bad.tar.zst", bad))
    odd = next(b[0].name for a, b in zip([*good, None], bad, strict=False) if b != a and _odd(a, b))
    assert repr(odd) in str(raised.value)
    # Only whole shards that stood before the hostile member, all below the root.
    assert set(stored_shards(target).values()) <= set(stored_shards(built).values())
    outside = [p for p in place.rglob("*") if not p.is_relative_to(target.cache_root)]
    assert outside == []
    assert not Path("/tmp/escaped.arrow").exists()


def _odd(good: Any, bad: Any) -> bool:
    return good is None or (good[0].name, good[0].type, good[1]) != (
        bad[0].name,
        bad[0].type,
        bad[1],
    )


def _exported(built: Configuration, tmp_path: Path) -> Path:
    path = tmp_path / "good.tar.zst"
    export_to(with_recordings(built, 2), path)
    return path


def test_an_archive_whose_shard_is_damaged_names_it(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    members = unpacked(_exported(built, tmp_path))
    data = bytearray(members[2][1])
    data[len(data) // 2] ^= 1
    members[2] = file(members[2][0].name, bytes(data))
    outcome = import_from(with_recordings(other, 2), packed(tmp_path / "bad.tar.zst", members))
    (key,) = outcome.failed
    assert members[2][0].name == f"{Store.of(built).version}/{key}.arrow"
    assert set(stored_shards(other)) == set(stored_shards(built)) & {
        member[0].name.partition("/")[2].removesuffix(".arrow") for member in members[3:]
    }


def test_an_archive_that_ends_early_or_is_none_is_one_line(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    whole = _exported(built, tmp_path).read_bytes()
    cut, other_file = tmp_path / "cut.tar.zst", tmp_path / "none.tar.zst"
    cut.write_bytes(whole[: len(whole) // 2])
    other_file.write_bytes(b"no archive at all")
    for path in (cut, other_file, tmp_path / "missing.tar.zst"):
        with pytest.raises(BrainbrrError) as raised:
            import_from(other, path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"path": pa.array(["x" * 30_000_000])}, "1 recordings that unpack to 30 MB"),
        ({"samples": pa.array(np.zeros(1_000_001, np.int8))}, "1,000,001 recordings"),
        (
            {"n": pa.array([np.zeros(11_000_000, np.int8)], pa.list_(pa.int8()))},
            "11,000,000 values",
        ),
    ],
    ids=["bytes", "recordings", "values"],
)
def test_an_index_that_would_fill_the_memory_is_refused_unread(
    columns: dict[str, pa.Array], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode_checked(pa.table(columns), {"brainbrr.index": "2"})
    assert len(content) < 100_000

    def unpack(*_: object) -> None:
        raise AssertionError("the index was read")

    monkeypatch.setattr("brainbrr_core.transfer.portable_index.read_index", unpack)
    with pytest.raises(BrainbrrError, match=rf"^the index at there is refused: .*{says}") as error:
        parse_index(content, "there")
    assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_unpacks(
    built: Configuration, other: Configuration, tmp_path: Path
) -> None:
    """2 GiB of zeros are 66 kB of zstd: as a member, as a header of one, and as a stream."""
    zeros = tarfile.TarInfo("x" * 50)
    zeros.size = 2 * 2**30
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2 * 2**30
    large = tarfile.TarInfo("catalogue.json")
    large.size = 2 * 2**30
    catalog = unpacked(_exported(built, tmp_path))[0]
    starts = {
        "member": [(catalog[0].tobuf(), catalog[1]), (zeros.tobuf(), b"")],
        "header": [(header.tobuf(), b"")],
        "after the catalog": [(catalog[0].tobuf(), catalog[1]), (header.tobuf(), b"")],
        "catalog": [(large.tobuf(), b"")],
    }
    for how, blocks in starts.items():
        path = tmp_path / "bomb.tar.zst"
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            for head, data in blocks:
                stream.write(head + data + bytes(-len(data) % 512))
            for _ in range(2 * 1024):
                stream.write(bytes(2**20))
        assert path.stat().st_size < 10**6, how
        with pytest.raises(BrainbrrError, match="is refused"):
            import_from(other, path)
    assert not index_path(other.cache_root).exists()


def test_a_small_profile_of_a_large_archive_is_taken(
    small: Configuration, tmp_path: Path, exported: Path
) -> None:
    """What is not wanted is passed over without being taken into memory."""
    other = with_recordings(machine(small, tmp_path), 1)
    assert import_from(other, exported).moved == 1


def test_only_an_archive_of_a_cache_is_replaced(small: Configuration, tmp_path: Path) -> None:
    path = tmp_path / "mine.tar.zst"
    notes = io.BytesIO()
    with tarfile.open(fileobj=notes, mode="w") as tar:
        member = tarfile.TarInfo("notes.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"mine"))
    for content in (
        pa.compress(b"not a tar", "zstd", asbytes=True),
        pa.compress(notes.getvalue(), "zstd", asbytes=True),
        b"not compressed",
        b"",
    ):
        path.write_bytes(content)
        with pytest.raises(BrainbrrError, match="is not an archive that `brainbrr cache export`"):
            export_to(small, path)
        assert path.read_bytes() == content
    path.unlink()
    export_to(small, path)
    first = path.read_bytes()
    export_to(small, path)
    assert path.read_bytes() == first
    # What is left of an archive after its catalog still says whose it is.
    path.write_bytes(first[: len(first) - 100])
    export_to(small, path)
    assert path.read_bytes() == first
