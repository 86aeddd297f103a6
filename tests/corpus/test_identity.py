"""Patients and recordings: each patient is in one split, each recording is used once."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from brainbrr_core.annotation import Event, lbl, tse, tuh
from brainbrr_core.configuration import Corpus, Split
from brainbrr_core.corpus import sources as files_module
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import index_path, read_index, update_index
from brainbrr_core.corpus.recording import SIGNAL_FINDINGS, SIGNAL_REASONS, Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.checked_parquet import encode_checked, open_checked, read_texts
from brainbrr_core.files.state import EdfHasher, Hashes, content_hash, edf_hashes
from tests.support.edf_files import another_copy, write_edf
from tests.support.shell import Shell

FOLDER = Corpus(layout="folder")


def labelled(path: Path, seed: int = 0, events: tuple[Event, ...] = ()) -> Path:
    """An EDF of 12 s with its csv_bi."""
    write_edf(path, seed=seed)
    path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi(list(events), 12, path.stem))
    return path


def tusz(root: Path, split: str, patient: str, session: str = "s001") -> Path:
    """Path of the first recording of a session in TUSZ."""
    return root / split / patient / session / "01_tcp_ar" / f"{patient}_{session}_t000.edf"


def copied(source: Path, target: Path) -> Path:
    """Copy an EDF and its annotation to another path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".edf", ".csv_bi"):
        shutil.copy(source.with_suffix(suffix), target.with_suffix(suffix))
    return target


def retitled(path: Path) -> None:
    """Change the recording's name in the header, but no sample."""
    content = bytearray(path.read_bytes())
    content[88:168] = b"another montage".ljust(80)
    path.write_bytes(content)


def reasons(index: Index) -> dict[str, str | None]:
    return {Path(r.path).stem: r.reason for r in index}


def refusal(data: Path, cache: Path, corpus: Corpus | None = None) -> str:
    """The line of the error that refuses a corpus."""
    with pytest.raises(BrainbrrError) as error:
        update_index(str(data), cache, corpus)
    assert error.value.exit_status == 2
    assert "\n" not in str(error.value)
    assert not index_path(cache).exists()
    return str(error.value)


@pytest.mark.parametrize("other", [("eval", "p2"), ("train", "p2"), ("dev", "p3")])
@pytest.mark.parametrize("same_header", [True, False])
def test_the_same_content_under_two_patients_or_splits_is_refused(
    tmp_path: Path, other: tuple[str, str], same_header: bool
) -> None:
    data = tmp_path / "data"
    first = labelled(tusz(data, "train", "p1"))
    labelled(tusz(data, "train", "p4"))
    second = copied(first, tusz(data, *other))
    if not same_header:
        retitled(second)
    line = refusal(data, tmp_path / "cache")
    assert "the same samples are under two patients or in two splits" in line
    for path in (first, second):
        assert path.relative_to(data).with_suffix("").as_posix() in line
    # When one of them is removed, the other is used.
    second.unlink()
    index = update_index(str(data), tmp_path / "cache")
    assert reasons(index) == {"p1_s001_t000": None, "p4_s001_t000": None}


@pytest.mark.parametrize("same_header", [True, False])
def test_a_copy_under_the_same_patient_is_excluded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_header: bool
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    first = labelled(tusz(data, "train", "p1"))
    second = copied(first, tusz(data, "train", "p1", "s002"))
    if not same_header:
        retitled(second)
    index = update_index(str(data), cache)
    assert reasons(index) == {"p1_s001_t000": None, "p1_s002_t000": "same_content"}
    (finding,) = index.recordings[1].findings
    alike = "bytes" if same_header else "samples"
    assert str(finding) == (
        f"p1_s002_t000.edf: same_content (same {alike} as train/p1/s001/01_tcp_ar/p1_s001_t000)"
    )
    assert "same_content" in SIGNAL_REASONS

    def forbidden(path: Path) -> Hashes:
        raise AssertionError(f"{path} was read")

    # The next scan compares again, and a copy is used once the other one is gone.
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "edf_hashes", forbidden)
        assert update_index(str(data), cache) == index == read_index(cache)
        first.unlink()
        alone = update_index(str(data), cache, force=True)
    assert reasons(alone) == {"p1_s002_t000": None}
    assert alone.recordings[0].findings == ()


