"""Environment variables that set how many OpenMP threads torch uses and how they wait.

OpenMP reads them once, when torch is loaded; changing them later has no effect.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from brainbrr_core.machine.processors import usable_cores

#: Any of these sets how threads wait: the OpenMP standard's variable, GNU's and Intel's.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
THREADS = "OMP_NUM_THREADS"


def share_processors(environment: MutableMapping[str, str]) -> None:
    """Make OpenMP threads sleep while they wait; variables that the user has set are left alone.

    By default OpenMP threads spin for a while before they sleep, which is slightly faster when
    nothing else runs. When other work shares the processors, a spinning thread occupies one that
    the thread it waits for could use. Where a control group limits CPU time (as in a container),
    the number of threads is also limited to the processors that it allows.
    """
    if not any(name in environment for name in WAITING):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    cores = usable_cores()
    if THREADS not in environment and cores < processors:
        environment[THREADS] = str(cores)
