"""Copies of EDFs say nothing of the patient, and their signals and seizures are the same."""

from __future__ import annotations

import datetime
import json
import re
import stat
import tracemalloc
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brainbrr_core.annotation import tal
from brainbrr_core.annotation.texts import DEFAULT_TEXTS
from brainbrr_core.corpus.index import scan
from brainbrr_core.deidentification.folder import Naming, deidentify, remaining
from brainbrr_core.deidentification.header import Identity
from brainbrr_core.deidentification.secret import Secret
from brainbrr_core.edf.reader import annotation_records
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.files.one_process import only_writer
from tests.support.edf_files import cut, patch, patch_signal, restamp, write_edf
from tests.support.examples import examples
from tests.support.project import ROOT
from tests.support.shell import Shell

SECRET = Secret(bytes(range(32)))
ANYWHERE = Naming(keep_paths=True)
OTHER_SECRET = Secret(bytes(32))
#: Header fields with free text: offset and width; those of signals by their offset per signal.
FIXED_TEXTS = ((8, 80), (88, 80), (192, 44))
SIGNAL_TEXTS = ((16, 80), (136, 80), (224, 32))


def identified(
    path: Path,
    *,
    date: datetime.date = datetime.date(2019, 3, 12),
    name: str = "Miller_Anna",
    annotations: list[edfio.EdfAnnotation] | None = None,
    code: str = "MRN0042",
    seed: int = 0,
) -> Path:
    """Write an EDF+C whose header and annotations name a patient."""
    rng = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(
            rng.uniform(-90, 90, 12 * 64),
            64,
            label=label,
            transducer_type="AgAgCl, placed by Jones",
            physical_dimension="uV",
            prefiltering=prefiltering,
            physical_range=(-100, 100),
        )
        for label, prefiltering in (("EEG Fp1-REF", "HP:0.1Hz LP:75Hz"), ("ECG", "by Jones"))
    ]
    edf = edfio.Edf(
        signals,
        patient=edfio.Patient(code=code, sex="F", birthdate=datetime.date(1980, 5, 17), name=name),
        recording=edfio.Recording(
            startdate=date,
            hospital_administration_code="H77",
            investigator_technician_code="Jones",
            equipment_code="Serial123",
        ),
        starttime=datetime.time(10, 30, 5),
        annotations=annotations,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    edf.write(path)
    return path


def copy_one(source: Path, out: Path) -> Path:
    copied = deidentify(source, out, SECRET, ANYWHERE)
    assert copied.refused == []
    return out


def test_one_process_at_a_time_writes_copies(tmp_path: Path, shell: Shell) -> None:
    identified(tmp_path / "in" / "a.edf")
    out = tmp_path / "out"
    words = ("deidentify", tmp_path / "in", out, "--secret", tmp_path / "secret", "--keep-paths")
    with only_writer(out, ""):
        said = shell.refused(*words)
    assert said.endswith(
        f"another process writes copies to {out}: wait for it, or give another OUT"
    )
    assert not out.exists()
    assert shell.type(*words).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("in", "out", "out.deidentified.json", "secret")
    ]


def assert_same_signals(one: Path, other: Path) -> None:
    """Every digital sample and every number of a signal's header are the same."""
    before, after = edfio.read_edf(one), edfio.read_edf(other)
    assert len(before.signals) == len(after.signals) > 0
    for old, new in zip(before.signals, after.signals, strict=True):
        np.testing.assert_array_equal(old.digital, new.digital)
        assert (old.label, old.sampling_frequency) == (new.label, new.sampling_frequency)
        assert (old.physical_range, old.digital_range) == (new.physical_range, new.digital_range)
        assert old.physical_dimension == new.physical_dimension


def assert_readable(path: Path) -> mne.io.BaseRaw:
    with mne.utils.use_log_level("ERROR"):
        return mne.io.read_raw_edf(path, preload=True)


