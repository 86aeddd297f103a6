"""CHB-MIT, the Siena database and SeizeIT1 are recognized and read as their providers have them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.configuration import Corpus, Split
from brainbrr_core.configuration.settings import Preprocessing
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.corpus.layouts.base import Folder
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.inspection.inspection import inspect_recording
from tests.support.edf_files import patch
from tests.support.public_corpora import edf, write_chbmit, write_seizeit, write_siena
from tests.support.shell import Shell


def events(index: Index) -> dict[str, tuple[Event, ...]]:
    return {recording.path.rpartition("/")[2]: recording.events for recording in index}


def codes(recording: Recording) -> list[str]:
    """The codes of findings about the annotation."""
    return [f.code for f in recording.findings if f.where != recording.file_name]


def test_chbmit_is_recognized_with_the_seizures_of_its_summaries(tmp_path: Path) -> None:
    index = scan(write_chbmit(tmp_path))
    assert (index.layout, index.skipped) == ("chbmit", ())
    assert events(index) == {
        "chb01_01.edf": (),
        "chb01_02.edf": (Event(10, 22),),
        "chb01_03+.edf": (Event(1, 5), Event(30, 40)),
        "chb21_01.edf": (),
        "chb24_01.edf": (Event(3, 6), Event(20, 25)),
    }
    assert {r.partition_key for r in index} >= {"chb01/chb01_03+", "chb21/chb21_01"}
    assert {r.label_reason for r in index} == {None}
    assert {r.label_source for r in index} == {"summary.txt"}
    assert [r.annotated_duration_s for r in index] == [40, 40, 40, 40, None]
    assert [codes(r) for r in index] == [[]] * 5


def test_the_person_of_two_cases_of_chbmit_is_one_patient(tmp_path: Path) -> None:
    write_chbmit(tmp_path)
    for case in ("chb02", "chb03", "chb04"):
        edf(tmp_path / case / f"{case}_01.edf", datetime(2015, 3, 2, 1))
    # Seeds with which the two names, as two patients, would be in two splits.
    apart = Corpus(patient_pattern="^([^/]+)/")
    seeds = []
    for seed in range(40):
        divided = {
            r.patient: r.split
            for r in scan(tmp_path, corpus=apart.model_copy(update={"split": Split(seed=seed)}))
        }
        if divided["chb01"] != divided["chb21"]:
            seeds.append(seed)
    assert len(seeds) > 3
    for seed in seeds[:4]:
        index = scan(tmp_path, corpus=Corpus(split=Split(seed=seed)))
        cases = {r.partition_key[:5]: (r.patient, r.split) for r in index}
        assert cases["chb01"] == cases["chb21"]
        assert {patient for patient, _ in cases.values()} == {
            *("chb01", "chb02", "chb03", "chb04", "chb24")
        }


def test_an_edf_that_the_summary_lacks_is_excluded_and_one_that_is_missing_is_named(
    tmp_path: Path,
) -> None:
    write_chbmit(tmp_path)
    (tmp_path / "chb01" / "chb01_02.edf").unlink()
    edf(tmp_path / "chb01" / "chb01_04.edf", datetime(2015, 3, 2, 1))
    (tmp_path / "chb24" / "chb24-summary.txt").unlink()
    edf(tmp_path / "chb01" / "old" / "chb01_01.edf", datetime(2015, 3, 2, 2))
    index = scan(tmp_path)
    assert set(index.skipped) == {
        ("listed_without_edf", "chb01/chb01_02.edf"),
        ("not_of_layout", "chb01/old/chb01_01.edf"),
    }
    rows = index.by_key()
    unlisted = rows["chb01/chb01_04"]
    assert (unlisted.label_reason, codes(unlisted)) == ("no_annotation", ["not_listed"])
    assert rows["chb24/chb24_01"].label_reason == "no_annotation"
    assert rows["chb01/chb01_01"].label_reason is None


def test_what_a_summary_leaves_out_has_no_seizure_if_the_inventory_says_so(tmp_path: Path) -> None:
    write_chbmit(tmp_path)
    for name in ("chb01/chb01_04", "chb24/chb24_02", "chb24/chb24_03", "chb21/chb21_02"):
        edf(tmp_path / f"{name}.edf", datetime(2015, 3, 2, 1))
    # chb01_01 has no seizure, and chb01_02 is left out.
    (tmp_path / "RECORDS-WITH-SEIZURES").write_text(
        "chb01/chb01_01.edf\nchb01/chb01_03+.edf\nchb24/chb24_01.edf\nchb24/chb24_03.edf\n\n"
    )
    rows = scan(tmp_path).by_key()
    assert {key: (row.label_reason, codes(row)) for key, row in rows.items()} == {
        "chb01/chb01_01": (None, ["inventory_contradicts"]),
        "chb01/chb01_02": (None, ["inventory_contradicts"]),
        "chb01/chb01_03+": (None, []),
        "chb01/chb01_04": (None, ["only_in_inventory"]),
        "chb21/chb21_01": (None, []),
        # The list has no recording of chb21 at all, so it says nothing about it.
        "chb21/chb21_02": ("no_annotation", ["not_listed"]),
        "chb24/chb24_01": (None, []),
        "chb24/chb24_02": (None, ["only_in_inventory"]),
        "chb24/chb24_03": ("no_annotation", ["not_listed"]),
    }
    assert rows["chb24/chb24_02"].events == rows["chb01/chb01_01"].events == ()
    assert rows["chb01/chb01_02"].events == (Event(10, 22),)


def test_siena_is_recognized_with_exact_seconds(tmp_path: Path) -> None:
    index = scan(write_siena(tmp_path))
    assert (index.layout, index.skipped) == ("siena", ())
    assert events(index) == {
        "PN00-1.edf": (Event(3, 13, "cpsz"),),
        # Over midnight.
        "PN00-2.edf": (Event(8, 19, "cpsz"),),
        "PN01-1.edf": (Event(6, 11, "spsz"), Event(26, 36, "spsz")),
        "PN06-4.edf": (Event(11, 21, "fnsz"),),
    }
    # Referential signals of the 19 electrodes, so that all of it can be used.
    assert {r.reason for r in index} == {None}
    assert [codes(r) for r in index] == [[], [], ["other_file_name"], ["other_file_name"]]
    assert [r.patient for r in index] == ["PN00", "PN00", "PN01", "PN06"]


def test_clock_times_count_from_the_start_in_the_edf(tmp_path: Path) -> None:
    first = scan(write_siena(tmp_path))
    path = tmp_path / "PN00" / "PN00-1.edf"
    patch(path, 176, b"19.39.31", 8)
    moved = scan(tmp_path, first).by_key()["PN00/PN00-1"]
    assert moved.events == (Event(5, 15, "cpsz"),)
    assert (moved.reason, codes(moved)) == (None, ["clock_mismatch"])
    patch(path, 176, b"16.39.31", 8)
    wrong = scan(tmp_path, first).by_key()["PN00/PN00-1"]
    assert (wrong.label_reason, codes(wrong)[0]) == ("bad_annotation", "clock_contradicts")
    patch(path, 176, b"00.00.99", 8)
    unknown = scan(tmp_path, first).by_key()["PN00/PN00-1"]
    assert (unknown.events, codes(unknown)) == ((Event(3, 13, "cpsz"),), ["clock_unchecked"])


def test_a_file_that_siena_lists_and_that_is_missing_is_named(tmp_path: Path) -> None:
    write_siena(tmp_path)
    (tmp_path / "PN06" / "PN06-4.edf").unlink()
    edf(tmp_path / "PN06" / "PN06-5.edf", datetime(2016, 1, 1, 13, 24, 41))
    index = scan(tmp_path)
    assert index.skipped == (("listed_without_edf", "PN06/PNO6-4.edf"),)
    row = index.by_key()["PN06/PN06-5"]
    assert (row.label_reason, codes(row)) == ("no_annotation", ["not_listed"])


def test_a_corrected_list_is_read_again_and_hashes_no_edf(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_siena(data)
    first = update_index(str(data), cache)
    assert update_index(str(data), cache) == first == read_index(cache)
    assert not changes(str(data), cache, Corpus(), first)
    path = data / "PN00" / "Seizures-list-PN00.txt"
    path.write_text(path.read_text().replace("19.39.46", "19.39.50"))
    expected = ("PN00/PN00-1", "PN00/PN00-2")
    assert changes(str(data), cache, Corpus(), first).changed == expected
    second = update_index(str(data), cache)
    assert events(second)["PN00-1.edf"] == (Event(3, 17, "cpsz"),)
    # The table of types is one of the files that describe a recording.
    table = data / "subject_info.csv"
    table.write_text(table.read_text().replace("IAS,T", "FBTC,T"))
    assert events(update_index(str(data), cache))["PN00-2.edf"] == (Event(8, 19, "fnsz"),)


def test_seizeit_is_recognized(tmp_path: Path) -> None:
    index = scan(write_seizeit(tmp_path))
    assert (index.layout, index.skipped) == ("seizeit1", ())
    assert events(index) == {
        "P_ID31_r1.edf": (),
        "P_ID31_r2.edf": (Event(5, 12, "cpsz"), Event(20, 40, UNKNOWN)),
    }
    assert [(r.patient, r.reason) for r in index] == [("P_ID31", None)] * 2
    (tmp_path / "P_ID31" / "P_ID31_r2.edf").unlink()
    assert scan(tmp_path).skipped == (("annotation_without_edf", "P_ID31/P_ID31_r2_a1.tsv"),)


@pytest.mark.parametrize(
    ("write", "layout"), [(write_chbmit, "chbmit"), (write_siena, "siena")], ids=["chbmit", "siena"]
)
def test_a_corpus_behind_an_address_has_the_index_of_the_folder(
    write: Callable[[Path], Path], layout: str, tmp_path: Path
) -> None:
    local = scan(write(tmp_path / "data"))
    remote = update_index((tmp_path / "data").as_uri(), tmp_path / "cache")
    assert remote.layout == layout
    assert events(remote) == events(local)
    assert [codes(r) for r in remote] == [codes(r) for r in local]


def test_the_second_annotator_of_seizeit_alone_is_named_and_not_read(tmp_path: Path) -> None:
    write_seizeit(tmp_path)
    tables = sorted((tmp_path / "P_ID31").glob("*_a1.tsv"))
    both = tables[1].with_name(tables[1].name.replace("_a1", "_a2"))
    both.write_text(tables[0].read_text().replace("r1", "r2"))
    tables[0].rename(tables[0].with_name(tables[0].name.replace("_a1", "_a2")))
    first, second = scan(tmp_path)
    assert (first.label_reason, codes(first)) == ("no_annotation", ["second_annotator_only"])
    assert second.events == (Event(5, 12, "cpsz"), Event(20, 40, UNKNOWN))
    # Also where no recording of the corpus has that of the first.
    tables[1].unlink()
    index = scan(tmp_path)
    assert (index.layout, index.skipped) == ("seizeit1", ())
    assert [codes(row) for row in index] == [["second_annotator_only"]] * 2


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (write_chbmit, ("chb01/chb01-summary.txt", "chb24/chb24-summary.txt")),
        (write_chbmit, ("RECORDS-WITH-SEIZURES",)),
        (write_siena, ("PN00/Seizures-list-PN00.txt", "subject_info.csv")),
    ],
)
@pytest.mark.parametrize("change", [str.title, lambda name: name.swapcase()])
def test_lists_are_found_in_any_case(
    write: Callable[[Path], Path],
    names: tuple[str, ...],
    change: Callable[[str], str],
    tmp_path: Path,
) -> None:
    write(tmp_path)
    if write is write_chbmit:
        # The summary leaves this one out; that it has no seizure is what the inventory says.
        edf(tmp_path / "chb24" / "chb24_02.edf", datetime(2015, 3, 2, 1))
        (tmp_path / "RECORDS-WITH-SEIZURES").write_text("chb24/chb24_01.edf\n")
    index = scan(tmp_path)
    assert {r.label_reason for r in index} == {None}
    for name in names:
        path = tmp_path / name
        path.rename(path.with_name(change(path.name)))
    again = scan(tmp_path)
    assert (again.layout, again.skipped) == (index.layout, index.skipped)
    assert events(again) == events(index)
    assert [r.label_reason for r in again] == [r.label_reason for r in index]
    # Which of two is meant is not known: both are named.
    two = {change(path.name), path.name[0].swapcase() + path.name[1:]}
    assert len(two) == 2
    for own in two:
        path.with_name(own).write_bytes(b"")
    assert Folder(str(path.parent), ()).in_any_case(path.name) == ()

    def reported() -> set[str]:
        skipped = scan(tmp_path).skipped
        return {name for kind, name in skipped if kind == "other_case"}

    folder = path.parent.relative_to(tmp_path)
    assert reported() == {(folder / own).as_posix() for own in two}
    # One of the usual name is read, and they stay named.
    path.write_bytes(b"")
    assert reported() == {(folder / own).as_posix() for own in two}


@pytest.mark.parametrize("name", ["chb01", "PN00", "P_ID31"])
def test_folders_with_such_names_alone_are_no_such_corpus(name: str, tmp_path: Path) -> None:
    edf(tmp_path / name / "night.edf", datetime(2016, 1, 1))
    with pytest.raises(BrainbrrError, match="select another layout with --layout") as refused:
        scan(tmp_path)
    assert "chbNN/*.edf with chbNN-summary.txt (chbmit)" in str(refused.value)
    assert [r.patient for r in scan(tmp_path, corpus=Corpus(layout="folder"))] == [name]


def test_the_same_samples_under_two_patients_are_refused_as_in_any_corpus(tmp_path: Path) -> None:
    write_siena(tmp_path)
    shutil.copy(tmp_path / "PN00" / "PN00-1.edf", tmp_path / "PN06" / "PN06-4.edf")
    with pytest.raises(BrainbrrError, match=r"PN00/PN00-1 = PN06/PN06-4"):
        scan(tmp_path)


def test_the_command_names_the_layout_and_what_is_missing(tmp_path: Path, shell: Shell) -> None:
    write_chbmit(tmp_path / "data")
    (tmp_path / "data" / "chb01" / "chb01_02.edf").unlink()
    home = ("--data-dir", str(tmp_path / "data"), "--cache-root", str(tmp_path / "cache"))
    done = shell.type("index", "--list", *home)
    # A title that is longer than the terminal is broken.
    assert f"{tmp_path / 'data'}(chbmit)" in "".join(done.stdout.split())
    assert "chb01/chb01_02.edf" in done.stdout
    assert "1 to 5 s seiz; 30 to 40 s seiz" in done.stdout
    assert "CHB-MIT 1.0.0 has 686 recordings with 198 seizures: 4 with 4 are here" in done.stdout
    counts = json.loads(shell.type("index", "--json", *home).stdout)
    assert counts["complete"] == {"title": "CHB-MIT 1.0.0", "recordings": 686, "seizures": 198}
    assert (counts["found"], counts["listed_seizures"]) == (4, 4)


@pytest.mark.parametrize(
    ("write", "name", "expected"),
    [
        (write_chbmit, "chb01/chb01_03+.edf", (Event(1, 5), Event(30, 40))),
        (write_siena, "PN00/PN00-2.edf", (Event(8, 19, "cpsz"),)),
        (write_seizeit, "P_ID31/P_ID31_r2.edf", (Event(5, 12, "cpsz"), Event(20, 40, UNKNOWN))),
    ],
    ids=["chbmit", "siena", "seizeit1"],
)
def test_an_edf_in_no_index_is_inspected_with_its_seizures(
    write: Callable[[Path], Path],
    name: str,
    expected: tuple[Event, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(tmp_path / "data") / name
    assert inspect_recording(path, Preprocessing()).events == expected
    monkeypatch.chdir(path.parent)
    assert inspect_recording(Path(path.name), Preprocessing()).events == expected
    path.rename(tmp_path / "elsewhere.edf")
    assert inspect_recording(tmp_path / "elsewhere.edf", Preprocessing()).events == ()
