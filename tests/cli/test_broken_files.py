"""Files that are no recordings, or broken ones: what each command says of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bids import write_bids
from tests.support.edf_files import patch, write_edf
from tests.support.project import ROOT
from tests.support.services import HANGS_S
from tests.support.shell import BIN, Shell, clean_environment

#: What is said of each file of the folder; the header of the good one has 20 signals.
SAID = {
    "circle": "Too many levels of symbolic links",
    "nothing": "No such file or directory",
    "pipe": "not a file",
    "empty": "the file is empty",
    "text": "no EDF header",
    "length": "the header contradicts itself: its length is 1024 bytes, and",
    "number": "the number of data records is not a number",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A patient with a good recording, and with everything that is none."""
    patient = tmp_path / "data" / "p1"
    good = write_edf(patient / "good, 'a' \"b\" é.edf")
    for name in ("length", "number"):
        (patient / f"{name}.edf").write_bytes(good.read_bytes())
    patch(patient / "length.edf", 184, b"1024", 8)
    patch(patient / "number.edf", 236, b"x", 8)
    (patient / "circle.edf").symlink_to("circle.edf")
    (patient / "nothing.edf").symlink_to("/nowhere")
    os.mkfifo(patient / "pipe.edf")
    (patient / "empty.edf").touch()
    (patient / "text.edf").write_text("hello\n")
    (patient / "folder.edf").mkdir()
    return patient.parent


def indexed(folder: Path, shell: Shell) -> tuple[dict[str, str], str]:
    environment = {
        "BRAINBRR_DATA_DIR": str(folder),
        "BRAINBRR_CACHE_ROOT": str(folder.parent / "cache"),
        "BRAINBRR_CONFIG": "full:cpu",
    }
    done = shell.type("index", "--layout", "folder", "--list", environment=environment)
    assert "Traceback" not in done.stderr
    return environment, done.stdout + done.stderr


def test_an_index_names_every_file_that_it_cannot_use(folder: Path, shell: Shell) -> None:
    _, said = indexed(folder, shell)
    for name, reason in SAID.items():
        assert re.search(rf"^p1/{name}\t.*\texcluded\tunreadable\t.*{reason}", said, re.MULTILINE)
    assert "p1/good, 'a' \"b\" é\t" in said
    assert "not read: 1 folder_named_edf: a folder that is named like an EDF" in said
    assert "\n  p1/folder.edf/\n" in said


def test_an_inspection_says_what_the_path_is(folder: Path, shell: Shell, tmp_path: Path) -> None:
    environment, _ = indexed(folder, shell)
    kinds = dict.fromkeys(SAID, "") | {
        "circle": "a link to nothing",
        "nothing": "a link to nothing",
        "pipe": "a pipe or a device",
        "folder": "a folder",
    }
    for name, kind in kinds.items():
        path = folder / "p1" / f"{name}.edf"
        done = shell.type("inspect", path, "--out", tmp_path / "page", environment=environment)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        said = f"{path} is {kind}: give the path of an EDF" if kind else SAID[name]
        assert said in line


@pytest.mark.parametrize(
    "words",
    [
        lambda tmp_path: ("deidentify", "DATA", tmp_path / "out", "--secret", tmp_path / "secret"),
        lambda tmp_path: ("predict", "DATA", tmp_path / "out", "--run", "pretrained"),
    ],
    ids=["deidentify", "predict"],
)
def test_a_folder_is_worked_through_and_each_broken_file_is_named(
    words: Callable[[Path], tuple[object, ...]], folder: Path, shell: Shell, tmp_path: Path
) -> None:
    done = shell.type(*(folder if word == "DATA" else word for word in words(tmp_path)))
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for name, reason in SAID.items():
        assert re.search(rf"p1/{name}\.edf\b.*{reason}", said), name
    assert len([path for path in (tmp_path / "out").rglob("good*") if path.is_file()]) == 1


