"""How many processors and how much memory this process may use, rather than what the machine has.

A scheduler or a container restricts a process to a share of the machine: by its CPU affinity, and
by the limits of its control groups and all of their ancestors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where the kernel lists the control groups of this process and their mounts.
PROCESS = Path("/proc/self")
MEMORY = Path("/proc/meminfo")
#: Bytes of memory to plan for each worker process; 288 MB were measured.
WORKER_BYTES = 300_000_000


def usable_cores(process: Path = PROCESS) -> int:
    """Number of processors that this process may use at once, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quotas = [quota for quota in map(_quota, _groups("cpu", process)) if quota is not None]
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def usable_memory(process: Path = PROCESS, memory: Path = MEMORY) -> int | None:
    """Bytes of memory that this process may still allocate; None where the system does not say."""
    bounds = [_room(group) for group in _groups("memory", process)]
    bounds.append(_available(memory))
    limits = [bound for bound in bounds if bound is not None]
    return min(limits) if limits else None


def worker_processes(
    most: int | None = None, process: Path = PROCESS, memory: Path = MEMORY
) -> int:
    """How many worker processes to start: as many as cores and memory allow, at least 1.

    ``most`` is the number that the user asked for; unless None, it is returned unchanged.
    """
    if most is not None:
        return most
    room = usable_memory(process, memory)
    cores = usable_cores(process)
    return cores if room is None else max(1, min(cores, room // WORKER_BYTES))


@dataclass(frozen=True)
class _Group:
    """The folder of one control group, and its version (1 or 2) of the cgroup interface."""

    folder: Path
    version: int


def _groups(controller: str, process: Path) -> Iterator[_Group]:
    """Control groups of this process that may limit ``controller``, and all of their ancestors."""
    try:
        membership = (process / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (process / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in membership:
        number, controllers, path = line.split(":", 2)
        version = 2 if number == "0" and not controllers else 1
        if version == 2 or controller in controllers.split(","):
            for top, below in _mounted(mounts, version, controller, path):
                folder = top / below
                yield _Group(folder, version)
                while folder != top:
                    folder = folder.parent
                    yield _Group(folder, version)


def _mounted(
    mounts: list[str], version: int, controller: str, path: str
) -> Iterator[tuple[Path, str]]:
    """Each mount point of a control group hierarchy, and the path of a group below it."""
    for line in mounts:
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if version == 2:
            matches = kind[0] == "cgroup2"
        else:
            matches = kind[0] == "cgroup" and controller in kind[2].split(",")
        if matches:
            # A container mounts only a subtree: strip the path of the mount's root group.
            root = fields[3].rstrip("/")
            inside = path == root or path.startswith(root + "/")
            yield Path(fields[4]), (path[len(root) :] if inside else path).strip("/")


def _numbers(path: Path) -> list[int] | None:
    """The numbers in a control group's file; None where there is no file or no limit."""
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        # "max" stands for no limit.
        return None


def _quota(group: _Group) -> float | None:
    """How many processors a control group may keep busy; None without a limit."""
    if group.version == 2:
        limit = _numbers(group.folder / "cpu.max")
        quota, period = limit if limit is not None and len(limit) == 2 else (-1, 0)
    else:
        (quota,) = _numbers(group.folder / "cpu.cfs_quota_us") or [-1]
        (period,) = _numbers(group.folder / "cpu.cfs_period_us") or [0]
    return quota / period if quota > 0 and period > 0 else None


def _room(group: _Group) -> int | None:
    """Bytes of memory that a control group may still allocate; None without a limit.

    The inactive page cache counts as free, since the kernel reclaims it when memory is short.
    """
    limit, used, cache = (
        ("memory.max", "memory.current", "inactive_file")
        if group.version == 2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    bound, taken = _numbers(group.folder / limit), _numbers(group.folder / used)
    if not bound or not taken:
        return None
    return max(0, bound[0] - taken[0] + _field(group.folder / "memory.stat", cache))


def _available(memory: Path) -> int | None:
    """Bytes of memory that the machine can give to a process without swapping, or None."""
    kibibytes = _field(memory, "MemAvailable:")
    return 1024 * kibibytes if kibibytes else None


def _field(path: Path, name: str) -> int:
    """The number that follows ``name`` on its line of a file; 0 where there is none."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0
