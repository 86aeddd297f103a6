"""A copy of a corpus is one: the same events, splits and patients, and nothing about people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from brainbrr_core.annotation import chbmit, seizeit, siena
from brainbrr_core.configuration import Corpus
from brainbrr_core.corpus.index import scan
from brainbrr_core.deidentification.folder import Naming, deidentify, remaining
from brainbrr_core.deidentification.secret import Secret
from tests.support.annotation_files import whole
from tests.support.edf_files import patch, write_edf
from tests.support.public_corpora import write_chbmit, write_seizeit, write_siena

SECRET = Secret(bytes(range(32)))
#: Written wherever a file has room for text; in no word of a copy.
NAME = "Zwettler"
CSV = "# bname = Zwettler\n# duration = 12.00 secs\nchannel,start_time,stop_time,label,confidence\n"
LBL = """# Zwettler
version = lbl_v1.0.0
number_of_levels = 1
level[0] = 1
montage = 0, FP1-F7: EEG FP1-REF -- EEG F7-REF by Zwettler
symbols[0] = {0: '(null)', 1: 'Zwettler', 2: 'bckg', 3: 'seiz'}
label = {0, 0, 0.0000, 4.0000, 0, [0.0, 0.0, 1.0, 0.0]}
label = {0, 0, 4.0000, 9.0000, 0, [0.0, 0.0, 0.0, 1.0]}
label = {0, 0, 9.0000, 12.0000, 0, [0.0, 0.0, 1.0, 0.0]}
"""
TABLE = "onset\tduration\teventType\tdateTime\tnotes\n"


def chbmit_tree(root: Path) -> Path:
    write_chbmit(root)
    (root / "RECORDS-WITH-SEIZURES").write_text(
        "chb01/chb01_02.edf\nchb01/chb01_03+.edf\nchb24/chb24_01.edf\nZwettler\n"
    )
    (root / "SUBJECT-INFO").write_text(
        "Case\tGender\tAge (years)\tName\n\nchb01\tF\t11\tZwettler\nchb02\tF\t 7\tZwettler\n"
    )
    summary = root / "chb24" / "chb24-summary.txt"
    edf = write_edf(root / "chb24" / "chb24_02.edf", seconds=40, rate=128, seed=2)
    summary.write_text(f"of {NAME}\n{summary.read_text()}File Name: {edf.name}\nNo seizure for her")
    return root


def siena_tree(root: Path) -> Path:
    write_siena(root)
    (root / "subject_info.csv").write_text(
        "patient_id, age_years, gender, seizure, localization\n"
        "PN00,95,Male,IAS,Zwettler\nPN01,46,Male,WIAS,T\nPN06,Zwettler,Male,FBTC,T\nPN09,1,Male,IAS,T\n"
    )
    listed = root / "PN01" / "Seizures-list-PN01.txt"
    listed.write_text(
        listed.read_text().replace("19:01:20", "19:01:20 or 19.01.22 says Zwettler")
        + "File name: Zwettler.edf\nSeizure n 3 (Zwettler)\nStart time: about five\n"
        + "Seizure at 10.10.10 Zwettler\n"
    )
    return root


def seizeit_tree(root: Path) -> Path:
    write_seizeit(root)
    path = root / "P_ID31" / "P_ID31_r2_a1.tsv"
    path.write_text(
        "# Gender: Female\n# Age: 95\n" + path.read_text().replace("Hem:L", NAME) + f"# {NAME}\n"
    )
    other = write_edf(root / "P_ID31" / "P_ID31_r3.edf", seconds=40, seed=3)
    other.with_name("P_ID31_r3_a1.tsv").write_text(
        f"# Subject: {NAME}\n# Gender: {NAME}\n# Recording: r3\n1\t2\tFIA\t\n"
    )
    return root


def bids_tree(root: Path) -> Path:
    """Two subjects, a table for both runs of one and one above all subjects."""
    for number, stem in enumerate(
        ("sub-01/eeg/sub-01_task-a_run-1", "sub-01/eeg/sub-01_task-a_run-2")
    ):
        write_edf(root / f"{stem}_eeg.edf", seed=number)
    write_edf(root / "sub-02/ses-1/eeg/sub-02_ses-1_task-b_eeg.edf", seed=3)
    write_edf(root / "sub-03/eeg/sub-03_task-b_eeg.edf", seed=4)
    row = f"3\t4\tsz_foc\t2019-03-12 10:00:00\tby {NAME}\n"
    (root / "sub-01" / "eeg" / "sub-01_task-a_events.tsv").write_text(TABLE + row)
    (root / "task-b_events.tsv").write_text(TABLE + row)
    (root / "sub-01" / "sub-01_channels.tsv").write_text(
        "name\ttype\tunits\tstatus\tstatus_description\n"
        f"EEG F3-REF\tEEG\tuV\tbad ({NAME})\t{NAME}\n{NAME}\t{NAME}\t{NAME}\tgood\tn/a\n"
    )
    (root / "task-b_eeg.json").write_text(
        json.dumps({"PowerLineFrequency": 50, "InstitutionName": NAME, "TaskName": NAME})
    )
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tsplit\tname\n"
        f"sub-01\t34\tF\ttrain\t{NAME}\nsub-02\t101\tm\tdev\t{NAME}\nsub-03\tn/a\t{NAME}\ttest\tx\n"
        f"sub-04\t34\tF\ttrain\t{NAME}\n"
    )
    (root / "participants.json").write_text(json.dumps({"name": NAME}))
    (root / "sub-02" / "sub-02_scans.tsv").write_text(
        "filename\tacq_time\nx\t2019-03-12T10:00:00\n"
    )
    return root


def tusz_tree(root: Path) -> Path:
    """The forms of both releases side by side."""
    new = root / "train/aaaaaaaa/s001_2003/01_tcp_ar/aaaaaaaa_s001_t000"
    old = root / "dev/01_tcp_ar/002/aaaaaaab/s001_2004/aaaaaaab_s001_t000"
    lbl = root / "eval/01_tcp_ar/002/aaaaaaac/s001_2004/aaaaaaac_s001_t000"
    for number, stem in enumerate((new, old, lbl)):
        write_edf(stem.with_suffix(".edf"), seed=number)
    new.with_suffix(".csv_bi").write_text(
        f"{CSV}TERM,0.0,3.0,bckg,1.0\nTERM,3.0,8.0,seiz,1.0\nTERM,8.0,12.0,bckg,1.0\n"
    )
    new.with_suffix(".csv").write_text(f"{CSV}FP1-F7,3.0,8.0,cpsz,1.0\n")
    old.with_suffix(".tse_bi").write_text(
        f"# {NAME}\nversion = tse_v1.0.0\n\n0.0 5.0 bckg 1.0\n5.0 9.0 seiz 1.0\n9.0 12.0 bckg 1.0\n"
    )
    lbl.with_suffix(".lbl_bi").write_text(LBL)
    (root / "AAREADME.txt").write_text(
        f"File: x\nDatabase: TUH EEG Seizure Corpus (TUSZ)\nVersion: v2.0.3\n\n{NAME}\n"
    )
    return root


def folder_tree(root: Path) -> Path:
    for number, patient in enumerate(("a", "b", "c")):
        path = write_edf(root / patient / "x.edf", seconds=300, rate=128, seed=number)
        path.with_suffix(".csv_bi").write_text(whole((10.0 + number, 20.0)))
    (root / "split.tsv").write_text(
        f"participant_id\tsplit\tname\na\ttrain\t{NAME}\nb\tdev\t{NAME}\nc\teval\t{NAME}\n"
    )
    return root


@pytest.mark.parametrize(
    ("tree", "layout", "seizures"),
    [
        (chbmit_tree, "chbmit", 5),
        (siena_tree, "siena", 5),
        (seizeit_tree, "seizeit1", 2),
        (bids_tree, "bids", 4),
        (tusz_tree, "tusz", 3),
        (folder_tree, "folder", 3),
    ],
)
def test_the_index_of_a_copy_is_that_of_its_source(
    tree: Callable[[Path], Path], layout: str, seizures: int, tmp_path: Path
) -> None:
    source, out = tree(tmp_path / "in"), tmp_path / "out"
    for edf in source.rglob("*.edf"):
        patch(edf, 8, f"MRN7 F 02-MAY-1951 {NAME}".encode(), 80)
    copied = deidentify(source, out, SECRET, Naming())
    assert copied.refused == []
    settings = Corpus(layout="folder") if layout == "folder" else Corpus()
    before, after = (scan(folder, corpus=settings) for folder in (source, out))
    assert (before.layout, after.layout) == (layout, layout)
    rows = [
        [
            (
                *(one.partition_key, one.split, one.patient, one.session, one.montage, one.samples),
                *(one.events, one.signal_reason, one.label_reason, one.findings),
                *(one.age, one.sex),
            )
            for one in index.recordings
        ]
        for index in (before, after)
    ]
    assert rows[0] == rows[1]
    events = [event for one in before.recordings for event in one.events]
    assert sum(event.label != "unknown" for event in events) == seizures
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in (NAME.encode(), b"2019", b"MRN7", b"1951"))
    assert any(NAME.encode() in path.read_bytes() for path in source.rglob("*") if path.is_file())
    assert remaining(out)[1] == []
    # Nothing is lost without a word: each file was copied or is named.
    left = {path for path, _ in copied.left}
    for path in source.rglob("*"):
        relative = path.relative_to(source)
        assert path.is_dir() or (out / relative).is_file() or str(relative) in left


def test_tables_of_people_have_age_sex_and_split_of_those_who_are_there(tmp_path: Path) -> None:
    for tree in (bids_tree, siena_tree, chbmit_tree):
        name = tree.__name__
        copied = deidentify(tree(tmp_path / name), tmp_path / f"{name}-out", SECRET, Naming())
        assert copied.items["person"] == 1
    out = tmp_path / "bids_tree-out"
    assert (out / "participants.tsv").read_text() == (
        "participant_id\tage\tsex\tsplit\n"
        "sub-01\t34\tF\ttrain\nsub-02\t90\tm\tdev\nsub-03\tn/a\tn/a\ttest\n"
    )
    assert (out / "sub-01" / "sub-01_channels.tsv").read_text() == (
        "name\ttype\tunits\tstatus\nEEG F3-REF\tEEG\tuV\tbad\n"
    )
    assert json.loads((out / "task-b_eeg.json").read_text()) == {"PowerLineFrequency": 50}
    # Two patients, whose dates move by different numbers of days.
    assert (out / "task-b_events.tsv").read_text().splitlines()[1] == "3\t4\tsz_foc\tn/a"
    assert (tmp_path / "siena_tree-out" / "subject_info.csv").read_text() == (
        "patient_id,age_years,gender,seizure\nPN00,90,Male,IAS\nPN01,46,Male,WIAS\nPN06,n/a,Male,FBTC\n"
    )
    assert (tmp_path / "chbmit_tree-out" / "SUBJECT-INFO").read_text() == (
        "Case\tGender\tAge (years)\nchb01\tF\t11\n"
    )


def test_what_is_left_behind_is_named_with_the_reason(tmp_path: Path) -> None:
    copied = deidentify(bids_tree(tmp_path / "in"), tmp_path / "out", SECRET, Naming())
    assert sorted(copied.left) == [
        ("participants.json", "other"),
        ("sub-02/sub-02_scans.tsv", "other"),
    ]
    copied = deidentify(tmp_path / "in", tmp_path / "new", SECRET, Naming(rename=True))
    assert {path for path, why in copied.left if why == "renamed"} == {
        *("participants.tsv", "task-b_events.tsv", "task-b_eeg.json"),
        *("sub-01/eeg/sub-01_task-a_events.tsv", "sub-01/sub-01_channels.tsv"),
    }


def test_a_list_of_seizures_keeps_its_lines_and_what_they_mean(tmp_path: Path) -> None:
    text = (siena_tree(tmp_path / "s") / "PN01" / "Seizures-list-PN01.txt").read_text()
    kept = siena.without_free_text(text, ["PN01-1.edf"])
    before, after = siena.parse(text, "x"), siena.parse(kept, "x")
    assert len(kept.splitlines()) == len(text.splitlines())
    assert [(one.start, one.end) for one in before.seizures] == [
        (one.start, one.end) for one in after.seizures
    ]
    assert [one.name for one in after.seizures] == [*["PN01.edf"] * 2, *["unknown.edf"] * 2]
    assert siena.without_free_text(kept, ["PN01-1.edf"]) == kept
    text = (chbmit_tree(tmp_path / "c") / "chb24" / "chb24-summary.txt").read_text()
    kept = chbmit.summary_without_free_text(text, ["chb24_01.edf"])
    for edf in ("chb24_01.edf", "chb24_02.edf"):
        assert chbmit.parse(kept, "x", edf) == chbmit.parse(text, "x", edf)
    assert "her" not in kept
    path = seizeit_tree(tmp_path / "i") / "P_ID31" / "P_ID31_r2_a1.tsv"
    text = path.read_text()
    kept = seizeit.without_free_text(text, path.name)
    assert seizeit.parse(kept, path.name) == seizeit.parse(text, path.name)
    assert kept.splitlines()[:2] == ["# Gender: Female", "# Age: 90"]
    assert kept.splitlines()[6:8] == ["5\t12\tFIA", "20\tNone\tFA"]
