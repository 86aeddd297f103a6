"""Pools of processes and of threads that end when the block using them ends, however it ends.

The pools of the standard library finish everything submitted to them first, and their processes
outlive a parent that is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of worker processes for the duration of a block.

    When the block raises, pending calls are dropped and the workers are killed. The workers also
    end with this process, even if it is killed. They ignore Ctrl+C: this process handles it.
    """
    # Spawned, not forked: the caller may have threads and locks.
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = _Workers(workers, mp_context=context, initializer=_live_with, initargs=(theirs,))
    try:
        yield pool
    except BaseException:
        # Ends the workers.
        ours.close()
        raise
    finally:
        pool.shutdown(cancel_futures=ours.closed)
        ours.close()
        theirs.close()


@contextmanager
def thread_pool(
    workers: int,
    name: str = "",
    stopping: Callable[[], AbstractContextManager[None]] | None = None,
) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads for the duration of a block.

    When the block raises, pending calls are dropped and running ones are waited for. When it is
    interrupted (Ctrl+C), running calls are not waited for, since one of them may be reading a file
    for minutes. With ``stopping``, a context manager within which running calls end early, they
    are waited for within it.
    """
    pool = _Threads(workers, name)
    try:
        yield pool
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        if stopping is None:
            pool.shutdown(wait=False, cancel_futures=True)
        else:
            with stopping():
                pool.shutdown(wait=False, cancel_futures=True)
                pool.wait_for_running_calls()
        raise
    pool.shutdown()


class _Threads(ThreadPoolExecutor):
    """Counts its running calls: an executor forgets a thread whose start was interrupted."""

    def __init__(self, workers: int, name: str) -> None:
        super().__init__(workers, name)
        self._changed = threading.Condition()
        self._running, self._ended = 0, False

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        def counted() -> Result:
            with self._changed:
                if self._ended:
                    raise CancelledError
                self._running += 1
            try:
                return fn(*args, **kwargs)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

        return super().submit(counted)

    def wait_for_running_calls(self) -> None:
        """Begin no other call, and wait for those that are running."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._running)


class _Workers(ProcessPoolExecutor):
    """Blocks Ctrl+C while it starts its processes, until they ignore it themselves."""

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        with _interrupts_blocked():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay SIGINT until the block ends, in this thread and in the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _live_with(parent: Connection) -> None:
    """Make a worker ignore Ctrl+C, and end when the parent ends or closes its side of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)
