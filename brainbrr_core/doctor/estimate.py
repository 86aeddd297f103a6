"""What a build would cost, from a sample of the corpus: hours of EEG, bytes, and time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from brainbrr_core.cache.shard import BLOCK_BYTES
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration.settings import Preprocessing
from brainbrr_core.constants import BLOCK_S
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.edf.formats import is_native
from brainbrr_core.edf.header import UnusableEdf, read_header
from brainbrr_core.edf.reader import open_edf
from brainbrr_core.edf.source import LocalEdf
from brainbrr_core.machine.walk import walk
from brainbrr_core.signal.chain import Chain

#: Seconds of a search through folders, EDFs whose header is read, and the longest EDF (in seconds)
#: that is preprocessed to measure the speed.
LOOKING_S, SAMPLED, LONGEST_S = 0.7, 24, 1200.0
#: Least seconds of a measurement of the speed.
MEASURED_S = 0.2


@dataclass(frozen=True)
class Extent:
    """How much EEG there is: ``exact`` from an index, otherwise estimated from a sample.

    ``complete`` is false where there were too many folders to search them all.
    """

    recordings: int
    hours: float
    exact: bool
    complete: bool = True

    @property
    def bytes(self) -> float:
        """Bytes of the shards of all this EEG."""
        return self.hours * 3600 / BLOCK_S * BLOCK_BYTES


def indexed_extent(recordings: Iterable[Recording]) -> Extent:
    """The extent of those of some indexed recordings that can have a shard."""
    durations = [r.duration_s for r in recordings if r.signal_reason is None]
    return Extent(len(durations), sum(durations) / 3600, exact=True)


def find_edfs(folder: Path, seconds: float = LOOKING_S) -> tuple[dict[Path, int], bool]:
    """EDFs below a folder with their sizes in bytes, and whether all folders were searched."""
    edfs: dict[Path, int] = {}
    limit = time.monotonic() + seconds
    for listing in walk([folder], unreadable=lambda _error: None):
        for entry in listing.files:
            if is_native(entry.name) and not entry.name.startswith("."):
                with suppress(FileNotFoundError):
                    edfs[Path(entry.path)] = entry.stat().st_size
        if time.monotonic() > limit:
            return edfs, False
    return edfs, True


def sampled_extent(edfs: dict[Path, int], *, complete: bool) -> Extent:
    """Estimate the hours of EEG from the headers of some EDFs and the sizes of all."""
    paths = sorted(edfs)
    sample = paths[:: max(1, math.ceil(len(paths) / SAMPLED))]
    hours, size = 0.0, 0
    for path in sample:
        try:
            header = read_header(LocalEdf(path))
        except (OSError, UnusableEdf):
            continue
        # By the file's size: the number of records in a header need not be true.
        records = max(edfs[path] - header.header_bytes, 0) / (
            header.sample_bytes * header.record_samples
        )
        hours += float(records * header.record_duration) / 3600
        size += edfs[path]
    total = hours * sum(edfs.values()) / size if size else 0.0
    return Extent(len(paths), total, exact=False, complete=complete)


def recorded_speed(store: Store, recordings: Iterable[Recording]) -> float | None:
    """Seconds of EEG that a process preprocesses in a second, as in earlier builds, if any."""
    records = store.records()
    built = [
        (recording.duration_s, records[recording.partition_key].seconds)
        for recording in recordings
        if recording.partition_key in records and records[recording.partition_key].seconds > 0
    ]
    if sum(seconds for _, seconds in built) <= 1:
        return None
    # The first recording of each process took a second more, in which the chain was compiled.
    return median(duration / seconds for duration, seconds in built)


def measured_speed(edfs: dict[Path, int], settings: Preprocessing) -> float | None:
    """Seconds of EEG that a process preprocesses in a second, measured on one of the smallest EDFs.

    The EDF is preprocessed once without being timed, since the chain is then loaded and compiled,
    which a build does once in each process; and then again until :data:`MEASURED_S` have passed.
    None where none of the EDFs can be preprocessed, or all are too long for a quick measurement.
    """
    for path in sorted(edfs, key=lambda path: (edfs[path], path))[:SAMPLED]:
        try:
            source = open_edf(path, montage=settings.montage)
            duration = float(source.samples / source.rate)
            # A few seconds of EEG would only measure how the chain starts.
            if not 60 <= duration <= LONGEST_S:
                continue
            _preprocess(path, settings)
            started, times, spent = perf_counter(), 0, 0.0
            while spent < MEASURED_S:
                _preprocess(path, settings)
                times += 1
                spent = perf_counter() - started
        except (OSError, ValueError, UnusableEdf):
            continue
        return times * duration / spent
    return None


def _preprocess(path: Path, settings: Preprocessing) -> None:
    """Read an EDF and compute its signal, as a build does before it writes."""
    for _ in Chain(open_edf(path), settings).quantized():
        pass
