"""What is wrong with a machine for the work: a line for each problem that says how to fix it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from brainbrr_core.cache.plan import Plan
from brainbrr_core.configuration import Hardware
from brainbrr_core.configuration.settings import CorpusSource
from brainbrr_core.corpus.changes import changes_of_corpora
from brainbrr_core.corpus.index_file import missing_data_dir
from brainbrr_core.corpus.summary import other_power_line
from brainbrr_core.doctor.choices import options_of_index
from brainbrr_core.doctor.estimate import Extent
from brainbrr_core.doctor.facts import Cache, Graphics, Machine
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.filesystem import FileSystem, Kind

#: Below these a user waits or fails: MB/s written to a disk, GB free, files open at a time.
SLOW_MB_S, LEAST_FREE_GB, LEAST_FILES = 100.0, 5.0, 1024


def cache_problems(cache: Cache, needed: Extent | None) -> Iterator[str]:
    """Problems with the disk of the cache root."""
    root = cache.root
    if not cache.writable:
        yield (
            f"the cache root {root} is not writable: set BRAINBRR_CACHE_ROOT to a folder that is"
        )
    if cache.free_gb < LEAST_FREE_GB:
        yield (
            f"the disk of {root} is nearly full, {cache.free_gb} GB are free: run `brainbrr cache "
            "gc`, or set BRAINBRR_CACHE_ROOT to a folder on another disk"
        )
    elif needed is not None and needed.bytes / 1e9 > cache.free_gb:
        yield (
            f"the disk of {root} has {cache.free_gb} GB free, and this profile still needs "
            f"{needed.bytes / 1e9:.1f} GB: choose a smaller --profile, or set BRAINBRR_CACHE_ROOT "
            "to a folder on another disk"
        )
    if cache.write_mb_s is not None and cache.write_mb_s < SLOW_MB_S:
        yield (
            f"the disk of {root} is slow, {cache.write_mb_s} MB/s written, and builds and pulls "
            "wait for it: set BRAINBRR_CACHE_ROOT to a folder on a faster disk"
        )


def file_system_problems(
    root: str, root_file_system: FileSystem | None, *, wsl: bool
) -> Iterator[str]:
    """Problems with what the cache root is stored on, which is not a local disk."""
    if root_file_system is None:
        return
    name, point = root_file_system.name, root_file_system.point
    match root_file_system.kind:
        case Kind.BUCKET:
            yield (
                f"{root} is a bucket mounted as a folder ({name}), from which a GPU gets too "
                "little data: set BRAINBRR_CACHE_ROOT to a local disk and run `brainbrr cache pull`"
            )
        case Kind.SHARED:
            where = "a Windows drive seen from WSL2" if wsl else "a shared folder"
            yield (
                f"{root} is on {where} ({name} at {point}), where opening a file is slow: set "
                "BRAINBRR_CACHE_ROOT to a folder on Linux's own disk, such as ~/brainbrr-cache"
            )
        case Kind.NETWORK:
            yield (
                f"{root} is on a network file system ({name} at {point}), which is slow: set "
                "BRAINBRR_CACHE_ROOT to a local disk, and share it with `brainbrr cache push`"
            )
        case Kind.MEMORY:
            yield (
                f"{root} is in memory ({name}) and gone after a restart: set BRAINBRR_CACHE_ROOT "
                "to a folder on a disk"
            )


def machine_problems(machine: Machine) -> Iterator[str]:
    """Problems with the limits of this machine."""
    if 0 <= machine.open_files < LEAST_FILES:
        yield (
            f"only {machine.open_files} files may be open at a time: run `ulimit -n {LEAST_FILES}` "
            "before a build, a pull or a training"
        )


def gpu_problems(
    hardware: Hardware, gpu: Graphics, software: dict[str, str | None]
) -> Iterator[str]:
    """Problems that keep a GPU of this machine or of the configuration from being used."""
    if gpu.torch_cuda is None and (gpu.cards or hardware.device == "cuda"):
        yield (
            f"torch {software['torch']} is built without CUDA and cannot use a GPU: install the "
            "build for your driver (see pytorch.org), or choose the device cpu in --config"
        )
    if hardware.device == "cuda" and not gpu.cards:
        yield (
            f"the device {hardware.name} is a GPU, and the driver shows none here: run "
            "`nvidia-smi`, or choose the device cpu in --config"
        )
    if hardware.ssm_backend == "mamba_ssm" and software["mamba-ssm"] is None:
        yield (
            f"the device {hardware.name} uses mamba-ssm, which is not installed: see docs/gpu.md, "
            "or set hardware.ssm_backend: torch"
        )


def data_problems(sources: Sequence[CorpusSource]) -> Iterator[str]:
    """Problems with the folders of the corpora."""
    for source in sources:
        if source.data_dir is not None and (
            missing := missing_data_dir(source.data_dir, source.named_by)
        ):
            yield missing


def index_problems(
    plan: Plan | None, sources: Sequence[CorpusSource], cache_root: Path, options: str
) -> Iterator[str]:
    """Whether the corpora on this machine have changed since they were indexed.

    Told by the names, sizes and times of files. A changed annotation makes no shard stale, and is
    unknown to a training before the next index.
    """
    folders = [source.data_dir for source in sources]
    if plan is None or not all(f is not None and Path(f).is_dir() for f in folders):
        return
    try:
        found = changes_of_corpora(sources, cache_root, plan.index)
    except BrainbrrError as error:
        yield str(error)
        return
    if found:
        yield (
            f"the corpus has changed since it was indexed ({found}): run `brainbrr index"
            f"{options_of_index(options)}`"
        )


def power_line_problems(plan: Plan | None, notch_hz: int) -> Iterator[str]:
    """Recordings whose power line has another frequency than the notch filter removes."""
    recordings, frequency = (0, 0) if plan is None else other_power_line(plan.index, notch_hz)
    if plan is not None and recordings:
        yield (
            f"{recordings:,} of {len(plan.index):,} recordings have a power line of {frequency} Hz "
            f"by their *_eeg.json, and the notch filter removes {notch_hz} Hz: set "
            f"`preprocessing: {{notch_hz: {frequency}}}` in a configuration file, which makes "
            "another version of the cache"
        )