def test_the_copy_with_an_annotation_is_used(tmp_path: Path) -> None:
    first = labelled(tusz(tmp_path, "train", "p1"))
    copied(first, tusz(tmp_path, "train", "p1", "s002"))
    first.with_suffix(".csv_bi").unlink()
    assert reasons(scan(tmp_path)) == {"p1_s001_t000": "same_content", "p1_s002_t000": None}


def test_different_events_of_copies_are_reported(tmp_path: Path) -> None:
    first = labelled(tusz(tmp_path, "train", "p1"))
    second = copied(first, tusz(tmp_path, "train", "p1", "s002"))
    second.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([Event(2, 5)], 12, "x"))
    excluded = scan(tmp_path).recordings[1]
    assert excluded.findings[0].detail.endswith("/p1_s001_t000, other events")


def test_files_without_a_signal_may_be_equal(tmp_path: Path) -> None:
    for split, patient in (("train", "p1"), ("eval", "p2")):
        path = tusz(tmp_path, split, patient)
        write_edf(path, seconds=4)
        path.write_bytes(b"")
    short = tusz(tmp_path, "train", "p3")
    write_edf(short, seconds=4)
    tusz(tmp_path, "dev", "p5").parent.mkdir(parents=True)
    shutil.copy(short, tusz(tmp_path, "dev", "p5"))
    assert set(reasons(scan(tmp_path)).values()) == {"unreadable", "too_short"}


def test_one_remote_file_under_two_patients_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = labelled(tusz(data, "train", "p1"))
    second = labelled(tusz(data, "eval", "p2"))
    second.unlink()
    os.link(first, second)
    with pytest.raises(BrainbrrError, match="the same samples are under two patients"):
        update_index(f"file://{data}", tmp_path / "cache")


def test_copies_that_share_different_hashes_are_one_group(tmp_path: Path) -> None:
    first = labelled(tusz(tmp_path, "train", "p1"))
    for number, session in enumerate(("s002", "s003", "s004")):
        path = copied(first, tusz(tmp_path, "train", "p1", session))
        if number:
            retitled(path)
    index = scan(tmp_path)
    assert sorted(map(str, reasons(index).values())) == ["None"] + ["same_content"] * 3


@pytest.mark.parametrize("piece", [1, 100, 255, 256, 300, 4096, 10**7])
def test_both_hashes_are_those_of_the_bytes(tmp_path: Path, piece: int) -> None:
    path = write_edf(tmp_path / "a.edf")
    content = path.read_bytes()
    expected = Hashes(blake3(content).hexdigest(), blake3(content[256 * 20 :]).hexdigest())
    assert edf_hashes(path) == expected
    assert content_hash(path) == expected.content
    hasher = EdfHasher()
    cut = content[:20_000] if piece < 1000 else content
    for start in range(0, len(cut), piece):
        hasher.update(cut[start : start + piece])
    assert hasher.hashes() == Hashes(blake3(cut).hexdigest(), blake3(cut[256 * 20 :]).hexdigest())


@pytest.mark.parametrize("content", [b"", b"0", b"0".ljust(300), b"no EDF" * 100])
def test_a_file_that_is_not_an_edf_has_no_data_hash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.edf"
    path.write_bytes(content)
    assert edf_hashes(path) == Hashes(blake3(content).hexdigest(), "")


