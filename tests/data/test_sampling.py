"""The balanced training set: how many windows of each kind, how they are drawn, what is ictal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import Manifest, ManifestRecording
from brainbrr_core.configuration import Sampling
from brainbrr_core.data import BalancedSampling
from brainbrr_core.errors import BrainbrrError

NONE, PARTIAL, FULL = 0, 1, 2


def manifest(
    none: int,
    partial: int,
    full: int,
    partial_ictal: Sequence[float] = (),
    unknown: NDArray[np.float32] | None = None,
) -> Manifest:
    """A training split of so many windows of each category."""
    category = np.array([NONE] * none + [PARTIAL] * partial + [FULL] * full, np.int8)
    ictal = np.select([category == PARTIAL, category == FULL], [0.5, 1.0], 0.0).astype(np.float32)
    if partial_ictal:
        ictal[category == PARTIAL] = partial_ictal
    windows = len(category)
    return Manifest(
        profile="by hand",
        version="v",
        source="s",
        window_samples=15_360,
        recordings=(ManifestRecording("train/p/t", "train", "p", "m", "f", 2560, ()),),
        recording=np.zeros(windows, np.int32),
        start=np.arange(windows, dtype=np.int64),
        ictal=ictal,
        category=category,
        unknown=np.zeros(windows, np.float32) if unknown is None else unknown,
        without_windows={},
        unknown_windows={},
    )


def drawn(made: Manifest, sampling: BalancedSampling, seed: int, number: int) -> list[int]:
    by_category = Counter(made.category[sampling.epoch(seed, number)].tolist())
    return [by_category[category] for category in (NONE, PARTIAL, FULL)]


@pytest.mark.parametrize(
    ("none", "partial", "full", "expected"),
    [
        # Ordinary: 2.5 x, 1 x and 0.3 x the partly ictal windows, as far as there are so many.
        (1000, 100, 200, [250, 100, 30]),
        (1000, 100, 20, [250, 100, 20]),
        (200, 100, 60, [200, 100, 30]),
        (1000, 7, 14, [18, 7, 2]),
        # Long seizures: half of the wholly ictal windows are the base.
        (1000, 100, 202, [252, 100, 30]),
        (800, 1, 200, [250, 1, 30]),
        (800, 0, 200, [250, 0, 30]),
        (100, 1, 200, [100, 1, 30]),
        # Hardly anything: never without a seizure.
        (800, 0, 1, [2, 0, 1]),
        (800, 0, 3, [2, 0, 1]),
        (800, 1, 0, [2, 1, 0]),
    ],
)
def test_how_many_windows_of_each_kind(
    none: int, partial: int, full: int, expected: list[int]
) -> None:
    made = manifest(none, partial, full)
    sampling = BalancedSampling.of(made, Sampling())
    for number in range(3):
        assert drawn(made, sampling, 5, number) == expected
    assert len(sampling) == sum(expected)
    assert sampling.positive_fraction == pytest.approx(
        (0.5 * expected[1] + expected[2]) / sum(expected)
    )


def test_few_partly_ictal_windows_still_make_an_epoch_of_hundreds() -> None:
    made = manifest(none=800, partial=1, full=200)
    assert len(BalancedSampling.of(made, Sampling())) == 281


def test_full_windows_that_are_not_wanted_count_for_nothing() -> None:
    made = manifest(none=800, partial=4, full=200)
    sampling = BalancedSampling.of(made, Sampling(full_ratio=0))
    assert drawn(made, sampling, 0, 0) == [10, 4, 0]
    only_full = manifest(none=800, partial=0, full=200)
    with pytest.raises(BrainbrrError, match=r"sampling\.full_ratio is 0: raise it"):
        BalancedSampling.of(only_full, Sampling(full_ratio=0))


def test_an_epoch_has_no_window_twice_and_epochs_differ() -> None:
    """A draw with replacement would repeat some of the 30 of 60, and of the 250 of 400."""
    made = manifest(none=400, partial=100, full=60)
    sampling = BalancedSampling.of(made, Sampling())
    epochs = [sampling.epoch(3, number).tolist() for number in range(4)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == 380
        assert set(range(400, 500)) <= set(epoch)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 4
    # Over many epochs every window has its turn.
    seen = {row for number in range(40) for row in sampling.epoch(3, number).tolist()}
    assert seen == set(range(560))


def test_the_share_of_seizure_counts_known_samples_alone() -> None:
    """Ten windows of 0.8 known, half of it ictal; 5 background windows, 0.4 of each known."""
    unknown = np.array([0.6] * 5 + [0.2] * 10, np.float32)
    made = manifest(none=5, partial=10, full=0, unknown=unknown)
    sampling = BalancedSampling.of(made, Sampling(background_ratio=0.5))
    assert drawn(made, sampling, 0, 0) == [5, 10, 0]
    assert sampling.positive_fraction == pytest.approx(10 * 0.8 * 0.5 / (10 * 0.8 + 5 * 0.4))


def test_the_share_of_seizure_is_that_of_the_drawn_samples() -> None:
    """Against many epochs, sample by sample, with every window known to another degree."""
    generator = np.random.default_rng(4)
    unknown = generator.uniform(0, 0.9, 300).astype(np.float32)
    partial_ictal = generator.uniform(0.1, 0.9, 30).tolist()
    made = manifest(200, 30, 70, partial_ictal, unknown)
    sampling = BalancedSampling.of(made, Sampling(background_ratio=1.0, full_ratio=1.0))
    ictal = known = 0.0
    for number in range(400):
        for row in sampling.epoch(1, number).tolist():
            samples = 15_360 * (1 - float(unknown[row]))
            known += samples
            ictal += samples * float(made.ictal[row])
    assert sampling.positive_fraction == pytest.approx(ictal / known, abs=2e-3)
