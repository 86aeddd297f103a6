"""Channel tables of BIDS: which channels they mark as bad, and which recordings they describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from brainbrr_core.configuration import Corpus, Preprocessing
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.corpus.layouts.channels_tsv import bad_channels_of
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.prediction.recording import open_source
from tests.support.edf_files import write_edf

EVENTS = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"
ONE_SEIZURE = EVENTS + "5.00\t10.00\tsz\tn/a\tn/a\t2020-01-01 00:00:00\t30.00\n"


PLAIN = tuple(CHANNELS)
REF = tuple(f"EEG {name}-Ref" for name in CHANNELS)
SPELLINGS = {
    "same": (REF, "EEG Cz-Ref", "bad"),
    "short": (REF, "Cz", "bad"),
    "upper": (PLAIN, "CZ", "bad"),
    "dotted": (REF, "Cz.", "bad"),
    "reference": (REF, "Cz-(A1+A2)", "bad"),
    "prefix": (PLAIN, "POL Cz", "bad"),
    "status": (REF, "EEG Cz-Ref", "BAD"),
    "reason": (REF, "EEG Cz-Ref", "bad (flat)"),
    "old name": (("T7", *(n for n in CHANNELS if n != "T3")), "T3-A1", "bad"),
}


def channels_tsv(rows: Sequence[tuple[str, str]]) -> str:
    lines = ["name\ttype\tunits\tstatus", *(f"{name}\tEEG\tuV\t{status}" for name, status in rows)]
    return "\n".join(lines) + "\n"


def described(root: Path, labels: Sequence[str], table: str) -> Recording:
    """The row of one BIDS recording with a channel table next to it."""
    path = root / "sub-01" / "eeg" / "sub-01_task-a_eeg.edf"
    write_edf(path, labels=labels)
    path.with_name("sub-01_task-a_channels.tsv").write_text(table, newline="")
    (recording,) = scan(root)
    return recording


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bad_channel_is_matched_as_a_label_is(tmp_path: Path, name: str) -> None:
    labels, bad, status = SPELLINGS[name]
    recording = described(tmp_path, labels, channels_tsv([("Fz", "good"), (bad, status)]))
    wanted = "T3" if name == "old name" else "Cz"
    assert (recording.missing, recording.signal_reason) == ((wanted,), None)
    codes = [(f.code, f.detail) for f in recording.findings if f.code != "no_annotation"]
    assert codes == [("bad_channel", wanted), ("interpolated_channel", wanted)]


@pytest.mark.parametrize("status", ["good", "n/a", "", "badly labelled", "not bad", "unknown"])
def test_a_channel_that_is_not_marked_bad_is_used(tmp_path: Path, status: str) -> None:
    recording = described(tmp_path, REF, channels_tsv([("Fz", "good"), ("Cz", status)]))
    assert (recording.missing, recording.findings) == ((), ())


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table.replace("\n", "\r\n"),
        lambda table: "\ufeff" + table,
        lambda table: table.replace("status", "Status").replace("name", "Name"),
    ],
    ids=["CRLF", "BOM", "capitals"],
)
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, form: Callable[[str], str]) -> None:
    recording = described(tmp_path, REF, form(channels_tsv([("EEG Cz-Ref", "bad")])))
    assert recording.missing == ("Cz",)


def test_a_bad_row_without_a_channel_is_a_finding(tmp_path: Path) -> None:
    labels = [*(name for name in REF if "Cz" not in name), "POL ECG1", "EEG C3P-Ref"]
    rows = ["ecg1", "C3P", "EEG C3P-LE", "Cz-Ref", "Fz2", "x\x1b[31my", "Fz2"]
    recording = described(tmp_path, labels, channels_tsv([(name, "bad") for name in rows]))
    details = [f.detail for f in recording.findings if f.code == "unmatched_bad_channel"]
    # Cz is marked bad but missing; an escape sequence is escaped, so that no terminal runs it.
    assert details == ["Cz-Ref", "Fz2", "x\\x1b[31my"]
    assert not [f for f in recording.findings if f.code == "bad_channel"]
    assert recording.missing == ("Cz",)


def session(root: Path, subject: str = "sub-01", run: str = "run-000", events: bool = True) -> Path:
    folder = root / subject / "ses-a" / "eeg"
    stem = f"{subject}_ses-a_task-rest_{run}"
    path = write_edf(folder / f"{stem}_eeg.edf", seconds=30)
    if events:
        (folder / f"{stem}_events.tsv").write_text(ONE_SEIZURE)
    return path


def bad(*names: str) -> str:
    return channels_tsv([(name, "bad") for name in names])


ABOVE = {
    "eeg": "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_channels.tsv",
    "session": "sub-01/ses-a/sub-01_ses-a_channels.tsv",
    "subject": "sub-01/sub-01_task-rest_channels.tsv",
    "root": "task-rest_channels.tsv",
}


@pytest.mark.parametrize("where", ABOVE)
def test_a_table_above_describes_every_recording_below_it(tmp_path: Path, where: str) -> None:
    runs = [session(tmp_path, run=run) for run in ("run-000", "run-001")]
    other = session(tmp_path, "sub-02")
    (tmp_path / ABOVE[where]).write_text(bad("Cz"))
    rows = {Path(r.path): r for r in scan(tmp_path)}
    assert [rows[path].missing for path in runs] == [("Cz",), ("Cz",)]
    assert rows[other].missing == (("Cz",) if where == "root" else ())
    # Without an index, the same table is used.
    assert [bad_channels_of(path) for path in runs] == [("Cz",), ("Cz",)]
    assert open_source(runs[0]).missing == ("Cz",)
    seen = inspect_recording(runs[0], Preprocessing())
    assert [c.name for c in seen.channels if c.interpolated] == ["Cz"]


def test_the_nearest_table_and_then_the_most_specific_wins(tmp_path: Path) -> None:
    path = session(tmp_path)
    tables = [
        ("task-rest_channels.tsv", "Fz"),
        ("sub-01/sub-01_channels.tsv", "Cz"),
        ("sub-01/sub-01_task-rest_channels.tsv", "Pz"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_channels.tsv", "F3"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_task-rest_channels.tsv", "F4"),
        ("sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-000_channels.tsv", "C3"),
    ]
    index: Index | None = None
    for name, electrode in tables:
        (tmp_path / name).write_text(bad(electrode))
        # A new table is noticed in any folder.
        assert index is None or changes(str(tmp_path), tmp_path / "cache", Corpus(), index)
        index = scan(tmp_path, index)
        assert index.recordings[0].missing == (electrode,)
        assert bad_channels_of(path) == (electrode,)


def test_a_table_of_something_else_describes_nothing(tmp_path: Path) -> None:
    session(tmp_path)
    for name in (
        "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_run-001_channels.tsv",
        "sub-01/ses-a/eeg/sub-01_ses-a_task-sleep_channels.tsv",
        "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_electrodes.tsv",
        "sub-01/ses-a/eeg/channels.tsv",
        "sub-01/ses-b_channels.tsv",
        "sub-02_channels.tsv",
    ):
        (tmp_path / name).write_text(bad("Cz"))
    (recording,) = scan(tmp_path)
    assert recording.missing == ()
    # A table above the corpus belongs to another one.
    (tmp_path / "task-rest_channels.tsv").write_text(bad("Cz"))
    corpus = Corpus(layout="folder")
    assert scan(tmp_path / "sub-01", corpus=corpus).recordings[0].missing == ()


def test_only_recordings_named_by_their_subject_inherit(tmp_path: Path) -> None:
    for number in (1, 2):
        write_edf(tmp_path / "bob" / f"bob_{number}.edf", seconds=30)
    (tmp_path / "bob" / "bob_events.tsv").write_text(ONE_SEIZURE)
    (tmp_path / "bob" / "bob_channels.tsv").write_text(bad("Cz"))
    (tmp_path / "bob" / "bob_2_channels.tsv").write_text(bad("Fz"))
    write_edf(tmp_path / "bob" / "x_task-rest_eeg.edf", seconds=30)
    (tmp_path / "bob" / "task-rest_channels.tsv").write_text(bad("Cz"))
    rows = scan(tmp_path, corpus=Corpus(layout="folder"))
    assert [(r.label_reason, r.missing) for r in rows] == [
        ("no_annotation", ()),
        ("no_annotation", ("Fz",)),
        ("no_annotation", ()),
    ]


def test_events_are_inherited_too(tmp_path: Path) -> None:
    session(tmp_path, events=False)
    session(tmp_path, run="run-001")
    above = tmp_path / "sub-01" / "sub-01_task-rest_events.tsv"
    above.write_text(EVENTS + "1.00\t2.00\tsz\tn/a\tn/a\t2020-01-01 00:00:00\t30.00\n")
    first, second = scan(tmp_path)
    assert [(e.start, e.stop) for e in first.events] == [(1, 3)]
    assert [(e.start, e.stop) for e in second.events] == [(5, 15)]
    path = Path(first.path)
    seen = inspect_recording(path, Preprocessing())
    assert [(e.start, e.stop) for e in seen.events] == [(1, 3)]


@pytest.mark.parametrize("afar", [False, True], ids=["here", "behind a URL"])
def test_a_change_of_a_table_above_is_noticed(tmp_path: Path, afar: bool) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    session(data)
    session(data, run="run-001")
    session(data, "sub-02")
    address = data.as_uri() if afar else str(data)
    table = data / "sub-01" / "sub-01_channels.tsv"
    table.write_text(bad("Cz"))
    index = update_index(address, cache)
    assert [r.missing for r in index] == [("Cz",), ("Cz",), ()]
    assert [c.name for c in index.recordings[0].companions] == [
        "sub-01_ses-a_task-rest_run-000_events.tsv",
        "../../sub-01_channels.tsv",
    ]
    assert not changes(address, cache, Corpus(), index)
    table.write_text(bad("Cz", "Fz"))
    assert len(changes(address, cache, Corpus(), index).changed) == 2
    index = update_index(address, cache)
    assert [r.missing for r in index] == [("Fz", "Cz"), ("Fz", "Cz"), ()]
    table.unlink()
    assert len(changes(address, cache, Corpus(), index).changed) == 2
    assert [r.missing for r in update_index(address, cache)] == [(), (), ()]
