"""Many transfers at once, with progress; the first lasting failure ends them in good order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from brainbrr_core.progress import progress, summarize_when_stopped

#: Transfers in flight unless told otherwise.
TRANSFERS = 16
Job = TypeVar("Job")
Result = TypeVar("Result")


class _Counted(Generic[Job, Result]):
    """Calls of ``work``, counted: a pool forgets a thread whose start was interrupted."""

    def __init__(self, work: Callable[[Job], Result]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._running, self._ended = 0, False

    def __call__(self, job: Job) -> Result:
        with self._changed:
            if self._ended:
                raise CancelledError
            self._running += 1
        try:
            return self._work(job)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Begin no more, and wait for those that are running."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._running)


def run_parallel(
    title: str,
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    size: Callable[[Job], int],
    transfers: int = TRANSFERS,
    stopping: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[tuple[Job, Result]]:
    """Results of ``work`` in the order in which they came, large jobs first; progress in MB.

    What ``work`` raises is raised here, when the jobs in flight have ended; no other is begun.
    When this thread is interrupted, the jobs in flight end as soon as ``stopping`` makes them.
    """
    if not jobs:
        return []
    # Large ones first, so that the last transfer is not left alone with one.
    ordered = sorted(jobs, key=size, reverse=True)
    total = sum(map(size, ordered)) / 1e6
    results: list[tuple[Job, Result]] = []
    pool = ThreadPoolExecutor(min(transfers, len(ordered)))
    counted = _Counted(work)

    def summary() -> str:
        return (
            f"{title}: {len(results)} of {len(ordered)} objects are moved and stay: give the same "
            "command again to go on"
        )

    try:
        with progress(title, total, "MB") as bar, summarize_when_stopped(summary):
            futures = {pool.submit(counted, job): job for job in ordered}
            for number, future in enumerate(as_completed(futures), start=1):
                job = futures[future]
                results.append((job, future.result()))
                bar.advance(size(job) / 1e6, f"{number} of {len(ordered)} objects")
    except (KeyboardInterrupt, SystemExit):
        with stopping():
            pool.shutdown(wait=False, cancel_futures=True)
            counted.end()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def pieces(read: Callable[[int, int], bytes], size: int, piece: int) -> Iterable[bytes]:
    """An object in pieces of bounded size; ends early at one that is shorter than it should be."""
    for start in range(0, size, piece):
        stop = min(start + piece, size)
        content = read(start, stop)
        yield content
        if len(content) != stop - start:
            return
