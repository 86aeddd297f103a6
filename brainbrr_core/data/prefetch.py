"""Reads the next batches while the network works on the current one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: Batches that are being read or are waiting, in addition to the one in use.
DEPTH = 3

T = TypeVar("T")


def read_ahead(source: Iterator[T], depth: int = DEPTH) -> Generator[T]:
    """The items of ``source`` in the same order, taken ahead by a separate thread.

    Errors of ``source`` are raised here at their position. When this iterator is closed or dropped,
    the thread ends. Each item must remain valid until ``depth`` further ones have been made.
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
