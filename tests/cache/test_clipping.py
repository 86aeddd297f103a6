"""Counts of clipped samples: in the chain, in shards, and in what commands print."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.annotation import Event
from brainbrr_core.annotation.tuh import format_csv_bi
from brainbrr_core.cache import shard as shard_module
from brainbrr_core.cache.build import build
from brainbrr_core.cache.clipping import Clipping, ClippingSummary, clipping_lines
from brainbrr_core.cache.plan import State, plan_corpus
from brainbrr_core.cache.shard import DamagedShard, Shard, write_shard
from brainbrr_core.cache.status import status
from brainbrr_core.configuration import Configuration, Preprocessing
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.inspection.inspection import inspect_recording
from brainbrr_core.signal.chain import Chain
from tests.support.edf_files import write_edf
from tests.support.shell import Shell
from tests.support.signal_reference import ArraySource, chain, filtered, settled, synthetic_seizure
from tests.support.small_run import small_config
from tests.support.stored_signals import header_of


def clipping_shard(path: Path, clipped: NDArray[np.int32]) -> Shard:
    """A shard of zeros whose counts of clipped samples (blocks, 19) are given, in odd chunks."""
    blocks = len(clipped)
    zeros = np.zeros((blocks, 19, 2560), np.int16)
    edges = [*range(0, blocks, 7), blocks]
    with path.open("wb") as file:
        _, counts = write_shard(
            file, header_of(blocks * 2560), ((zeros[a:b], clipped[a:b]) for a, b in pairwise(edges))
        )
    assert np.array_equal(counts, clipped)
    return Shard(path)


def some_clipped(blocks: int) -> NDArray[np.int32]:
    clipped = np.zeros((blocks, 19), np.int32)
    clipped[[0, 7, 35, 36, 44], [18, 0, 3, 3, 5]] = [1, 2560, 17, 18, 300]
    return clipped


def test_a_shard_says_what_was_clipped_in_which_block_and_channel(tmp_path: Path) -> None:
    clipped = some_clipped(45)
    shard = clipping_shard(tmp_path / "a.arrow", clipped)
    got = shard.clipped()
    assert got is not None and np.array_equal(got, clipped)
    assert shard.verify() == clipped.sum()


def test_changed_counts_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    clipping_shard(path, some_clipped(45))
    content = path.read_bytes()
    assert content.count(b"[7,0,2560]") == 1
    path.write_bytes(content.replace(b"[7,0,2560]", b"[7,1,2560]"))
    with pytest.raises(DamagedShard, match="counts of clipped samples"):
        Shard(path).verify()
    with pytest.raises(DamagedShard, match="counts of clipped samples"):
        Shard(path).clipped()


def test_a_shard_without_counts_is_whole_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of version 1 are."""
    path = tmp_path / "a.arrow"
    with monkeypatch.context() as patched:
        patched.setattr(shard_module, "_CLIPPED_COUNTS", b"something else")
        clipping_shard(path, some_clipped(45))
    shard = Shard(path)
    assert shard.verify() == some_clipped(45).sum()
    assert shard.clipped() is None


def test_the_chain_counts_what_is_beyond_the_limit() -> None:
    data = synthetic_seizure(256, 120, 50)
    settings = Preprocessing(clip_sd=1.5)
    made = Chain(ArraySource(data, Fraction(256)), settings)
    counts = np.concatenate([clipped for _, clipped in made.quantized()])
    y = filtered(data, Fraction(256))
    used = settled(y)
    z = (y - used.mean(axis=1)[:, None]) / used.std(axis=1)[:, None]
    expected = (np.abs(z) > 1.5).reshape(19, 12, 2560).sum(axis=2).T
    assert np.abs(counts - expected).max() <= 2
    assert counts.sum() == pytest.approx(expected.sum(), rel=1e-3) and counts.sum() > 1000


def test_clipping_within_seizures_is_that_of_the_blocks_they_touch() -> None:
    blocks = ((1, 100), (3, 50), (4, 7), (9, 1))
    events = [Event(12.0, 40.0, "seiz"), Event(39.0, 40.5, "fnsz"), Event(94.0, 200.0, "seiz")]
    got = Clipping.of("train/a", blocks, 95 * 256, events)
    assert got.clipped == 158 and got.samples == 95 * 256 * 19
    # Blocks 1 to 4 and 9, which holds 5 s.
    assert got.clipped_in_seizures == 158
    assert got.samples_in_seizures == (4 * 2560 + 5 * 256) * 19
    none = Clipping.of("train/a", blocks, 95 * 256, [])
    assert (none.clipped_in_seizures, none.part_in_seizures) == (0, 0.0)