HEADER = "onset\tduration\teventType\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"\ufeff{HEADER}1\t2\tsz\n".encode("utf-16-le"), None),
        (f"\ufeff{HEADER}1\t2\tsz\n".encode("utf-16-be"), None),
        (f"\ufeff{HEADER}1\t2\tsz\n".encode(), None),
        (f"{HEADER}1\t2\tsz\n".replace("\n", "\r\n").encode(), None),
        (f"{HEADER}1\t2\tsz\n1\t".encode(), "events.tsv:3: malformed_row (2 of 3 cells)"),
        (f"{HEADER}2\t-1\tsz\n".encode(), "events.tsv:2: stop_before_start (duration -1.0000 s)"),
        (f"{HEADER}900\t2\tsz\n".encode(), "events.tsv:2: event_outside (900.0000 to 902.0000 s"),
        (b"", "events.tsv:1: missing_header"),
        (None, "events.tsv: unreadable_annotation (not a file)"),
    ],
)
def test_broken_annotations_are_named_with_their_line(
    content: bytes | None, said: str | None, shell: Shell, tmp_path: Path
) -> None:
    edf = write_edf(tmp_path / "data" / "sub-1" / "eeg" / "sub-1_task-sz_eeg.edf")
    events = edf.with_name("sub-1_task-sz_events.tsv")
    if content is None:
        os.mkfifo(events)
    else:
        events.write_bytes(content)
    words = ("--data-dir", tmp_path / "data", "--cache-root", tmp_path / "cache")
    listed = shell.type("index", "--list", "--config=full:cpu", *words).stdout
    if said is None:
        assert "\tok\t" in listed and "1 to 3 s seiz" in listed
        assert shell.type("score", events, events).returncode == 0
        return
    assert "\tunlabeled\t" in listed and said in listed
    if content is None:
        secret = tmp_path / "secret"
        copied = shell.type("deidentify", tmp_path / "data", tmp_path / "out", "--secret", secret)
        assert "sub-1/eeg/sub-1_task-sz_events.tsv" in copied.stderr
        refused = shell.refused("score", events.parent, events.parent)
        assert f"{events} cannot be read (not a file)" in refused


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("participants.tsv", 2, "participants.tsv cannot be read (not a file), and it may assign"),
        ("task-rest_channels.tsv", 1, "task-rest_channels.tsv cannot be read (not a file)"),
        ("task-rest_eeg.json", 0, "bad_eeg_json (not a file)"),
        ("sub-01/eeg/sub-01_task-rest_channels.tsv", 0, "channels.tsv cannot be read (not a file)"),
        ("sub-01/eeg/sub-01_task-rest_events.tsv", 0, "unreadable_annotation (not a file)"),
        # What is not read is not waited for either.
        ("sub-01/sub-01_scans.tsv", 0, ""),
        ("dataset_description.json", 0, ""),
    ],
)
def test_a_pipe_in_the_place_of_a_table_is_not_waited_for(
    tmp_path: Path, name: str, status: int, said: str
) -> None:
    root = write_bids(tmp_path / "bids", ["sub-01", "sub-02"], ["sub-03"])
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    words = ("index", "--list", "--data-dir", root, "--cache-root", tmp_path / "cache")
    # Not in this process, which would wait as well.
    done = subprocess.run(
        [BIN / "brainbrr", *words],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS_S,
    )
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_link_in_a_circle_beside_the_folders_of_a_layout_is_no_error(
    shell: Shell, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write_edf(root / "train" / "aaaaaaaa" / "s001_2010" / "01_tcp_ar" / "aaaaaaaa_s001_t000.edf")
    (root / "circle").symlink_to("circle")
    words = ("index", "--data-dir", root, "--cache-root", tmp_path / "cache", "--config=full:cpu")
    (root / "eval").symlink_to("/nowhere")
    printed = shell.type(*words).stdout + shell.type(*words).stderr
    assert "not read: 2 broken_link: a link without a target" in printed
    assert "\n  circle\n  eval\n" in printed
    (tmp_path / "loop").symlink_to("loop")
    for typed in (
        ("index", "--data-dir", tmp_path / "loop", "--cache-root", tmp_path / "other"),
        ("deidentify", tmp_path / "loop", tmp_path / "out"),
        ("predict", tmp_path / "loop", tmp_path / "out"),
    ):
        assert "loop" in shell.refused(*typed)


def test_no_path_of_a_user_is_resolved_by_what_raises_for_a_circle() -> None:
    for path in (ROOT / "brainbrr_core").rglob("*.py"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if ".resolve()" in line and "__file__" not in line] == []
