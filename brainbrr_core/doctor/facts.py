"""What an examination says: facts about a machine, its software, its corpus and its cache."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brainbrr_core.cache.plan import Plan, State
from brainbrr_core.doctor.estimate import Extent
from brainbrr_core.machine.disk import write_rate
from brainbrr_core.machine.filesystem import FileSystem, existing_parent, free_bytes, is_wsl
from brainbrr_core.machine.processors import usable_cores, worker_processes
from brainbrr_core.machine.software import Gpu, versions

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


def machine_facts() -> Machine:
    """What this computer has, and how much of it this process may use."""
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


def software_versions() -> dict[str, str | None]:
    """The version of Python and of each of :data:`PACKAGES`; None where one is not installed."""
    return versions(PACKAGES) | {"python": platform.python_version()}


def data_facts(data_dir: str | None, extent: Extent | None) -> Data:
    """How much EEG a corpus has; ``extent`` is None where that is not known."""
    if extent is None:
        return Data(data_dir, None, None, None)
    source = "index" if extent.exact else "sample"
    return Data(data_dir, extent.recordings, round(extent.hours, 1), source)


def cache_facts(
    root: Path,
    version: str,
    profile: str,
    plan: Plan | None,
    trouble: str,
    root_file_system: FileSystem | None,
    *,
    look_only: bool,
) -> Cache:
    """The state of a cache root.

    The speed of its disk is measured unless that is not wanted (``look_only``) or not possible.
    """
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
