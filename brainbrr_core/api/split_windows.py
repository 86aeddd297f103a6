"""Windows of a split for a network of one's own: as a torch loader, or as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as TorchSampler

from brainbrr_core.api.arguments import whole_number_of
from brainbrr_core.api.stored_corpus import open_store
from brainbrr_core.cache.manifest import Manifest
from brainbrr_core.cache.manifest_file import outdated_recordings, read_manifest
from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.cache.readiness import check
from brainbrr_core.cache.store import MANIFESTS, Store
from brainbrr_core.configuration import Overrides, apply_values, load
from brainbrr_core.configuration.settings import Sampling
from brainbrr_core.constants import SPLITS
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.data import BalancedSampling, WindowDataset
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, WorkRemains


class EpochBatches(TorchSampler[list[int]]):
    """The numbers of the windows of each batch of an epoch, for a ``DataLoader``.

    Each time that it is iterated over, it gives the next epoch, from 0 on. ``set_epoch`` chooses
    another one, as with torch's ``DistributedSampler``.

    Parameters
    ----------
    rows : array of int64
        The windows, in the order in which they come without ``sampling``.
    size : int
        Windows per batch; the last batch of an epoch may have fewer.
    sampling : BalancedSampling, optional
        Draws the windows of each epoch. Without it, every window comes once.
    seed : int
        The seed of the draws.
    """

    def __init__(
        self, rows: NDArray[np.int64], size: int, sampling: BalancedSampling | None, seed: int
    ) -> None:
        self._rows, self._sampling = rows, sampling
        self._size = whole_number_of(size, "batch_size", 1)
        self._seed = whole_number_of(seed, "seed", 0)
        self._epoch = 0

    def __len__(self) -> int:
        windows = len(self._rows) if self._sampling is None else len(self._sampling)
        return -(-windows // self._size)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration give this epoch, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rows, epoch = self._rows, self._epoch
        self._epoch += 1
        if self._sampling is not None:
            rows = self._sampling.epoch(self._seed, epoch)
        for first in range(0, len(rows), self._size):
            yield rows[first : first + self._size].tolist()


class SplitWindows:
    """The windows of one split, with a label for each sample.

    Attributes
    ----------
    manifest : Manifest
        All windows of the profile, with their recordings and shares of seizure.
    rows : array of int64
        Numbers, in the manifest, of the windows of this split.
    """

    def __init__(self, manifest: Manifest, store: Store, split: str) -> None:
        self.manifest, self._store, self._split = manifest, store, split
        self.rows = manifest.rows_of(split)

    def __len__(self) -> int:
        return len(self.rows)

    def loader(
        self, batch_size: int, *, sampling: Sampling | None = None, seed: int = 0
    ) -> DataLoader[list[Tensor]]:
        """A torch loader of pairs of signals and labels.

        Parameters
        ----------
        batch_size : int
            Windows per batch; the last batch of an epoch may have fewer.
        sampling : Sampling, optional
            Draw a balanced set of windows for each epoch, as ``brainbrr train`` does. Without it,
            every window comes once, in the order of the recordings.
        seed : int
            The seed of the draws: the same seed gives the same batches.

        Returns
        -------
        torch.utils.data.DataLoader
            Of signals (B, channels, T) in standard deviations and labels (B, T), float32: 1 where a
            seizure is annotated, 0 where background is, -1 where neither is. Its ``batch_sampler``
            is an :class:`EpochBatches`.

        Raises
        ------
        BrainbrrError
            Where no window of the split has a seizure, so that there is nothing to balance, or
            a size or seed is no such number.
        WorkRemains
            Where a shard is missing, damaged, or not the one that the manifest names.
        """
        balanced = None
        if sampling is not None:
            if not isinstance(sampling, Sampling):
                raise BrainbrrError(
                    f"sampling is {sampling!r}: give a Sampling of brainbrr_core.configuration"
                )
            balanced = BalancedSampling.of(self.manifest, sampling, self._split)
        return DataLoader(
            _Pairs(WindowDataset(self.manifest, self._store)),
            batch_sampler=EpochBatches(self.rows, batch_size, balanced, seed),
            collate_fn=_as_fetched,
        )

    def arrays(
        self, batch_size: int, *, sampling: Sampling | None = None, seed: int = 0
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """One epoch of :meth:`loader` as arrays, for what is not torch."""
        for signals, labels in self.loader(batch_size, sampling=sampling, seed=seed):
            yield signals.numpy(), labels.numpy()


def open_windows(
    root: str | Path,
    split: str,
    *,
    profile: str = "full",
    version: str | None = None,
    fold: int | None = None,
    config: str | None = None,
) -> SplitWindows:
    """The windows of a split, as the manifest of a profile lists them.

    With a ``fold``, they are those of a split of this fold of a cross-validation, as
    ``brainbrr train --fold`` uses them; ``eval`` then has the patients whom it holds out.

    Parameters
    ----------
    root : str or pathlib.Path
        The cache root.
    split : str
        ``train``, ``dev`` or ``eval``.
    profile : str, default "full"
        The profile that ``brainbrr manifest`` was run for.
    version : str, optional
        The version to read; not needed where there is only one.
    fold : int, optional
        A fold, from 1 on.
    config : str, optional
        For a fold, the configuration whose ``corpus.split`` says what the folds are: what
        ``--config`` takes, by default that of ``BRAINBRR_CONFIG``. It names the profile, too.

    Returns
    -------
    SplitWindows
        The windows.

    Raises
    ------
    BrainbrrError
        Where the split is not one, the version or profile has several manifests, or there is no
        such fold.
    WorkRemains
        Where there is no manifest of this profile, or the index has other annotations, splits or
        exclusions by now; the message names the command that writes it.
    """
    if split not in SPLITS:
        raise BrainbrrError(f"{split!r} is not a split: use one of {', '.join(SPLITS)}")
    if fold is not None:
        return _of_fold(Path(root), split, fold, config, version)
    if config is not None:
        raise BrainbrrError("config says what the folds are: give a fold, too, or leave it out")
    store = Store(Path(root), open_store(root, version).version)
    paths = sorted((store.folder / MANIFESTS).glob(escape(f"{profile}-") + "*.parquet"))
    if not paths:
        raise WorkRemains(
            f"no manifest of profile {profile} in {store.folder}: run `brainbrr manifest --profile "
            f"{profile}`"
        )
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise BrainbrrError(
            f"profile {profile} has {len(paths)} manifests in {store.folder / MANIFESTS} "
            f"({names}), of different settings of windows or labels: remove those that you do not "
            "need"
        )
    manifest = read_manifest(paths[0], f" --profile {profile}")
    outdated = outdated_recordings(manifest, read_index(store.root))
    if outdated:
        raise WorkRemains(
            f"the index has other annotations or splits than the manifest of profile {profile} for "
            f"{count(len(outdated), 'recording')}, such as {outdated[0]}: run `brainbrr manifest "
            f"--profile {profile}`"
        )
    return SplitWindows(manifest, store, split)


def _of_fold(
    root: Path, split: str, fold: int, config: str | None, version: str | None
) -> SplitWindows:
    settings = load(Overrides(config=config, cache_root=str(root), cache_version=version))
    cache = ProfileCache.of(apply_values(settings, {"corpus.split.fold": fold}, "open_windows"))
    return SplitWindows(check(cache).manifest, cache.store, split)


class _Pairs(Dataset[list[Tensor]]):
    """Signals and labels that stay valid: those of a batch are overwritten by later ones."""

    def __init__(self, windows: WindowDataset) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, position: int) -> list[Tensor]:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> list[Tensor]:
        batch = self._windows.__getitems__(positions)
        return [batch.signals.clone(), batch.labels.clone()]


def _as_fetched(pair: list[Tensor]) -> list[Tensor]:
    """Batches are fetched as a whole, so there is nothing to collate."""
    return pair