SPELLINGS = [("pat_A", "pat_a"), ("Müller", unicodedata.normalize("NFD", "müller"))]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_a_patient_of_two_spellings_is_in_one_split(tmp_path: Path, one: str, other: str) -> None:
    data = tmp_path / "data"
    labelled(tusz(data, "train", one))
    elsewhere = labelled(tusz(data, "eval", other))
    line = refusal(data, tmp_path / "cache")
    assert "1 patient is in more than one split (" in line
    assert one in line
    assert other in line
    assert "differ only in case or Unicode form" in line
    (data / "train" / other).parent.mkdir(exist_ok=True)
    elsewhere.parents[2].rename(data / "train" / other)
    index = scan(data)
    codes = [[f.code for f in r.findings] for r in index]
    assert codes == [["similar_patient"]] * 2
    assert {r.reason for r in index} == {None}
    assert "similar_patient" in SIGNAL_FINDINGS
    assert scan(data, index) == index


def test_a_seeded_split_keeps_two_spellings_together(tmp_path: Path) -> None:
    for number in range(12):
        for name in (f"Pat{number}", f"pat{number}"):
            labelled(tmp_path / name / "a.edf", seed=number * 2 + name.islower())
    index = scan(tmp_path, corpus=Corpus(layout="folder", split=Split(dev=0.3, eval=0.3)))
    splits: dict[str, set[str]] = {}
    for recording in index:
        splits.setdefault(recording.patient.lower(), set()).add(recording.split)
    assert all(len(names) == 1 for names in splits.values())
    assert len(set.union(*splits.values())) == 3


@pytest.fixture
def siena(tmp_path: Path) -> Path:
    """Names as in Siena: five patients with four recordings each in one folder."""
    for patient in range(5):
        for number in range(1, 5):
            labelled(tmp_path / "siena" / f"PN{patient:02}-{number}.edf", patient * 10 + number)
    return tmp_path / "siena"


