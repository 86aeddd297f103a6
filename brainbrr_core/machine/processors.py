"""How many processors, and how much memory, this process may use: not what the machine has.

A scheduler or a container gives a process a part of its machine: by the set of processors on
which it may run, and by the limits of the control groups that it is in. A limit of any group
above counts, too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where the kernel says in which control groups a process is, and where they are mounted.
PROCESS = Path("/proc/self")
MEMORY = Path("/proc/meminfo")
#: Bytes of memory that one worker process takes; 288 MB were measured.
WORKER_BYTES = 300_000_000


def usable_cores(process: Path = PROCESS) -> int:
    """Processors that this process may use at once, at least 1: for threads."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quotas = [quota for quota in map(_quota, _groups("cpu", process)) if quota is not None]
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def usable_memory(process: Path = PROCESS, memory: Path = MEMORY) -> int | None:
    """Bytes of memory that this process may still take; None where the system does not say."""
    bounds = [_room(group) for group in _groups("memory", process)]
    bounds.append(_available(memory))
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def worker_processes(
    most: int | None = None, process: Path = PROCESS, memory: Path = MEMORY
) -> int:
    """How many worker processes to start, at least 1: as cores and memory allow.

    ``most`` is what a user asked for; it is taken at its word.
    """
    if most is not None:
        return most
    room = usable_memory(process, memory)
    cores = usable_cores(process)
    return cores if room is None else max(1, min(cores, room // WORKER_BYTES))


@dataclass(frozen=True)
class _Group:
    """The folder of one control group, of the first or the second version of their interface."""

    folder: Path
    version: int


def _groups(controller: str, process: Path) -> Iterator[_Group]:
    """Control groups of this process that may limit ``controller``, and all above them."""
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
    """Where a hierarchy is mounted, and the path of a group below that."""
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
            # A container sees a part of the hierarchy: the mount's root is a group of its own.
            root = fields[3].rstrip("/")
            inside = path == root or path.startswith(root + "/")
            yield Path(fields[4]), (path[len(root) :] if inside else path).strip("/")


def _numbers(path: Path) -> list[int] | None:
    """The numbers in a file of a group; None where there is no file, or no limit."""
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        # "max" is no number and no limit.
        return None


def _quota(group: _Group) -> float | None:
    """Processors that a group may keep busy; None without a limit."""
    if group.version == 2:
        limit = _numbers(group.folder / "cpu.max")
        quota, period = limit if limit is not None and len(limit) == 2 else (-1, 0)
    else:
        (quota,) = _numbers(group.folder / "cpu.cfs_quota_us") or [-1]
        (period,) = _numbers(group.folder / "cpu.cfs_period_us") or [0]
    return quota / period if quota > 0 and period > 0 else None


def _room(group: _Group) -> int | None:
    """Bytes that a group may still take; None without a limit.

    Of what it takes, the cache of files that were not used lately is given up at need.
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
    """Bytes that the machine can give to a process without swapping."""
    kibibytes = _field(memory, "MemAvailable:")
    return 1024 * kibibytes if kibibytes else None


def _field(path: Path, name: str) -> int:
    """A number that follows its name on a line of a file; 0 where there is none."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0