def test_a_copy_names_nobody_and_has_the_same_signals(tmp_path: Path) -> None:
    source = identified(tmp_path / "a.edf")
    copy = copy_one(source, tmp_path / "b.edf")
    assert_same_signals(source, copy)
    content = copy.read_bytes()
    for text in (b"Miller", b"Anna", b"MRN0042", b"1980", b"2019", b"H77", b"Jones", b"Serial"):
        assert text in source.read_bytes()
        assert text not in content
    edf = edfio.read_edf(copy)
    assert edf.local_patient_identification == f"{SECRET.pseudonym('mrn0042')} X X X"
    assert edf.recording.equipment_code == "X"
    assert [signal.prefiltering for signal in edf.signals] == ["HP:0.1Hz LP:75Hz", ""]
    assert [signal.transducer_type for signal in edf.signals] == ["", ""]
    assert edf.starttime == datetime.time(10, 30, 5)
    moved = datetime.date(2019, 3, 12) + datetime.timedelta(days=SECRET.days("mrn0042"))
    assert edf.startdate == moved
    # Only headers and annotations differ.
    raw, of_source = assert_readable(copy), assert_readable(source)
    np.testing.assert_array_equal(raw.get_data(), of_source.get_data())
    assert raw.info["meas_date"].date() == moved
    assert raw.info["subject_info"].get("last_name") in (None, "X")


@given(
    texts=st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80)),
    secret_word=st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=12),
)
@example(texts=["X X X X"], secret_word="miller")
@example(texts=["MRN1 F 17-MAY-1980 Anna more"], secret_word="miller")
@example(texts=["Startdate 12-MAR-2019 H Jones NK more"], secret_word="miller")
@examples(60)
def test_whatever_a_header_says_is_gone(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], secret_word: str
) -> None:
    """Each field of free text has the word, and a text that may be of any form."""
    folder = tmp_path_factory.mktemp("headers")
    source = write_edf(folder / "a.edf", labels=["Fp1", "Fp2"], rate=32, stamped=True)
    number = 0

    def text(width: int) -> bytes:
        nonlocal number
        own = texts[number % len(texts)] if texts else ""
        number += 1
        return f"{own[: width - 14]} {secret_word}".encode("latin-1")[:width]

    for offset, width in FIXED_TEXTS[:2]:
        patch(source, offset, text(width), width)
    patch(source, 192, b"EDF+C " + text(38), 44)
    for column, width in SIGNAL_TEXTS:
        for index in range(3):
            patch_signal(source, column, width, index, text(width))
    copy = copy_one(source, folder / "b.edf")
    assert secret_word.encode() in source.read_bytes()
    assert secret_word.encode() not in copy.read_bytes()
    assert_same_signals(source, copy)
    assert_readable(copy)
    assert remaining(copy) == (1, [])
    # Nothing is left that a second copy would take out.
    again = deidentify(copy, folder / "c.edf", SECRET, Naming())
    assert set(again.items) <= {"date"}


def test_events_of_seizures_stay_in_fixed_words_and_other_annotations_go(tmp_path: Path) -> None:
    annotations = [
        edfio.EdfAnnotation(1, None, "Seizure onset - seen by Jones"),
        edfio.EdfAnnotation(4, None, "Sz end #Miller"),
        edfio.EdfAnnotation(6.5, 2.25, "fnsz"),
        edfio.EdfAnnotation(9, 1, "seizure 12345"),
        edfio.EdfAnnotation(10, None, "Anna Miller talks"),
        edfio.EdfAnnotation(10, 1, "seizure of Anna?"),
        edfio.EdfAnnotation(11, None, "unknown"),
    ]
    source = identified(tmp_path / "a.edf", annotations=annotations)
    copy = tmp_path / "b.edf"
    copied = deidentify(source, copy, SECRET, Naming())
    kept = [(a.onset, a.duration, a.text) for a in edfio.read_edf(copy).annotations]
    assert kept == [
        (1, None, "onset"),
        (4, None, "offset"),
        (6.5, 2.25, "fnsz"),
        (9, 1, "seizure"),
        (10, 1, "sz?"),
        (11, None, "unknown"),
    ]
    assert (copied.items["annotation"], copied.items["annotation_wording"]) == (1, 4)
    for word in (b"Jones", b"Miller", b"Anna", b"12345"):
        assert word not in copy.read_bytes()
    before, after = (
        tal.parse(annotation_records(LocalEdf(path)), "x", DEFAULT_TEXTS) for path in (source, copy)
    )
    assert before is not None
    assert after is not None
    assert (before.events, before.endless) == (after.events, after.endless)
    assert_same_signals(source, copy)


