"""The index explains every recording, and a second scan of an unchanged corpus reads nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from brainbrr_core.annotation import tuh
from brainbrr_core.configuration import Labels
from brainbrr_core.corpus import row_reading
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index, write_index
from brainbrr_core.corpus.summary import explain, summarize
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.synthesis import write_corpus_like
from tests.support.edf_files import write_edf

SEIZURE = Labels().seizure


def touch(path: Path) -> None:
    """Give a file another mtime without changing it."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def make(root: Path, key: str, events: str | None = "", seconds: float = 12) -> Path:
    """One EDF with its annotation (none where ``events`` is None)."""
    path = write_edf(root / f"{key}.edf", seconds=seconds, seed=hash(key) % 1000)
    if events is not None:
        text = tuh.format_csv_bi([], seconds, path.stem) + events
        path.with_suffix(".csv_bi").write_text(text)
    return path


def test_counts_add_up_and_every_exclusion_has_its_reason(tmp_path: Path) -> None:
    make(tmp_path, "train/p1/s1/01_tcp_ar/p1_s1_t0", "TERM,2,5,seiz,1\nTERM,5,7,seiz,1\n")
    make(tmp_path, "train/p1/s1/01_tcp_ar/p1_s1_t1", None)
    make(tmp_path, "train/p2/s1/01_tcp_ar/p2_s1_t0", "TERM,2,5,zzzz,1\n")
    make(tmp_path, "dev/p3/s1/02_tcp_le/p3_s1_t0", seconds=8)
    make(tmp_path, "dev/p3/s1/02_tcp_le/p3_s1_t1").write_bytes(b"nothing")
    make(tmp_path, "eval/p4/s1/01_tcp_ar/p4_s1_t0", "TERM,200,400,seiz,1\n")
    make(tmp_path, "eval/p4/s1/01_tcp_ar/p4_s1_t1", "TERM,2,14,seiz,1\n")
    index = scan(tmp_path)
    summary = summarize(index, SEIZURE)
    assert (summary.found, summary.usable) == (7, 2)
    # Too short and unreadable; two annotation files that are not to be trusted, one missing.
    assert (summary.excluded, summary.unlabeled) == (2, 3)
    assert summary.reasons == {
        "bad_annotation": 2,
        "no_annotation": 1,
        "too_short": 1,
        "unreadable": 1,
    }
    assert summary.patients == 4
    # Three seizures of usable recordings, and one outside of its signal.
    assert (summary.seizures, summary.usable_seizures) == (4, 3)
    # Two touching seizures, and one that is cut at the end of the signal.
    assert [r.seizure_s for r in index if r.reason is None] == [10.0, 5.0]
    assert [r.seizure_s for r in index if r.reason is not None] == [0.0] * 5
    assert summary.hours == pytest.approx((12 * 5 + 8) / 3600, abs=1e-4)
    assert summary.usable_hours == pytest.approx(12 * 2 / 3600, abs=1e-4)
    numbers = ("found", "usable", "excluded", "unlabeled")
    for column in (*numbers, "patients", "seizures", "usable_seizures"):
        assert sum(getattr(counts, column) for counts in summary.splits.values()) == getattr(
            summary, column
        )
    for counts in (summary, *summary.splits.values()):
        assert counts.found == counts.usable + counts.excluded + counts.unlabeled
        assert counts.excluded + counts.unlabeled == sum(counts.reasons.values())
    findings = {
        r.partition_key.rsplit("/")[-1]: [(f.code, f.where) for f in r.findings] for r in index
    }
    assert findings["p4_s1_t0"] == [("event_outside", "p4_s1_t0.csv_bi:8")]
    assert findings["p4_s1_t1"] == [("event_past_end", "p4_s1_t1.csv_bi:8")]
    assert findings["p2_s1_t0"] == [("unknown_label", "p2_s1_t0.csv_bi:8")]
    assert all(explain(code) for code in [*summary.findings, *summary.reasons])


def test_the_root_with_and_without_edf_gives_the_same_keys(corpus: Path) -> None:
    keys = [r.partition_key for r in scan(corpus)]
    assert keys == [r.partition_key for r in scan(corpus / "edf")]
    assert len(keys) == 12
    assert keys == sorted(keys)
    assert all(key.split("/")[0] in ("train", "dev", "eval") for key in keys)


