"""Retries after transient failures, with growing pauses; a lasting failure is a one-line error."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.address import one_line
from brainbrr_core.remote.interface import RemoteUnavailable, Stopped

#: Number of attempts, and seconds before the second one; the pause doubles each time up to a limit.
ATTEMPTS, PAUSE_S, PAUSE_LIMIT_S = 8, 0.25, 8.0
Result = TypeVar("Result")


@contextmanager
def set_during(switch: threading.Event) -> Iterator[None]:
    """Keep an event set until the block ends."""
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
    """Call ``attempt`` until it succeeds, repeating it after errors of the ``transient`` types.

    Errors that no retry can change are not retried: a missing file, a refused access, and those
    for which ``is_final`` is true. Raises :class:`Stopped` soon after ``stop`` is set,
    :class:`RemoteUnavailable` after the last attempt, and :class:`BrainbrrError` for a refusal.
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
                f"{where} denied access ({one_line(error)}): check the credentials given by "
                "AWS_PROFILE, the AWS_* variables or the machine's role"
            ) from None
        except transient as error:
            if is_final(error):
                raise BrainbrrError(f"{where} rejected a request: {one_line(error)}") from None
            if number == ATTEMPTS - 1:
                raise RemoteUnavailable(
                    f"{where} failed {ATTEMPTS} times ({one_line(error)}); everything transferred "
                    "so far is kept: run the same command again"
                ) from None
            # Partly random, so that many transfers do not retry at the same moment.
            stop.wait(min(PAUSE_S * 2**number, PAUSE_LIMIT_S) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")
