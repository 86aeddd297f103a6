"""Another corpus on a cache root is said to be that, whatever the layouts of the two are."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from brainbrr_core.configuration import Corpus
from brainbrr_core.corpus.changes import changes
from brainbrr_core.corpus.index_file import read_index, update_index
from brainbrr_core.errors import BrainbrrError
from tests.support.bids import add_subject, write_bids
from tests.support.edf_files import write_edf

LAYOUTS = ["tusz", "bids", "folder"]
PATIENTS = ("aaa", "bbb", "ccc")
#: Settings with which each layout is indexed first: one of them is not detected.
CHOSEN = {"tusz": Corpus(), "bids": Corpus(), "folder": Corpus(layout="folder")}


def write(layout: str, data: Path, number: int) -> Path:
    """A corpus of three recordings, whose names differ from those of another number."""
    for patient in PATIENTS:
        name = f"{patient}{number}"
        if layout == "bids":
            add_subject(data, f"sub-{name}", seed=number)
        elif layout == "folder":
            write_edf(data / name / f"{name}.edf", seed=PATIENTS.index(patient) + 10 * number)
        else:
            folder = data / "train" / name / "s001" / "01_tcp_ar"
            write_edf(folder / f"{name}_s001_t000.edf", seed=number)
    return data


@pytest.mark.parametrize(("first", "second"), list(product(LAYOUTS, LAYOUTS)))
def test_another_corpus_is_named_whatever_its_layout(
    tmp_path: Path, first: str, second: str
) -> None:
    cache = tmp_path / "cache"
    before = update_index(str(write(first, tmp_path / "a", 1)), cache, CHOSEN[first])
    other = write(second, tmp_path / "b", 2)
    asked = [Corpus()] if second != "folder" else [Corpus(), CHOSEN["folder"]]
    for corpus in asked:
        with pytest.raises(BrainbrrError) as refused:
            update_index(str(other), cache, corpus)
        assert str(refused.value).startswith(
            f"this cache root belongs to another corpus than {other} (3 recordings, such as "
        )
        assert "BRAINBRR_CACHE_ROOT" in str(refused.value)
    assert read_index(cache) == before
    # Asked to replace it, the layout is that of the new corpus.
    replaced = update_index(str(other), cache, asked[-1], force=True)
    assert (replaced.layout, len(replaced)) == (second, 3)
    assert replaced.by_key().keys().isdisjoint(before.by_key())


@pytest.mark.parametrize("second", LAYOUTS[:2])
def test_a_sensor_sees_another_corpus_as_changes(tmp_path: Path, second: str) -> None:
    cache = tmp_path / "cache"
    (first,) = set(LAYOUTS[:2]) - {second}
    index = update_index(str(write(first, tmp_path / "a", 1)), cache)
    found = changes(str(write(second, tmp_path / "b", 2)), cache, Corpus(), index)
    assert (len(found.added), len(found.removed)) == (3, 3)


def test_a_smaller_corpus_with_the_same_names_is_another_one(tmp_path: Path) -> None:
    names = [f"sub-{number:02}" for number in range(10)]
    first, second = write_bids(tmp_path / "a", names), tmp_path / "b"
    for name in names[:3]:
        add_subject(second, name, seconds=20, seed=1)
    update_index(str(first), tmp_path / "cache")
    with pytest.raises(BrainbrrError, match="this cache root belongs to another corpus"):
        update_index(str(second), tmp_path / "cache")
    # A part of the same corpus is not another one.
    write_bids(tmp_path / "part", names[:3])
    with pytest.raises(BrainbrrError, match="7 of 10 indexed recordings are gone"):
        update_index(str(tmp_path / "part"), tmp_path / "cache")


def test_a_corpus_without_patients_is_another_one_before_they_are_asked_for(
    tmp_path: Path,
) -> None:
    first = write("folder", tmp_path / "a", 1)
    update_index(str(first), tmp_path / "cache", CHOSEN["folder"])
    for number in range(2):
        write_edf(tmp_path / "b" / f"night-{number}.edf", seed=number)
    with pytest.raises(BrainbrrError, match="this cache root belongs to another corpus"):
        update_index(str(tmp_path / "b"), tmp_path / "cache")


@pytest.mark.parametrize("inside", [None, "lost+found", "notes.txt"])
def test_an_unmounted_drive_is_not_another_corpus(tmp_path: Path, inside: str | None) -> None:
    first = write("bids", tmp_path / "a", 1)
    before = update_index(str(first), tmp_path / "cache")
    first.rename(tmp_path / "away")
    first.mkdir()
    if inside is not None:
        (first / inside).mkdir()
    with pytest.raises(BrainbrrError) as refused:
        update_index(str(first), tmp_path / "cache")
    assert "another corpus" not in str(refused.value)
    assert read_index(tmp_path / "cache") == before
