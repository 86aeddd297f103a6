"""The examination: facts of this machine, warnings that follow from them, and the choices."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from brainbrr_core.cache.plan import Plan, State, plan_profile
from brainbrr_core.cache.store import Store
from brainbrr_core.configuration import Configuration
from brainbrr_core.corpus.index_file import index_path
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
from brainbrr_core.machine.software import gpus, torch_cuda, versions

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
#: Below these a user will wait or fail: MB/s of a local disk, GB free, open files.
SLOW_MB_S, LEAST_FREE_GB, LEAST_FILES = 100.0, 5.0, 1024


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
    """Facts by section, warnings that say what to do, and the choices."""

    facts: dict[str, dict[str, Any]]
    warnings: tuple[str, ...]
    choices: tuple[Choice, ...]
    #: Whether the profile's cache is there and fresh.
    ready: bool

    def values(self) -> dict[str, Any]:
        """Everything, as ``--json`` gives it."""
        return {
            **self.facts,
            "warnings": list(self.warnings),
            "choices": [asdict(choice) for choice in self.choices],
            "ready": self.ready,
        }


def examine(configuration: Configuration, *, look_only: bool = False) -> Examination:
    """Look at this machine as a configuration would use it, in about two seconds.

    ``look_only`` leaves the measurements out (disk, a sample of the corpus).
    """
    root = configuration.cache_root
    place = file_system(root)
    plan, trouble = _plan(configuration)
    extent, speed = _extent(configuration, plan, look_only=look_only)
    cache = _cache(configuration, plan, trouble, place, look_only=look_only)
    facts = {
        "machine": _machine(),
        "software": versions(PACKAGES) | {"python": platform.python_version()},
        "gpu": {"cards": [asdict(gpu) for gpu in gpus()], "torch_cuda": torch_cuda()},
        "data": {
            "data_dir": configuration.data_dir,
            "recordings": None if extent is None else extent.recordings,
            "hours": None if extent is None else round(extent.hours, 1),
            "known_from": None if extent is None else "index" if extent.exact else "sample",
        },
        "cache": cache,
    }
    ready = plan is not None and not plan.unfit and plan.count(State.FRESH) > 0
    needed = _needed(plan, extent)
    return Examination(
        facts,
        tuple(_warnings(configuration, facts, place, needed)),
        tuple(_choices(configuration, extent, speed, needed, ready=ready)),
        ready,
    )


def _plan(configuration: Configuration) -> tuple[Plan | None, str]:
    """The plan, or None with the reason why there is none."""
    if not index_path(configuration.cache_root).is_file():
        return None, "no index yet"
    try:
        return plan_profile(configuration), ""
    except BrainbrrError as error:
        return None, str(error)


def _machine() -> dict[str, Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.release()}",
        "wsl": is_wsl(),
        "cores": usable_cores(),
        "machine_cores": os.cpu_count(),
        "workers": worker_processes(),
        "memory_gb": round(pages / 1e9, 1),
        "open_files": soft,
        "open_files_limit": hard,
    }


def _extent(
    configuration: Configuration, plan: Plan | None, *, look_only: bool
) -> tuple[Extent | None, float | None]:
    """How much EEG the corpus has, and seconds of it that one process makes in a second."""
    if plan is not None:
        store = Store.derived(configuration)
        extent, speed = indexed_extent(plan.index), recorded_speed(store, plan.index)
        if speed is not None or look_only or not plan.to_build:
            return extent, speed
        here = {
            Path(item.recording.path): item.recording.state.size
            for item in plan.to_build
            if Path(item.recording.path).is_file()
        }
        return extent, measured_speed(here, configuration.preprocessing)
    data_dir = configuration.data_dir
    if data_dir is None or "://" in data_dir or not Path(data_dir).is_dir():
        return None, None
    edfs, complete = find_edfs(Path(data_dir))
    if not edfs:
        return None, None
    extent = sampled_extent(edfs, complete=complete)
    return extent, None if look_only else measured_speed(edfs, configuration.preprocessing)


def _cache(
    configuration: Configuration,
    plan: Plan | None,
    trouble: str,
    place: FileSystem | None,
    *,
    look_only: bool,
) -> dict[str, Any]:
    root = configuration.cache_root
    folder = existing_parent(root)
    values: dict[str, Any] = {
        "root": str(root),
        "version": configuration.version or Store.derived(configuration).version,
        "profile": configuration.profile,
        "file_system": None if place is None else place.name,
        "kind": None if place is None else place.kind.value,
        "free_gb": round(free_bytes(folder) / 1e9, 1),
        "writable": os.access(folder, os.W_OK),
        "write_mb_s": None,
        "trouble": trouble,
    }
    if values["writable"] and not look_only and values["free_gb"] > 1:
        values["write_mb_s"] = round(write_rate(folder) / 1e6)
    if plan is not None:
        values |= {
            "selected": len(plan.items),
            **{state.value: plan.count(state) for state in State},
            "to_build": len(plan.to_build),
        }
    return values


def _needed(plan: Plan | None, extent: Extent | None) -> Extent | None:
    """How much EEG the profile still lacks; all of the corpus where there is no plan."""
    if plan is None:
        return extent
    return indexed_extent(item.recording for item in plan.to_build)


def _warnings(
    configuration: Configuration,
    facts: dict[str, dict[str, Any]],
    place: FileSystem | None,
    needed: Extent | None,
) -> list[str]:
    cache, machine, software = facts["cache"], facts["machine"], facts["software"]
    root = cache["root"]
    found = []
    if place is not None:
        found += _place_warnings(root, place, wsl=machine["wsl"])
    if not cache["writable"]:
        found.append(f"{root} cannot be written to: set BRAINBRR_CACHE_ROOT to a folder that can")
    if cache["free_gb"] < LEAST_FREE_GB:
        found.append(f"the disk of {root} is nearly full: {cache['free_gb']} GB are free")
    elif needed is not None and needed.bytes / 1e9 > cache["free_gb"]:
        found.append(
            f"the disk of {root} has {cache['free_gb']} GB free and this profile lacks "
            f"{needed.bytes / 1e9:.1f} GB: choose a smaller --profile or another "
            "BRAINBRR_CACHE_ROOT"
        )
    speed = cache["write_mb_s"]
    if speed is not None and speed < SLOW_MB_S:
        found.append(
            f"the disk of {root} is slow: {speed} MB/s written; a build and a pull wait for it"
        )
    if 0 <= machine["open_files"] < LEAST_FILES:
        found.append(
            f"only {machine['open_files']} files may be open: `ulimit -n {LEAST_FILES}` before "
            "a build, a pull or a training"
        )
    hardware = configuration.hardware
    cuda = facts["gpu"]["torch_cuda"]
    if cuda is None and (facts["gpu"]["cards"] or hardware.device == "cuda"):
        found.append(
            f"torch {software['torch']} is built without CUDA, so no card can be used: install "
            "the build for your driver (see pytorch.org) or use the cpu profile"
        )
    if hardware.device == "cuda" and not facts["gpu"]["cards"]:
        found.append(f"the profile {hardware.name} needs a card and the driver shows none here")
    if hardware.ssm_backend == "mamba_ssm" and software["mamba-ssm"] is None:
        found.append(
            f"the profile {hardware.name} needs mamba-ssm, which is not installed: see "
            "docs/gpu.md, or set hardware.ssm_backend: torch"
        )
    if configuration.data_dir is not None and "://" not in configuration.data_dir:
        data = Path(configuration.data_dir)
        if not data.is_dir():
            found.append(f"the data directory {data} is not there: is the drive mounted?")
    return found


def _place_warnings(root: str, place: FileSystem, *, wsl: bool) -> list[str]:
    if place.kind is Kind.BUCKET:
        return [
            f"{root} is a bucket shown as a folder ({place.name}): training from it starves the "
            "card; use a local disk and `brainbrr cache pull`"
        ]
    if place.kind is Kind.SHARED:
        where = "a Windows drive seen from WSL2" if wsl else "a share"
        return [
            f"{root} lies on {where} ({place.name} at {place.point}): every file opened there is "
            "slow; use a folder of Linux's own disk, such as ~/brainbrr-cache"
        ]
    if place.kind is Kind.NETWORK:
        return [
            f"{root} lies on the network ({place.name} at {place.point}): build or pull on a "
            "local disk and share the copy with `brainbrr cache push`"
        ]
    if place.kind is Kind.MEMORY:
        return [f"{root} lies in memory ({place.name}): it is gone after a restart"]
    return []


def _choices(
    configuration: Configuration,
    extent: Extent | None,
    speed: float | None,
    needed: Extent | None,
    *,
    ready: bool,
) -> list[Choice]:
    options = configuration.options
    if ready:
        return [
            Choice(
                "train on what is here", f"brainbrr manifest{options} && brainbrr train{options}"
            )
        ]
    gigabytes = None if needed is None else round(needed.bytes / 1e9, 1)
    found = [
        Choice(
            "pull a cache that another machine pushed",
            f"brainbrr cache pull s3://BUCKET/PREFIX{options}",
            gigabytes,
            remark="the time is that of the network",
        )
    ]
    if extent is not None and needed is not None:
        hours, workers = None, worker_processes()
        if speed is not None:
            hours = round(needed.hours / speed / workers, 5)
        source = "the index" if extent.exact else "a sample of the corpus"
        remark = f"{needed.hours:,.1f} h of EEG, by {source}"
        if not extent.complete:
            remark += " (at least: there are more folders than a quick look sees)"
        if speed is not None:
            remark += f"; {speed:,.0f} times real time for each of {workers} processes"
        elif hours is None:
            remark += "; the time was not measured"
        data = configuration.data_dir
        data = "" if data is None else f" --data-dir {shlex.quote(data)}"
        found.append(
            Choice(
                "build it from the EDFs",
                f"brainbrr cache build{options}{data}",
                gigabytes,
                hours,
                remark,
            )
        )
    elif configuration.data_dir is None:
        found.append(
            Choice(
                "build it from EDFs",
                "export BRAINBRR_DATA_DIR=... && brainbrr doctor",
                remark="no data directory is set",
            )
        )
    found.append(
        Choice(
            "try everything with made-up recordings",
            "brainbrr demo",
            disk_gb=0.3,
            hours=0.1,
            remark=f"needs no data; Python {sys.version_info.major}.{sys.version_info.minor}",
        )
    )
    return found
