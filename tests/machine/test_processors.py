"""Workers are as many as this process may have, not as the machine has processors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainbrr_core.machine.processors import (
    WORKER_BYTES,
    usable_cores,
    usable_memory,
    worker_processes,
)

GB = 10**9


def described(
    folder: Path, membership: str, mounts: list[tuple[str, Path, str, str]]
) -> tuple[Path, Path]:
    """A process as the kernel describes it, in files: its groups, mounts and free memory."""
    process = folder / "self"
    process.mkdir()
    (process / "cgroup").write_text(membership)
    lines = [
        f"{number} 1 0:{number} {root} {point} rw,nosuid - {kind} cgroup rw,{options}\n"
        for number, (root, point, kind, options) in enumerate(mounts, start=30)
    ]
    (process / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "".join(lines))
    memory = folder / "meminfo"
    memory.write_text("MemTotal:  131072000 kB\nMemFree:  4 kB\nMemAvailable:  97656250 kB\n")
    return process, memory


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(128)), raising=False)


def test_a_job_that_may_run_on_eight_of_128_cores_has_eight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, memory = described(tmp_path, "0::/\n", [])
    assert usable_cores(process) == 128
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert usable_cores(process) == worker_processes(None, process, memory) == 8


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"/a/b": "max 100000"}, 128),
        ({"/a/b": "400000 100000"}, 4),
        ({"/a/b": "150000 100000"}, 2),
        ({"/a/b": "10000 100000"}, 1),
        # What a group above may use bounds those in it.
        ({"/a/b": "max 100000", "/a": "300000 100000"}, 3),
        ({"/a/b": "800000 100000", "/a": "200000 50000", "/": "600000 100000"}, 4),
    ],
)
def test_limits_of_the_second_version_of_control_groups(
    tmp_path: Path, limits: dict[str, str], cores: int
) -> None:
    top = tmp_path / "cgroup"
    group(top / "a" / "b")
    for path, limit in limits.items():
        group(top / path.strip("/"), cpu__max=limit)
    process, _ = described(tmp_path, "0::/a/b\n", [("/", top, "cgroup2", "")])
    assert usable_cores(process) == cores


def test_limits_of_the_first_version_of_control_groups(tmp_path: Path) -> None:
    cpu, memory_top = tmp_path / "cpu", tmp_path / "memory"
    group(cpu / "slurm" / "job", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    group(cpu / "slurm", cpu__cfs_quota_us="500000", cpu__cfs_period_us="100000")
    group(
        memory_top / "slurm" / "job",
        memory__limit_in_bytes=str(4 * GB),
        memory__usage_in_bytes=str(3 * GB),
        memory__stat=f"cache 7\ntotal_inactive_file {2 * GB}\ntotal_rss 1",
    )
    process, memory = described(
        tmp_path,
        "5:memory:/slurm/job\n4:cpu,cpuacct:/slurm/job\n",
        [("/", cpu, "cgroup", "cpu,cpuacct"), ("/", memory_top, "cgroup", "memory")],
    )
    assert usable_cores(process) == 5
    # 4 GB, of which 3 are taken, 2 of them by files that need not stay.
    assert usable_memory(process, memory) == 3 * GB


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    group(top, cpu__max="200000 100000")
    process, _ = described(tmp_path, "0::/docker/abc\n", [("/docker/abc", top, "cgroup2", "")])
    assert usable_cores(process) == 2


def test_memory_bounds_the_workers(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    group(top / "job", memory__max=str(GB), memory__current="0", memory__stat="inactive_file 0")
    process, memory = described(tmp_path, "0::/job\n", [("/", top, "cgroup2", "")])
    assert worker_processes(None, process, memory) == GB // WORKER_BYTES == 3
    # Without a limit of its group, what the machine has available: 100 GB, for 128 cores.
    group(top / "job", memory__max="max")
    assert usable_memory(process, memory) == 97656250 * 1024
    assert worker_processes(None, process, memory) == 128
    memory.write_text("MemAvailable:  100 kB\n")
    assert worker_processes(None, process, memory) == 1
    # Who asks for a number has it.
    assert worker_processes(7, process, memory) == 7


def test_a_system_that_says_nothing_bounds_nothing(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert usable_memory(absent, absent) is None
    assert worker_processes(None, absent, absent) == 128


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call on this system")
def test_a_process_that_is_confined_to_one_core_says_so() -> None:
    program = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from brainbrr_core.machine.processors import usable_cores; print(usable_cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
