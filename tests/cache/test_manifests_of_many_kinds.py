"""Manifests of recordings with several labels, in pieces, and of splits that are not fit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from brainbrr_core.annotation import UNKNOWN, Event
from brainbrr_core.cache import manifest_file
from brainbrr_core.cache.manifest import (
    Manifest,
    ManifestRecording,
    counts,
    make_manifest,
    with_splits,
)
from brainbrr_core.cache.manifest_file import read_manifest, update_manifest, write_manifest
from brainbrr_core.cache.plan import State, plan_profile
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check, check_folds
from brainbrr_core.cache.status import status
from brainbrr_core.configuration import Configuration
from brainbrr_core.configuration.settings import Selection, Split, Windows
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index, write_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.errors import BrainbrrError, WorkRemains

#: Windows of 60 s, one every 10 s.
WINDOW_S, STRIDE_S = 60, 10


def manifest(*seizures: tuple[tuple[float, float, str], ...]) -> Manifest:
    """A manifest of one recording of 150 s, thus of ten windows, for each tuple of seizures."""
    recordings = tuple(
        ManifestRecording(f"train/p{n}/x", "train", f"p{n}", "01_tcp_ar", "f", 150 * 256, events)
        for n, events in enumerate(seizures)
    )
    rows = [(n, start) for n in range(len(recordings)) for start in range(0, 100, STRIDE_S)]
    ictal = [
        sum(
            max(0.0, min(stop, start + WINDOW_S) - max(begin, start))
            for begin, stop, _ in seizures[n]
        )
        / WINDOW_S
        for n, start in rows
    ]
    return Manifest(
        profile="small",
        version="v1",
        source="s",
        window_samples=WINDOW_S * 256,
        recordings=recordings,
        recording=np.array([n for n, _ in rows], np.int32),
        start=np.array([start * 256 for _, start in rows], np.int64),
        ictal=np.array(ictal, np.float32),
        category=np.array([int(part > 0) for part in ictal], np.int8),
        unknown=np.zeros(len(rows), np.float32),
        without_windows={},
        unknown_windows={},
    )


def test_a_window_has_the_label_of_the_first_seizure_in_it(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(
        manifest(
            ((5.0, 8.0, "fnsz"), (65.0, 75.0, "gnsz"), (80.0, 85.0, "fnsz")),
            (),
            ((100.0, 101.0, "absz"),),
        ),
        path,
    )
    types = pq.read_table(path)["seizure_type"].to_pylist()
    # From 0 s the first is in it; from 10 s to 70 s the second; from 80 s on the third.
    assert types[:10] == ["fnsz", *["gnsz"] * 7, "fnsz", None]
    assert types[10:20] == [None] * 10
    # Until 100 s is not yet in it, and from 50 s to 90 s it is.
    assert types[20:] == [*[None] * 5, *["absz"] * 5]


def test_a_manifest_is_the_same_in_whatever_pieces_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = manifest(((5.0, 8.0, "fnsz"),), (), (), ((65.0, 75.0, "gnsz"),), ())
    write_manifest(one, tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for pieces in (1, 2, 4, 5):
        monkeypatch.setattr(manifest_file, "AT_ONCE", pieces)
        path = tmp_path / f"{pieces}.parquet"
        write_manifest(one, path)
        assert path.read_bytes() == whole
        assert read_manifest(path).recordings == one.recordings


def test_a_name_that_looks_like_the_end_of_a_recording_is_read_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings are cut apart at ``],["`` in the text of a manifest, and names may end so."""
    one = manifest((), ((5.0, 8.0, "fnsz"),), (), ())
    odd = tuple(replace(r, patient="],[") if n % 2 else r for n, r in enumerate(one.recordings))
    write_manifest(replace(one, recordings=odd), tmp_path / "m.parquet")
    for characters in (1, 60, 1 << 18):
        monkeypatch.setattr(manifest_file, "_CHARACTERS", characters)
        assert read_manifest(tmp_path / "m.parquet").recordings == odd


