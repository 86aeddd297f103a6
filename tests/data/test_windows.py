"""Manifest, windows and sampling: what a training sees is what the index and the shards say."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from brainbrr_core.cache.build import build
from brainbrr_core.cache.manifest import Manifest, counts, make_manifest
from brainbrr_core.cache.manifest_file import is_current, read_manifest, update_manifest
from brainbrr_core.cache.plan import Plan, plan_corpus
from brainbrr_core.cache.shard import Shard
from brainbrr_core.configuration import Configuration, Labels, Sampling, Windows
from brainbrr_core.data import BalancedSampling, WindowDataset
from brainbrr_core.data.windows import RecordingReader
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.signal.quantization import SCALE


@pytest.fixture
def built(settings: Configuration) -> tuple[Configuration, Plan, Manifest]:
    build(plan_corpus(settings), settings.preprocessing, workers=1)
    plan = plan_corpus(settings)
    return settings, plan, make_manifest(plan, settings.manifest_settings)


Built = tuple[Configuration, Plan, Manifest]


def test_windows_are_every_stride_that_fits(built: Built) -> None:
    _, plan, manifest = built
    expected = []
    for item in plan.items:
        recording = item.recording
        samples = int(recording.samples * 256 / recording.rate)
        start = 0
        while start + 60 * 256 <= samples:
            expected.append((recording.partition_key, start))
            start += 10 * 256
    got = [
        (manifest.recordings[number].partition_key, int(start))
        for number, start in zip(manifest.recording, manifest.start, strict=True)
    ]
    assert got == expected
    assert len(manifest) > 50


def test_ictal_fractions_equal_a_count_of_samples(built: Built) -> None:
    _, plan, manifest = built
    events = {item.recording.partition_key: item.recording.events for item in plan.items}
    for row in range(len(manifest)):
        recording = manifest.recordings[manifest.recording[row]]
        times = (manifest.start[row] + np.arange(60 * 256) + 0.5) / 256
        inside = np.zeros(len(times), bool)
        for event in events[recording.partition_key]:
            inside |= (times >= event.start) & (times < event.stop)
        assert manifest.ictal[row] == pytest.approx(inside.mean(), abs=3e-4)
        category = 2 if manifest.ictal[row] >= 0.99 else 1 if manifest.ictal[row] > 0 else 0
        assert manifest.category[row] == category
    assert (manifest.category == 1).any()


def test_the_file_gives_back_the_manifest_and_knows_when_it_is_stale(built: Built) -> None:
    settings, plan, manifest = built
    made = update_manifest(plan, settings.manifest_settings)
    again = read_manifest(made.path)
    assert again.recordings == manifest.recordings
    for name in ("recording", "start", "ictal", "category"):
        assert np.array_equal(getattr(again, name), getattr(manifest, name))
    assert is_current(again, plan, settings.manifest_settings)
    other = settings.model_copy(update={"windows": Windows(length_s=30)})
    assert not is_current(again, plan, other.manifest_settings)
    plan.store.shard_path(plan.items[0].recording.partition_key).unlink()
    assert not is_current(again, plan_corpus(settings), settings.manifest_settings)


def test_a_corpus_without_seizures_is_refused(built: Built) -> None:
    settings, plan, _ = built
    nothing = settings.model_copy(update={"labels": Labels(seizure=("absz",))})
    with pytest.raises(BrainbrrError, match="no window"):
        make_manifest(plan, nothing.manifest_settings)


def test_recordings_without_windows_are_counted_with_their_reason(built: Built) -> None:
    settings, plan, _ = built
    long = settings.model_copy(update={"windows": Windows(length_s=120)})
    manifest = make_manifest(plan, long.manifest_settings)
    short = sum(item.recording.duration_s < 120 for item in plan.items)
    assert manifest.without_windows == ({"shorter_than_window": short} if short else {})
    assert len(manifest.recordings) == 12 - short
    assert sum(
        row["recordings"] for row in counts(manifest, ("train", "dev", "eval")).values()
    ) == (12 - short)


def test_a_window_is_the_same_in_a_batch_of_any_size(built: Built) -> None:
    _, plan, manifest = built
    dataset = WindowDataset(manifest, plan.store)
    alone = WindowDataset(manifest, plan.store, ring=1)
    rows = np.arange(32) % len(manifest)
    many = dataset.fetch(rows)
    assert many.signals.nbytes > 1 << 25
    for n, row in enumerate(rows):
        one = alone.fetch(np.array([row]))
        assert torch.equal(many.signals[n], one.signals[0])
        assert torch.equal(many.labels[n], one.labels[0])
        assert many.names[n] == one.names[0]


def test_a_window_is_the_slice_of_its_shard_with_its_labels(built: Built) -> None:
    _, plan, manifest = built
    dataset = WindowDataset(manifest, plan.store)
    rows = np.array([0, len(manifest) - 1, int(np.flatnonzero(manifest.category == 1)[0])])
    batch = dataset.fetch(rows)
    assert batch.signals.shape == (3, 19, 15360)
    for place, row in enumerate(rows):
        recording = manifest.recordings[manifest.recording[row]]
        shard = Shard(plan.store.shard_path(recording.partition_key))
        whole = np.concatenate(list(shard.blocks(0, shard.header.blocks)), axis=1)
        start = int(manifest.start[row])
        expected = whole[:, start : start + 15360].astype(np.float32) * np.float32(SCALE)
        assert np.array_equal(batch.signals[place].numpy(), expected)
        assert batch.labels[place].mean().item() == pytest.approx(manifest.ictal[row], abs=2e-4)
        assert recording.partition_key in batch.names[place]
        reader = RecordingReader(plan.store, recording)
        assert np.array_equal(reader.read(start, start + 15360), expected)
        assert np.array_equal(reader.read(start + 100, start + 5000), expected[:, 100:5000])


def test_a_batch_holds_until_the_ring_comes_round(built: Built) -> None:
    _, plan, manifest = built
    dataset = WindowDataset(manifest, plan.store, ring=3)
    held = [dataset.fetch(np.array([row, row + 1])) for row in range(3)]
    copies = [batch.signals.clone() for batch in held]
    assert all(torch.equal(b.signals, c) for b, c in zip(held, copies, strict=True))
    assert not torch.equal(held[0].signals, held[1].signals)
    dataset.fetch(np.array([10, 11]))
    assert not torch.equal(held[0].signals, copies[0])


def test_missing_foreign_and_damaged_shards_stop_with_the_remedy(built: Built) -> None:
    _, plan, manifest = built
    path = plan.store.shard_path(manifest.recordings[0].partition_key)
    other = plan.store.shard_path(manifest.recordings[1].partition_key).read_bytes()
    good = path.read_bytes()
    path.unlink()
    with pytest.raises(WorkRemains, match="brainbrr cache build"):
        WindowDataset(manifest, plan.store)
    path.write_bytes(other)
    with pytest.raises(WorkRemains, match="brainbrr cache build"):
        WindowDataset(manifest, plan.store)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    dataset = WindowDataset(manifest, plan.store)
    with pytest.raises(WorkRemains, match="brainbrr cache verify"):
        dataset.fetch(np.arange(manifest.recording.tolist().count(0)))


def test_mapped_shards_hold_no_descriptor(built: Built) -> None:
    _, plan, manifest = built
    dataset = WindowDataset(manifest, plan.store)
    before = len(_descriptors())
    dataset.fetch(np.arange(len(manifest)))
    assert len(_descriptors()) <= before + 1


def test_a_loader_gets_whole_batches_as_float_or_as_stored(built: Built) -> None:
    _, plan, manifest = built
    rows = np.arange(0, len(manifest), 3)
    stored = WindowDataset(manifest, plan.store, rows, kind="int16")
    wide = WindowDataset(manifest, plan.store, rows)
    loaders = [
        torch.utils.data.DataLoader(dataset, batch_size=4, collate_fn=lambda batch: batch)
        for dataset in (stored, wide)
    ]
    seen = 0
    for small, large in zip(*loaders, strict=True):
        assert small.signals.dtype == torch.int16
        assert torch.equal(small.signals.float().mul(SCALE), large.signals)
        assert small.names == large.names
        seen += len(small.names)
    assert seen == len(rows)


def test_windows_that_cross_a_record_batch_are_whole(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batches of 4 blocks every window of 6 lies in two or three of them."""
    settings, plan, manifest = built
    rows = np.arange(0, len(manifest), 5)
    expected = WindowDataset(manifest, plan.store).fetch(rows).signals
    for module in ("brainbrr_core.cache.shard", "brainbrr_core.data.open_shards"):
        monkeypatch.setattr(f"{module}.BATCH_BLOCKS", 4)
    other = settings.model_copy(update={"cache_root": settings.cache_root / "small"})
    build(plan_corpus(other), other.preprocessing, workers=1)
    again = WindowDataset(manifest, plan_corpus(other).store).fetch(rows).signals
    assert torch.equal(again, expected)


