"""``brainbrr bench``: build, bytes, random windows, loader, opening and planning, side by side."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, RandomSampler

from brainbrr_core.benchmark import predecessor
from brainbrr_core.benchmark.memory import peak_of_build
from brainbrr_core.benchmark.wide import TUSZ_RECORDINGS, widen
from brainbrr_core.cache.build import build_one
from brainbrr_core.cache.manifest import Manifest, make_manifest
from brainbrr_core.cache.plan import Plan, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.constants import CHANNELS
from brainbrr_core.corpus.index_file import update_index, write_index
from brainbrr_core.corpus.recording import Recording
from brainbrr_core.data import WindowDataset
from brainbrr_core.data.augmentation import augmented, draw
from brainbrr_core.data.device_batches import move_labels
from brainbrr_core.data.device_feed import CPU, DeviceFeed
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.files.state import content_hash

_RANDOM_WINDOWS = 2000
_PREDECESSOR_WINDOWS = 20
_BATCH = 32
_BUILDS = 7
_COSTED_BATCHES = 40
#: The profile whose augmentation is timed.
_AUGMENTED_AS = "full"


def run(
    configuration: Configuration,
    data_dir: Path,
    recordings: int,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure on the first ``recordings`` usable recordings, one process and one thread each.

    Everything is written below a temporary folder and removed again.
    """
    with (
        tempfile.TemporaryDirectory(prefix="brainbrr-bench-") as folder,
        threadpool_limits(1),
    ):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return _run(configuration, data_dir, recordings, Path(folder), log)
        finally:
            torch.set_num_threads(threads)


def _run(
    configuration: Configuration,
    data_dir: Path,
    recordings: int,
    folder: Path,
    log: Callable[[str], None],
) -> dict[str, Any]:
    settings = configuration.model_copy(update={"cache_root": folder / "cache"})
    index = update_index(str(data_dir), settings.cache_root, settings.corpus)
    length = settings.windows.length_s
    chosen = [r for r in index if r.reason is None and r.duration_s >= length][:recordings]
    if not chosen:
        raise BrainbrrError(f"no recording of {length} s or more below {data_dir}: nothing to time")
    write_index(replace(index, recordings=tuple(chosen)), settings.cache_root)
    hours = sum(r.duration_s for r in chosen) / 3600
    log(f"{len(chosen)} recordings, {hours:.2f} h")
    plan = plan_profile(settings.model_copy(update={"selection": type(settings.selection)()}))

    # A corpus that was just written would still be on its way to the disk.
    os.sync()
    log("floor: reading the EDFs")
    floor = _timed(lambda: [content_hash(Path(r.path)) for r in chosen])
    log("building with this store")
    ours = _build(plan, settings)
    longest = max(plan.items, key=lambda item: item.recording.duration_s)
    peak_mb = peak_of_build(plan.store, settings.preprocessing, longest)
    log("building the predecessor's way")
    archives = [folder / f"{number}.npz" for number in range(len(chosen))]
    theirs = _timed(
        lambda: [
            predecessor.build(Path(r.path), path) for r, path in zip(chosen, archives, strict=True)
        ]
    )
    fresh = plan_profile(settings.model_copy(update={"selection": type(settings.selection)()}))
    manifest = make_manifest(fresh, settings)
    shards = [plan.store.shard_path(r.partition_key) for r in chosen]
    log("reading")
    opened = time.perf_counter()
    old = predecessor.NpzDataset(archives)
    opened = time.perf_counter() - opened
    window = _window_times(manifest, plan.store, old)
    loader = _loader_rates(manifest, plan.store, old)
    log(f"planning {TUSZ_RECORDINGS} recordings")
    mb = {
        "predecessor": sum(path.stat().st_size for path in archives) / 1e6 / hours,
        "this": sum(path.stat().st_size for path in shards) / 1e6 / hours,
    }
    return {
        "recordings": len(chosen),
        "hours": round(hours, 3),
        "build": {
            "predecessor_s_per_h": round(theirs / hours, 3),
            "this_s_per_h": round(ours / hours, 4),
            "read_and_hash_s_per_h": round(floor / hours, 4),
            "ratio": round(theirs / ours, 1),
        },
        "bytes": {
            "predecessor_mb_per_h": round(mb["predecessor"], 1),
            "this_mb_per_h": round(mb["this"], 1),
            "ratio": round(mb["predecessor"] / mb["this"], 2),
        },
        "window_ms": window,
        "loader": loader,
        "open_s": {
            "predecessor": round(opened, 4),
            "this": round(_timed(lambda: WindowDataset(manifest, plan.store)), 5),
        },
        "plan_s": round(_plan_time(chosen[0], settings, folder), 3),
        "peak_rss_mb": round(peak_mb),
    }


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _build(plan: Plan, settings: Configuration) -> float:
    """Seconds to hash and build every recording, commit included: the median of some builds."""

    def everything() -> None:
        for item in plan.items:
            plan.store.shard_path(item.recording.partition_key).unlink(missing_ok=True)
            content_hash(Path(item.recording.path))
            done = build_one(plan.store, settings.preprocessing, item.recording, item.fingerprint)
            if done.error:
                raise BrainbrrError(f"{done.partition_key}: {done.error}")

    # The first one warms up; a build of some seconds is timed often, since machines are noisy.
    return float(np.median([_timed(everything) for _ in range(_BUILDS + 1)][1:]))