def test_a_flat_folder_is_refused_without_a_patient_pattern(siena: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    line = refusal(siena, cache, FOLDER)
    assert "20 recordings without a patient's folder, such as PN00-1, cannot" in line
    assert "patient_pattern" in line
    rule = Corpus(layout="folder", patient_pattern=r"^(PN\d+)-", split=Split(dev=0.3, eval=0.3))
    index = update_index(str(siena), cache, rule)
    assert {r.patient for r in index} == {f"PN{number:02}" for number in range(5)}
    assert len({(r.patient, r.split) for r in index}) == 5
    # Another rule gives other patients, although no file changed.
    other = rule.model_copy(update={"patient_pattern": r"^(.*)$"})
    assert changes(str(siena), cache, rule, index).changed == ()
    assert len(changes(str(siena), cache, other, index).changed) == 20
    assert len({r.patient for r in update_index(str(siena), cache, other)}) == 20


@pytest.mark.parametrize("pattern", ["^(PN0[0-3])-", "^(PN0[0-3])?"])
def test_a_pattern_that_does_not_fit_all_names_is_refused(
    siena: Path, tmp_path: Path, pattern: str
) -> None:
    line = refusal(siena, tmp_path / "cache", Corpus(layout="folder", patient_pattern=pattern))
    assert "gives no patient for 4 recordings, such as PN04-1" in line


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("(", "is no regular expression"), ("^PN", "has 0 groups"), ("(a)(b)", "has 2 groups")],
)
def test_an_invalid_pattern_is_a_configuration_error(
    shell: Shell, tmp_path: Path, pattern: str, says: str
) -> None:
    layer = tmp_path / "layer.yaml"
    layer.write_text(f"corpus: {{patient_pattern: '{pattern}'}}\n")
    done = shell.type("index", environment={"BRAINBRR_CONFIG": f"smoke:cpu:{layer}"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert "patient_pattern" in done.stderr


def test_a_flat_split_of_tusz_takes_patients_from_file_names(tmp_path: Path) -> None:
    data = tmp_path / "data"
    labelled(data / "train" / "aaaaaaac_s001_t000.edf")
    assert [r.patient for r in scan(data)] == ["aaaaaaac"]
    labelled(data / "eval" / "night-1.edf")
    assert "such as eval/night-1" in refusal(data, tmp_path / "cache")


def test_a_flat_folder_takes_patients_from_names_of_bids_and_tusz(tmp_path: Path) -> None:
    labelled(tmp_path / "sub-0001_ses-1_run-00_eeg.edf", 1)
    labelled(tmp_path / "aaaaaaac_s001_t000.edf", 2)
    index = scan(tmp_path, corpus=FOLDER)
    assert [r.patient for r in index] == ["aaaaaaac", "sub-0001"]


def test_a_single_recording_is_one_patient(tmp_path: Path) -> None:
    labelled(tmp_path / "night 1.edf")
    assert [r.patient for r in scan(tmp_path, corpus=FOLDER)] == ["night 1"]


TSE_BI = """version = tse_v1.0.0

0.0000 3.0000 bckg 1.0000
3.0000 7.2500 seiz 0.9000
7.2500 12.0000 bckg 1.0000
"""


def old_tusz(root: Path, split: str, montage: str, group: str, patient: str) -> Path:
    """A recording in the layout of TUSZ 1.5 with its tse_bi."""
    session = "s002_2003_07_21"
    path = root / "edf" / split / montage / group / patient / session / f"{patient}_s002_t000.edf"
    write_edf(path)
    path.with_suffix(".tse_bi").write_text(TSE_BI)
    return path


def described(recording: Recording) -> tuple[str, str, str, str]:
    return recording.split, recording.patient, recording.session, recording.montage


def test_the_layout_of_tusz_1_5_is_read(tmp_path: Path) -> None:
    old_tusz(tmp_path, "train", "01_tcp_ar", "002", "00000258")
    both = old_tusz(tmp_path, "train", "02_tcp_le", "006", "00000675")
    both.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([Event(1, 2)], 12, "x"))
    typed = old_tusz(tmp_path, "dev", "01_tcp_ar", "010", "00001006")
    typed.with_suffix(".tse").write_text(TSE_BI.replace("seiz", "fnsz"))
    alone = old_tusz(tmp_path, "dev", "03_tcp_ar_a", "012", "00001217")
    alone.with_suffix(".tse_bi").rename(alone.with_suffix(".tse"))
    by_patient = {r.patient: r for r in scan(tmp_path)}
    session = "s002_2003_07_21"
    assert sorted(map(described, by_patient.values())) == [
        ("dev", "00001006", session, "01_tcp_ar"),
        ("dev", "00001217", session, "03_tcp_ar_a"),
        ("train", "00000258", session, "01_tcp_ar"),
        ("train", "00000675", session, "02_tcp_le"),
    ]
    assert {patient: (r.label_source, r.reason) for patient, r in by_patient.items()} == {
        "00000258": ("tse_bi", None),
        "00000675": ("csv_bi", None),
        "00001006": ("tse_bi+tse", None),
        "00001217": ("tse", None),
    }
    assert by_patient["00000258"].events == (Event(3, 7.25, "seiz", 0.9),)
    assert by_patient["00000675"].events == (Event(1, 2, "seiz"),)
    assert by_patient["00001006"].events == (Event(3, 7.25, "fnsz", 0.9),)
    assert {r.annotated_duration_s for r in by_patient.values()} == {12.0}


LBL_HEAD = """version = lbl_v1.0.0

montage =  0, FP1-F7: EEG FP1-REF -- EEG F7-REF
montage =  5, F8-T4 : EEG F8-REF  --  EEG T4-REF

number_of_levels = 1
level[0] = 1
symbols[0] = {0: '(null)', 1: 'bckg', 2: 'seiz', 3: 'fnsz'}

"""


def lbl_text(*rows: tuple[float, float, int, int]) -> str:
    """Text of an lbl with some events: start, stop, channel and number of the symbol."""
    lines = []
    for start, stop, channel, symbol in rows:
        vector = ", ".join("1.0" if n == symbol else "0.0" for n in range(4))
        lines.append(f"label = {{0, 0, {start:.4f}, {stop:.4f}, {channel}, [{vector}]}}")
    return LBL_HEAD + "\n".join(lines) + "\n"


def test_an_lbl_is_read_where_there_is_no_tse(tmp_path: Path) -> None:
    binary = lbl_text(
        *((0, 3, 0, 1), (3, 6, 0, 2), (6, 12, 0, 1)),
        *((0, 4, 5, 1), (4, 7.25, 5, 2), (7.25, 12, 5, 1)),
    )
    typed = binary.replace("0.0, 0.0, 1.0, 0.0", "0.0, 0.0, 0.0, 1.0")
    expected = {}
    for number, (suffixes, source, label) in enumerate(
        (
            (("lbl_bi",), "lbl_bi", "seiz"),
            (("lbl",), "lbl", "fnsz"),
            (("lbl_bi", "lbl"), "lbl_bi+lbl", "fnsz"),
            (("lbl_bi", "lbl", "tse_bi"), "tse_bi", "seiz"),
        )
    ):
        path = old_tusz(tmp_path, "train", "01_tcp_ar", "002", f"{number:08}")
        if "tse_bi" not in suffixes:
            path.with_suffix(".tse_bi").unlink()
        for suffix, text in (("lbl_bi", binary), ("lbl", typed)):
            if suffix in suffixes:
                path.with_suffix(f".{suffix}").write_text(text)
        expected[f"{number:08}"] = (source, label)
    rows = {r.patient: r for r in scan(tmp_path)}
    assert {name: (r.label_source, r.events[0].label) for name, r in rows.items()} == expected
    for row in rows.values():
        # One seizure of the montage, from its start on one channel to its end on the other.
        assert [(e.start, e.stop) for e in row.events] == [(3, 7.25)]
        assert (row.reason, row.findings, row.annotated_duration_s) == (None, (), 12)
    assert rows["00000000"].events[0].channels == ("FP1-F7", "F8-T4")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("version = lbl_v1.0.0", ""), "missing_header"),
        (("label = {0, 0, 3.0", "label = {0, 0, x3.0"), "malformed_row"),
        (("2: 'seiz', ", ""), "unknown_label"),
        (("[0.0, 0.0, 1.0, 0.0]", "[0.0, 0.5, 0.5, 0.0]"), "unknown_label"),
        ((LBL_HEAD, ""), "missing_header"),
    ],
)
def test_an_lbl_that_is_not_understood_excludes(change: tuple[str, str], code: str) -> None:
    text = lbl_text((0, 3, 0, 1), (3, 6, 0, 2), (6, 12, 0, 1))
    parsed = lbl.of_montage(lbl.parse(text, "x.lbl_bi"), 12)
    assert (parsed.usable, [(e.start, e.stop) for e in parsed.events]) == (True, [(3, 6)])
    damaged = lbl.of_montage(lbl.parse(text.replace(*change), "x.lbl_bi"), 12)
    assert not damaged.usable
    assert code in [finding.code for finding in damaged.findings]


