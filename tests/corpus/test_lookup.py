"""The recording that a user names by its key, or by a part of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from brainbrr_core.corpus.index import Index, scan
from brainbrr_core.corpus.lookup import find_recording
from brainbrr_core.errors import BrainbrrError
from tests.support.shell import Shell


@pytest.fixture(scope="module")
def index(master_corpus: Path) -> Index:
    """Two sessions of one patient, with seven recordings in all, and another patient's one."""
    row = scan(master_corpus).recordings[0]
    keys = [
        *(f"train/aaaaaaab/s001/01_tcp_ar/aaaaaaab_s001_t{n:03}" for n in range(6)),
        "train/aaaaaaab/s002/01_tcp_ar/aaaaaaab_s002_t000",
        "dev/aaaaaaac/s001/01_tcp_ar/aaaaaaac_s001_t007",
    ]
    rows = [replace(row, partition_key=key, patient=key.split("/")[1]) for key in sorted(keys)]
    return Index(tuple(rows), "tusz")


@pytest.mark.parametrize(
    "name",
    [
        "dev/aaaaaaac/s001/01_tcp_ar/aaaaaaac_s001_t007",
        "aaaaaaac_s001_t007",
        "aaaaaaac_s001_t007.edf",
        "01_tcp_ar/aaaaaaac_s001_t007.EDF",
        "t007",
    ],
)
def test_a_key_and_its_end_name_a_recording(index: Index, name: str) -> None:
    assert find_recording(index, name).partition_key == index.recordings[0].partition_key


def test_an_end_that_several_have_lists_five_of_them(index: Index) -> None:
    with pytest.raises(BrainbrrError) as refused:
        find_recording(index, "t000")
    assert str(refused.value).startswith("2 recordings are named t000: train/aaaaaaab/s001")
    with pytest.raises(BrainbrrError) as refused:
        # The empty name and a digit are ends of several.
        find_recording(index, "0")
    assert "aaaaaaab_s002_t000" in str(refused.value)
    many = replace(
        index,
        recordings=tuple(
            replace(r, partition_key=f"{r.partition_key}_x") for r in index.recordings
        ),
    )
    with pytest.raises(BrainbrrError, match="8 recordings are named _x: ") as refused:
        find_recording(many, "_x")
    assert str(refused.value).count("tcp_ar") == 5
    assert " and 3 more: " in str(refused.value)


def test_the_nearest_is_of_the_same_patient(index: Index) -> None:
    with pytest.raises(BrainbrrError) as refused:
        find_recording(index, "aaaaaaab_s001_t007")
    assert "nearest of this patient is train/aaaaaaab/s001" in str(refused.value)
    for name in ("aaaaaaad_s001_t007", "aaaaaaa", "", "/"):
        with pytest.raises(BrainbrrError) as refused:
            find_recording(index, name)
        assert "nearest" not in str(refused.value)


def test_inspect_takes_a_file_name(shell: Shell, master_corpus: Path, tmp_path: Path) -> None:
    options = ("--cache-root", tmp_path / "cache", "--data-dir", master_corpus)
    assert shell.type("index", *options).returncode == 0
    edf = sorted(master_corpus.rglob("*.edf"))[0]
    for name in (edf.name, edf.stem):
        out = tmp_path / f"{name}.html"
        done = shell.type("inspect", name, "--out", out, "--seconds", 20, *options)
        assert done.returncode == 0, done.stderr
        assert out.is_file()
    assert "no recording none.edf" in shell.refused("inspect", "none.edf", *options)
