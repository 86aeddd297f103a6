"""Build records on disk: every whole line counts, whatever stands next to it."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.cache.records import BuildRecord, Origin, Records
from brainbrr_core.files.state import FileState


def record(number: int, clipped: tuple[tuple[int, int], ...] | None = None) -> BuildRecord:
    state = FileState(1000 + number, 1_700_000_000_000_000_000 + number, 2**63 + number)
    key, fingerprint, source = f"train/p/r{number}", f"{number:064x}", f"{number + 1:064x}"
    return BuildRecord(key, fingerprint, source, state, "2026-01-01", 1.5, "1.0", clipped)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = [record(1), record(2, ()), record(3, ((0, 7), (4, 1))), record(4)]
    read = Records.read(write(tmp_path / "records", *(one.as_line() for one in records)))
    assert read.all_newest() == {one.partition_key: one for one in records}
    assert read.newest("train/p/r3") == records[2]
    assert "train/p/r5" not in read
    assert read.newest("train/p/r5") is None


def test_lines_that_are_no_records_leave_the_others_as_they_are(tmp_path: Path) -> None:
    good = [record(1, ((0, 2),)), record(2)]
    whole = good[0].as_line()
    bad = [
        whole[: len(whole) // 2],
        "[]",
        whole.replace('"built_at"', '"unknown_field": 1, "built_at"').replace("r1", "other"),
        whole.replace('"program": "1.0"', '"program": null').replace("r1", "other"),
        whole.replace("9223372036854775809", "null").replace("r1", "other"),
    ]
    for position in range(len(bad)):
        text = write(tmp_path / "records", whole, bad[position], good[1].as_line())
        read = Records.read(text)
        assert read.all_newest() == {one.partition_key: one for one in good}, bad[position]


def test_a_shard_seen_in_two_states_has_an_origin_in_each(tmp_path: Path) -> None:
    older = record(1)
    newer = older._replace(fingerprint="f" * 64, state=FileState(5, 6, 7))
    read = Records.read(write(tmp_path / "records", older.as_line(), newer.as_line()))
    key = older.partition_key
    assert len(read) == 1
    assert read.newest(key) == newer
    assert read.origin(key, FileState(5, 6, 7)) == Origin("f" * 64, older.source_hash)
    assert read.origin(key, older.state) == Origin(older.fingerprint, older.source_hash)
    # An inode of 0 says nothing; another one is another file.
    assert read.origin(key, FileState(5, 6, 0)) == Origin("f" * 64, older.source_hash)
    assert read.origin(key, FileState(5, 6, 8)) is None
    assert read.origin(key, FileState(9, 9, 9)) is None


def test_a_shard_is_recorded_as_its_newest_record_says_and_no_other(tmp_path: Path) -> None:
    older = record(1, ((0, 2),))
    newer = older._replace(fingerprint="f" * 64, state=FileState(5, 6, 7), clipped=((3, 1),))
    lines = [older.as_line(), record(2).as_line(), newer.as_line()]
    read = Records.read(write(tmp_path / "records", *lines))
    key, source = newer.partition_key, newer.source_hash
    assert read.is_recorded(key, newer.state, newer.fingerprint, source)
    assert not read.is_recorded(key, newer.state, older.fingerprint, source)
    assert not read.is_recorded(key, newer.state, newer.fingerprint, "0" * 64)
    for state in (FileState(4, 6, 7), FileState(5, 5, 7), FileState(5, 6, 8), older.state):
        assert not read.is_recorded(key, state, newer.fingerprint, source)
    assert not read.is_recorded("train/p/other", newer.state, newer.fingerprint, source)
    assert read.clipped(key, newer.fingerprint) == ((3, 1),)
    assert read.clipped(key, older.fingerprint) is None
    assert read.clipped("train/p/r2", record(2).fingerprint) is None
    assert read.clipped("train/p/other", newer.fingerprint) is None
