"""A transient failure is tried again, with growing pauses; what lasts is one line."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.address import one_line
from brainbrr_core.remote.interface import (
    RemoteUnavailable,
    Stopped,
)

#: Attempts, and the pause before the second in seconds; it doubles each time, up to a limit.
ATTEMPTS, PAUSE_S, PAUSE_LIMIT_S = 8, 0.25, 8.0


Result = TypeVar("Result")


@contextmanager
def set_during(switch: threading.Event) -> Iterator[None]:
    """Set ``switch`` until the block ends."""
    switch.set()
    try:
        yield
    finally:
        switch.clear()


def with_retries(
    attempt: Callable[[], Result],
    transient: tuple[type[Exception], ...],
    where: str,
    stop: threading.Event,
    *,
    is_final: Callable[[Exception], bool] = lambda _error: False,
) -> Result:
    """Call ``attempt`` until it succeeds; errors of ``transient`` are tried again.

    Raises :class:`Stopped` soon after ``stop`` is set. Never tried again is what says that a file
    is missing or that access is refused, or what ``lasts`` says will not change.
    """
    for number in range(ATTEMPTS):
        if stop.is_set():
            raise Stopped(where)
        try:
            return attempt()
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise BrainbrrError(
                f"{where} refused the access ({one_line(error)}): check the credentials that "
                "AWS_PROFILE, the AWS_* variables or the machine's role give"
            ) from None
        except transient as error:
            if is_final(error):
                raise BrainbrrError(f"{where} refused a request: {one_line(error)}") from None
            if number == ATTEMPTS - 1:
                raise RemoteUnavailable(
                    f"{where} failed {ATTEMPTS} times ({one_line(error)}): what was moved stays; "
                    "run the same command again"
                ) from None
            # Half of it random, so that many transfers do not come back at once.
            stop.wait(min(PAUSE_S * 2**number, PAUSE_LIMIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")
