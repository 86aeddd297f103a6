"""A cache root opened for reading: recordings with their signals, events and findings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import Event, Finding
from brainbrr_core.api.arguments import number_of
from brainbrr_core.cache.shard import BATCH_BLOCKS, BLOCK_SAMPLES, DamagedShard, Shard, ShardHeader
from brainbrr_core.cache.store import Store
from brainbrr_core.constants import RATE
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.index_file import read_index
from brainbrr_core.corpus.lookup import find_recording
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError, WorkRemains
from brainbrr_core.signal.quantization import SCALE
from brainbrr_core.signal.statistics import Statistics

if TYPE_CHECKING:
    import mne

Unit = Literal["uV", "sd"]
#: How many shards are held open.
_OPEN = 8


class StoredCorpus:
    """The recordings of one version of a store.

    Only what is asked for is read, and every sample is verified. Nothing is ever written. Keys may
    be partition keys, file names, or whatever they end in, as long as one recording is meant, and
    the path of a recording as the index has it.

    Attributes
    ----------
    root : pathlib.Path
        The cache root.
    version : str
        The version that signals are read from.
    """

    def __init__(self, store: Store) -> None:
        self.root, self.version = store.root, store.version
        self._store = store
        self._open = lru_cache(_OPEN)(self._opened)

    def __repr__(self) -> str:
        size = count(len(self), "recording")
        return f"<{type(self).__name__} {self.version} in {self.root}: {size}>"

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys)

    @cached_property
    def index(self) -> Index:
        """The index of the corpus, of all recordings: usable ones and excluded ones."""
        return read_index(self.root)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Partition keys of the stored recordings, sorted."""
        return tuple(sorted(self._store.shard_keys() & self.index.by_key().keys()))

    def recording(self, key: str | Path) -> Recording:
        """What the index has of a recording: patient, split, duration, reasons, and so on.

        Raises :class:`BrainbrrError` where no recording, or more than one, has this name.
        """
        if not isinstance(key, str | Path):
            raise BrainbrrError(f"{key!r} names no recording: give one of its keys")
        return find_recording(self.index, str(key))

    def events(self, key: str | Path) -> tuple[Event, ...]:
        """The annotated events of a recording, in order, in seconds from its start.

        The label of a seizure is its type; ``unknown`` is neither seizure nor background.
        """
        return self.recording(key).events

    def findings(self, key: str | Path) -> tuple[Finding, ...]:
        """Irregularities of the files of a recording."""
        return self.recording(key).findings

    def header(self, key: str | Path) -> ShardHeader:
        """What the shard of a recording says: channels, length, statistics, origin."""
        return self._open(self.recording(key).partition_key)[0].header

    def read(
        self,
        key: str | Path,
        start_s: float = 0.0,
        stop_s: float | None = None,
        unit: Unit = "uV",
    ) -> NDArray[np.float32]:
        """Read an interval of a recording.

        Parameters
        ----------
        key : str or pathlib.Path
            The recording.
        start_s, stop_s : float, optional
            The interval in seconds; by default to the end. What lies outside the recording is left
            out.
        unit : {"uV", "sd"}, optional
            µV of the filtered signal, or standard deviations of each channel, as networks get them.

        Returns
        -------
        array of float32, shape (channels, samples)
            The signal at 256 Hz. Samples beyond the limit of the version (``clip_sd``) are at it.

        Raises
        ------
        BrainbrrError
            Where there is no such recording, a time is no number, or there are no µV (an imported
            version, or one in which each block has its own mean and deviation).
        WorkRemains
            Where the recording is not stored, or its shard is damaged.
        """
        check_unit(unit)
        partition_key = self.recording(key).partition_key
        header = self.header(partition_key)
        first = _sample("start_s", start_s, header)
        stop = header.samples
        if stop_s is not None:
            stop = max(_sample("stop_s", stop_s, header), first)
        signal = self._stored(partition_key, first, stop).astype(np.float32) * np.float32(SCALE)
        return signal if unit == "sd" else _microvolts(signal, header)

    def to_mne(self, key: str | Path) -> mne.io.RawArray:
        """A recording as MNE has it: volts, channels with positions, annotations of its seizures.

        The date of the recording and the patient are left out. Raises as :meth:`read` does.
        """
        import mne

        recording = self.recording(key)
        signal = self.read(key).astype(np.float64) * 1e-6
        channels = list(self.header(key).channels)
        info = mne.create_info(channels, RATE, "eeg")
        raw = mne.io.RawArray(signal, info, verbose="error")
        # MNE 1.13 has renamed it.
        known = mne.channels.get_builtin_montages()
        name = next(name for name in ("colin27_1020", "standard_1020") if name in known)
        positions = mne.channels.make_standard_montage(name)
        # Derivations between two electrodes have no position.
        if set(channels) <= set(positions.ch_names):
            raw.set_montage(positions, verbose="error")
        raw.set_annotations(
            mne.Annotations(
                [event.start for event in recording.events],
                [event.duration for event in recording.events],
                [event.label for event in recording.events],
            )
        )
        return raw

    def _opened(self, key: str) -> tuple[Shard, set[int]]:
        """The shard of a recording, and the numbers of its batches that are verified."""
        try:
            shard = Shard(self._store.shard_path(key))
        except FileNotFoundError:
            raise WorkRemains(
                f"{key} is not stored in {self.version}: `brainbrr cache status` says why"
            ) from None
        except DamagedShard as error:
            raise _damaged(key, error) from None
        return shard, set()

    def _stored(self, key: str, first: int, stop: int) -> NDArray[np.int16]:
        """Samples ``first`` to ``stop`` as they are stored, (channels, samples)."""
        shard, verified = self._open(key)
        per_batch = BATCH_BLOCKS * BLOCK_SAMPLES
        pieces = [np.zeros((len(shard.header.channels), 0), np.int16)]
        for number in range(first // per_batch, -(-stop // per_batch)):
            try:
                if number in verified:
                    batch = shard.batch(number)
                else:
                    batch, _ = shard.verified_batch(number)
                    verified.add(number)
            except DamagedShard as error:
                raise _damaged(key, error) from None
            offset = number * per_batch
            rows = batch.transpose(1, 0, 2).reshape(batch.shape[1], -1)
            pieces.append(rows[:, max(first - offset, 0) : stop - offset])
        return np.concatenate(pieces, axis=1)


def open_store(root: str | Path, version: str | None = None) -> StoredCorpus:
    """Open a cache root for reading.

    Parameters
    ----------
    root : str or pathlib.Path
        The cache root, which has the index and a folder for each version.
    version : str, optional
        The version to read, such as ``"v2_256hz_10-20_89f91765f0ac"``; not needed where there is
        only one (:func:`stored_versions`).

    Returns
    -------
    StoredCorpus
        The recordings of that version.

    Raises
    ------
    BrainbrrError
        Where the root has no such version, or several and none is named.
    """
    if Path(root).exists() and not Path(root).is_dir():
        raise BrainbrrError(f"{root} is no folder: give the root of a cache")
    versions = stored_versions(root)
    if not versions:
        raise BrainbrrError(
            f"{root} has no version of a cache: build one with `brainbrr cache build`"
        )
    if version is None and len(versions) > 1:
        raise BrainbrrError(
            f"{root} has {len(versions)} versions: choose one of {', '.join(versions)}"
        )
    chosen = versions[0] if version is None else version
    if chosen not in versions:
        raise BrainbrrError(f"{root} has no version {version}: it has {', '.join(versions)}")
    return StoredCorpus(Store(Path(root), chosen))


def stored_versions(root: str | Path) -> tuple[str, ...]:
    """The versions in a cache root.

    Parameters
    ----------
    root : str or pathlib.Path
        The cache root.

    Returns
    -------
    tuple of str
        Their names, sorted; none where the root does not exist.
    """
    return tuple(sorted(store.version for store in Store(Path(root), "").other_versions()))


def check_unit(unit: str) -> None:
    """Raise :class:`BrainbrrError` for a unit that is none."""
    if unit not in get_args(Unit):
        raise BrainbrrError(f"the unit {unit!r} is not known: use one of {get_args(Unit)}")


def in_microvolts(signal: NDArray[np.float32], statistics: Statistics) -> NDArray[np.float32]:
    """A signal in standard deviations (channels, n) in µV, by the statistics of its channels."""
    deviation, mean = (
        values.astype(np.float32)[:, None] for values in (statistics.deviation, statistics.mean)
    )
    return signal * deviation + mean


def _sample(what: str, seconds: float, header: ShardHeader) -> int:
    """The sample of a recording at a time, its first or last one for a time outside of it."""
    samples = number_of(seconds, what, "seconds") * RATE
    return round(min(max(samples, 0), header.samples))


def _microvolts(signal: NDArray[np.float32], header: ShardHeader) -> NDArray[np.float32]:
    chain = header.parameters.get("chain")
    statistics = Statistics(np.array(header.mean), np.array(header.deviation))
    by_block = isinstance(chain, dict) and chain.get("zscore_minutes") is not None
    if by_block or not np.isfinite(statistics.deviation).all():
        raise BrainbrrError(
            f"{header.partition_key} has no µV: "
            + ("each of its blocks has its own scale" if by_block else "its scale is not known")
            + '; read it with unit="sd"'
        )
    return in_microvolts(signal, statistics)


def _damaged(key: str, error: DamagedShard) -> WorkRemains:
    return WorkRemains(f"the shard of {key} is damaged ({error}): run `brainbrr cache verify`")