def test_a_split_without_recordings_is_not_counted(built: Configuration) -> None:
    made = manifest(((5.0, 8.0, "fnsz"),), ())
    assert list(counts(made, ("train", "dev", "eval"))) == ["train"]
    assert counts(made, ("train",))["train"]["seizures"] == 1
    plan = plan_profile(built)
    items = tuple(item for item in plan.items if item.recording.split != "dev")
    assert list(status(plan, built.manifest_settings).splits) == ["train", "dev", "eval"]
    assert list(status(replace(plan, items=items), built.manifest_settings).splits) == [
        "train",
        "eval",
    ]


def test_a_profile_without_recordings_is_told_so(built: Configuration) -> None:
    """As with one patient of train, where train has no usable recording and is all there is."""
    plan = replace(ProfileCache.of(built).plan(), items=())
    with pytest.raises(WorkRemains, match=f"^profile {built.profile} selects no recording: `br"):
        make_manifest(plan, built.manifest_settings)


def reindexed(settings: Configuration, *recordings: Recording) -> None:
    """Have the index of a cache, and its manifest, say something else of its recordings."""
    write_index(Index(tuple(recordings), "tusz"), settings.cache_root)
    update_manifest(plan_profile(settings), settings.manifest_settings)


def test_a_cache_without_its_edfs_is_fit_and_says_so(built: Configuration) -> None:
    update_manifest(plan_profile(built), built.manifest_settings)
    assert not any("EDFs" in line for line in check(ProfileCache.of(built)).lines())
    reindexed(
        built,
        *(replace(r, path=f"/nowhere{r.path}") for r in read_index(built.cache_root)),
    )
    assert (
        check(ProfileCache.of(built)).lines()[-1]
        == "the EDFs of 12 recordings are not on this machine"
    )


def test_patients_of_two_splits_are_not_trained_on(built: Configuration) -> None:
    recordings = list(read_index(built.cache_root))
    reindexed(
        built, *(replace(r, patient="aaaaaaaa") if r.split != "eval" else r for r in recordings)
    )
    with pytest.raises(BrainbrrError) as error:
        check(ProfileCache.of(built))
    assert str(error.value) == "patients in more than one split: aaaaaaaa"


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_without_a_seizure_is_not_trained_on(built: Configuration, split: str) -> None:
    recordings = list(read_index(built.cache_root))
    reindexed(built, *(replace(r, events=()) if r.split == split else r for r in recordings))
    with pytest.raises(BrainbrrError) as error:
        check(ProfileCache.of(built))
    ictal = sorted({r.patient for r in recordings if r.all_seizures and r.split != split})
    assert str(error.value) == (
        f"split {split} has no window with a seizure in profile small: {len(ictal)} patients have "
        f"seizures ({', '.join(ictal)}); assign them in a configuration file, such as `corpus: "
        f"{{split: {{dev: [{ictal[0]}], eval: [{ictal[1]}]}}}}`, and run `brainbrr index`"
    )


def test_a_profile_without_the_seizures_of_a_split_names_a_larger_one(built: Configuration) -> None:
    # Of every five recordings of a profile, the first three are of train.
    small = built.model_copy(update={"selection": Selection(recordings=3)})
    update_manifest(plan_profile(small), small.manifest_settings)
    with pytest.raises(BrainbrrError) as error:
        check(ProfileCache.of(small))
    assert str(error.value) == (
        "split dev has no window with a seizure in profile small: choose a larger --profile"
    )


def test_a_split_whose_seizures_are_in_recordings_shorter_than_a_window_is_told_so(
    built: Configuration,
) -> None:
    # Of train, the longest recording with a seizure has 110 s; of dev, 141 s.
    long = built.model_copy(update={"windows": Windows(length_s=120)})
    update_manifest(plan_profile(long), long.manifest_settings)
    with pytest.raises(BrainbrrError) as error:
        check(ProfileCache.of(long))
    assert str(error.value) == (
        "split train has no window with a seizure in profile small: its recordings with seizures "
        "are shorter than windows.length_s, or were not built (see `brainbrr manifest"
        f"{long.manifest_settings.options}`): assign other patients to train with corpus.split in "
        "a configuration file"
    )


def in_folds(settings: Configuration, folds: int) -> Configuration:
    split = Split(scheme="kfold", folds=folds)
    corpus = settings.corpus.model_copy(update={"split": split})
    return settings.model_copy(update={"corpus": corpus})


