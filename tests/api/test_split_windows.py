"""Windows for any network: those of ``brainbrr train``, in tensors that belong to the caller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from brainbrr_core import SplitWindows, open_store, open_windows
from brainbrr_core.annotation import Event
from brainbrr_core.api import split_windows
from brainbrr_core.api.split_windows import EpochBatches
from brainbrr_core.cache.manifest_file import manifest_path, update_manifest
from brainbrr_core.cache.plan import plan_corpus
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, Sampling, load
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.data import BalancedSampling
from brainbrr_core.errors import BrainbrrError, WorkRemains
from tests.support.small_run import SMALL, small_config


@pytest.fixture
def windows(built: Configuration) -> SplitWindows:
    update_manifest(plan_corpus(built), built.manifest_settings)
    return open_windows(built.cache_root, "train", profile=built.profile)


def expected(windows: SplitWindows, root: object, row: int) -> tuple[NDArray[np.float32], ...]:
    """A window and its labels, from the recording as a whole and a loop over its seizures."""
    manifest = windows.manifest
    recording = manifest.recordings[manifest.recording[row]]
    stored = open_store(str(root))
    signal = stored.read(recording.partition_key, unit="sd")
    labels = np.zeros(signal.shape[1], np.float32)
    for event in stored.events(recording.partition_key):
        labels[round(event.start * 256) : round(event.stop * 256)] = 1
    start = int(manifest.start[row])
    span = slice(start, start + manifest.window_samples)
    return signal[:, span], labels[span]


def test_every_window_comes_once_with_its_signal_and_labels(
    windows: SplitWindows, built: Configuration
) -> None:
    pairs = list(windows.loader(3))
    signals = torch.cat([signals for signals, _ in pairs])
    labels = torch.cat([labels for _, labels in pairs])
    assert len(signals) == len(labels) == len(windows) == len(windows.rows) > 6
    assert all(len(some) == 3 for some, _ in pairs[:-1])
    assert signals.dtype == labels.dtype == torch.float32
    for number in (0, 4, len(windows) - 1):
        signal, label = expected(windows, built.cache_root, int(windows.rows[number]))
        assert np.array_equal(signals[number].numpy(), signal)
        assert np.array_equal(labels[number].numpy(), label)
    # As arrays: the same.
    arrays = [signals for signals, _ in windows.arrays(3)]
    assert np.array_equal(np.concatenate(arrays), signals.numpy())


def test_epochs_are_balanced_and_follow_from_the_seed(windows: SplitWindows) -> None:
    sampling = Sampling(background_ratio=1.0)
    loader = windows.loader(2, sampling=sampling, seed=3)
    epochs = [torch.cat([labels for _, labels in loader]) for _ in range(2)]
    balanced = BalancedSampling.of(windows.manifest, sampling)
    assert len(loader) == -(-len(balanced) // 2)
    for number, labels in enumerate(epochs):
        rows = balanced.epoch(3, number)
        share = windows.manifest.ictal[rows]
        assert np.allclose(labels.mean(1), share, atol=1e-3)
    again = windows.loader(2, sampling=sampling, seed=3)
    sampler = again.batch_sampler
    assert isinstance(sampler, EpochBatches)
    sampler.set_epoch(1)
    assert torch.equal(torch.cat([labels for _, labels in again]), epochs[1])


def test_a_split_version_or_profile_that_is_not_there_is_named(
    windows: SplitWindows, built: Configuration
) -> None:
    root = built.cache_root
    with pytest.raises(BrainbrrError, match="'test' is not a split: use one of train, dev, eval"):
        open_windows(root, "test")
    with pytest.raises(WorkRemains, match=r"no manifest of profile full .* --profile full"):
        open_windows(root, "train")
    with pytest.raises(BrainbrrError, match="at least 1"):
        windows.loader(0)
    path = manifest_path(Store.of(built), built.manifest_settings)
    path.with_name(f"{built.profile}-000000000000.parquet").write_bytes(path.read_bytes())
    with pytest.raises(BrainbrrError, match="has 2 manifests in"):
        open_windows(root, "train", profile=built.profile)


@pytest.mark.parametrize(
    "change",
    [
        {"events": ()},
        {"events": (Event(1.0, 9.5, "seiz"),)},
        {"events": (Event(1.0, 9.5, "a new label"),)},
        {"split": "eval"},
        {"patient": "somebody else"},
        {"signal_reason": "same_content"},
        {"label_reason": "no_annotation"},
        None,
    ],
    ids=str,
)
def test_windows_of_earlier_annotations_or_splits_are_refused(
    windows: SplitWindows,
    built: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any] | None,
) -> None:
    """A network of one's own is not trained on labels that have been corrected since."""
    index = read_index(built.cache_root)
    ictal = next(row.partition_key for row in windows.manifest.recordings if row.seizures)
    now = [r for r in index if r.partition_key != ictal]
    if change is not None:
        now.append(replace(index.by_key()[ictal], **change))
    changed = replace(index, recordings=tuple(sorted(now, key=lambda r: r.partition_key)))
    monkeypatch.setattr(split_windows, "read_index", lambda _root: changed)
    with pytest.raises(WorkRemains, match=rf"1 recording, such as {ictal}: run `brainbrr manifest"):
        open_windows(built.cache_root, "train", profile=built.profile)


