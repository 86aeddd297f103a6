"""The examination: facts about this machine, the problems they mean, and what to do next."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration, Hardware, Preprocessing
from brainbrr_core.configuration.settings import CorpusSource
from brainbrr_core.corpus.index_file import index_path, missing_data_dir
from brainbrr_core.corpus.summary import none_usable, other_power_line
from brainbrr_core.doctor.estimate import (
    Extent,
    find_edfs,
    indexed_extent,
    measured_speed,
    recorded_speed,
    sampled_extent,
)
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.disk import write_rate
from brainbrr_core.machine.filesystem import (
    FileSystem,
    Kind,
    existing_parent,
    file_system,
    free_bytes,
    is_wsl,
)
from brainbrr_core.machine.processors import usable_cores, worker_processes
from brainbrr_core.machine.software import Gpu, gpus, torch_cuda, versions
from brainbrr_core.remote.address import redact

if TYPE_CHECKING:
    from pydantic import JsonValue

PACKAGES = (
    "brainbrr",
    "torch",
    "numpy",
    "scipy",
    "pyarrow",
    "edfio",
    "dagster",
    "s3fs",
    "timescoring",
    "mamba-ssm",
    "causal-conv1d",
)
#: Below these a user waits or fails: MB/s written to a disk, GB free, files open at a time.
SLOW_MB_S, LEAST_FREE_GB, LEAST_FILES = 100.0, 5.0, 1024


@dataclass(frozen=True)
class Machine:
    """The computer: its system, its processors and how many of them a build uses, its memory."""

    system: str
    wsl: bool
    #: Processors that this process may use, and those of the whole machine.
    cores: int
    machine_cores: int | None
    #: Processes that a build starts by default.
    workers: int
    memory_gb: float
    #: Files that may be open at a time, and what this limit can be raised to.
    open_files: int
    open_files_limit: int


@dataclass(frozen=True)
class Graphics:
    """The GPUs that the driver shows, and the CUDA version that torch was built for, if any."""

    cards: tuple[Gpu, ...]
    torch_cuda: str | None


@dataclass(frozen=True)
class Data:
    """The corpus: where it is and how much EEG it has, as far as that is known."""

    data_dir: str | None
    recordings: int | None
    hours: float | None
    #: ``index`` for exact numbers, ``sample`` for an estimate.
    known_from: str | None


@dataclass(frozen=True)
class Progress:
    """How far the cache of the profile is built: numbers of recordings."""

    selected: int
    states: dict[State, int]
    to_build: int


@dataclass(frozen=True)
class Cache:
    """The cache root: its disk, its version, and how far the profile is built."""

    root: str
    version: str
    profile: str
    file_system: str | None
    kind: str | None
    free_gb: float
    writable: bool
    #: Measured; None where it was not.
    write_mb_s: int | None
    #: Why there is no progress to tell; empty where there is.
    trouble: str
    progress: Progress | None

    def values(self) -> dict[str, JsonValue]:
        """The facts as ``--json`` prints them, the numbers of recordings among them."""
        values = asdict(self)
        del values["progress"]
        if self.progress is not None:
            values["selected"] = self.progress.selected
            values |= {state.value: number for state, number in self.progress.states.items()}
            values["to_build"] = self.progress.to_build
        return values


@dataclass(frozen=True)
class Choice:
    """One thing to do next: what, by which command, and what it costs where that is known."""

    what: str
    command: str
    disk_gb: float | None = None
    hours: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Examination:
    """The facts, a line for each problem that says how to fix it, and the choices."""

    machine: Machine
    #: Installed versions by package; None for a package that is not installed.
    software: dict[str, str | None]
    gpu: Graphics
    data: Data
    cache: Cache
    warnings: tuple[str, ...]
    choices: tuple[Choice, ...]
    #: Whether the cache of the profile is built and fresh.
    ready: bool

    def values(self) -> dict[str, JsonValue]:
        """Everything, as ``--json`` prints it."""
        return asdict(self) | {"cache": self.cache.values()}


def examine(configuration: Configuration, *, look_only: bool = False) -> Examination:
    """Examine this machine as a configuration would use it, in about two seconds.

    ``look_only`` measures nothing: neither the disk nor the time of preprocessing.
    """
    plan, trouble = _plan(configuration.cache_root, partial(plan_profile, configuration))
    sources, preprocessing = configuration.corpus_sources, configuration.preprocessing
    folders = [source.data_dir for source in sources if source.data_dir is not None]
    store = Store.derived(configuration.cache_root, configuration.preprocessing)
    basis = "measured on one recording, without the time to write it"
    if plan is not None:
        extent: Extent | None = indexed_extent(plan.montage_index)
        needed: Extent | None = indexed_extent(item.recording for item in plan.to_build)
        speed = recorded_speed(store, plan.index)
        if speed is not None:
            basis = "as in earlier builds of this cache"
        elif not look_only:
            speed = _speed_of_edfs(plan, preprocessing)
    else:
        edfs, complete = _edfs_below(folders)
        extent = needed = sampled_extent(edfs, complete=complete) if edfs else None
        speed = None if look_only else measured_speed(edfs, preprocessing)
    root_file_system = file_system(configuration.cache_root)
    machine, software, gpu = _machine(), _software(), Graphics(tuple(gpus()), torch_cuda())
    cache = _cache(
        configuration.cache_root,
        configuration.version or store.version,
        configuration.profile,
        plan,
        trouble,
        root_file_system,
        look_only=look_only,
    )
    unusable = "" if plan is None else none_usable(plan.montage_index)
    ready = plan is not None and not plan.unfit and plan.count(State.FRESH) > 0 and not unusable
    if ready:
        choices = [_train(configuration.options)]
    elif unusable:
        choices = [_explain_reasons(configuration.options), _demo()]
    else:
        # The folders of several corpora are in the configuration.
        data_dir = configuration.data_dir
        option = "" if data_dir is None else f" --data-dir {shlex.quote(redact(data_dir))}"
        options = configuration.options
        choices = _choices(options, option, bool(folders), extent, needed, speed, basis)
    return Examination(
        machine,
        software,
        gpu,
        _data(redact(", ".join(folders)) or None, extent),
        cache,
        (
            *_cache_warnings(cache, needed),
            *_file_system_warnings(cache.root, root_file_system, wsl=machine.wsl),
            *_machine_warnings(machine),
            *_gpu_warnings(configuration.hardware, gpu, software),
            *_data_warnings(sources),
            *([f"{unusable}: nothing of this corpus can be trained on"] if unusable else []),
            *_power_line_warnings(plan, configuration.preprocessing.notch_hz),
        ),
        tuple(choices),
        ready,
    )


def _plan(cache_root: Path, make: Callable[[], Plan]) -> tuple[Plan | None, str]:
    """The plan that ``make`` gives, or None with the reason why there is none."""
    if not index_path(cache_root).is_file():
        return None, "no index yet"
    try:
        return make(), ""
    except BrainbrrError as error:
        return None, str(error)


def _speed_of_edfs(plan: Plan, preprocessing: Preprocessing) -> float | None:
    """Seconds of EEG that one process preprocesses in a second, measured on what is to be built."""
    edfs = {
        Path(item.recording.path): item.recording.state.size
        for item in plan.to_build
        if Path(item.recording.path).is_file()
    }
    return measured_speed(edfs, preprocessing)


def _edfs_below(folders: Sequence[str]) -> tuple[dict[Path, int], bool]:
    """The EDFs of corpora on this machine with their bytes, and whether these are all."""
    edfs: dict[Path, int] = {}
    complete = True
    for folder in folders:
        if "://" not in folder and Path(folder).is_dir():
            own, all_of_it = find_edfs(Path(folder))
            edfs |= own
            complete &= all_of_it
    return edfs, complete


def _machine() -> Machine:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        wsl=is_wsl(),
        cores=usable_cores(),
        machine_cores=os.cpu_count(),
        workers=worker_processes(),
        memory_gb=round(memory / 1e9, 1),
        open_files=soft,
        open_files_limit=hard,
    )


def _software() -> dict[str, str | None]:
    return versions(PACKAGES) | {"python": platform.python_version()}


def _data(data_dir: str | None, extent: Extent | None) -> Data:
    if extent is None:
        return Data(data_dir, None, None, None)
    source = "index" if extent.exact else "sample"
    return Data(data_dir, extent.recordings, round(extent.hours, 1), source)


def _cache(
    root: Path,
    version: str,
    profile: str,
    plan: Plan | None,
    trouble: str,
    root_file_system: FileSystem | None,
    *,
    look_only: bool,
) -> Cache:
    folder = existing_parent(root)
    free = free_bytes(folder)
    writable = os.access(folder, os.W_OK)
    measure = writable and not look_only and free > 1e9
    return Cache(
        root=str(root),
        version=version,
        profile=profile,
        file_system=None if root_file_system is None else root_file_system.name,
        kind=None if root_file_system is None else root_file_system.kind.value,
        free_gb=round(free / 1e9, 1),
        writable=writable,
        write_mb_s=round(write_rate(folder) / 1e6) if measure else None,
        trouble=trouble,
        progress=None
        if plan is None
        else Progress(
            len(plan.items), {state: plan.count(state) for state in State}, len(plan.to_build)
        ),
    )


def _cache_warnings(cache: Cache, needed: Extent | None) -> Iterator[str]:
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


def _file_system_warnings(
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


def _machine_warnings(machine: Machine) -> Iterator[str]:
    if 0 <= machine.open_files < LEAST_FILES:
        yield (
            f"only {machine.open_files} files may be open at a time: run `ulimit -n {LEAST_FILES}` "
            "before a build, a pull or a training"
        )


def _gpu_warnings(
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


def _data_warnings(sources: Sequence[CorpusSource]) -> Iterator[str]:
    for source in sources:
        if source.data_dir is not None and (
            missing := missing_data_dir(source.data_dir, source.named_by)
        ):
            yield missing


def _power_line_warnings(plan: Plan | None, notch_hz: int) -> Iterator[str]:
    recordings, frequency = (0, 0) if plan is None else other_power_line(plan.index, notch_hz)
    if plan is not None and recordings:
        yield (
            f"{recordings:,} of {len(plan.index):,} recordings have a power line of {frequency} Hz "
            f"by their *_eeg.json, and the notch filter removes {notch_hz} Hz: set "
            f"`preprocessing: {{notch_hz: {frequency}}}` in a configuration file, which makes "
            "another version of the cache"
        )


def _train(options: str) -> Choice:
    return Choice("train on this cache", f"brainbrr manifest{options} && brainbrr train{options}")


def _explain_reasons(options: str) -> Choice:
    return Choice("see why no recording can be used", f"brainbrr index --list{options}")


def _demo() -> Choice:
    return Choice(
        "try everything with synthetic recordings",
        "brainbrr demo",
        disk_gb=0.3,
        hours=0.05,
        remark=f"needs no data; Python {sys.version_info.major}.{sys.version_info.minor}",
    )


def _choices(
    options: str,
    data_option: str,
    has_data_dir: bool,
    extent: Extent | None,
    needed: Extent | None,
    speed: float | None,
    basis: str,
) -> list[Choice]:
    """What can be done where the cache of the profile is not ready.

    ``needed`` is the EEG that the profile still lacks, ``extent`` all of the corpus, ``speed``
    seconds of EEG that one process preprocesses in a second, and ``basis`` how that is known.
    """
    gigabytes = None if needed is None else round(needed.bytes / 1e9, 1)
    choices = [
        Choice(
            "pull a cache that another machine pushed",
            f"brainbrr cache pull s3://BUCKET/PREFIX{options}",
            gigabytes,
            remark="the time depends on the network",
        )
    ]
    if extent is not None and needed is not None:
        workers = worker_processes()
        source = "the index" if extent.exact else "a sample of the corpus"
        remark = f"{needed.hours:,.1f} h of EEG, by {source}"
        if not extent.complete:
            remark += " (at least: there are more folders than a quick look covers)"
        if speed is None:
            remark += "; the time was not measured"
        else:
            remark += f"; {speed:,.0f} times real time in each of {workers} processes, {basis}"
        choices.append(
            Choice(
                "build it from the EDFs",
                f"brainbrr cache build{options}{data_option}",
                gigabytes,
                None if speed is None else round(needed.hours / speed / workers, 8),
                remark,
            )
        )
    elif not has_data_dir:
        choices.append(
            Choice(
                "build it from EDFs",
                "export BRAINBRR_DATA_DIR=FOLDER && brainbrr doctor",
                remark="no data directory is set",
            )
        )
    choices.append(_demo())
    return choices
