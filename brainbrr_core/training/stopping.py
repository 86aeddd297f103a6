"""Ctrl+C and SIGTERM in a training: the first lets it save a checkpoint, the second ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object]


class StopRequest:
    """Whether a signal has asked a training to end; see :func:`listen`."""

    def __init__(self, handlers: Mapping[int, _Handler]) -> None:
        self._number: int | None = None
        self._waits = True
        self._handlers = handlers

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived that the training has yet to follow."""
        return self._number is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; pass later ones, and any in :meth:`at_once`, on at once."""
        if self._waits and self._number is None:
            self._number = number
        else:
            self._handlers[number](number, frame)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In the block, the first signal interrupts what is running, even one from before it."""
        self._waits = False
        try:
            if self.requested:
                self._interrupt()
            yield
        finally:
            self._waits = True

    def end(self, note: str) -> NoReturn:
        """Do what the signal would have done without :func:`listen`: raise its interruption.

        Raises :class:`KeyboardInterrupt`, with ``note`` for the line that reports it.
        """
        try:
            self._interrupt()
        except KeyboardInterrupt as interruption:
            interruption.add_note(note)
            raise

    def _interrupt(self) -> NoReturn:
        number = signal.SIGINT if self._number is None else self._number
        self._handlers[number](number, None)
        # The handler only took note of the signal.
        raise KeyboardInterrupt


@contextmanager
def listen(*, active: bool = True) -> Iterator[StopRequest]:
    """Remember the first Ctrl+C or SIGTERM in the block, so that it ends where it is safe.

    A signal that no Python handler would have got keeps its effect, and so do all of them where the
    block is not ``active`` or does not run in the main thread.
    """
    handlers: dict[int, _Handler] = {}
    if active and threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        handlers = {number: handler for number, handler in before.items() if callable(handler)}
    stop = StopRequest(handlers)
    for number in handlers:
        signal.signal(number, stop.receive)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
