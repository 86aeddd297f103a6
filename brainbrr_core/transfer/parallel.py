"""Many transfers at once, with a progress bar; the first lasting failure ends them all cleanly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from brainbrr_core.display.counts import count
from brainbrr_core.machine.pools import thread_pool
from brainbrr_core.progress import progress, summarize_when_stopped

#: Simultaneous transfers, by default.
TRANSFERS = 16
Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    title: str,
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    size: Callable[[Job], int],
    transfers: int = TRANSFERS,
    stopping: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[tuple[Job, Result]]:
    """Call ``work`` on every job in threads, largest first; the results in order of completion.

    ``size`` gives the bytes of a job, for the progress bar. An error that ``work`` raises is
    raised here, once the running calls have ended; no other call is begun. If this thread is
    interrupted, running calls end as soon as the context ``stopping`` makes them.
    """
    if not jobs:
        return []
    # With the largest first, the last transfer does not run alone for long.
    ordered = sorted(jobs, key=size, reverse=True)
    total = sum(map(size, ordered)) / 1e6
    results: list[tuple[Job, Result]] = []

    def summary() -> str:
        return (
            f"{title}: {len(results)} of {count(len(ordered), 'object')} done and kept: run the "
            "same command again to continue"
        )

    with (
        thread_pool(min(transfers, len(ordered)), "transfer", stopping) as pool,
        progress(title, total, "MB") as bar,
        summarize_when_stopped(summary),
    ):
        futures = {pool.submit(work, job): job for job in ordered}
        for number, future in enumerate(as_completed(futures), start=1):
            job = futures[future]
            results.append((job, future.result()))
            bar.advance(size(job) / 1e6, f"{number} of {count(len(ordered), 'object')}")
    return results