def _descriptors() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


def test_the_balanced_set_has_the_ratios_and_the_exact_share_of_seizure(built: Built) -> None:
    _, _, manifest = built
    sampling = BalancedSampling.of(manifest, Sampling(background_ratio=1.0))
    rows = manifest.rows_of("train")
    partial = rows[manifest.category[rows] == 1]
    assert set(partial) <= set(sampling.epoch(0, 0).tolist())
    assert sampling.background_count == min(len(partial), int((manifest.category[rows] == 0).sum()))
    shares = [manifest.ictal[sampling.epoch(0, number)].mean() for number in range(40)]
    assert np.mean(shares) == pytest.approx(sampling.positive_fraction, abs=0.01)


def test_the_counts_are_the_configured_multiples(built: Built) -> None:
    _, _, manifest = built
    category = np.array([1] * 10 + [2] * 20 + [0] * 100, np.int8)
    by_hand = replace(
        manifest,
        recordings=(replace(manifest.recordings[0], split="train"),),
        recording=np.zeros(130, np.int32),
        start=np.arange(130, dtype=np.int64),
        ictal=np.select([category == 1, category == 2], [0.5, 1.0], 0.0).astype(np.float32),
        category=category,
        unknown=np.zeros(130, np.float32),
    )
    sampling = BalancedSampling.of(by_hand, Sampling())
    # 10 partial, 0.3 x 10 full, 2.5 x 10 background: (10 x 0.5 + 3 x 1) / 38 ictal.
    assert (sampling.full_count, sampling.background_count, len(sampling)) == (3, 25, 38)
    assert sampling.positive_fraction == pytest.approx(8 / 38)
    drawn = category[sampling.epoch(1, 2)]
    assert [int((drawn == kind).sum()) for kind in (1, 2, 0)] == [10, 3, 25]


