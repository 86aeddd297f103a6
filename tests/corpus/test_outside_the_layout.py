"""Recordings beside the folders that a layout searches are named, and nothing else there is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from brainbrr_core.configuration import Corpus
from brainbrr_core.corpus.index import scan
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.errors import BrainbrrError
from tests.support.edf_files import write_edf
from tests.support.privileges import modes_apply
from tests.support.public_corpora import edf, write_chbmit, write_siena

NIGHT = datetime(2015, 3, 1, 23, 59, 30)


@pytest.fixture
def tusz(tmp_path: Path) -> Path:
    root = tmp_path / "tusz"
    write_edf(root / "train" / "aaaaaaaa" / "s001_2010" / "01_tcp_ar" / "aaaaaaaa_s001_t000.edf")
    return root


def outside(root: Path) -> set[tuple[str, str]]:
    return {(kind, path) for kind, path in scan(root).skipped}


def test_a_split_in_capitals_is_named(tusz: Path) -> None:
    write_edf(tusz / "Eval" / "aaaaaaab" / "s001_2010" / "01_tcp_ar" / "aaaaaaab_s001_t000.edf")
    (tusz / "DOCS").mkdir()
    (tusz / "DOCS" / "notes.txt").touch()
    index = scan(tusz)
    assert index.skipped == (("folder_not_of_layout", "Eval/"),)
    assert [recording.patient for recording in index] == ["aaaaaaaa"]


def test_patients_under_other_names_are_named(tmp_path: Path) -> None:
    write_chbmit(tmp_path)
    edf(tmp_path / "CHB05" / "chb05_01.edf", NIGHT)
    edf(tmp_path / "more" / "chb06" / "chb06_01.edf", NIGHT)
    edf(tmp_path / "chb07_01.edf", NIGHT)
    write_siena(tmp_path)
    assert outside(tmp_path) == {
        ("folder_not_of_layout", "CHB05/"),
        ("folder_not_of_layout", "more/"),
        *(("folder_not_of_layout", f"{name}/") for name in ("PN00", "PN01", "PN06")),
        ("not_of_layout", "chb07_01.edf"),
    }
    # The same behind an address.
    remote = update_index(tmp_path.as_uri(), tmp_path.parent / f"{tmp_path.name}-cache")
    assert {(kind, path) for kind, path in remote.skipped} == outside(tmp_path)


def test_a_bids_dataset_has_folders_that_are_no_raw_data(tmp_path: Path) -> None:
    for name in ("sub-01", "derivatives/clean/sub-01", "sourcedata/sub-01", "Sub-02"):
        write_edf(tmp_path / name / "eeg" / "sub-01_task-sz_eeg.edf")
    assert outside(tmp_path) == {("folder_not_of_layout", "Sub-02/")}


def test_links_and_hidden_folders_are_not_named(tusz: Path) -> None:
    (tusz / "latest").symlink_to(tusz / "train")
    (tusz / "again").symlink_to(tusz)
    write_edf(tusz / ".trash" / "a.edf")
    (tusz / "empty").mkdir()
    (tusz / "empty" / "._a.edf").touch()
    assert outside(tusz) == set()


def test_a_closed_folder_beside_the_corpus_stops_nothing(tusz: Path) -> None:
    private = tusz / "private"
    write_edf(private / "a.edf", seed=1)
    assert outside(tusz) == {("folder_not_of_layout", "private/")}
    private.chmod(0)
    try:
        with modes_apply():
            assert outside(tusz) == set()
    finally:
        private.chmod(0o755)


def test_a_layout_that_searches_everything_has_nothing_outside(tmp_path: Path) -> None:
    for patient in ("p1", "sub-02", "chb01"):
        write_edf(tmp_path / patient / "a.edf", seed=len(patient))
    assert scan(tmp_path, corpus=Corpus(layout="folder")).skipped == ()


def test_tables_whose_names_differ_in_case_are_named(tmp_path: Path) -> None:
    write_edf(tmp_path / "sub-01" / "eeg" / "sub-01_task-sz_eeg.edf")
    events = tmp_path / "sub-01" / "eeg" / "sub-01_task-sz_Events.tsv"
    events.write_text("onset\tduration\teventType\n0\t5\tsz\n")
    (tmp_path / "Participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    named = {("annotation_not_read", "sub-01/eeg/sub-01_task-sz_Events.tsv")}
    named |= {("other_case", "Participants.tsv")}
    assert outside(tmp_path) == named
    for name in ("participants.tsv", "split.tsv", "Split.TSV"):
        (tmp_path / name).write_text("participant_id\tsplit\nsub-01\tdev\n")
    index = scan(tmp_path)
    assert set(index.skipped) == {*named, ("other_case", "Split.TSV")}
    assert [row.split for row in index] == ["dev"]
    # Behind an address, too.
    remote = update_index(tmp_path.as_uri(), tmp_path.parent / f"{tmp_path.name}-cache")
    assert set(remote.skipped) == set(index.skipped)


def test_a_table_of_splits_that_only_its_case_hides_is_refused(tmp_path: Path) -> None:
    write_edf(tmp_path / "sub-01" / "eeg" / "sub-01_task-sz_eeg.edf")
    (tmp_path / "Split.tsv").write_text("participant_id\tsplit\nsub-01\tdev\n")
    with pytest.raises(BrainbrrError, match=r"/Split\.tsv may assign splits, and only split\.tsv"):
        scan(tmp_path)
