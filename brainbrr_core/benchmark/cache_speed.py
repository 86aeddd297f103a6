"""``brainbrr bench``: the cache compared with that of brain-go-brr v2.

Measured are builds, bytes, random windows, a loader, opening a cache, and planning.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, RandomSampler

from brainbrr_core.benchmark import brain_go_brr_v2
from brainbrr_core.benchmark.build_memory import peak_of_build
from brainbrr_core.benchmark.build_stages import StageTimes, stage_table, stage_times
from brainbrr_core.benchmark.many_recordings import TUSZ_RECORDINGS, with_many_recordings
from brainbrr_core.benchmark.result import Figures, Report, Table
from brainbrr_core.cache.manifest import Manifest, make_manifest
from brainbrr_core.cache.plan import Plan, plan_profile
from brainbrr_core.cache.shard_build import build_one
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, Preprocessing, load
from brainbrr_core.configuration.settings import Selection
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import update_index, write_index
from brainbrr_core.data import Batch, WindowDataset
from brainbrr_core.data.augmentation import augment, draw
from brainbrr_core.data.device_batches import move_labels
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.display.counts import count
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import content_hash

_RANDOM_WINDOWS = 2000
_V2_WINDOWS = 20
_BATCH = 32
_BUILDS = 7
_TRAINING_BATCHES = 40
#: The profile whose augmentation is timed.
_AUGMENTED_AS = "full"


class BuildTimes(Figures):
    """Seconds for an hour of EEG. Reading and hashing the EDFs is the least that a build takes."""

    v2_s_per_h: float
    this_s_per_h: float
    read_and_hash_s_per_h: float
    ratio: float


class CacheSizes(Figures):
    """MB for an hour of EEG."""

    v2_mb_per_h: float
    this_mb_per_h: float
    ratio: float


class WindowTimes(Figures):
    """Milliseconds to read one random window, median and 99th percentile; and to copy one."""

    v2_p50: float
    this_p50: float
    this_p99: float
    memcpy_p50: float
    ratio: int


class LoaderRates(Figures):
    """Windows per second in batches, and the time of a processor for each window of a training.

    ``host_ms`` is what a training on a GPU takes of this machine: to read the window as stored, to
    draw its augmentation, and to move its labels. ``device_ms`` is what the device does then: to
    widen and to augment the window. Here the processor does that, too.
    """

    v2_windows_per_s: float
    this_windows_per_s: int
    ratio: int
    host_ms: float
    device_ms: float


class OpeningTimes(Figures):
    """Seconds to open all recordings for reading."""

    v2: float
    this: float


class CacheSpeed(Report):
    """The cache compared with that of brain-go-brr v2, on one core."""

    recordings: int
    hours: float
    build: BuildTimes
    stages: list[StageTimes]
    bytes: CacheSizes
    window_ms: WindowTimes
    loader: LoaderRates
    open_s: OpeningTimes
    #: Seconds of a plan with nothing to do for as many recordings as TUSZ has.
    plan_s: float
    #: Peak resident memory of a worker that builds the longest recording, in MB.
    peak_rss_mb: int

    def tables(self) -> list[Table]:
        """One row for each measurement; and the stages of a build, one column for each rate."""
        build, size, window = self.build, self.bytes, self.window_ms
        loader, opened = self.loader, self.open_s
        rows = [
            [
                "build, s per hour of EEG",
                f"{build.v2_s_per_h:.2f}",
                f"{build.this_s_per_h:.3f}",
                f"{build.read_and_hash_s_per_h:.3f} (read, hash)",
                f"{build.ratio:.0f}",
            ],
            [
                "MB per hour of EEG",
                f"{size.v2_mb_per_h:.0f}",
                f"{size.this_mb_per_h:.1f}",
                "",
                f"{size.ratio:.1f}",
            ],
            [
                "random window, ms (median)",
                f"{window.v2_p50:.1f}",
                f"{window.this_p50:.3f}",
                f"{window.memcpy_p50:.3f} (memcpy)",
                f"{window.ratio:,}",
            ],
            ["random window, ms (99 %)", "", f"{window.this_p99:.3f}", "", ""],
            [
                f"loader at batch {_BATCH}, windows/s",
                f"{loader.v2_windows_per_s:.1f}",
                f"{loader.this_windows_per_s:,}",
                "",
                f"{loader.ratio:,}",
            ],
            [
                "augmented window, ms: host, device (CPU)",
                "",
                f"{loader.host_ms:.3f}, {loader.device_ms:.3f}",
                "",
                "",
            ],
            ["opening, s", f"{opened.v2:.2f}", f"{opened.this:.4f}", "", ""],
            [f"plan of {TUSZ_RECORDINGS:,} recordings, s", "", f"{self.plan_s:.2f}", "", ""],
            ["peak memory of a build, MB", "", f"{self.peak_rss_mb}", "", ""],
        ]
        title = f"{count(self.recordings, 'recording')}, {self.hours} h, one core"
        return [
            Table(title, ["", "brain-go-brr v2", "brainbrr", "floor", "ratio"], rows),
            stage_table(self.stages),
        ]


def run(
    configuration: Configuration,
    data_dir: Path,
    recordings: int,
    log: Callable[[str], None] = print,
) -> CacheSpeed:
    """Measure on the first ``recordings`` usable recordings, one process and one thread each.

    Everything is written below a temporary folder that is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as temporary, _one_thread():
        folder = Path(temporary)
        measured = configuration.model_copy(
            update={"cache_root": folder / "cache", "selection": Selection()}
        )
        preprocessing = measured.preprocessing
        index = update_index(str(data_dir), measured.cache_root, measured.corpus)
        length = measured.windows.length_s
        chosen = [r for r in index if r.reason is None and r.duration_s >= length][:recordings]
        if not chosen:
            raise BrainbrrError(
                f"no recording of {length} s or more below {data_dir}: nothing to time"
            )
        write_index(replace(index, recordings=tuple(chosen)), measured.cache_root)
        hours = sum(r.duration_s for r in chosen) / 3600
        log(f"{len(chosen)} recordings, {hours:.2f} h")
        plan = plan_profile(measured)

        # A corpus that was just written would still be on its way to the disk.
        os.sync()
        log("floor: reading the EDFs")
        floor = _time_of(lambda: [content_hash(Path(r.path)) for r in chosen])
        log("building the cache")
        ours = _build_time(plan, preprocessing)
        stages = stage_times(plan, preprocessing)
        longest = max(plan.items, key=lambda item: item.recording.duration_s)
        peak_mb = peak_of_build(plan.store, preprocessing, longest)
        log("building the cache of brain-go-brr v2")
        archives = [folder / f"{number}.npz" for number in range(len(chosen))]
        theirs = _time_of(
            lambda: [
                brain_go_brr_v2.build(Path(r.path), path)
                for r, path in zip(chosen, archives, strict=True)
            ]
        )
        manifest = make_manifest(plan_profile(measured), measured.manifest_settings)
        log("reading")
        clock = time.perf_counter()
        npz = brain_go_brr_v2.NpzDataset(archives)
        npz_opened = time.perf_counter() - clock
        window = _window_times(manifest, plan.store, npz)
        loader = _loader_rates(manifest, plan.store, npz)
        log(f"planning {TUSZ_RECORDINGS} recordings")
        wide = with_many_recordings(measured, chosen[0], folder / "wide")
        shards = [plan.store.shard_path(r.partition_key) for r in chosen]
        return CacheSpeed(
            recordings=len(chosen),
            hours=round(hours, 3),
            build=BuildTimes(
                v2_s_per_h=round(theirs / hours, 3),
                this_s_per_h=round(ours / hours, 4),
                read_and_hash_s_per_h=round(floor / hours, 4),
                ratio=round(theirs / ours, 1),
            ),
            stages=stages,
            bytes=_cache_sizes(archives, shards, hours),
            window_ms=window,
            loader=loader,
            open_s=OpeningTimes(
                v2=round(npz_opened, 4),
                this=round(_time_of(lambda: WindowDataset(manifest, plan.store)), 5),
            ),
            plan_s=round(_plan_time(lambda: plan_profile(wide)), 3),
            peak_rss_mb=round(peak_mb),
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread in the block."""
    threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _cache_sizes(archives: Iterable[Path], shards: Iterable[Path], hours: float) -> CacheSizes:
    theirs, ours = (
        sum(path.stat().st_size for path in paths) / 1e6 / hours for paths in (archives, shards)
    )
    return CacheSizes(
        v2_mb_per_h=round(theirs, 1),
        this_mb_per_h=round(ours, 1),
        ratio=round(theirs / ours, 2),
    )


def _time_of(action: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _build_time(plan: Plan, preprocessing: Preprocessing) -> float:
    """Seconds to hash, build and record every recording: the median of some builds."""

    def everything() -> None:
        for item in plan.items:
            content_hash(Path(item.recording.path))
            done = build_one(plan.store, preprocessing, item.recording, item.fingerprint)
            if done.error:
                raise BrainbrrError(f"{done.partition_key}: {done.error}")

    # The first build warms up. Builds take seconds, and machines are noisy: hence several.
    times = []
    for _ in range(_BUILDS + 1):
        for item in plan.items:
            plan.store.shard_path(item.recording.partition_key).unlink(missing_ok=True)
        times.append(_time_of(everything))
    return float(np.median(times[1:]))


def _window_times(manifest: Manifest, store: Store, npz: brain_go_brr_v2.NpzDataset) -> WindowTimes:
    """Read random windows: as a float32 tensor in a reused buffer, and from an npz.

    Every window of the corpus is as likely as any other, on both sides. What is copied for
    comparison comes from random positions of a large array, as random windows do.
    """
    rng = np.random.default_rng(0)
    dataset = WindowDataset(manifest, store, ring=1)
    dataset.fetch(np.arange(min(len(manifest), 64)))
    for row in range(len(manifest)):
        dataset.fetch(np.array([row]))
    rows = rng.integers(0, len(manifest), _RANDOM_WINDOWS)
    this = [_time_of(partial(dataset.fetch, np.array([row]))) for row in rows]
    positions = rng.integers(0, len(npz), _V2_WINDOWS)
    theirs = [_time_of(partial(npz.__getitem__, int(position))) for position in positions]
    big = torch.zeros((400, len(CHANNELS), manifest.window_samples))
    target = torch.empty((len(CHANNELS), manifest.window_samples))
    positions = rng.integers(0, len(big), _RANDOM_WINDOWS)
    copies = [_time_of(partial(target.copy_, big[position])) for position in positions]
    p50 = float(np.median(this))
    return WindowTimes(
        v2_p50=round(float(np.median(theirs)) * 1e3, 2),
        this_p50=round(p50 * 1e3, 4),
        this_p99=round(float(np.percentile(this, 99)) * 1e3, 4),
        memcpy_p50=round(float(np.median(copies)) * 1e3, 4),
        ratio=round(float(np.median(theirs)) / p50),
    )


def _loader_rates(manifest: Manifest, store: Store, npz: brain_go_brr_v2.NpzDataset) -> LoaderRates:
    """Windows per second through a torch DataLoader, in random order."""
    generator = torch.Generator().manual_seed(0)
    dataset = WindowDataset(manifest, store, threads=1)
    sampler = RandomSampler(dataset, replacement=True, num_samples=100 * _BATCH)
    ours: DataLoader[Batch] = DataLoader(
        dataset, _BATCH, sampler=sampler, collate_fn=lambda batch: batch, generator=generator
    )
    this = 100 * _BATCH / min(_time_of(lambda: [None for _ in ours]) for _ in range(3))
    one = RandomSampler(npz, replacement=True, num_samples=_BATCH, generator=generator)
    theirs: DataLoader[tuple[torch.Tensor, torch.Tensor]] = DataLoader(npz, _BATCH, sampler=one)
    rate = _BATCH / _time_of(lambda: [None for _ in theirs])
    host_ms, device_ms = _training_costs(manifest, store)
    return LoaderRates(
        v2_windows_per_s=round(rate, 2),
        this_windows_per_s=round(this),
        ratio=round(this / rate),
        host_ms=host_ms,
        device_ms=device_ms,
    )


def _training_costs(manifest: Manifest, store: Store) -> tuple[float, float]:
    """Milliseconds of a processor for one augmented window: host and device (`LoaderRates`)."""
    augmentation = load(Overrides(config=f"{_AUGMENTED_AS}:cpu"), {}).training.augmentation
    dataset = WindowDataset(manifest, store, kind="int16", threads=1, ring=1)
    feed = DeviceFeed(CPU)
    rng = np.random.default_rng(0)
    host_s, device_s = [], []
    for step in range(_TRAINING_BATCHES):
        rows = rng.integers(0, len(manifest), _BATCH)
        begin = time.process_time()
        batch = dataset.fetch(rows)
        changes = draw(augmentation, 0, step, range(_BATCH))
        move_labels(batch, changes)
        read = time.process_time()
        feed.send(batch.signals, widen=partial(augment, changes=changes)).receive()
        host_s.append(read - begin)
        device_s.append(time.process_time() - read)
    # The first batches open and verify shards.
    host_ms, device_ms = (
        round(float(np.median(seconds[_TRAINING_BATCHES // 4 :])) / _BATCH * 1e3, 3)
        for seconds in (host_s, device_s)
    )
    return host_ms, device_ms


def _plan_time(make_plan: Callable[[], Plan]) -> float:
    """Seconds of a plan that reads its index and finds nothing to do."""
    plan: list[Plan] = []
    seconds = _time_of(lambda: plan.append(make_plan()))
    if plan[0].to_build:
        raise BrainbrrError("the plan to be timed has something to do: this is a defect")
    return seconds
