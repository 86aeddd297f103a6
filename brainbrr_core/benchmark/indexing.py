"""``brainbrr bench --index``: time to index as many recordings as TUSZ has, and to hash files."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import edfio
import numpy as np

from brainbrr_core.annotation import Event, tuh
from brainbrr_core.benchmark import idle_commands
from brainbrr_core.benchmark.idle_commands import IdleCommands
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import update_index
from brainbrr_core.files.state import content_hash
from brainbrr_core.machine.processors import usable_cores

#: Length of each recording in seconds. A longer one takes longer to hash, not to index.
_SECONDS = 12
_PER_PATIENT = 12
_HASHED_FILES, _HASHED_BYTES = 8, 1 << 27
_PIECE = 1 << 20
_REPEATS = 5


class Hashing(Figures):
    """GB/s of reading and of hashing files that are on the disk only, or in the page cache."""

    read_disk_gb_per_s: float
    read_cache_gb_per_s: float
    hash_disk_gb_per_s: float
    hash_cache_gb_per_s: float
    #: Speed of hashing from the disk, relative to that of reading.
    ratio_disk: float


class Indexing(Report):
    """The index of a corpus, the speed of hashing, and commands that find nothing to do."""

    recordings: int
    #: Seconds to index files that are not in the page cache.
    cold_s: float
    #: Seconds to index again when nothing has changed.
    unchanged_s: float
    hashing: Hashing
    cache: IdleCommands

    def tables(self) -> list[Table]:
        """The index and hashing; the commands."""
        hashing = self.hashing
        rows = [
            ["index from cold, s", f"{self.cold_s:.1f}"],
            ["index when nothing changed, s", f"{self.unchanged_s:.2f}"],
            ["reading from the disk, GB/s", f"{hashing.read_disk_gb_per_s:.2f}"],
            ["hashing from the disk, GB/s", f"{hashing.hash_disk_gb_per_s:.2f}"],
            ["reading from the page cache, GB/s", f"{hashing.read_cache_gb_per_s:.2f}"],
            ["hashing from the page cache, GB/s", f"{hashing.hash_cache_gb_per_s:.2f}"],
        ]
        index = Table(f"{self.recordings:,} small recordings", ["", "figure"], rows)
        return [index, self.cache.table()]


def run(recordings: int, cached_recordings: int, log: Callable[[str], None] = print) -> Indexing:
    """Index ``recordings`` small recordings from cold and again, and hash 1 GiB.

    Cold means that the files are on the disk and not in the page cache. The commands are measured
    in a cache of ``cached_recordings`` recordings. Everything is written below temporary folders
    that are removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder:
        root = Path(folder)
        log(f"writing {recordings:,} recordings")
        _write_corpus(root / "tusz", recordings)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            index = update_index(str(root / "tusz"), root / "cache")
            seconds.append(time.perf_counter() - start)
        log("writing 1 GiB to hash")
        hashing = _hashing(root / "hashed")
    return Indexing(
        recordings=len(index),
        cold_s=round(seconds[0], 2),
        unchanged_s=round(seconds[1], 2),
        hashing=hashing,
        cache=idle_commands.run(cached_recordings, log),
    )


def _write_corpus(root: Path, recordings: int) -> None:
    """Recordings of 12 s that differ in one sample, each with ``csv_bi`` and ``csv``."""
    rng = np.random.default_rng(0)
    names = [f"EEG {name.upper()}-REF" for name in CHANNELS]
    signals = [
        edfio.EdfSignal(
            20 * rng.standard_normal(256 * _SECONDS).clip(-5, 5),
            256,
            label=name,
            physical_dimension="uV",
            physical_range=(-200, 200),
        )
        for name in names
    ]
    content = bytearray(edfio.Edf(signals).to_bytes())
    seizure = Event(2, 5, "fnsz", 1.0, ("FP1-F7", "F7-T3"))
    texts = {
        ".csv_bi": tuh.format_csv_bi([seizure], _SECONDS, "bench").encode(),
        ".csv": tuh.format_csv([seizure], _SECONDS, "bench").encode(),
    }
    for number in range(recordings):
        patient = f"p{number // _PER_PATIENT:05}"
        path = root / "train" / patient / "s001" / "01_tcp_ar" / f"{patient}_t{number:05}.edf"
        path.parent.mkdir(parents=True, exist_ok=True)
        content[-4:] = number.to_bytes(4, "little")
        path.write_bytes(content)
        for suffix, text in texts.items():
            path.with_suffix(suffix).write_bytes(text)
    _drop_from_page_cache(path for path in root.rglob("*") if path.is_file())


def _drop_from_page_cache(paths: Iterable[Path]) -> None:
    """Write files to the disk and drop them from the page cache."""
    os.sync()
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _hashing(folder: Path) -> Hashing:
    """Medians of some rounds, with as many threads as the index has."""
    folder.mkdir()
    paths = [folder / str(number) for number in range(_HASHED_FILES)]
    rng = np.random.default_rng(1)
    for path in paths:
        path.write_bytes(rng.bytes(_HASHED_BYTES))
    speeds: dict[str, list[float]] = {}
    for _ in range(_REPEATS):
        for name, work in (("read", _read), ("hash", content_hash)):
            _drop_from_page_cache(paths)
            for source in ("disk", "cache"):
                speeds.setdefault(f"{name}_{source}", []).append(_speed(work, paths))
    medians = {name: round(statistics.median(values), 2) for name, values in speeds.items()}
    return Hashing(
        read_disk_gb_per_s=medians["read_disk"],
        read_cache_gb_per_s=medians["read_cache"],
        hash_disk_gb_per_s=medians["hash_disk"],
        hash_cache_gb_per_s=medians["hash_cache"],
        ratio_disk=round(medians["hash_disk"] / medians["read_disk"], 2),
    )


def _speed(work: Callable[[Path], object], paths: list[Path]) -> float:
    """GB/s of ``work`` on all files, several at a time."""
    start = time.perf_counter()
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(work, paths))
    return len(paths) * _HASHED_BYTES / (time.perf_counter() - start) / 1e9


def _read(path: Path) -> None:
    buffer = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
