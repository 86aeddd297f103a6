"""The balanced training set, in an order that follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.configuration import Sampling
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.nearest import nearest

#: How many wholly ictal windows count as one partly ictal one where those are few: seizures of many
#: minutes have hundreds of the former and only a handful of the latter.
FULL_FOR_PARTIAL = 2


@dataclass(frozen=True)
class BalancedSampling:
    """Every partly ictal window, and draws of wholly ictal and of background windows.

    Each epoch is a new draw without replacement; which windows and in which order follows from seed
    and epoch.

    Where patients are balanced, an epoch has as many windows of each kind, and of each kind as
    many of each patient who has any, to within one; which patients have one more is drawn. A
    patient's windows are drawn without replacement until all are drawn, and then again. Kinds are
    balanced separately, because otherwise background would mostly come from patients without a
    seizure, and the patient would tell the kind of a window.

    Where corpora have weights, an epoch has as many windows of each kind as without, divided by the
    weights among the corpora that have any, to within one. In each of them windows, or patients,
    are drawn as above, and again once all are drawn.

    Attributes
    ----------
    partial, full, background : array of int64
        Numbers in the manifest of the partly ictal, wholly ictal and background windows.
    full_count, background_count : int
        How many wholly ictal and background windows an epoch has.
    positive_fraction : float
        Expected share of ictal samples among the known samples of an epoch.
    patient : array of int64, optional
        A number for the patient of each window of the manifest, where patients are balanced.
    corpus : array of int64, optional
        A number for the corpus of each window of the manifest, where corpora have weights.
    weights : tuple of float
        The weight of each of these corpora.
    """

    partial: NDArray[np.int64]
    full: NDArray[np.int64]
    background: NDArray[np.int64]
    full_count: int
    background_count: int
    positive_fraction: float
    patient: NDArray[np.int64] | None = None
    corpus: NDArray[np.int64] | None = None
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, settings: Sampling, split: str = "train") -> BalancedSampling:
        """Make the balanced set of one split.

        The counts of wholly ictal and of background windows are multiples of one base, as far as
        there are that many. The base is the number of partly ictal windows, or half that of wholly
        ictal ones where this is more: then an epoch is not small only because the seizures are
        long. With a ``full_ratio`` of 0 it is the former alone. Of a split whose ictal windows are
        all wholly ictal, an epoch has at least one.

        Parameters
        ----------
        manifest : Manifest
            The windows.
        settings : Sampling
            The ratios, and whether patients are balanced.
        split : str
            ``train``, ``dev`` or ``eval``.

        Returns
        -------
        BalancedSampling
            The set; its ``positive_fraction`` is computed, not drawn.

        Raises
        ------
        BrainbrrError
            Where an epoch would have no window with a seizure, and where a weight is of no corpus
            of the manifest.
        """
        rows = manifest.rows_of(split)
        weights, corpus = _corpus_weights(manifest, settings.corpus_weights), None
        if weights:
            corpus = _numbered(manifest, [r.corpus for r in manifest.recordings])
            rows = rows[np.array(weights)[corpus[rows]] > 0]
        groups = [rows[manifest.category[rows] == category] for category in range(3)]
        background, partial, full = groups
        if len(partial) + len(full) == 0:
            raise BrainbrrError(
                f"split {split} has no window with a seizure in profile {manifest.profile}: "
                "choose a larger --profile"
            )
        if len(partial) == 0 and settings.full_ratio == 0:
            raise BrainbrrError(
                f"every window of split {split} with a seizure ({len(full):,}) is wholly seizure "
                f"in profile {manifest.profile}, and sampling.full_ratio is 0: raise it"
            )
        substitutes = len(full) // FULL_FOR_PARTIAL if settings.full_ratio > 0 else 0
        base = max(len(partial), substitutes, 1)
        least = 1 if len(partial) == 0 else 0
        full_count = min(len(full), max(round(settings.full_ratio * base), least))
        background_count = min(len(background), round(settings.background_ratio * base))
        patient = None
        if settings.balance == "patients":
            patient = _numbered(manifest, [r.patient for r in manifest.recordings])
        if patient is not None or corpus is not None:
            counts = (full_count, background_count)
            made = cls(partial, full, background, *counts, 0.0, patient, corpus, weights)
            known = made.expected_draws(len(manifest)) * (1 - manifest.unknown.astype(np.float64))
            fraction = float(known @ manifest.ictal) / float(known.sum())
            return replace(made, positive_fraction=fraction)
        labeled = 1 - manifest.unknown
        ictal = manifest.ictal * labeled
        ictal_windows = float(ictal[partial].sum())
        if full_count:
            ictal_windows += full_count * float(ictal[full].mean())
        size = float(labeled[partial].sum(dtype=np.float64))
        for rows_drawn, count in ((full, full_count), (background, background_count)):
            if count:
                size += count * float(labeled[rows_drawn].mean(dtype=np.float64))
        return cls(partial, full, background, full_count, background_count, ictal_windows / size)

    def expected_draws(self, windows: int) -> NDArray[np.float64]:
        """How often each of a manifest's ``windows`` is drawn in an epoch, on average."""
        draws = np.zeros(windows)
        for kind, number in self._kinds():
            for rows, count in self._shares(kind, number):
                if not count:
                    continue
                if self.patient is None:
                    draws[rows] = count / len(rows)
                    continue
                _, patient, sizes = np.unique(
                    self.patient[rows], return_inverse=True, return_counts=True
                )
                draws[rows] = count / len(sizes) / sizes[patient]
        return draws

    def _shares(self, rows: NDArray[np.int64], count: int) -> list[tuple[NDArray[np.int64], float]]:
        """``rows`` of each corpus that has any, and its share of ``count`` by the weights."""
        if self.corpus is None:
            return [(rows, count)]
        numbers = np.unique(self.corpus[rows])
        weights = np.array(self.weights)[numbers]
        shares = (count * weights / weights.sum()).tolist() if len(numbers) else []
        return [
            (rows[self.corpus[rows] == number], share)
            for number, share in zip(numbers, shares, strict=True)
        ]

    def _kinds(self) -> list[tuple[NDArray[np.int64], int]]:
        """The windows of each kind, and how many of them an epoch has."""
        return [
            (self.partial, len(self.partial)),
            (self.full, self.full_count),
            (self.background, self.background_count),
        ]

    def __len__(self) -> int:
        return len(self.partial) + self.full_count + self.background_count

    def epoch(self, seed: int, number: int) -> NDArray[np.int64]:
        """Draw one epoch.

        Parameters
        ----------
        seed : int
            The seed of the training.
        number : int
            Which epoch, counted from 0.

        Returns
        -------
        array of int64, shape (len(self),)
            Numbers of windows in the manifest, in the order of the epoch.
        """
        rng = np.random.default_rng([seed, number])
        if self.corpus is not None:
            drawn = [part for kind in self._kinds() for part in self._of_corpora(rng, *kind)]
            return rng.permutation(np.concatenate(drawn))
        if self.patient is not None:
            kinds = [_of_each(rng, rows, self.patient[rows], n) for rows, n in self._kinds()]
            return rng.permutation(np.concatenate(kinds))
        drawn = [
            self.partial,
            rng.choice(self.full, self.full_count, replace=False),
            rng.choice(self.background, self.background_count, replace=False),
        ]
        return rng.permutation(np.concatenate(drawn))

    def _of_corpora(
        self, rng: np.random.Generator, rows: NDArray[np.int64], count: int
    ) -> Iterator[NDArray[np.int64]]:
        """``count`` of the rows of a kind, of each corpus its share to within one."""
        # One random number for all: each share is rounded up as often as its fraction says.
        reached, drawn = rng.random(), 0
        shares = self._shares(rows, count)
        for number, (own, share) in enumerate(shares, start=1):
            reached += share
            quota = (count if number == len(shares) else int(reached)) - drawn
            drawn += quota
            # Without patients, as one: all windows before any is drawn again.
            patient = np.zeros(len(own), np.int64) if self.patient is None else self.patient[own]
            yield _of_each(rng, own, patient, quota)

    def batches(self, size: int, seed: int, first_step: int = 0) -> Iterator[NDArray[np.int64]]:
        """Yield the batches of steps ``first_step``, ``first_step + 1``, ... without end.

        Epochs follow each other without a gap, so every batch is full.

        Parameters
        ----------
        size : int
            Windows per batch.
        seed : int
            The seed of the training.
        first_step : int
            Counted from 0.

        Yields
        ------
        array of int64, shape (size,)
            Numbers of windows in the manifest.
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


def _corpus_weights(manifest: Manifest, weights: Mapping[str, float]) -> tuple[float, ...]:
    """The weight of each corpus of a manifest, sorted by name; empty where none has one.

    Raises :class:`BrainbrrError` for a weight of another corpus.
    """
    names = sorted({recording.corpus for recording in manifest.recordings})
    for name in weights:
        if name not in names:
            near = nearest(name, names)
            has = f"the nearest is {near}" if near else "its only corpus has no name"
            raise BrainbrrError(
                f"sampling.corpus_weights names {name}, which is no corpus of profile "
                f"{manifest.profile}: {has}"
            )
    return tuple(weights.get(name, 1.0) for name in names) if weights else ()


def _numbered(manifest: Manifest, names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each window: the position of the name of its recording among the sorted ones."""
    _, of_recording = np.unique(names, return_inverse=True)
    return of_recording.astype(np.int64)[manifest.recording]


def _of_each(
    rng: np.random.Generator, rows: NDArray[np.int64], patient: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """``count`` of ``rows``, as many of each patient to within one."""
    patients = np.unique(patient)
    if not count:
        return rows[:0]
    each, more = divmod(count, len(patients))
    quotas = rng.permutation(np.arange(len(patients)) < more) + each
    drawn = []
    for one, quota in zip(patients, quotas.tolist(), strict=True):
        own = rows[patient == one]
        whole, rest = divmod(quota, len(own))
        drawn += [*[own] * whole, rng.choice(own, rest, replace=False)]
    return np.concatenate(drawn)
