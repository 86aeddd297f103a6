"""The next batches are read while the network works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: Batches that are read or wait, beside the one in use.
DEPTH = 3

T = TypeVar("T")


def prefetched(source: Iterator[T], depth: int = DEPTH) -> Generator[T]:
    """The items of ``source``, taken ahead by a thread of its own, in the same order.

    What ``source`` raises is raised here, in its place. When this iterator is closed or dropped,
    the thread ends. Each item must hold until ``depth`` further ones have been made.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as reader:
        taken: deque[Future[T | None]] = deque()
        try:
            while True:
                while len(taken) < depth:
                    taken.append(reader.submit(next, source, None))
                item = taken.popleft().result()
                if item is None:
                    return
                yield item
        finally:
            for waiting in taken:
                waiting.cancel()