@given(
    annotations=st.lists(
        st.tuples(
            st.integers(0, 11),
            st.one_of(st.none(), st.integers(0, 5)),
            st.one_of(
                st.sampled_from(["onset", "Seizure end", "sz", "fnsz", "bckg", "seizure by Kim"]),
                st.text(st.characters(min_codepoint=32, max_codepoint=400), min_size=1),
            ),
        ),
        max_size=12,
    )
)
@examples(60)
def test_the_events_that_are_read_from_a_copy_are_those_of_its_source(
    tmp_path_factory: pytest.TempPathFactory,
    annotations: list[tuple[int, int | None, str]],
) -> None:
    folder = tmp_path_factory.mktemp("events")
    source = identified(
        folder / "a.edf", annotations=[edfio.EdfAnnotation(*each) for each in annotations]
    )
    copy = copy_one(source, folder / "b.edf")
    before, after = (
        tal.parse(annotation_records(LocalEdf(path)), "x", DEFAULT_TEXTS) for path in (source, copy)
    )
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert (before.events, before.endless) == (after.events, after.endless)
    assert_same_signals(source, copy)


def test_the_gaps_of_a_discontinuous_recording_stay(tmp_path: Path) -> None:
    source = write_edf(tmp_path / "a.edf", labels=["Fp1"], stamped=True)
    onsets = ["+0", "+1", *(f"+{number + 0.5}" for number in range(7, 17))]
    restamp(source, b"EDF+D Anna", onsets)
    copy = copy_one(source, tmp_path / "b.edf")
    assert copy.read_bytes()[192:236].strip() == b"EDF+D"
    stamps = [
        record[0].partition(b"\x14")[0].decode() for record in annotation_records(LocalEdf(copy))
    ]
    assert stamps == onsets
    header = 256 * 3
    assert len(copy.read_bytes()) == len(source.read_bytes())
    assert copy.read_bytes()[header : header + 512] == source.read_bytes()[header : header + 512]


def test_a_plain_edf_stays_one(tmp_path: Path) -> None:
    source = write_edf(tmp_path / "a.edf", labels=["Fp1"], patient="Miller_Anna")
    patch(source, 192, b"", 44)
    patch(source, 8, b"Anna Miller 17.05.1980", 80)
    copy = copy_one(source, tmp_path / "b.edf")
    assert copy.read_bytes()[192:236].strip() == b""
    assert_same_signals(source, copy)
    assert b"Anna" not in copy.read_bytes()


def test_text_between_annotations_and_after_the_records_is_gone(tmp_path: Path) -> None:
    source = write_edf(tmp_path / "a.edf", labels=["Fp1"], rate=64, stamped=True)
    content = bytearray(source.read_bytes())
    stamp = content.rindex(b"\x14\x14\x00")
    content[stamp + 3 : stamp + 7] = b"Anna"
    source.write_bytes(bytes(content) + b"Miller")
    copied = deidentify(source, tmp_path / "b.edf", SECRET, Naming())
    assert (copied.items["hidden_bytes"], copied.items["trailing_bytes"]) == (1, 1)
    assert b"Anna" not in (tmp_path / "b.edf").read_bytes()
    assert b"Miller" not in (tmp_path / "b.edf").read_bytes()