README = """File: {name}
Database: TUH EEG {database}
Version: {version}
-----------------------------------------------------------
Change Log:

 v1.0.0 (20240207): Headers were modified.
"""


def test_releases_1_5_and_2_0_lie_side_by_side_and_the_release_is_read(tmp_path: Path) -> None:
    old_tusz(tmp_path, "train", "01_tcp_ar", "002", "00000258")
    # The name of the folder in releases until 1.5.0.
    old_tusz(tmp_path, "dev_test", "02_tcp_le", "006", "00000675")
    new = tmp_path / "edf" / "dev" / "aaaaaaac" / "s001_2002" / "02_tcp_le"
    path = write_edf(new / "aaaaaaac_s001_t000.edf", seed=9)
    path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([Event(1, 2)], 12, "x"))
    index = scan(tmp_path)
    assert [(*described(r), r.label_source) for r in index] == [
        ("dev", "aaaaaaac", "s001_2002", "02_tcp_le", "csv_bi"),
        ("dev", "00000675", "s002_2003_07_21", "02_tcp_le", "tse_bi"),
        ("train", "00000258", "s002_2003_07_21", "01_tcp_ar", "tse_bi"),
    ]
    assert (index.release, index.skipped) == ("", ())
    for name, database, version, release in (
        ("_AAREADME.txt", "Seizure Corpus", "1.5.0", "1.5.0"),
        ("AAREADME.txt", "Seizure Corpus (TUSZ)", "2.0.3", "2.0.3"),
        ("AAREADME.txt", "Seizure Corpus (TUSZ)", "v2.0.6", "2.0.6"),
        ("AAREADME.txt", "Epilepsy Corpus", "v3.0.0", "TUH EEG Epilepsy Corpus 3.0.0"),
    ):
        text = README.format(name=name, database=database, version=version)
        (tmp_path / name).write_text(text)
        # The folder above edf, and edf itself.
        assert scan(tmp_path).release == scan(tmp_path / "edf").release == release
    (tmp_path / "AAREADME.txt").write_text("Version: 9.9.9\n")
    assert scan(tmp_path).release == "1.5.0"