def _window_times(
    manifest: Manifest, store: Store, old: predecessor.NpzDataset
) -> dict[str, float]:
    """Random windows: as a float32 tensor in a reused buffer, from an npz, and a plain memcpy.

    Every window of the corpus is as likely as any other, on both sides. The copies come from
    random places of a large array, since random windows do too.
    """
    rng = np.random.default_rng(0)
    dataset = WindowDataset(manifest, store, ring=1)
    dataset.fetch(np.arange(min(len(manifest), 64)))
    for row in range(len(manifest)):
        dataset.fetch(np.array([row]))
    rows = rng.integers(0, len(manifest), _RANDOM_WINDOWS)
    this = [_timed(partial(dataset.fetch, np.array([row]))) for row in rows]
    places = rng.integers(0, len(old), _PREDECESSOR_WINDOWS)
    theirs = [_timed(partial(old.__getitem__, int(place))) for place in places]
    big = torch.zeros((400, len(CHANNELS), manifest.window_samples))
    target = torch.empty((len(CHANNELS), manifest.window_samples))
    places = rng.integers(0, len(big), _RANDOM_WINDOWS)
    copies = [_timed(partial(target.copy_, big[place])) for place in places]
    p50 = float(np.median(this))
    return {
        "predecessor_p50": round(float(np.median(theirs)) * 1e3, 2),
        "this_p50": round(p50 * 1e3, 4),
        "this_p99": round(float(np.percentile(this, 99)) * 1e3, 4),
        "memcpy_p50": round(float(np.median(copies)) * 1e3, 4),
        "ratio": round(float(np.median(theirs)) / p50),
    }


def _loader_rates(
    manifest: Manifest, store: Store, old: predecessor.NpzDataset
) -> dict[str, float]:
    """Windows a second through a torch DataLoader at batch 32, in random order."""
    generator = torch.Generator().manual_seed(0)
    dataset = WindowDataset(manifest, store, threads=1)
    sampler = RandomSampler(dataset, replacement=True, num_samples=100 * _BATCH)
    ours: DataLoader[Any] = DataLoader(
        dataset, _BATCH, sampler=sampler, collate_fn=lambda batch: batch, generator=generator
    )
    this = 100 * _BATCH / min(_timed(lambda: [None for _ in ours]) for _ in range(3))
    one = RandomSampler(old, replacement=True, num_samples=_BATCH, generator=generator)
    theirs: DataLoader[Any] = DataLoader(old, _BATCH, sampler=one)
    rate = _BATCH / _timed(lambda: [None for _ in theirs])
    return {
        "predecessor_windows_per_s": round(rate, 2),
        "this_windows_per_s": round(this),
        "ratio": round(this / rate),
        **_training_costs(manifest, store),
    }


def _training_costs(manifest: Manifest, store: Store) -> dict[str, float]:
    """Milliseconds of a processor for one window of a training with the profile's augmentation.

    ``host_ms`` is what a training on a GPU takes of this machine: reading the window as stored,
    drawing its changes, and moving its labels. ``device_ms`` is what the device does then, here
    this processor: widening and changing the window.
    """
    augmentation = load(Overrides(config=f"{_AUGMENTED_AS}:cpu"), {}).training.augmentation
    dataset = WindowDataset(manifest, store, kind="int16", threads=1, ring=1)
    feed = DeviceFeed(CPU)
    rng = np.random.default_rng(0)
    spent: dict[str, list[float]] = {"host_ms": [], "device_ms": []}
    for step in range(_COSTED_BATCHES):
        rows = rng.integers(0, len(manifest), _BATCH)
        begun = time.process_time()
        batch = dataset.fetch(rows)
        changes = draw(augmentation, 0, step, range(_BATCH))
        move_labels(batch, changes)
        read = time.process_time()
        feed.send(batch.signals, widen=partial(augmented, changes=changes)).receive()
        spent["host_ms"].append(read - begun)
        spent["device_ms"].append(time.process_time() - read)
    # The first ones open and verify shards.
    return {
        name: round(float(np.median(seconds[_COSTED_BATCHES // 4 :])) / _BATCH * 1e3, 3)
        for name, seconds in spent.items()
    }


def _plan_time(model: Recording, settings: Configuration, folder: Path) -> float:
    """Seconds of a plan with nothing to do, the index read included, at the size of TUSZ."""
    wide = widen(settings, model, folder / "wide")
    plan: list[Plan] = []
    seconds = _timed(lambda: plan.append(plan_profile(wide)))
    if plan[0].to_build:
        raise BrainbrrError("the plan to be timed has something to do: this is a defect")
    return seconds