def test_the_file_gives_back_the_same_index(corpus: Path, tmp_path: Path) -> None:
    index = scan(corpus)
    write_index(index, tmp_path / "cache")
    assert read_index(tmp_path / "cache") == index


def test_a_second_scan_reads_no_file(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan(corpus)

    def forbidden(*_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr("brainbrr_core.corpus.sources.edf_hashes", forbidden)
    monkeypatch.setattr(row_reading, "open_edf", forbidden)
    monkeypatch.setattr("brainbrr_core.corpus.layouts.tusz.tuh.read", forbidden)
    assert scan(corpus, first) == first


def test_a_changed_annotation_is_read_again_without_the_signal(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scan(corpus)
    victim = next(r for r in first if not r.events)
    path = Path(victim.path).with_suffix(".csv_bi")
    path.write_text(tuh.format_csv_bi([], victim.duration_s, "x") + "TERM,3,9,seiz,1\n")
    Path(victim.path).with_suffix(".csv").unlink()

    def forbidden(*_: object) -> None:
        raise AssertionError("a signal was read")

    monkeypatch.setattr("brainbrr_core.corpus.sources.edf_hashes", forbidden)
    second = scan(corpus, first).by_key()
    assert len(second[victim.partition_key].events) == 1
    others = [r for r in first if r.partition_key != victim.partition_key]
    assert all(second[r.partition_key] == r for r in others)


def test_a_renamed_annotation_is_another_one(corpus: Path) -> None:
    first = scan(corpus)
    victim = next(r for r in first if r.label_source == "csv_bi+csv" and r.events)
    path = Path(victim.path)
    # Same size, mtime and inode, but what was a csv_bi is a csv now.
    path.with_suffix(".csv").unlink()
    path.with_suffix(".csv_bi").rename(path.with_suffix(".csv"))
    renamed = scan(corpus, first).by_key()[victim.partition_key]
    assert (renamed.reason, renamed.events) == ("no_annotation", ())
    assert [finding.code for finding in renamed.findings][-1] == "csv_without_csv_bi"


def test_a_flipped_bit_is_never_read_as_other_content(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    index = update_index(str(corpus), cache)
    path = index_path(cache)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    # Some hundred bytes of the data, and every byte at the end of the footer.
    places = {*rng.integers(0, len(sound), 300).tolist(), *range(len(sound) - 300, len(sound))}
    for place in sorted(places):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(BrainbrrError, match="run `brainbrr index`") as error:
            read_index(cache)
        assert "\n" not in str(error.value)
    path.write_bytes(sound[:-1000])
    with pytest.raises(BrainbrrError, match="run `brainbrr index`"):
        read_index(cache)
    said: list[str] = []
    assert update_index(str(corpus), cache, log=said.append) == index
    assert len(said) == 1
    assert path.read_bytes() == sound


def test_the_index_is_a_parquet_file_that_others_read(corpus: Path, tmp_path: Path) -> None:
    index = update_index(str(corpus), tmp_path)
    table = pq.read_table(index_path(tmp_path))
    assert table["partition_key"].to_pylist() == [r.partition_key for r in index]
    assert table["seizure_s"].to_pylist() == [r.seizure_s for r in index]
    columns = {"split", "patient", "session", "montage", "path", "state", "content_hash"}
    columns |= {"duration_s", "matched", "missing", "discontinuous", "label_source", "events"}
    assert columns | {"status", "reason", "findings"} <= set(table.column_names)
    first = table["matched"][0].as_py()
    assert {"electrode": "Fp1", "label": dict(index.recordings[0].matched)["Fp1"]} in first


def test_an_unchanged_index_is_not_written(corpus: Path, tmp_path: Path) -> None:
    update_index(str(corpus), tmp_path)
    before = index_path(tmp_path).stat().st_mtime_ns
    update_index(str(corpus), tmp_path)
    assert index_path(tmp_path).stat().st_mtime_ns == before


def test_a_touched_file_is_hashed_again_and_gives_the_same_row(corpus: Path) -> None:
    first = scan(corpus)
    touch(Path(first.recordings[0].path))
    second = scan(corpus, first)
    assert second.recordings[0].state != first.recordings[0].state
    assert second.recordings[0].content_hash == first.recordings[0].content_hash


def test_a_patient_in_two_splits_is_named(corpus: Path) -> None:
    patient = next(p for p in sorted((corpus / "edf" / "train").iterdir()))
    shutil.copytree(patient, corpus / "edf" / "eval" / patient.name)
    with pytest.raises(BrainbrrError, match=patient.name):
        scan(corpus)


def test_a_drive_that_is_not_mounted_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    update_index(str(corpus), cache)
    before = index_path(cache).read_bytes()
    shutil.rmtree(corpus / "edf" / "train")
    with pytest.raises(BrainbrrError, match="mounted"):
        update_index(str(corpus), cache)
    assert index_path(cache).read_bytes() == before
    assert len(update_index(str(corpus), cache, force=True)) < 12


def test_one_of_twenty_recordings_may_vanish_but_not_two(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    paths = [make(data, f"train/p{n:02}/s1/01_tcp_ar/p{n:02}_s1_t0") for n in range(20)]
    update_index(str(data), cache)
    paths[0].unlink()
    assert len(update_index(str(data), cache)) == 19
    paths[1].unlink()
    with pytest.raises(BrainbrrError, match="1 of 19 indexed recordings are gone"):
        update_index(str(data), cache)


def test_a_root_refuses_another_corpus(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    index = update_index(str(corpus), cache)
    other = tmp_path / "other"
    make(other, "train/zzzzzzzz/s1/01_tcp_ar/zzzzzzzz_s1_t0")
    with pytest.raises(BrainbrrError, match="another corpus"):
        update_index(str(other), cache)
    same_names = tmp_path / "same_names"
    for recording in index:
        make(same_names, recording.partition_key)
    with pytest.raises(BrainbrrError, match="another corpus"):
        update_index(str(same_names), cache)


def test_wrong_folders_give_one_line_with_the_fix(tmp_path: Path) -> None:
    empty, flat = tmp_path / "empty", tmp_path / "flat"
    empty.mkdir()
    (flat / "train").mkdir(parents=True)
    cases: dict[str | None, str] = {
        None: "no data directory",
        str(tmp_path / "none"): "data_dir names .* which does not exist",
        str(empty): "is empty",
        str(tmp_path): "not laid out as",
        str(flat): "no .edf file",
    }
    for data_dir, expected in cases.items():
        with pytest.raises(BrainbrrError, match=expected) as error:
            update_index(data_dir, tmp_path / "cache")
        assert "\n" not in str(error.value)
        assert error.value.exit_status == 2
    assert not index_path(tmp_path / "cache").exists()


def test_no_name_of_a_header_reaches_the_index(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train" / "p1" / "s1" / "01_tcp_ar" / "p1_s1_t0.edf"
    write_edf(path, patient="Jane_Doe")
    assert b"Jane_Doe" in path.read_bytes()
    index = scan(tmp_path / "data")
    write_index(index, tmp_path / "cache")
    text = repr(index) + repr(read_index(tmp_path / "cache"))
    assert "Jane" not in text
    assert "MRN0042" not in text
    assert b"Jane" not in index_path(tmp_path / "cache").read_bytes()


def test_the_real_headers_and_annotations(real: Path) -> None:
    index: Index = scan(real / "tuh-layout")
    summary = summarize(index, SEIZURE)
    assert (summary.found, summary.patients, summary.seizures) == (217, 6, 253)
    assert summary.reasons == {"too_short": 217}
    # Each also has a finding about its annotation, which is that of the uncut recording.
    mismatches = ("duration_contradicts", "duration_mismatch")
    assert sum(summary.findings[code] for code in mismatches) == 217
    assert {s: c.found for s, c in summary.splits.items()} == {
        "train": 108,
        "dev": 78,
        "eval": 31,
    }


@pytest.mark.slow
def test_copies_of_the_real_recordings_are_usable_except_the_shortest(
    real: Path, tmp_path: Path
) -> None:
    write_corpus_like(tmp_path / "like", real / "tuh-layout", seed=0)
    summary = summarize(scan(tmp_path / "like"), SEIZURE)
    assert (summary.found, summary.usable, summary.seizures) == (217, 214, 253)
    # The durations of the annotation files, added up.
    texts = (path.read_text() for path in (real / "tuh-layout").rglob("*.csv_bi"))
    stated = sum(float(text.split("duration = ")[1].split()[0]) for text in texts)
    assert summary.hours == pytest.approx(stated / 3600, abs=0.05)
    assert round(summary.hours, 1) == 34.6