def test_dates_of_a_patient_move_together_and_those_of_others_by_other_days(tmp_path: Path) -> None:
    first, second = datetime.date(2019, 3, 12), datetime.date(2020, 2, 28)
    identified(tmp_path / "in" / "visits" / "1.edf", date=first, seed=1)
    identified(tmp_path / "in" / "visits" / "2.edf", date=second, seed=2)
    identified(tmp_path / "in" / "visits" / "3.edf", date=first, code="MRN7", name="Kim", seed=3)
    dates, codes = {}, {}
    for secret, out in ((SECRET, "one"), (SECRET, "again"), (OTHER_SECRET, "two")):
        copied = deidentify(tmp_path / "in", tmp_path / out, secret, Naming())
        assert copied.patients == {"the code in the header": 2}
        edfs = [edfio.read_edf(tmp_path / out / "visits" / f"{n}.edf") for n in (1, 2, 3)]
        dates[out] = [edf.startdate for edf in edfs]
        codes[out] = [edf.patient.code for edf in edfs]
    one = dates["one"]
    assert dates["again"] == one
    assert one[1] - one[0] == second - first
    assert len({one[0], one[2], dates["two"][0], first}) == 4
    assert codes["one"] == codes["again"]
    assert codes["one"][0] == codes["one"][1] != codes["one"][2]
    assert codes["two"][0] != codes["one"][0]


def test_a_date_that_an_edf_cannot_have_is_left_out() -> None:
    last = datetime.date(2084, 12, 31)
    for date in (last, datetime.date(9999, 12, 31)):
        assert Identity("x", 1).shifted(date) is None
    assert Identity("x", 30).shifted(last.replace(month=12, day=1)) == last


def test_an_unknown_date_stays_one(tmp_path: Path) -> None:
    source = write_edf(tmp_path / "a.edf", labels=["Fp1"])
    patch(source, 88, b"Startdate X X X X", 80)
    patch(source, 168, b"01.01.85", 8)
    copy = copy_one(source, tmp_path / "b.edf")
    assert copy.read_bytes()[88:176].split() == [b"Startdate", *[b"X"] * 4, b"01.01.85"]
    patch(source, 168, b"Anna    ", 8)
    copy = copy_one(source, tmp_path / "c.edf")
    assert copy.read_bytes()[168:184] == b"01.01.8500.00.00"


def test_a_file_whose_path_names_the_patient_is_only_copied_on_request(tmp_path: Path) -> None:
    for name in ("Anna/1.edf", "x/MRN0042.edf", "x/20190312.edf", "x/12-03-2019.edf", "x/ok.edf"):
        identified(tmp_path / "in" / name, seed=len(name))
    copied = deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    assert [one.path for one in copied.refused] == [
        "Anna/1.edf",
        "x/12-03-2019.edf",
        "x/20190312.edf",
        "x/MRN0042.edf",
    ]
    assert [path.name for path in (tmp_path / "out").rglob("*.edf")] == ["ok.edf"]
    copied = deidentify(tmp_path / "in", tmp_path / "kept", SECRET, Naming(keep_paths=True))
    assert copied.written == 5
    copied = deidentify(tmp_path / "in", tmp_path / "new", SECRET, Naming(rename=True))
    assert copied.written == 5
    paths = [
        path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*.edf")
    ]
    code = SECRET.pseudonym("mrn0042")
    assert len(set(paths)) == 5
    assert all(path.startswith(f"{code}/{code}_") for path in paths)


def test_a_path_with_the_date_of_the_recordings_field_is_one_with_a_date(tmp_path: Path) -> None:
    source = identified(tmp_path / "in" / "x" / "2019-03-12.edf")
    # The other date of the header was blanked earlier.
    patch(source, 168, b"01.01.85", 8)
    copied = deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    assert [one.reason for one in copied.refused] == ["its path has a date of its header"]


def test_a_label_that_names_the_patient_is_replaced(tmp_path: Path) -> None:
    source = identified(tmp_path / "a.edf")
    patch_signal(source, 0, 16, 1, b"ECG Miller")
    copied = deidentify(source, tmp_path / "b.edf", SECRET, Naming())
    assert copied.items["label"] == 1
    assert [signal.label for signal in edfio.read_edf(tmp_path / "b.edf").signals] == [
        "EEG Fp1-REF",
        "signal 2",
    ]