def test_the_index_keeps_the_release_and_the_command_compares_the_counts(
    tmp_path: Path, shell: Shell
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    old_tusz(data, "train", "01_tcp_ar", "002", "00000258")
    text = README.format(name="_AAREADME.txt", database="Seizure Corpus", version="1.5.0")
    (data / "_AAREADME.txt").write_text(text)
    home = ("--data-dir", data, "--cache-root", cache)
    done = shell.type("index", *home)
    assert "(tusz 1.5.0)" in done.stdout
    assert "TUSZ 1.5.0 has 5,610 recordings with 3,055 seizures: 1 with 1 are here" in done.stdout
    assert read_index(cache).release == "1.5.0"
    (data / "_AAREADME.txt").unlink()
    assert "(tusz)" in shell.type("index", *home).stdout
    assert read_index(cache).release == ""


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (TSE_BI, []),
        (TSE_BI.removeprefix("version = tse_v1.0.0"), ["missing_header:3"]),
        ("", ["missing_header"]),
        ("version = tse_v1.0.0\n", ["no_rows", "no_duration"]),
        (TSE_BI.replace("12.0000 bckg 1.0000", "12.00"), ["malformed_row:5"]),
        (TSE_BI.replace("7.2500 seiz", "2.0 seiz"), ["stop_before_start:4"]),
        (TSE_BI.replace("3.0000 7", "x 7"), ["malformed_row:4"]),
        (TSE_BI.replace("0.0000 3.0000 bckg 1.0000\n", ""), ["no_duration"]),
        (TSE_BI.replace("3.0000 7", "3.9000 7"), []),
        (TSE_BI.replace("3.0000 7", "4.1000 7"), ["no_duration"]),
    ],
)
def test_irregular_rows_of_a_tse_are_findings_with_their_line(text: str, codes: list[str]) -> None:
    parsed = tse.parse(text, "x.tse_bi")
    found = [f.code + f.where.removeprefix("x.tse_bi") for f in parsed.findings]
    assert found == codes
    assert parsed.usable == (not codes)


def test_the_duration_of_a_tse_is_the_stop_of_its_last_row() -> None:
    parsed = tse.parse(TSE_BI, "x.tse_bi")
    assert (parsed.duration_s, parsed.duration_line) == (12.0, 5)
    assert parsed.lines == (4,)


def bids(root: Path, table: str | None, subjects: int = 3) -> Path:
    """A BIDS dataset with a participants table."""
    for number in range(1, subjects + 1):
        write_edf(root / f"sub-{number:02}" / "eeg" / f"sub-{number:02}_eeg.edf")
    if table is not None:
        (root / "participants.tsv").write_text(table)
    return root


