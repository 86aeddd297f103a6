"""Which files of a folder are recordings: hidden files are not, and no file is read twice."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import State, plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.layouts.base import is_partition_key
from brainbrr_core.doctor.estimate import find_edfs
from brainbrr_core.prediction.files import edf_files
from brainbrr_core.synthesis import write_corpus_like
from tests.support.edf_files import another_copy, write_edf
from tests.support.machines import export_to, import_from, pull_from, push_to
from tests.support.object_store import FaultyProxy
from tests.support.small_run import small_config


def beside(edf: Path, name: str) -> Path:
    """A file with another name in the folder of an EDF."""
    path = edf.with_name(name)
    path.write_bytes(b"\x00\x05\x16\x07 of macOS")
    return path


def keys(index: Index) -> list[str]:
    return [recording.partition_key for recording in index]


def test_shadow_files_of_macos_are_reported_and_not_read(
    settings: Configuration, corpus: Path, tmp_path: Path
) -> None:
    before = scan(corpus)
    edfs = sorted(corpus.rglob("*.edf"))
    shadows = {beside(edf, f"._{edf.name}") for edf in edfs}
    trash = corpus / "edf" / "train" / ".Trashes" / "s1" / "m"
    write_edf(trash / "deleted.edf")
    after = scan(corpus)
    assert keys(after) == keys(before)
    relative = {path.relative_to(corpus / "edf").as_posix() for path in shadows}
    assert set(after.skipped) == {
        ("hidden_folder", "train/.Trashes/"),
        *(("hidden_edf", path) for path in relative),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from brainbrr_core.cli.app import main; main()", "index"],
        env={**os.environ, "BRAINBRR_CONFIG": small_config(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "not read: 12 hidden_edf: " in done.stdout
    assert sum(f"\n  {path}\n" in done.stdout for path in relative) == 10
    assert "\n  and 2 more\n" in done.stdout
    assert "not read: 1 hidden_folder: " in done.stdout
    assert "\n  train/.Trashes/\n" in done.stdout
    assert settings.cache_root.is_dir()


def test_other_commands_ignore_hidden_files_too(corpus: Path, tmp_path: Path) -> None:
    for edf in sorted(corpus.rglob("*.edf")):
        beside(edf, f"._{edf.name}")
    assert len(edf_files(corpus)[0]) == 12
    found, complete = find_edfs(corpus, seconds=60)
    assert (len(found), complete) == (12, True)
    assert write_corpus_like(tmp_path / "twin", corpus, seed=0, workers=1).recordings == 12


def test_an_old_index_with_hidden_files_needs_no_force(corpus: Path) -> None:
    whole = scan(corpus)
    shadows = tuple(
        replace(r, partition_key=f"{Path(r.partition_key).parent}/._x{number}")
        for number, r in enumerate(whole)
    )
    known = Index(whole.recordings + shadows, whole.layout)
    assert keys(scan(corpus, known)) == keys(whole)


@pytest.mark.parametrize(
    ("name", "is_key"),
    [
        ("train/p/s/m/x", True),
        ("Übung 3/Aufnahme 1", True),
        ("脳波\u3000一/\xa0x", True),
        ("a\\b/c;d'e\"", True),
        ("a/._x", False),
        (".git/x", False),
        ("a//b", False),
        ("../x", False),
        ("/x", False),
        ("", False),
        ("a/x\n1", False),
        ("a/\x1b[2Jx", False),
        ("a/\udcff", False),
        ("a/\u2028x", False),
    ],
)
def test_a_partition_key_is_printable_and_not_hidden(name: str, is_key: bool) -> None:
    assert is_partition_key(name) == is_key


def test_a_file_name_that_is_not_text_is_reported_and_not_read(corpus: Path) -> None:
    folder = sorted(corpus.rglob("*.edf"))[0].parent
    for name in (b"\xff\xfe.edf", b"a\nb.edf", b"\x1b[2J.edf"):
        (folder / os.fsdecode(name)).write_bytes(b"x")
    index = scan(corpus)
    assert len(index) == 12
    assert {item.kind for item in index.skipped} == {"no_text"}
    assert sorted(Path(item.path).name for item in index.skipped) == [
        "\\udcff\\udcfe.edf",
        "\\x1b[2J.edf",
        "a\\nb.edf",
    ]
    assert all(item.path.isprintable() for item in index.skipped)


def test_any_index_can_be_sent_and_exported(
    settings: Configuration, corpus: Path, tmp_path: Path, s3: FaultyProxy
) -> None:
    originals = sorted(corpus.rglob("*.edf"))
    names = ["Übung 3", "脳波\u3000一", "a\\b;c'\"d", "\xa0x"]
    for name in names:
        for path in originals[0].parent.glob(f"{originals[0].stem}.*"):
            another_copy(path, path.with_name(f"{name}{path.suffix}"), names.index(name))
    beside(originals[1], f"._{originals[1].name}")
    plan = plan_corpus(settings)
    assert build(plan, settings.preprocessing, workers=1).failed == []
    assert s3.url
    push_to(settings)
    empty = {"cache_root": tmp_path / "pulled", "data_dir": None}
    pulled = settings.model_copy(update=empty)
    pull_from(pulled)
    assert plan_profile(pulled).count(State.FRESH) == 16
    archive = tmp_path / "cache.tar"
    export_to(settings, archive)
    imported = settings.model_copy(update=empty | {"cache_root": tmp_path / "imported"})
    import_from(imported, archive)
    assert plan_profile(imported).count(State.FRESH) == 16


@pytest.mark.parametrize("split", ["dev", "eval", "train"])
@pytest.mark.parametrize("target", [".", "..", "/", "edf/train", "edf/dev/.."])
def test_circular_links_end_and_do_not_move_recordings_to_another_split(
    corpus: Path, split: str, target: str
) -> None:
    before = scan(corpus)
    patient = sorted((corpus / "edf" / split).iterdir())[0]
    (patient / "again").symlink_to(Path(os.path.normpath(corpus / target)))
    (patient / "self").symlink_to(patient / "self")
    (patient / "up").symlink_to("..")
    after = scan(corpus)
    assert keys(after) == keys(before)
    below = f"{split}/{patient.name}"
    assert set(after.skipped) == {
        ("linked_again", f"{below}/again/"),
        ("linked_again", f"{below}/up/"),
        ("broken_link", f"{below}/self"),
    }


def test_a_linked_folder_is_read_once(corpus: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_edf(elsewhere / "s1" / "m" / "zz_s1_t0.edf")
    (corpus / "edf" / "train" / "zz").symlink_to(elsewhere)
    (corpus / "edf" / "train" / "zzz").symlink_to(elsewhere)
    index = scan(corpus)
    assert [key for key in keys(index) if "zz" in key] == ["train/zz/s1/m/zz_s1_t0"]
    assert index.skipped == (("linked_again", "train/zzz/"),)