def test_the_label_of_an_electrode_stays_whatever_the_patient_is_called(tmp_path: Path) -> None:
    labels = ["EEG P3-REF", "P3", "P3-O1", "P3-Maier", "P3 of Maier"]
    source = write_edf(tmp_path / "a.edf", labels=labels, seconds=12)
    patch(source, 8, b"P3 X X Maier", 80)
    edf = edfio.read_edf(copy_one(source, tmp_path / "b.edf"))
    assert [signal.label for signal in edf.signals] == [*labels[:3], "signal 4", "signal 5"]


def test_nothing_is_overwritten_and_a_second_call_goes_on(tmp_path: Path) -> None:
    for number in (1, 2):
        identified(tmp_path / "in" / f"{number}.edf", seed=number)
    before = {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    assert deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming()).written == 2
    (tmp_path / "out" / "2.edf").unlink()
    again = deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    assert (again.written, again.present, again.refused) == (1, 1, [])
    (tmp_path / "out" / "2.edf").write_bytes(b"mine")
    third = deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    assert [(one.path, one.code) for one in third.refused] == [("2.edf", "exists")]
    assert (tmp_path / "out" / "2.edf").read_bytes() == b"mine"
    assert {path: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before


def test_an_interruption_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        identified(tmp_path / "in" / f"{number}.edf", seed=number)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "brainbrr_core.deidentification.recording.AnnotationFilter.finish", interrupted
    )
    with pytest.raises(KeyboardInterrupt):
        deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


TSV = "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\n"