def test_the_table_of_participants_gives_the_splits(tmp_path: Path) -> None:
    head = "participant_id\tage\tsplit\n"
    table = head + "sub-01\t3\ttest\n02\t4\tTrain\nsub-03\tn/a\tval\nsub-09\t1\tn/a\n"
    data, cache = bids(tmp_path / "data", table), tmp_path / "cache"
    index = update_index(str(data), cache)
    assert [r.split for r in index] == ["eval", "train", "dev"]
    assert not changes(str(data), cache, Corpus(), index)
    # A change of the table is noticed and moves patients, although no EDF changed.
    (data / "participants.tsv").write_text(table.replace("\ttest", "\tdev"))
    assert changes(str(data), cache, Corpus(), index).changed == ("sub-01/eeg/sub-01_eeg",)
    moved = update_index(str(data), cache)
    assert [r.split for r in moved] == ["dev", "train", "dev"]
    assert [r.content_hash for r in moved] == [r.content_hash for r in index]
    far = update_index(f"file://{data}", tmp_path / "far")
    assert [r.split for r in far] == ["dev", "train", "dev"]


@pytest.mark.parametrize("table", [None, "", "participant_id\tage\nsub-01\t3\n"])
def test_without_a_split_column_splits_are_seeded(tmp_path: Path, table: str | None) -> None:
    index = scan(bids(tmp_path, table))
    assert [r.split for r in index] == [r.split for r in scan(bids(tmp_path / "x", None))]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("sub-01\ttrain\nsub-02\ttrain\nsub-03\tholdout\n", "'holdout' is not a split"),
        ("sub-01\ttrain\nsub-02\ttrain\n", "without a value for sub-03"),
        ("sub-01\ttrain\nsub-02\ttrain\nsub-03\tn/a\n", "without a value for sub-03"),
        ("sub-01\ttrain\n01\ttest\nsub-02\tdev\nsub-03\tdev\n", "sub-01 to both train and eval"),
    ],
)
def test_a_participants_table_with_invalid_splits_is_refused(
    tmp_path: Path, rows: str, says: str
) -> None:
    data = bids(tmp_path / "data", "participant_id\tsplit\n" + rows)
    line = refusal(data, tmp_path / "cache")
    assert says in line
    assert f"{data}/participants.tsv" in line


def as_schema_2(path: Path) -> None:
    """Turn an index into one of the previous schema, without hashes of the data."""
    file = open_checked(path.read_bytes())
    texts = {key: text for key, text in read_texts(file).items() if "brainbrr" in key}
    table = pq.read_table(path).drop_columns(["data_hash"])
    texts |= {"brainbrr.index": "2", "brainbrr.skipped": '["train/x.edf"]'}
    del texts["brainbrr.blake3"]
    path.write_bytes(encode_checked(pa.table(table), texts))


def test_an_older_index_is_replaced_without_hashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    paths = [labelled(tusz(data, "train", f"p{number}")) for number in range(4)]
    whole = update_index(str(data), cache)
    as_schema_2(index_path(cache))
    with pytest.raises(BrainbrrError, match="another version of the program"):
        read_index(cache)
    another_copy(paths[2], tmp_path / "new")
    (tmp_path / "new").replace(paths[2])
    hashed: list[Path] = []

    def counted(path: Path) -> Hashes:
        hashed.append(path)
        return edf_hashes(path)

    monkeypatch.setattr(files_module, "edf_hashes", counted)
    said: list[str] = []
    index = update_index(str(data), cache, log=said.append)
    assert hashed == [paths[2]]
    assert len(said) == 1
    unchanged = [0, 1, 3]
    for number in unchanged:
        row, before = index.recordings[number], whole.recordings[number]
        assert (row.content_hash, row.state) == (before.content_hash, before.state)
    assert index.recordings[2].content_hash == content_hash(paths[2])
    assert read_index(cache) == index
