"""Threads that run a network on several small batches at the same time, on a CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, local
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from brainbrr_core.configuration.settings import Compilation, Hardware
from brainbrr_core.display.counts import count
from brainbrr_core.errors import WorkRemains
from brainbrr_core.model.network import SeizureNetwork

#: Windows that a network is given at once on a CPU: enough for operations that take longer than
#: starting them, and few enough for several processors to have some of a batch. It is the same on
#: every machine, so that the number of threads does not change how sums are rounded.
ROWS_ON_CPU = 4
#: The most threads: each needs memory for its windows.
_MOST = 8

Arguments = ParamSpec("Arguments")
Part = TypeVar("Part")
Result = TypeVar("Result")


class _Lent(local):
    """The blocks of a thread that uses :class:`ComputeThreads`, and torch's threads before them."""

    blocks = 0
    threads = 0


_lent = _Lent()


class ComputeThreads:
    """Threads among which the processors are divided: each computes one part after the other.

    Torch divides each operation among its threads, and all of them wait until the slowest has
    finished. In short operations this wait takes longer than the work, and when another program
    occupies a processor, all wait for the thread that it interrupted. Threads that compute
    different windows rarely wait for each other.

    Parameters
    ----------
    parts : int, optional
        How many parts there are to compute at a time, where it is known.

    Raises
    ------
    WorkRemains
        The system starts no more threads.
    """

    def __init__(self, parts: int = _MOST) -> None:
        processors = torch.get_num_threads()
        self.count = _thread_count(parts)
        self._processors_each = max(1, processors // self.count)
        self._pool = ThreadPoolExecutor(
            self.count,
            thread_name_prefix="compute",
            # OpenMP has one number of threads for each thread that starts operations.
            initializer=torch.set_num_threads,
            initargs=(self._processors_each,),
        )
        # MKL has one number of threads for the whole process, which each of these threads sets too:
        # none may do so later, while something else computes.
        started = Barrier(self.count)
        try:
            for thread in [self._pool.submit(started.wait) for _ in range(self.count)]:
                thread.result()
        except RuntimeError as error:
            # Those that have started would wait for the others for ever, and the process for them.
            started.abort()
            raise WorkRemains(
                f"{count(self.count, 'thread')} to compute with cannot be started ({error}): end "
                "other programs, or allow more threads (`ulimit -u`), then run the same command "
                "again"
            ) from None
        finally:
            torch.set_num_threads(processors)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """In this block, a part may be computed (:meth:`submit`).

        Blocks of one thread, of the same object or of several, may end in any order, as those of
        generators do: torch gets its own number of threads back when the last of them ends.
        """
        if not _lent.blocks:
            _lent.threads = torch.get_num_threads()
        _lent.blocks += 1
        torch.set_num_threads(self._processors_each)
        try:
            yield
        finally:
            _lent.blocks -= 1
            if not _lent.blocks:
                torch.set_num_threads(_lent.threads)

    def submit(
        self,
        compute: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        """Have a thread call ``compute``, after the parts that were submitted before."""
        return self._pool.submit(compute, *args, **kwargs)

    def map(self, compute: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
        """What ``compute`` returns for each part, in the order of ``parts``."""
        with self.in_use():
            results = deque(self.submit(compute, part) for part in parts)
            try:
                while results:
                    # A result that is kept here would stay in memory until the last part is done.
                    yield results.popleft().result()
            finally:
                for result in results:
                    result.cancel()


def _thread_count(parts: int) -> int:
    return max(1, min(parts, torch.get_num_threads(), _MOST))


def threads_of_step(
    network: nn.Module, hardware: Hardware, device: torch.device, processes: int = 1
) -> int:
    """How many threads compute parts of a training step's batch at the same time.

    Each has up to :data:`ROWS_ON_CPU` windows. 0 where one part is computed after the other: on a
    GPU, with several processes, and for a network that threads cannot share.
    """
    if device.type != "cpu" or processes > 1 or not may_be_shared(network, hardware.compile):
        return 0
    return _thread_count(-(-hardware.batch_size // ROWS_ON_CPU))


def may_be_shared(network: nn.Module, compilation: Compilation) -> bool:
    """Whether several threads may call a network at the same time.

    Another network than the default one may draw random numbers or keep something between calls,
    and a compiled one is compiled by the first thread that calls it.
    """
    return isinstance(network, SeizureNetwork) and compilation is False