def test_the_table_names_the_type_of_the_first_seizure_in_each_window(built: Built) -> None:
    settings, plan, _ = built
    table = pq.read_table(update_manifest(plan, settings.manifest_settings).path).to_pylist()
    events = {item.recording.partition_key: item.recording.events for item in plan.items}
    types = set()
    for row in table:
        begin = row["start_sample"] / 256
        inside = [
            e for e in events[row["partition_key"]] if e.stop > begin and e.start < begin + 60
        ]
        expected = min(inside).label if inside else None
        assert row["seizure_type"] == expected
        types.add(expected)
    assert None in types
    assert types & {"fnsz", "gnsz"}


def test_the_order_follows_from_seed_and_step_and_resumes_in_mid_epoch(built: Built) -> None:
    _, _, manifest = built
    sampling = BalancedSampling.of(manifest, Sampling())
    whole = [batch.tolist() for batch in islice(sampling.batches(5, seed=3), 20)]
    again = [batch.tolist() for batch in islice(sampling.batches(5, seed=3), 20)]
    assert whole == again
    for first in (1, 7, 13):
        rest = [batch.tolist() for batch in islice(sampling.batches(5, 3, first), 20 - first)]
        assert rest == whole[first:]
    assert whole != [batch.tolist() for batch in islice(sampling.batches(5, seed=4), 20)]
    epoch = sorted(sampling.epoch(3, 0).tolist())
    flat = [row for batch in whole for row in batch][: len(epoch)]
    if len(flat) == len(epoch):
        assert sorted(flat) == epoch
