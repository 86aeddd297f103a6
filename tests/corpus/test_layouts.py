"""Layouts other than TUSZ are detected or selected, and split by patient."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainbrr_core.annotation import Event
from brainbrr_core.configuration import Corpus, Overrides, Split, load
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.corpus.layouts.known import open_layout
from brainbrr_core.corpus.splits import seeded_split
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.errors import BrainbrrError
from tests.support.edf_files import write_edf

HEAD = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
CHBMIT = [
    "FP1-F7",
    "F7-T7",
    "T7-P7",
    "P7-O1",
    "FP1-F3",
    "F3-C3",
    "C3-P3",
    "P3-O1",
    "FP2-F4",
    "F4-C4",
    "C4-P4",
    "P4-O2",
    "FP2-F8",
    "F8-T8",
    "T8-P8-0",
    "P8-O2",
    "FZ-CZ",
    "CZ-PZ",
    "P7-T7",
    "T7-FT9",
    "FT9-FT10",
    "FT10-T8",
    "T8-P8-1",
]


def subject(
    root: Path,
    name: str,
    events: str | None = "",
    session: str = "ses-01",
    labels: list[str] | None = None,
) -> Path:
    """One BIDS recording of 40 s with the rows of its events.tsv (None: no table)."""
    folder = root / name / session / "eeg"
    stem = f"{name}_{session}_task-szMonitoring_run-00".replace("__", "_")
    path = write_edf(folder / f"{stem}_eeg.edf", seconds=40, labels=labels, seed=len(name))
    if events is not None:
        rows = events or "0.00\t40.00\tbckg\tn/a\tn/a\t2016-01-01 10:00:00\t40.00\n"
        (folder / f"{stem}_events.tsv").write_text(HEAD + rows)
    return path


def seizure(onset: float, duration: float) -> str:
    return f"{onset:.2f}\t{duration:.2f}\tsz_foc\t1.00\tn/a\t2016-01-01 10:00:00\t40.00\n"


def test_a_bids_corpus_is_detected(tmp_path: Path) -> None:
    subject(tmp_path, "sub-00", seizure(10, 5) + seizure(20, 4.5))
    subject(tmp_path, "sub-01", session="")
    subject(tmp_path, "sub-02", None)
    # CHB-MIT converted to BIDS, and SeizeIT2.
    subject(tmp_path, "sub-03", labels=CHBMIT)
    subject(tmp_path, "sub-04", labels=["BTEleft SD", "CROSStop SD"])
    write_edf(tmp_path / "sub-04" / "ses-01" / "ecg" / "sub-04_ses-01_ecg.edf")
    write_edf(tmp_path / "derivatives" / "sub-00" / "eeg" / "sub-00_eeg.edf")
    index = scan(tmp_path)
    assert index.layout == "bids"
    rows = {r.patient: r for r in index}
    assert len(index) == len(rows) == 5
    first = rows["sub-00"]
    assert first.partition_key == ("sub-00/ses-01/eeg/sub-00_ses-01_task-szMonitoring_run-00_eeg")
    assert (first.session, first.label_source) == ("ses-01", "events.tsv")
    assert first.events == (Event(10, 15, "fnsz"), Event(20, 24.5, "fnsz"))
    assert first.seizure_s == 9.5
    assert (rows["sub-01"].session, rows["sub-01"].reason) == ("", None)
    assert {name: r.reason for name, r in rows.items()} == {
        "sub-00": None,
        "sub-01": None,
        "sub-02": "no_annotation",
        "sub-03": "bipolar_montage",
        "sub-04": "few_channels",
    }
    # The row of an excluded recording has whatever could be read.
    bipolar = rows["sub-03"]
    assert (bipolar.duration_s, bipolar.signals, len(bipolar.missing)) == (40, 23, 19)
    assert index.skipped == (("not_of_layout", "sub-04/ses-01/ecg/sub-04_ses-01_ecg.edf"),)


def test_channels_marked_bad_count_as_missing(tmp_path: Path) -> None:
    path = subject(tmp_path, "sub-00")
    table = path.with_name(path.name.replace("_eeg.edf", "_channels.tsv"))
    rows = [f"{name}\tEEG\tuV\t{'bad' if name in ('Fz', 'Pz') else 'good'}" for name in CHANNELS]
    table.write_text("\n".join(["name\ttype\tunits\tstatus", *rows]) + "\n")
    first = scan(tmp_path)
    (recording,) = first
    assert (recording.missing, recording.reason) == (("Fz", "Pz"), None)
    assert len(recording.matched) == 17
    codes = Counter(finding.code for finding in recording.findings)
    assert codes == {"bad_channel": 2, "interpolated_channel": 2}
    # The builder uses the index, not the table.
    assert open_edf(path, recording.missing).missing == ("Fz", "Pz")
    for name in ("T3", "T5"):
        table.write_text(
            table.read_text().replace(f"{name}\tEEG\tuV\tgood", f"{name}\tEEG\tuV\tbad")
        )
    (changed,) = scan(tmp_path, first)
    assert changed.reason == "missing_channels"
    assert changed.content_hash == recording.content_hash
    table.write_text("label\nFz\n")
    (unclear,) = scan(tmp_path, first)
    assert unclear.reason == "bad_channel_table"
    table.unlink()
    (without,) = scan(tmp_path, first)
    assert (without.missing, without.findings) == ((), ())


def test_a_changed_channel_table_makes_the_shard_stale(tmp_path: Path) -> None:
    from brainbrr_core.cache.build import build
    from brainbrr_core.cache.plan import State, plan_corpus
    from brainbrr_core.cache.shard import Shard

    path = subject(tmp_path / "data", "sub-00")
    home = {"data_dir": str(tmp_path / "data"), "cache_root": str(tmp_path / "cache")}
    settings = load(Overrides(config="smoke:cpu", **home), environment={})
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing, workers=1)
    table = path.with_name(path.name.replace("_eeg.edf", "_channels.tsv"))
    table.write_text("name\tstatus\nCz\tbad\n")
    plan = plan_corpus(settings)
    assert plan.reasons() == {"stale: bad channels changed": 1}
    build(plan, settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    assert plan.count(State.FRESH) == 1
    shard = Shard(plan.store.shard_path(plan.items[0].recording.partition_key))
    assert shard.header.interpolated == ("Cz",)


def test_a_folder_of_edfs_must_be_selected(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_edf(data / "alice" / "night.edf", seconds=40)
    write_edf(data / "bob" / "1.edf", seconds=40, seed=1)
    (data / "bob" / "1_events.tsv").write_text(HEAD + seizure(3, 30))
    with pytest.raises(BrainbrrError, match="--layout") as error:
        update_index(str(data), cache)
    assert "\n" not in str(error.value)
    index = update_index(str(data), cache, Corpus(layout="folder"))
    assert [(r.partition_key, r.patient, r.reason) for r in index] == [
        ("alice/night", "alice", "no_annotation"),
        ("bob/1", "bob", None),
    ]
    # The index stores the layout, so that other commands do not need the option.
    assert update_index(str(data), cache) == index == read_index(cache)
    with pytest.raises(BrainbrrError, match="not laid out as sub-"):
        update_index(str(data), cache, Corpus(layout="bids"))


@given(st.integers(0, 5), st.sets(st.text(min_size=1, max_size=8), max_size=30), st.text())
def test_an_added_patient_moves_no_other(seed: int, patients: set[str], another: str) -> None:
    settings = Split(seed=seed)
    before = {patient: seeded_split(patient, settings) for patient in patients}
    after = {patient: seeded_split(patient, settings) for patient in patients | {another}}
    assert all(after[patient] == split for patient, split in before.items())


def test_the_seeded_split_has_the_fractions_asked_for() -> None:
    patients = [f"sub-{number:04}" for number in range(4000)]
    counts = Counter(seeded_split(p, Split(dev=0.2, eval=0.1)) for p in patients)
    # Four standard deviations of a binomial count.
    for split, fraction in (("dev", 0.2), ("eval", 0.1), ("train", 0.7)):
        margin = 4 * np.sqrt(4000 * fraction * (1 - fraction))
        assert abs(counts[split] - 4000 * fraction) < margin
    other = [seeded_split(p, Split(seed=1)) for p in patients]
    assert other != [seeded_split(p, Split()) for p in patients]
    assert set(Counter(seeded_split(p, Split(dev=0, eval=0)) for p in patients)) == {"train"}


def test_a_corpus_without_splits_gets_one_by_patient(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    for number in range(8):
        for session in ("ses-01", "ses-02"):
            subject(data, f"sub-{number:02}", session=session)
    index = update_index(str(data), cache, Corpus(split=Split(dev=0.3, eval=0.3)))
    places: dict[str, set[str]] = {}
    for recording in index:
        places.setdefault(recording.patient, set()).add(recording.split)
    assert all(len(splits) == 1 for splits in places.values())
    assert {split for splits in places.values() for split in splits} == {"train", "dev", "eval"}
    # Another seed gives other splits, although no file changed.
    second = update_index(str(data), cache, Corpus(split=Split(seed=3, dev=0.3, eval=0.3)))
    assert [r.split for r in second] != [r.split for r in index]
    assert [r.content_hash for r in second] == [r.content_hash for r in index]
    with pytest.raises(ValueError, match="leave patients for train"):
        Split(dev=0.5, eval=0.5)


def test_a_broken_link_is_one_exclusion(tmp_path: Path) -> None:
    subject(tmp_path, "sub-00")
    link = tmp_path / "sub-01" / "eeg" / "sub-01_eeg.edf"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "unmounted.edf")
    pipe = tmp_path / "sub-02" / "eeg" / "sub-02_eeg.edf"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    index = scan(tmp_path)
    assert {r.patient: r.reason for r in index} == {
        "sub-00": None,
        "sub-01": "unreadable",
        "sub-02": "unreadable",
    }
    # When the drive is back, so is the recording.
    write_edf(tmp_path / "unmounted.edf", seconds=40)
    (mended,) = (r for r in scan(tmp_path, index, force=True) if r.patient == "sub-01")
    assert mended.reason == "no_annotation"


def test_a_file_without_permission_is_one_exclusion_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject(tmp_path, "sub-00")
    locked = subject(tmp_path, "sub-01")
    labelled = subject(tmp_path, "sub-02")
    events = labelled.with_name(labelled.name.replace("_eeg.edf", "_events.tsv"))
    real_open = Path.open

    def forbidden(path: Path, *args: Any, **options: Any) -> Any:
        if path in (locked, events):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        index = scan(tmp_path)
    reasons = {r.patient: r.reason for r in index}
    assert reasons == {"sub-00": None, "sub-01": "unreadable", "sub-02": "bad_annotation"}
    findings = [str(finding) for r in index for finding in r.findings]
    assert sum("Permission denied" in finding for finding in findings) == 2
    assert all(r.reason is None for r in scan(tmp_path, index))


def test_a_folder_that_cannot_be_read_is_never_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject(tmp_path, "sub-00")
    subject(tmp_path, "sub-01")
    real_scandir = os.scandir

    def forbidden(path: str) -> object:
        if str(path).endswith("sub-01/ses-01"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(BrainbrrError, match=r"sub-01/ses-01 cannot be read \(Permission denied"):
        scan(tmp_path)


def test_a_folder_that_is_no_corpus_is_told_every_way_to_name_one(tmp_path: Path) -> None:
    ways = r"\(--data-dir, BRAINBRR_DATA_DIR or data_dir in a configuration\)"
    for folder, wrong in ((tmp_path / "none", "no data directory at"), (tmp_path, "is empty")):
        with pytest.raises(BrainbrrError, match=rf"{wrong}.*: give the folder .*{ways}"):
            open_layout(folder)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BrainbrrError, match=rf"is not laid out as .*{ways}, or select another"):
        open_layout(tmp_path)