def test_a_fold_says_whom_it_has_and_holds_out(built: Configuration) -> None:
    update_manifest(plan_profile(built), built.manifest_settings)
    cache = ProfileCache.of(in_folds(built, 3)).with_fold(2)
    preflight = check(cache)
    patients = {
        split: {r.recording.patient for r in preflight.plan.items if r.recording.split == split}
        for split in ("train", "dev", "eval")
    }
    # Six patients, of whom each of three folds holds out two.
    assert {split: len(names) for split, names in patients.items()} == {
        "train": 3,
        "dev": 1,
        "eval": 2,
    }
    assert (
        preflight.lines()[-1]
        == "fold 2 of kfold: 3 patients in train, 1 patient in dev, 2 patients held out"
    )


def test_a_fold_that_leaves_one_patient_with_seizures_is_not_trained_on(
    built: Configuration,
) -> None:
    recordings = list(read_index(built.cache_root))
    ictal = sorted({r.patient for r in recordings if r.all_seizures})[:2]
    reindexed(built, *(r if r.patient in ictal else replace(r, events=()) for r in recordings))
    with pytest.raises(BrainbrrError) as error:
        check(ProfileCache.of(in_folds(built, 2)).with_fold(1))
    assert str(error.value) == (
        "fold 1: split train has no window with a seizure in profile small: beside the patients "
        "whom a fold holds out, it needs two with seizures, for train and for dev, in recordings "
        "that are not shorter than windows.length_s; choose a larger --profile or another "
        "corpus.split.seed, or add recordings (`brainbrr index --list` says why others are not "
        "used)"
    )


def test_the_manifest_of_a_fold_is_the_one_that_its_plan_would_give(built: Configuration) -> None:
    """The file is the same for every fold: only the splits of its recordings are replaced."""
    recordings = list(read_index(built.cache_root))
    unknown = Event(0.0, 1e4, UNKNOWN)
    reindexed(
        built,
        *(replace(r, events=(unknown,)) if not r.all_seizures else r for r in recordings[:4]),
        *(replace(r, events=(*r.events, Event(0.0, 70.0, UNKNOWN))) for r in recordings[4:]),
    )
    cache = ProfileCache.of(in_folds(built, 3))
    plan, base = cache.plan(), check(ProfileCache.of(built)).manifest
    assert sum(base.unknown_windows.values()) > 10
    sources = {base.source}
    for fold, preflight in check_folds(cache).items():
        made = make_manifest(cache.with_fold(fold).in_fold(plan), built.manifest_settings)
        # The source of a fold's manifest leaves out whom the fold holds out.
        assert preflight.manifest.source != made.source
        for name in (each.name for each in fields(Manifest) if each.name != "source"):
            np.testing.assert_array_equal(
                getattr(preflight.manifest, name), getattr(made, name), err_msg=name
            )
        alone = check(cache.with_fold(fold)).manifest
        assert (alone.source, alone.recordings) == (preflight.manifest.source, made.recordings)
        sources.add(alone.source)
    # Every fold is another training.
    assert len(sources) == 4
    with pytest.raises(BrainbrrError, match="choose one, as with --fold 1"):
        check(cache)
    with pytest.raises(BrainbrrError, match=r"corpus\.split\.scheme is fixed; set it to kfold or"):
        check_folds(ProfileCache.of(built))


def test_of_a_recording_that_was_not_imported_no_window_is_counted_in_a_fold(
    built: Configuration,
) -> None:
    plan, settings = plan_profile(built), built.manifest_settings
    # The first two windows of 60 s are unknown throughout, where no seizure is in them.
    left_out = sum(
        all(seizure.start >= stop for seizure in item.recording.all_seizures)
        for item in plan.items[1:]
        for stop in (60, 70)
    )
    unknown = Event(0.0, 70.0, UNKNOWN)
    items = [
        replace(item, recording=replace(item.recording, events=(*item.recording.events, unknown)))
        for item in plan.items
    ]
    items[0] = replace(items[0], state=State.EXCLUDED, reason="not imported")
    plan = replace(plan, items=tuple(items))
    made = make_manifest(plan, settings)
    assert sum(made.unknown_windows.values()) == left_out > 0
    assert with_splits(made, plan, settings).unknown_windows == made.unknown_windows