def test_a_fold_has_the_windows_that_its_training_uses(
    windows: SplitWindows, built: Configuration, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    config = small_config(tmp_path)
    (tmp_path / "folds.yaml").write_text("corpus: {split: {scheme: kfold, folds: 3}}\n")
    both, root = f"{config}:{tmp_path / 'folds.yaml'}", built.cache_root
    held_out: list[str] = []
    for fold in (1, 2, 3):
        parts = {
            split: open_windows(root, split, fold=fold, config=both)
            for split in ("train", "dev", "eval")
        }
        people = {
            split: {part.manifest.recordings[part.manifest.recording[row]].patient
                    for row in part.rows}
            for split, part in parts.items()
        }  # fmt: skip
        assert sum(map(len, parts.values())) == len(windows.manifest)
        assert sum(map(len, people.values())) == len(set().union(*people.values()))
        held_out += people["eval"]
        settings = load(Overrides(config=both, cache_root=str(root)))
        cache = ProfileCache.of(settings).with_fold(fold)
        assert np.array_equal(parts["train"].rows, check(cache).manifest.rows_of("train"))
    assert sorted(held_out) == sorted({r.patient for r in windows.manifest.recordings})
    assert next(open_windows(root, "train", fold=1, config=both).arrays(2))[0].shape[0] == 2
    with pytest.raises(BrainbrrError, match="there is no fold 4"):
        open_windows(root, "train", fold=4, config=both)
    with pytest.raises(BrainbrrError, match="the scheme fixed has no folds"):
        open_windows(root, "train", fold=1, config=config)
    with pytest.raises(BrainbrrError, match="give a fold, too"):
        open_windows(root, "train", config=config)


def test_sizes_seeds_and_settings_that_are_none_are_refused(windows: SplitWindows) -> None:
    for size in (0, -1, 1.5, "8", True):
        with pytest.raises(BrainbrrError, match=f"batch_size is {size!r}: give a whole number"):
            windows.loader(cast(Any, size))
    for seed in (-1, 1.5, None):
        with pytest.raises(BrainbrrError, match=f"seed is {seed!r}: give a whole number"):
            windows.loader(4, sampling=Sampling(), seed=cast(Any, seed))
    for sampling in ("balanced", True, Sampling):
        with pytest.raises(BrainbrrError, match=r"give a Sampling of brainbrr_core.configuration"):
            windows.loader(4, sampling=cast(Any, sampling))
    assert len(windows.loader(cast(int, np.int64(4)))) == -(-len(windows) // 4)


def test_a_profile_is_a_name_and_no_pattern(windows: SplitWindows, built: Configuration) -> None:
    assert len(windows) > 0
    for profile in ("*", f"{built.profile[:2]}*", "[a-z]*"):
        with pytest.raises(WorkRemains, match="no manifest of profile"):
            open_windows(built.cache_root, "train", profile=profile)


def test_iterators_that_are_closed_or_run_at_once_do_not_disturb_each_other(
    windows: SplitWindows,
) -> None:
    whole = [signals.copy() for signals, _ in windows.arrays(3)]
    unfinished = windows.arrays(3)
    next(unfinished)
    del unfinished
    one, other = windows.arrays(3), windows.arrays(3)
    for expected_signals in whole:
        assert np.array_equal(next(one)[0], expected_signals)
        assert np.array_equal(next(other)[0], expected_signals)
