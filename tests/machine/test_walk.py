"""One walk through folders: for an index, a prediction, a path, ``file://`` and any address."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from brainbrr_core.annotation import tuh
from brainbrr_core.configuration import Corpus
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.corpus.layouts.tusz import annotates_tuh
from brainbrr_core.corpus.skipped import SKIPPED, Skipped, skipped_in_folder
from brainbrr_core.doctor.estimate import find_edfs
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.walk import walk
from brainbrr_core.prediction.files import edf_files
from brainbrr_core.remote.connect import open_remote
from tests.support.edf_files import write_edf
from tests.support.shell import Shell

FOLDER = Corpus(layout="folder")


class Linked(LocalFileSystem):
    """A place that, as sftp does, calls a link a link and says what it leads to when asked."""

    protocol = "linked"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("linked://host")))

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        entries = super().ls(path, detail=True, **kwargs)
        for entry in entries:
            if entry.pop("islink"):
                entry["type"] = "link"
            del entry["created"], entry["ino"]
        return entries if detail else [entry["name"] for entry in entries]


@pytest.fixture
def linked() -> None:
    fsspec.register_implementation("linked", Linked, clobber=True)


def recording(path: Path, seed: int = 0) -> Path:
    write_edf(path, seed=seed)
    path.with_suffix(".csv_bi").write_text(tuh.format_csv_bi([], 12, path.stem))
    return path


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Three patients: a folder, a linked folder, linked files; and what is to be passed over."""
    data, store = tmp_path / "data", tmp_path / "store"
    recording(data / "pat0" / "a.edf", 0)
    recording(store / "pat1" / "deep" / "a.edf", 1)
    (data / "pat1").symlink_to(store / "pat1")
    recording(store / "pat2" / "a.edf", 2)
    (data / "pat2").mkdir()
    for path in (store / "pat2").iterdir():
        (data / "pat2" / path.name).symlink_to(path)
    (data / "pat0" / "loop").symlink_to(data)
    (store / "pat1" / "deep" / "up").symlink_to("..")
    recording(data / ".git" / "annex" / "objects" / "b.edf", 3)
    (data / "pat0" / "._a.edf").write_bytes(b"\0\5\x16\7")
    (data / "pat0" / "folder.edf").mkdir()
    (data / "pat0" / "@eaDir" / "a.edf").mkdir(parents=True)
    write_edf(data / "pat0" / "@eaDir" / "b.edf", seed=4)
    return data


WANTED = ["pat0/a", "pat1/deep/a", "pat2/a"]


def keys(index: Index) -> list[str]:
    return [recording.partition_key for recording in index]


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("address", ["{}", "file://{}", "linked://host{}"])
def test_every_address_of_a_folder_has_the_same_recordings(
    patients: Path, tmp_path: Path, address: str
) -> None:
    url = address.format(patients)
    index = update_index(url, tmp_path / "cache", FOLDER)
    assert keys(index) == WANTED
    assert [r.reason for r in index] == [None] * 3
    # Nothing changed: the index is the same, and nothing is fetched for it.
    assert update_index(url, tmp_path / "cache", FOLDER) == index


def test_a_prediction_and_an_estimate_have_the_recordings_of_the_index(patients: Path) -> None:
    paths, skipped = edf_files(patients)
    assert paths == [patients / f"{key}.edf" for key in WANTED]
    assert {item.kind for item in skipped} == {
        "folder_named_edf",
        "hidden_edf",
        "hidden_folder",
        "linked_again",
        "system_folder",
    }
    found, complete = find_edfs(patients, seconds=60)
    assert (sorted(found), complete) == (paths, True)


def test_skipped_files_are_named(patients: Path, tmp_path: Path) -> None:
    index = update_index(str(patients), tmp_path / "cache", FOLDER)
    assert set(index.skipped) == {
        ("hidden_edf", "pat0/._a.edf"),
        ("system_folder", "pat0/@eaDir/"),
        ("linked_again", "pat0/loop/"),
        ("hidden_folder", ".git/"),
        ("linked_again", "pat1/deep/up/"),
        ("folder_named_edf", "pat0/folder.edf/"),
    }
    assert all(item.kind in SKIPPED for item in index.skipped)


