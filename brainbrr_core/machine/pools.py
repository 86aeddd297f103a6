"""Pools of processes and threads that end when what uses them ends, however that ends.

Those of the standard library finish all that was handed to them before they let go, and their
processes outlive a parent that is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes for the length of a block.

    When the block raises, what waits is dropped and the workers are killed; they also end with
    this process, even when it is killed. Ctrl+C is left to this process alone.
    """
    # Spawned, not forked: the caller may hold threads and locks.
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
def thread_pool(workers: int, name: str = "") -> Iterator[ThreadPoolExecutor]:
    """Threads for the length of a block.

    When the block raises, what waits is dropped. What threads are at work on is waited for,
    unless the block was interrupted (Ctrl+C): one of them may be reading a file for minutes.
    """
    pool = ThreadPoolExecutor(workers, name)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


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
    """Block SIGINT in this thread, and in the processes that it starts; it comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _live_with(parent: Connection) -> None:
    """In a worker: leave Ctrl+C to the parent, and end when the parent closes its end or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()


def _end_with(parent: Connection) -> None:
    with suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)
