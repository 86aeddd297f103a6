"""Listing the folders of a corpus gives the same files as asking for each one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from brainbrr_core.cache.manifest import ManifestRecording
from brainbrr_core.cache.manifest_file import read_manifest, update_manifest, write_manifest
from brainbrr_core.cache.plan import plan_corpus, plan_profile
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.layouts.tusz import TuszLayout


def test_walking_and_asking_for_each_file_find_the_same_annotations(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "aaaaaaac" / "s001_2002" / "01_tcp_ar"
    folder.mkdir(parents=True)
    for stem in ("plain", "pipe", "folder", "link", "nowhere", "older", "none", "two.points"):
        (folder / f"{stem}.edf").touch()
    (folder / "plain.csv_bi").touch()
    (folder / "plain.csv").touch()
    os.mkfifo(folder / "pipe.csv_bi")
    (folder / "folder.csv_bi").mkdir()
    (folder / "link.csv_bi").symlink_to(folder / "plain.csv_bi")
    (folder / "nowhere.csv_bi").symlink_to(folder / "gone")
    (folder / "older.csv").touch()
    (folder / "older.tse_bi").touch()
    (folder / "two.points.csv_bi").touch()
    layout = TuszLayout(tmp_path)
    walked = list(layout.recordings())
    assert walked == [layout.describe_path(file.path) for file in walked]
    assert {file.path.stem: file.annotation_names for file in walked} == {
        "plain": ("plain.csv_bi", "plain.csv"),
        "pipe": (),
        "folder": (),
        "link": ("link.csv_bi",),
        "nowhere": ("nowhere.csv_bi",),
        "older": ("older.csv", "older.tse_bi"),
        "none": (),
        "two.points": ("two.points.csv_bi",),
    }
    key = "train/aaaaaaac/s001_2002/01_tcp_ar/two.points"
    assert key in {file.partition_key for file in walked}


def test_a_plan_right_after_an_index_equals_one_that_checks_every_edf(
    settings: Configuration,
) -> None:
    after = plan_corpus(settings, lambda _line: None)
    looking = plan_profile(settings)
    assert (after.items, after.sources_unseen) == (looking.items, 0)
    # A recording that was never accessible is checked, and is missing from both.
    path = Path(after.items[0].recording.path)
    lost = path.with_name("lost.edf")
    lost.symlink_to("/nowhere.edf")
    after, looking = plan_corpus(settings, lambda _line: None), plan_profile(settings)
    assert after.items == looking.items
    assert after.sources_unseen == looking.sources_unseen == 1


def test_a_manifest_is_read_as_written_with_any_texts(built: Configuration, tmp_path: Path) -> None:
    manifest = update_manifest(plan_profile(built), built.manifest_settings).manifest
    names = ('"recordings":[', "],[", "\\", "ü")

    def renamed(number: int, recording: ManifestRecording) -> ManifestRecording:
        name = names[number % len(names)]
        return replace(recording, patient=f"{name}{number}", montage=name)

    odd = replace(
        manifest, recordings=tuple(renamed(n, r) for n, r in enumerate(manifest.recordings))
    )
    write_manifest(odd, tmp_path / "odd.parquet")
    assert read_manifest(tmp_path / "odd.parquet").recordings == odd.recordings
