"""The peak memory of a process. This module imports nothing that would increase it."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError


def peak_mb() -> float:
    """Peak resident memory of this process so far, in MB.

    Raises :class:`BrainbrrError` outside of Linux.
    """
    # Not getrusage: its figure for a new process starts at the peak of the parent.
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BrainbrrError("the peak memory of a process can be read on Linux only")
