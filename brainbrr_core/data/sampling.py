"""The balanced training set, in an order that follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.configuration import Sampling
from brainbrr_core.errors import BrainbrrError


@dataclass(frozen=True)
class BalancedSampling:
    """Every partly ictal window, and draws of wholly ictal and of background ones.

    Each epoch draws anew; numbers and order follow from (seed, epoch).
    """

    partial: NDArray[np.int64]
    full: NDArray[np.int64]
    background: NDArray[np.int64]
    full_count: int
    background_count: int
    positive_fraction: float

    @classmethod
    def of(cls, manifest: Manifest, settings: Sampling, split: str = "train") -> BalancedSampling:
        """The balanced set of one split.

        The counts are multiples of the number of partly ictal windows, as far as there are that
        many. ``positive_fraction`` is the expected share of ictal samples, exact without drawing.
        """
        rows = manifest.rows_of(split)
        groups = [rows[manifest.category[rows] == category] for category in range(3)]
        background, partial, full = groups
        if len(partial) + len(full) == 0:
            raise BrainbrrError(
                f"split {split} has no window with a seizure in profile {manifest.profile}: "
                "choose a larger --profile"
            )
        base = max(len(partial), 1)
        full_count = min(len(full), round(settings.full_ratio * base))
        background_count = min(len(background), round(settings.background_ratio * base))
        ictal = float(manifest.ictal[partial].sum())
        if full_count:
            ictal += full_count * float(manifest.ictal[full].mean())
        size = len(partial) + full_count + background_count
        return cls(partial, full, background, full_count, background_count, ictal / size)

    def __len__(self) -> int:
        return len(self.partial) + self.full_count + self.background_count

    def epoch(self, seed: int, number: int) -> NDArray[np.int64]:
        """Rows of the manifest in the order of one epoch."""
        rng = np.random.default_rng([seed, number])
        drawn = [
            self.partial,
            rng.choice(self.full, self.full_count, replace=False),
            rng.choice(self.background, self.background_count, replace=False),
        ]
        return rng.permutation(np.concatenate(drawn))

    def batches(self, size: int, seed: int, first_step: int = 0) -> Iterator[NDArray[np.int64]]:
        """Rows of the batches of steps ``first_step``, ``first_step + 1``, ... for ever.

        Epochs follow each other without a gap, so every batch is full.
        """
        position = first_step * size
        number, offset = divmod(position, len(self))
        waiting = self.epoch(seed, number)[offset:]
        while True:
            while len(waiting) < size:
                number += 1
                waiting = np.concatenate([waiting, self.epoch(seed, number)])
            yield waiting[:size]
            waiting = waiting[size:]