def test_a_folder_is_read_by_its_own_path_and_not_by_a_link_that_sorts_first(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    recording(data / "train" / "zz" / "s1" / "m" / "zz_s001_t000.edf")
    (data / "train" / "aa").symlink_to(data / "train" / "zz")
    (data / "eval").mkdir()
    (data / "eval" / "bb").symlink_to(data / "train" / "zz" / "s1")
    index = update_index(str(data), tmp_path / "cache")
    assert keys(index) == ["train/zz/s1/m/zz_s001_t000"]
    assert set(index.skipped) == {("linked_again", "train/aa/"), ("linked_again", "eval/bb/")}


def test_a_subject_that_is_a_link_to_another_is_one_patient(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_edf(data / "sub-02" / "eeg" / "sub-02_eeg.edf")
    (data / "sub-01").symlink_to("sub-02")
    (data / "sub-03").symlink_to(tmp_path / "unmounted")
    index = update_index(str(data), tmp_path / "cache")
    assert keys(index) == ["sub-02/eeg/sub-02_eeg"]
    assert set(index.skipped) == {("linked_again", "sub-01/"), ("broken_link", "sub-03")}


def test_a_patient_behind_a_link_to_nowhere_is_named(patients: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store" / "pat1")
    index = update_index(str(patients), tmp_path / "cache", FOLDER)
    assert ("broken_link", "pat1") in index.skipped
    assert keys(index) == ["pat0/a", "pat2/a"]


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have nobody look into a folder, whoever runs this."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("address", ["{}", "file://{}", "linked://host{}"])
def test_a_folder_that_cannot_be_read_ends_everything(
    patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    locked = patients / "pat1" / "deep"
    forbid(monkeypatch, locked)
    with pytest.raises(BrainbrrError) as error:
        update_index(address.format(patients), tmp_path / "cache", FOLDER)
    assert str(error.value).count("\n") == 0
    assert "linked" in address or str(locked) in str(error.value)
    with pytest.raises(BrainbrrError, match=f"{locked} cannot be read"):
        edf_files(patients)


def test_no_file_is_asked_for_its_state(patients: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = os.stat

    def counted(path: Any, *args: Any, **options: Any) -> os.stat_result:
        asked.append(str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", counted)
    files = [entry.name for listing in walk([patients]) for entry in listing.files]
    assert len(files) == 7
    assert not [path for path in asked if path.endswith(("a.edf", ".csv_bi"))]


def test_what_lies_beside_recordings_is_named_by_its_kind() -> None:
    names = [
        "a.edf",
        "a.csv_bi",
        "B.EDF",
        "B.csv_bi",
        "lost.csv_bi",
        "lost.csv",
        "lost.tse_bi",
        ".rsync.edf.Xa81Qz",
        "rsync.csv_bi",
        "chrome.edf.crdownload",
        "aws.edf.6eF3aB1c",
        "rclone.edf.6ef3ab1c.partial",
        "gsutil.edf_.gstmp",
        "packed.edf.gz",
        "packed.csv_bi",
        "packed.csv_bi.gz",
        "capitals.CSV_BI",
        "Notes.CSV",
        "biosemi.bdf",
        "brainvision.vhdr",
        "brainvision.eeg",
        "eeglab.set",
        "chb01_03.edf.seizures",
        "a.edf.md5",
        ".DS_Store",
        "._a.csv_bi",
        "notes.txt",
    ]
    edfs = [name for name in names if name.lower().endswith(".edf")]
    assert sorted(skipped_in_folder(names, edfs, annotates_tuh)) == [
        ("annotation_not_read", "capitals.CSV_BI"),
        ("annotation_not_read", "packed.csv_bi.gz"),
        ("annotation_without_edf", "lost.csv_bi"),
        ("annotation_without_edf", "rsync.csv_bi"),
        ("other_format", "biosemi.bdf"),
        ("other_format", "brainvision.vhdr"),
        ("other_format", "eeglab.set"),
        ("other_format", "packed.edf.gz"),
        ("unfinished_transfer", ".rsync.edf.Xa81Qz"),
        ("unfinished_transfer", "aws.edf.6eF3aB1c"),
        ("unfinished_transfer", "chrome.edf.crdownload"),
        ("unfinished_transfer", "gsutil.edf_.gstmp"),
        ("unfinished_transfer", "rclone.edf.6ef3ab1c.partial"),
    ]


def test_a_table_of_events_may_be_that_of_several_recordings(tmp_path: Path) -> None:
    eeg = tmp_path / "data" / "sub-01" / "eeg"
    write_edf(eeg / "sub-01_task-sz_run-00_eeg.edf")
    for name in ("sub-01_task-sz", "sub-01_task-sz_run-00", "sub-01_task-sz_run-01"):
        (eeg / f"{name}_events.tsv").touch()
    (eeg.parent / "other").mkdir()
    (eeg.parent / "other" / "sub-01_task-rest_events.tsv").touch()
    (eeg.parent / "sub-01.mff").mkdir()
    index = update_index(str(tmp_path / "data"), tmp_path / "cache")
    assert set(index.skipped) == {
        ("annotation_without_edf", "sub-01/eeg/sub-01_task-sz_run-01_events.tsv"),
        ("other_format", "sub-01/sub-01.mff/"),
    }


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_what_is_not_read_is_counted_by_kind(
    shell: Shell, patients: Path, tmp_path: Path, address: str
) -> None:
    (patients / "pat0" / "b.csv_bi").touch()
    (patients / "pat0" / "c.nwb").write_bytes(b"HDF")
    environment = {
        "BRAINBRR_DATA_DIR": address.format(patients),
        "BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"),
    }
    done = shell.type("index", "--layout", "folder", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "not read: 1 annotation_without_edf: " in done.stdout
    assert "\n  pat0/b.csv_bi\n" in done.stdout
    assert "not read: 1 other_format: " in done.stdout
    assert "\n  pat0/c.nwb\n" in done.stdout


NAMES = [b"m\xfcller.edf", b"new\nline.edf", b"tab\tx.edf"]


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_a_name_that_is_no_text_is_escaped_and_the_others_are_read(
    shell: Shell, tmp_path: Path, address: str
) -> None:
    data = tmp_path / "data"
    plain = recording(data / "pat" / "plain.edf")
    for name in NAMES:
        shutil.copy(plain, data / "pat" / os.fsdecode(name))
        shutil.copy(plain, data / "pat" / os.fsdecode(name.replace(b".edf", b".csv_bi")))
    environment = {
        "BRAINBRR_DATA_DIR": address.format(data),
        "BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"),
    }
    for more in ([], ["--list"], ["--json", "--list"]):
        done = shell.type("index", "--layout", "folder", *more, environment=environment)
        assert done.returncode == 0, done.stderr
    assert '"found": 1,' in done.stdout
    assert r"pat/m\\udcfcller.edf" in done.stdout
    paths, skipped = edf_files(data)
    assert paths == [plain]
    assert set(skipped) == {
        Skipped("no_text", r"pat/m\udcfcller.edf"),
        Skipped("no_text", r"pat/new\nline.edf"),
        Skipped("no_text", r"pat/tab\tx.edf"),
    }
    with pytest.raises(BrainbrrError, match="not named in UTF-8"):
        edf_files(data / "pat" / os.fsdecode(NAMES[0]))


def test_a_corpus_whose_own_name_is_no_text_is_refused_in_one_line(
    shell: Shell, tmp_path: Path
) -> None:
    data = tmp_path / os.fsdecode(b"m\xfcller")
    recording(data / "pat" / "a.edf")
    environment = {
        "BRAINBRR_DATA_DIR": str(data),
        "BRAINBRR_CACHE_ROOT": str(tmp_path / "cache"),
    }
    done = shell.type("index", "--layout", "folder", environment=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert r"m\udcfcller is not UTF-8" in done.stderr


def test_a_remote_entry_that_is_not_a_file_is_an_unreadable_recording(tmp_path: Path) -> None:
    data = tmp_path / "data"
    recording(data / "pat" / "a.edf")
    (data / "pat" / "gone.edf").symlink_to(tmp_path / "nowhere")
    os.mkfifo(data / "pat" / "pipe.edf")
    for address in (str(data), f"file://{data}"):
        index = update_index(address, tmp_path / address.partition(":")[0][-4:], FOLDER)
        assert {r.partition_key: r.reason for r in index} == {
            "pat/a": None,
            "pat/gone": "unreadable",
            "pat/pipe": "unreadable",
        }


def test_an_address_that_is_no_folder_holds_nothing(tmp_path: Path) -> None:
    assert open_remote(f"file://{tmp_path}/none").states("") == {}
    (tmp_path / "one").write_text("x")
    assert list(open_remote(str(tmp_path)).states("one")) == ["one"]
