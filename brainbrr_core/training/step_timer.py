"""Measuring the time of a training: of steps, of waiting for batches, and of validations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """Totals since the start: seconds of training, seconds of waiting for batches, and windows."""

    trained_s: float = 0.0
    waited_s: float = 0.0
    windows: float = 0.0

    @property
    def windows_per_s(self) -> float:
        """Windows per second of training."""
        return self.windows / max(self.trained_s, 1e-9)

    @property
    def wait_share(self) -> float:
        """Share of the training time that was spent waiting for batches."""
        return self.waited_s / max(self.trained_s, 1e-9)

    def interpolate(self, later: Times, share: float) -> Times:
        """Interpolate linearly between these totals (share 0) and later ones (share 1)."""
        return Times(
            self.trained_s + (later.trained_s - self.trained_s) * share,
            self.waited_s + (later.waited_s - self.waited_s) * share,
            self.windows + (later.windows - self.windows) * share,
        )


class StepTimer:
    """Measures from its creation on. Validations do not count as training time."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited_s = 0.0
        self.validated_s = 0.0
        self._windows = 0
        #: The totals at the last call of :meth:`divide`.
        self._divided = Times()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting for a batch."""
        start = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - start

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Count the time of the block as a validation."""
        start = time.perf_counter()
        yield
        self.validated_s += time.perf_counter() - start

    def add_windows(self, count: int) -> None:
        """Count the windows of a step."""
        self._windows += count

    @property
    def windows(self) -> int:
        """Windows so far."""
        return self._windows

    def elapsed_s(self) -> float:
        """Seconds since the start, validations included."""
        return time.perf_counter() - self._start

    def totals(self) -> Times:
        """The totals now."""
        return Times(self.elapsed_s() - self.validated_s, self._waited_s, self._windows)

    def divide(self, steps: int) -> Iterator[Times]:
        """Totals at each of the steps since the last call, with the time divided evenly."""
        before, now = self._divided, self.totals()
        self._divided = now
        for number in range(1, steps + 1):
            yield before.interpolate(now, number / steps)
