"""The electrode O1 of Siena and CHB-MIT where its label has lost its letter, or has a zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brainbrr_core.annotation.siena import truncated_labels
from brainbrr_core.cache.build import build
from brainbrr_core.cache.plan import plan_corpus, plan_profile
from brainbrr_core.cache.shard import Shard
from brainbrr_core.configuration import Configuration, Corpus, Overrides, load
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index import scan
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.prediction.recording import open_source
from tests.support.edf_files import write_edf

#: The order of the corpus, with two signals that are no electrodes.
ORDER = ("Fp1", "F3", "C3", "P3", "O1", "F7", "T3", "T5", "Fz", "Cz", "Pz", "Fp2", "F4", "C4")
WHOLE = [f"EEG {name}" for name in (*ORDER, "P4", "O2", "F8", "T4", "T6")] + ["1", "2"]


def labeled(o1: str) -> list[str]:
    return [o1 if label == "EEG O1" else label for label in WHOLE]


def siena(root: Path, o1: str) -> Path:
    """A corpus with one EDF of the patient PN05, in which O1 has this label."""
    path = write_edf(root / "PN05" / "PN05-2.edf", labels=labeled(o1), rate=512, seconds=20)
    (path.parent / "Seizures-list-PN05.txt").write_text("Seizure list of PN05\n")
    return path


def configured(root: Path, tmp_path: Path) -> Configuration:
    folders = {"data_dir": str(root), "cache_root": str(tmp_path / "cache" / root.name)}
    return load(Overrides(config="smoke:cpu", **folders), environment={})


@pytest.mark.parametrize("label", ["1", "EEG 1"])
def test_a_truncated_label_is_the_electrode_of_its_position(tmp_path: Path, label: str) -> None:
    shards = []
    for name, o1 in (("truncated", label), ("whole", "EEG O1")):
        root = tmp_path / name
        path = siena(root, o1)
        settings = configured(root, tmp_path)
        plan = plan_corpus(settings, lambda _line: None)
        (recording,) = plan.index
        assert (recording.signal_reason, recording.missing) == (None, ())
        assert dict(recording.matched)["O1"] == o1
        assert not build(plan, settings.preprocessing, workers=1).failed
        shard = Shard(plan_profile(settings).store.shard_path(recording.partition_key))
        shards.append(np.concatenate([*shard.blocks(0, shard.header.blocks)], axis=1))
        source = open_source(path)
        assert source.missing == ()
        drawn = inspect_recording(path, settings.preprocessing)
        assert {channel.name: channel.label for channel in drawn.channels}["O1"] == o1
    assert np.array_equal(shards[0], shards[1])


def test_o1_with_a_zero_is_the_electrode_in_chbmit(tmp_path: Path) -> None:
    labels = ["01" if name == "O1" else name for name in CHANNELS] + ["EKG1-CHIN", "-", "-"]
    path = write_edf(tmp_path / "chb12" / "chb12_28.edf", labels=labels, seconds=12)
    (path.parent / "chb12-summary.txt").write_text(
        "File Name: chb12_28.edf\nNumber of Seizures in File: 0\n"
    )
    (recording,) = scan(tmp_path)
    assert (recording.reason, recording.missing) == (None, ())
    assert dict(recording.matched)["O1"] == "01"
    for montage in ("10-20", "double-banana"):
        opened = open_source(path, montage=montage)
        assert opened.missing == ()


def test_the_other_signals_1_and_2_are_no_electrodes() -> None:
    assert truncated_labels(WHOLE) == {}
    assert truncated_labels(labeled("1")) == {"1": "O1"}
    assert truncated_labels(labeled("X")) == {}
    assert truncated_labels(["EEG P3", "2", "1"]) == {}


def test_no_other_corpus_has_such_labels(tmp_path: Path) -> None:
    write_edf(tmp_path / "p1" / "a.edf", labels=labeled("1"), seconds=12)
    (recording,) = scan(tmp_path, corpus=Corpus(layout="folder"))
    assert recording.missing == ("O1",)
    assert len(recording.matched) == len(CHANNELS) - 1


def test_an_index_from_before_the_rule_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    siena(root, "1")
    with monkeypatch.context() as before:
        before.setattr("brainbrr_core.annotation.siena.truncated_labels", lambda _labels: {})
        index = scan(root)
    assert [recording.missing for recording in index] == [("O1",)]
    now = scan(root, index)
    assert [recording.missing for recording in now] == [()]
    assert [r.content_hash for r in now] == [r.content_hash for r in index]
