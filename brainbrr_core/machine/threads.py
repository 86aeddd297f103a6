"""How the threads of OpenMP wait for each other, and how many there are: the environment of torch.

OpenMP reads these variables once, when torch is loaded; later they change nothing.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from brainbrr_core.machine.processors import usable_cores

#: Any of these says how threads wait: of OpenMP, GNU's and Intel's.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
THREADS = "OMP_NUM_THREADS"


def share_processors(environment: MutableMapping[str, str]) -> None:
    """Let threads sleep while they wait for each other; what a user has set stays as it is.

    By default they try again and again for a while, which is a little faster where they have the
    processors for themselves. Beside other work they keep a processor busy on which the thread
    that they wait for could run. Where a control group gives less of the machine than its
    processors (a container's CPU limit), there are no more threads than it allows.
    """
    if not any(name in environment for name in WAITING):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    cores = usable_cores()
    if THREADS not in environment and cores < processors:
        environment[THREADS] = str(cores)