def test_annotation_files_are_written_anew_where_all_words_are_fixed_ones(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "v"
    for name in ("a", "b_eeg", "c", "d", "e"):
        identified(folder / f"{name}.edf", seed=ord(name[0]))
    rows = "# version = csv_v1.0.0\n# bname = Miller\n# duration = 12.00 secs\n# by Jones\n"
    head = "channel,start_time,stop_time,label,confidence\n"
    (folder / "a.csv_bi").write_text(f"{rows}{head}TERM,1.0000,2.5000,seiz,1.0000\n")
    (folder / "a.csv").write_text(f"{rows}{head}FP1-F7,1.0000,2.5000,fnsz,1.0000\n")
    (folder / "c.csv_bi").write_text(f"{rows}{head}TERM,1.0,2.5,Anna,1.0\n")
    (folder / "c.csv").write_text(f"{rows}{head}Anna,1.0,2.5,fnsz,1.0\n")
    (folder / "d.tse_bi").write_text("version = tse_v1.0.0\n\n0.0 12.0 bckg 1.0\n")
    (folder / "gone.csv_bi").write_text(f"{rows}{head}TERM,1.0,2.5,seiz,1.0\n")
    (folder / "b_events.tsv").write_text(
        f"{TSV}1.5\t2\tsz_foc_ia\tn/a\tFp1,EEG C3-REF\t2019-03-12 10:30:05\t12.0\n"
    )
    (folder / "d_events.tsv").write_text(f"{TSV}1\t2\tsz_miller\tn/a\tn/a\tn/a\t12\n")
    (folder / "e_events.tsv").write_text("onset\tduration\ttrial_type\n1\t2\tSeizure 12\n")
    (folder / "notes.txt").write_text("Anna")
    (folder / ".hidden.edf").write_text("Anna")
    copied = deidentify(tmp_path / "in", tmp_path / "out", SECRET, Naming())
    out = tmp_path / "out" / "v"
    assert {path.name for path in out.iterdir() if path.suffix != ".edf"} == {
        *("a.csv_bi", "a.csv", "d.tse_bi", "b_events.tsv", "e_events.tsv")
    }
    start = "# version = csv_v1.0.0\n# bname = a\n# duration = 12.00 secs\n"
    assert (out / "a.csv_bi").read_text() == f"{start}{head}TERM,1.0000,2.5000,seiz,1.0000\n"
    moved = datetime.date(2019, 3, 12) + datetime.timedelta(days=SECRET.days("mrn0042"))
    assert (out / "b_events.tsv").read_text() == (
        f"{TSV}1.5\t2\tsz_foc_ia\tn/a\tFp1,EEG C3-REF\t{moved} 10:30:05\t12.0\n"
    )
    assert (out / "e_events.tsv").read_text() == "onset\tduration\ttrial_type\n1\t2\tseizure\n"
    assert sorted(copied.left) == [
        ("v/.hidden.edf", "hidden"),
        ("v/c.csv", "vocabulary"),
        ("v/c.csv_bi", "vocabulary"),
        ("v/d_events.tsv", "vocabulary"),
        ("v/gone.csv_bi", "no_edf"),
        ("v/notes.txt", "other"),
    ]
    assert remaining(tmp_path / "out") == (5, [])
    deidentify(tmp_path / "in", tmp_path / "new", SECRET, Naming(rename=True))
    [table] = (tmp_path / "new").rglob("*.csv_bi")
    assert table.with_suffix(".edf").is_file()
    assert f"# bname = {table.stem}\n" in table.read_text()


def test_the_index_of_a_copy_has_the_labels_and_signals_of_its_source(
    corpus: Path, tmp_path: Path
) -> None:
    copied = deidentify(corpus, tmp_path / "out", SECRET, Naming(keep_paths=True))
    assert (copied.written, copied.tables, copied.refused) == (12, 24, [])
    rows = [
        [
            (
                *(one.partition_key, one.split, one.patient, one.rate, one.samples),
                *(one.events, one.signal_reason, one.label_reason, one.findings),
            )
            for one in scan(folder).recordings
        ]
        for folder in (corpus, tmp_path / "out")
    ]
    assert len(rows[0]) == 12
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: cut(path, lambda size: size // 2), "truncated_file: 4 of 12 data records"),
        (lambda path: cut(path, lambda _: 100), "unreadable: no EDF header"),
        (lambda path: cut(path, lambda _: 0), "unreadable: the file is empty"),
        (lambda path: cut(path, lambda _: 800), "no_samples: no whole data record"),
        (lambda path: patch(path, 252, b"Anna", 4), "unreadable: the number of signals is not"),
        (
            lambda path: patch_signal(path, 104, 8, 0, b"Anna"),
            "unreadable: a number of signal 1 is none",
        ),
        (
            lambda path: patch_signal(path, 0, 16, 0, b"Annotations"),
            "unreadable: signal 1 may hold text",
        ),
        (lambda path: path.write_bytes(b"\xffBIOSEMI" + bytes(1000)), "bdf_file"),
    ],
)
def test_a_damaged_file_is_named_in_one_line_and_the_others_are_copied(
    tmp_path: Path, shell: Shell, damage: object, reason: str
) -> None:
    for number in (1, 2):
        identified(tmp_path / "in" / f"{number}.edf", seed=number)
    assert callable(damage)
    damage(tmp_path / "in" / "1.edf")
    done = shell.type(
        *("deidentify", tmp_path / "in", tmp_path / "out"), "--secret", tmp_path / "secret"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"not copied: 1\n  1.edf: {reason}" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2.edf"]
    report = (tmp_path / "out.deidentified.json").read_text()
    assert "Anna" not in report


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = write_edf(tmp_path / "a.edf", labels=["Fp1"], rate=50_000, seconds=10, stamped=True)
    size = source.stat().st_size - 256 * 3
    records = source.read_bytes()[256 * 3 :]
    with source.open("ab") as file:
        for _ in range(79):
            file.write(records)
    patch(source, 236, b"800", 8)
    assert size * 80 > 75e6
    tracemalloc.start()
    copy_one(source, tmp_path / "b.edf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


def test_the_command_keeps_its_secret_for_the_user_alone(tmp_path: Path, shell: Shell) -> None:
    identified(tmp_path / "in" / "x" / "1.edf")
    environment = {"XDG_DATA_HOME": str(tmp_path / "data")}
    done = shell.type(
        "deidentify", tmp_path / "in", tmp_path / "out", "--json", environment=environment
    )
    assert done.returncode == 0, done.stderr
    secret = tmp_path / "data" / "brainbrr" / "deidentify.secret"
    printed = json.loads(done.stdout)
    assert (printed["written"], printed["secret"]) == (1, str(secret))
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    report = json.loads(Path(printed["report"]).read_text())
    assert report["removed"]["patient_name"] == {"files": 1, "items": 1}
    text = Path(printed["report"]).read_text()
    assert not any(word in text for word in ("Miller", "Anna", "MRN", "2019", "x/1", "Jones"))
    # The same secret gives the same copy.
    done = shell.type("deidentify", tmp_path / "in", tmp_path / "b", environment=environment)
    assert done.returncode == 0
    copies = [(tmp_path / out / "x" / "1.edf").read_bytes() for out in ("out", "b")]
    assert copies[0] == copies[1]
    secret.chmod(0o644)
    words = ("deidentify", tmp_path / "in", tmp_path / "c")
    assert "chmod 600" in shell.refused(*words, environment=environment)
    secret.chmod(0o600)
    secret.write_text("short\n")
    assert "is not a secret" in shell.refused(*words, environment=environment)


def test_what_lies_within_each_other_is_refused(tmp_path: Path, shell: Shell) -> None:
    identified(tmp_path / "in" / "x" / "1.edf")
    start = ("deidentify", tmp_path / "in")
    for out in (tmp_path / "in", tmp_path / "in" / "x", tmp_path):
        assert "lie within each other" in shell.refused(*start, out)
    for secret in (tmp_path / "in" / "s", tmp_path / "out" / "s"):
        line = shell.refused(*start, tmp_path / "out", "--secret", secret)
        assert "would be given away" in line
    assert "no EDF and no folder" in shell.refused("deidentify", tmp_path / "no", tmp_path / "out")
    assert "give OUT" in shell.refused(*start)
    assert "--keep-paths" in shell.refused(*start, tmp_path / "o", "--rename", "--keep-paths")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["x"]


def test_the_report_of_copies_in_this_folder_has_its_name(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    identified(tmp_path / "in" / "x" / "1.edf")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    done = shell.type("deidentify", tmp_path / "in", ".", "--secret", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "x" / "1.edf").is_file()
    assert f"report: {tmp_path / 'out.deidentified.json'}" in done.stdout


def test_the_check_names_fields_and_never_their_content(tmp_path: Path, shell: Shell) -> None:
    identified(tmp_path / "in" / "x" / "1.edf", annotations=[edfio.EdfAnnotation(1, None, "Kim")])
    identified(tmp_path / "in" / "Miller.edf")
    done = shell.type("deidentify", "--check", tmp_path / "in")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    kinds = (
        "patient_code, patient_sex, patient_birth_date, patient_name, recording_code, "
        "recording_technician, recording_equipment, transducer, prefiltering"
    )
    assert lines[0] == f"Miller.edf: {kinds}, path"
    assert lines[1] == f"x/1.edf: {kinds}, annotation"
    assert not any(word in done.stdout for word in ("Anna", "Kim", "MRN0042", "Jones", "1980"))
    shell.type(
        "deidentify", tmp_path / "in", tmp_path / "out", "--rename", "--secret", tmp_path / "s"
    )
    clean = shell.type("deidentify", "--check", tmp_path / "out", "--json")
    assert (clean.returncode, json.loads(clean.stdout)) == (0, {"edfs": 2, "holding": {}})


def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "deidentification.md").read_text("utf-8")
    blocks = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        identified(tmp_path / "recordings" / "visits" / f"{number}.edf", seed=number)
    identified(tmp_path / "one.edf")
    environment = {"XDG_DATA_HOME": str(tmp_path / "data")}
    assert len(lines) == 5
    for program, *words in lines:
        assert program == "brainbrr"
        own = [word.replace("/safe/place", str(tmp_path / "safe")) for word in words]
        done = shell.type(*own, environment=environment)
        assert done.returncode == 0, done.stderr
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.edf")}
    kept = {
        f"{folder}/visits/{n}.edf" for folder in ("recordings", "shared", "kept") for n in (1, 2)
    }
    assert kept | {"one.edf", "one-anonymous.edf"} <= written
    assert len([path for path in written if path.startswith("renamed/anon")]) == 2
    assert (tmp_path / "safe" / "study.secret").is_file()
    assert (tmp_path / "shared.deidentified.json").is_file()
