"""The peak of a process's memory; imports nothing that would raise it."""

from __future__ import annotations

from pathlib import Path

from brainbrr_core.errors import BrainbrrError


def peak_mb() -> float:
    """Peak resident MB of this process so far. Raises :class:`BrainbrrError` outside of Linux."""
    # Not getrusage: what that gives to a new process begins with its parent's peak.
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BrainbrrError("the peak memory of a process can be read on Linux only")
