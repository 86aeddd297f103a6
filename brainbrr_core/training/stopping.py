"""Ctrl+C and SIGTERM in a training: the first saves a checkpoint, the second ends it at once."""

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
        """Whether a signal has arrived on which the training has not acted yet."""
        return self._number is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; handle later ones, and any in :meth:`at_once`, immediately."""
        if self._waits and self._number is None:
            self._number = number
        else:
            self._handlers[number](number, frame)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal interrupt the block at once, even one that arrived before it."""
        self._waits = False
        try:
            if self.requested:
                self._interrupt()
            yield
        finally:
            self._waits = True

    def end(self, note: str) -> NoReturn:
        """Act on the signal as it would have acted without :func:`listen`.

        Raises :class:`KeyboardInterrupt` with ``note``, which the command prints.
        """
        try:
            self._interrupt()
        except KeyboardInterrupt as interruption:
            interruption.add_note(note)
            raise

    def _interrupt(self) -> NoReturn:
        number = signal.SIGINT if self._number is None else self._number
        self._handlers[number](number, None)
        # The handler has returned instead of raising.
        raise KeyboardInterrupt


@contextmanager
def listen(*, active: bool = True) -> Iterator[StopRequest]:
    """Remember the first Ctrl+C or SIGTERM in the block, so that the block can end safely.

    Signals without a Python handler keep their effect, and so do all signals if the block is not
    ``active`` or does not run in the main thread.
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