def test_status_says_what_was_clipped(settings: Configuration) -> None:
    narrow = Preprocessing(clip_sd=3.0)
    settings = settings.model_copy(update={"preprocessing": narrow})
    plan = plan_corpus(settings)
    build(plan, narrow, workers=1)
    plan = plan_corpus(settings)
    labels = settings.labels.seizure
    total = samples = ictal = ictal_samples = 0
    for item in plan.items:
        if item.state is not State.FRESH:
            continue
        shard = Shard(plan.store.shard_path(item.recording.partition_key))
        counts = shard.clipped()
        assert counts is not None
        total += int(counts.sum())
        samples += shard.header.samples * 19
        for block in range(shard.header.blocks):
            if any(
                event.start < 10 * block + 10 and event.stop > 10 * block
                for event in item.recording.seizures(labels)
            ):
                ictal += int(counts[block].sum())
                ictal_samples += 19 * min(2560, shard.header.samples - 2560 * block)
    assert total > 100 and ictal > 10
    told = status(plan, settings.manifest_settings).clipping
    assert told.clipped == pytest.approx(total / samples, abs=1e-8)
    assert told.clipped_in_seizures == pytest.approx(ictal / ictal_samples, abs=1e-8)
    assert told.not_known == 0
    assert (told.most[0].clipped_in_seizures or 0) >= (told.clipped_in_seizures or 0)
    assert len(told.most) == 5
    lines = clipping_lines(told)
    # Whole blocks: where a seizure is a part of one, this is not the share within it.
    within = f"{ictal / ictal_samples:.4%} of those in the 10 s blocks with a seizure"
    assert f"{total / samples:.4%} of all samples, {within}" in lines[0]
    # A record without counts, as an earlier program wrote it: not known, and nothing is missing.
    records = plan.store.folder / "records.jsonl"
    content = [json.loads(line) for line in records.read_text().splitlines()]
    content[0].pop("clipped")
    records.write_text("".join(json.dumps(line) + "\n" for line in content))
    plan = plan_corpus(settings)
    assert status(plan, settings.manifest_settings).clipping.not_known == 1
    assert not plan.to_build
    assert (
        "not known of 1 recording"
        in clipping_lines(status(plan, settings.manifest_settings).clipping)[-1]
    )


def test_of_a_cache_without_counts_no_share_is_told() -> None:
    """As of one that is not built yet, or whose shards an earlier program wrote."""
    assert clipping_lines(ClippingSummary(None, None, 0, 0, ())) == []
    assert clipping_lines(ClippingSummary(None, None, 0, 12, ())) == [
        "clipped: not known of 12 recordings"
    ]


def test_inspect_counts_clipping_within_seizures(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", seconds=60)
    inspection = inspect_recording(path, Preprocessing(clip_sd=2.0))
    signals = [channel.preprocessed for channel in inspection.channels]
    assert all(signal is not None and signal.clipped_in_seizures is None for signal in signals)
    text = format_csv_bi([Event(20.0, 30.0)], 60.0, "a")
    (tmp_path / "a.csv_bi").write_text(text)
    inspection = inspect_recording(path, Preprocessing(clip_sd=2.0))
    data = open_edf(path).read(0, 60 * 256).astype(float)
    z = chain(data, Fraction(256))[:, 20 * 256 : 30 * 256]
    for channel, row in zip(inspection.channels, z, strict=True):
        assert channel.preprocessed is not None
        assert channel.preprocessed.clipped_in_seizures == pytest.approx(
            (np.abs(row) > 2).mean(), abs=1e-3
        )


def test_status_and_manifest_print_it(settings: Configuration, shell: Shell) -> None:
    plan = plan_corpus(settings)
    build(plan, settings.preprocessing, workers=1)
    chosen = {"BRAINBRR_CONFIG": small_config(settings.cache_root.parent)}
    for command in (["cache", "status"], ["manifest"]):
        told = json.loads(shell.type(*command, "--json", environment=chosen).stdout)["clipping"]
        assert told["not_known"] == 0 and told["clipped"] is not None
        printed = shell.type(*command, environment=chosen).stdout
        assert f"clipped: {told['clipped']:.4%} of all samples" in printed
