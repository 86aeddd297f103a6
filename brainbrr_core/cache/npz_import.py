"""Import of brain-go-brr v2's archives, ``<stem>_windows.npz``, as shards of a separate version.

Such a version is never built, and it is used only when ``--cache-version`` names it. Its samples
are those of the archives, whose signal chain may differ from this project's.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.annotation import merge_overlapping
from brainbrr_core.cache.lease import hold
from brainbrr_core.cache.shard import BLOCK_SAMPLES, Chunk, ShardHeader, stored_samples, write_shard
from brainbrr_core.cache.store import Store
from brainbrr_core.cache.unfinished import commit_shard, exclusive_partial
from brainbrr_core.cache.version import (
    FORMAT_VERSION,
    imported_fingerprint,
    imported_parameters,
    imported_version,
)
from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.corpus.index import Index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import content_hash
from brainbrr_core.progress import progress
from brainbrr_core.signal.quantization import SCALE

SUFFIX = "_windows.npz"
WINDOW, STRIDE = 60 * RATE, 10 * RATE
#: Largest difference between two windows about the same sample, in standard deviations.
_AGREEMENT = 1e-5
_UNKNOWN = (float("nan"),) * len(CHANNELS)


@dataclass(frozen=True)
class Imported:
    """An imported archive: bytes before and after, and seconds whose labels differ."""

    partition_key: str
    archive_bytes: int
    shard_bytes: int
    label_samples: int
    differing_samples: int


@dataclass(frozen=True)
class ImportSummary:
    """Outcome of an import; ``refused`` has the reason for each archive that was not imported."""

    version: str
    imported: tuple[Imported, ...]
    refused: dict[str, str]


class _Refused(Exception):
    """An archive cannot be imported; the message says why."""


def import_archives(
    folder: Path,
    root: Path,
    index: Index,
    seizure_labels: tuple[str, ...],
    on_refused: Callable[[str], None] | None = None,
) -> ImportSummary:
    """Convert every archive below ``folder`` to a shard of the imported version.

    An archive that cannot be imported does not stop the others. Raises :class:`BrainbrrError` if
    there is no archive.
    """
    archives = sorted(folder.rglob(f"*{SUFFIX}"))
    if not archives:
        raise BrainbrrError(
            f"no *{SUFFIX} below {folder}: give the cache folder of brain-go-brr v2"
        )
    store = Store(root, imported_version())
    store.check_writable()
    with hold(store, "import of archives", create=True):
        return _import_all(archives, index, store, seizure_labels, on_refused)


def _import_all(
    archives: list[Path],
    index: Index,
    store: Store,
    seizure_labels: tuple[str, ...],
    on_refused: Callable[[str], None] | None,
) -> ImportSummary:
    by_stem: dict[str, list[Recording]] = {}
    for recording in index:
        by_stem.setdefault(Path(recording.partition_key).name, []).append(recording)
    stems = [path.name.removesuffix(SUFFIX) for path in archives]
    imported, refused = [], {}
    with progress("import", len(archives), "archives") as bar:
        for path, stem in zip(archives, stems, strict=True):
            try:
                if stems.count(stem) > 1:
                    raise _Refused("two archives have this name")
                recording = _match(stem, by_stem)
                imported.append(_import_one(path, recording, store, seizure_labels))
            except _Refused as error:
                refused[str(path)] = str(error)
                if on_refused is not None:
                    on_refused(f"{path}: {error}")
            bar.advance()
    return ImportSummary(store.version, tuple(imported), refused)


def _match(stem: str, by_stem: dict[str, list[Recording]]) -> Recording:
    candidates = by_stem.get(stem, [])
    if not candidates:
        raise _Refused("no recording of the index has this name")
    if len(candidates) > 1:
        raise _Refused(
            f"{len(candidates)} recordings have this name, such as {candidates[0].partition_key}"
        )
    return candidates[0]


def _import_one(
    path: Path, recording: Recording, store: Store, seizure_labels: tuple[str, ...]
) -> Imported:
    windows, labels = _read(path)
    signal = _joined(windows, "signals")
    marks = _joined(labels[:, None, :], "labels")[0] > 0.5
    expected = max(0, (stored_samples(recording) - WINDOW) // STRIDE + 1)
    if len(windows) != expected:
        raise _Refused(f"{count(len(windows), 'window')} where the recording has {expected}")
    source_hash = content_hash(path)
    header = ShardHeader(
        format_version=FORMAT_VERSION,
        partition_key=recording.partition_key,
        fingerprint=imported_fingerprint(source_hash),
        parameters=imported_parameters(),
        source_hash=source_hash,
        source_size=path.stat().st_size,
        channels=CHANNELS,
        rate=RATE,
        samples=signal.shape[1],
        mean=_UNKNOWN,
        deviation=_UNKNOWN,
        interpolated=(),
        libraries={},
    )
    target = store.shard_path(recording.partition_key)
    with exclusive_partial(target) as file:
        size, _ = write_shard(file, header, _blocks(signal))
        commit_shard(target)
    truth = np.zeros(len(marks), bool)
    for event in merge_overlapping(recording.seizures(seizure_labels)):
        truth[round(event.start * RATE) : round(event.stop * RATE)] = True
    return Imported(
        recording.partition_key,
        path.stat().st_size,
        size,
        len(marks),
        int(np.count_nonzero(truth != marks)),
    )


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        # Opened here: given a path, NumPy leaves the file of a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            windows, labels = archive["windows"], archive["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _Refused(f"no readable windows and labels ({type(error).__name__})") from None
    if windows.ndim != 3 or windows.shape[1:] != (len(CHANNELS), WINDOW) or not len(windows):
        raise _Refused(f"windows of shape {windows.shape}, not (n, {len(CHANNELS)}, {WINDOW})")
    if labels.shape != (len(windows), WINDOW):
        raise _Refused(f"labels of shape {labels.shape}, not ({len(windows)}, {WINDOW})")
    if not np.isfinite(windows).all():
        raise _Refused("a sample is not finite")
    return windows, labels


def _joined(windows: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Combine overlapping windows (n, rows, 15360) into one signal (rows, samples)."""
    for earlier, later in pairwise(windows):
        if np.abs(earlier[:, STRIDE:] - later[:, :-STRIDE]).max() > _AGREEMENT:
            raise _Refused(f"overlapping windows disagree about their {what}")
    return np.concatenate([windows[0], *(window[:, -STRIDE:] for window in windows[1:])], axis=1)


def _blocks(signal: NDArray[np.float32]) -> Iterator[Chunk]:
    limit = round(10.0 / SCALE)
    for start in range(0, signal.shape[1], BLOCK_SAMPLES):
        scaled = np.rint(signal[:, start : start + BLOCK_SAMPLES] / SCALE)
        clipped = np.count_nonzero(np.abs(scaled) > limit, axis=1).astype(np.int32)
        yield np.clip(scaled, -limit, limit).astype(np.int16)[None], clipped[None]
