"""A network as it is used: the scores (logits) of windows, in batches.

Validation, evaluation and prediction all come here. Imports torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.configuration import Hardware
from brainbrr_core.configuration.model import Precision
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.signal.quantization import SCALE

#: Windows at once on a GPU, at least.
LEAST_ON_GPU = 32

Tag = TypeVar("Tag")


def windows_at_once(hardware: Hardware, device: torch.device) -> int:
    """Windows that a network is given at once where no gradient is wanted.

    What ``hardware.inference_batch_size`` says. By default, on a GPU, what a training step holds
    at once: it keeps several times as much memory a window, so that it fits, and it keeps the GPU
    busy; 32 at least. On a CPU one: more take about as long.
    """
    if hardware.inference_batch_size is not None:
        return hardware.inference_batch_size
    if device.type == "cpu":
        return 1
    return max(hardware.batch_size // hardware.accumulate, LEAST_ON_GPU)


class WindowScorer:
    """A network on its device, with the precision and the batches that it is used with.

    Every batch has the same size, a smaller one being filled up with zeros whose scores are
    dropped. So the scores of a window do not depend on which windows, and how many, are scored
    with it, and with ``compiled`` the network is compiled once. The network is in evaluation mode
    while it scores, and afterwards as it was before.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        batch: int,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.network, self.device, self.batch = network, device, batch
        self.precision = precision
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(network, dynamic=False) if compiled else network
        )
        self._cuda = _Cuda(device) if device.type == "cuda" else None

    @classmethod
    def of(
        cls, network: nn.Module, hardware: Hardware, device: torch.device, batch: int | None = None
    ) -> WindowScorer:
        """A network, which is on ``device``, with what ``hardware`` says.

        ``batch`` by default is :func:`windows_at_once`.
        """
        size = windows_at_once(hardware, device) if batch is None else batch
        return cls(network, device, size, hardware.precision, hardware.compile)

    def scores(
        self, batches: Iterable[tuple[Tensor, Tag]]
    ) -> Generator[tuple[NDArray[np.float32], Tag], None, None]:
        """The scores (windows, samples) of each batch, in order, with what came with it.

        A batch is (windows, 19, samples), float32 in standard deviations or int16 as stored, of
        no more than ``batch`` windows. On a GPU the scores are a view of memory that the next but
        one batch is written to, and a batch is taken before the scores of the one before it are
        given. Where ``batches`` raises a :class:`BrainbrrError`, the scores of what came before
        are given first.

        Raises ``ValueError`` where a batch is too large or the network's output has another shape.
        """
        source = iter(batches)
        under_way: deque[tuple[_Scores, Tag]] = deque()
        was_training = self.network.training
        self.network.eval()
        try:
            while True:
                try:
                    batch = next(source, None)
                except BrainbrrError:
                    yield from _arrived(under_way)
                    raise
                if batch is None:
                    yield from _arrived(under_way)
                    return
                signals, tag = batch
                under_way.append((self._launch(signals), tag))
                # A GPU works on this batch while the scores of the last one are used.
                yield from _arrived(under_way, keep=0 if self._cuda is None else 1)
        finally:
            self.network.train(was_training)

    def window_scores(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score of each sample of no more than ``batch`` windows, float32 ``(windows, samples)``.

        ``windows`` are float32 ``(19, samples)`` each. Raises as :meth:`scores` does.
        """
        [(scores, _)] = self.scores([(self.stacked(windows), None)])
        return scores

    def stacked(self, windows: Sequence[NDArray[np.float32]]) -> Tensor:
        """Windows, float32 ``(19, samples)`` each, as one batch."""
        # In torch's own memory, whose alignment is always the same: some kernels round by it. And
        # of the kind that the filling up gives, or a batch to be filled up is compiled anew.
        with torch.inference_mode():
            batch = torch.empty(
                (len(windows), *windows[0].shape), pin_memory=self._cuda is not None
            )
        np.stack(windows, out=batch.numpy())
        return batch

    def _launch(self, signals: Tensor) -> _Scores:
        """Have a batch scored; on a GPU without waiting for it."""
        rows, samples = signals.shape[0], signals.shape[-1]
        if not 0 < rows <= self.batch:
            raise ValueError(f"a batch of {rows} windows where {self.batch} are scored at once")
        with torch.inference_mode():
            if self._cuda is not None:
                signals = self._cuda.moved(signals)
            if signals.dtype == torch.int16:
                signals = signals.to(torch.float32).mul_(SCALE)
            if rows < self.batch:
                signals = functional.pad(signals, (0, 0, 0, 0, 0, self.batch - rows))
            with torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
            ):
                logits = self._forward(signals)
            logits = logits.float()
        if logits.shape != (self.batch, samples):
            raise ValueError(
                f"the network gave {tuple(logits.shape)} for {self.batch} windows of {samples}"
            )
        if self._cuda is None:
            return _Scores(logits[:rows])
        return self._cuda.returning(logits, rows)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores in this machine's memory, from the moment that ``ready`` says."""

    values: Tensor
    ready: torch.cuda.Event | None = None

    def wait(self) -> NDArray[np.float32]:
        if self.ready is not None:
            self.ready.synchronize()
        values: NDArray[np.float32] = self.values.numpy()
        return values


def _arrived(
    under_way: deque[tuple[_Scores, Tag]], keep: int = 0
) -> Iterator[tuple[NDArray[np.float32], Tag]]:
    """The scores of the oldest batches, up to the last ``keep``."""
    while len(under_way) > keep:
        scores, tag = under_way.popleft()
        yield scores.wait(), tag


class _Cuda:
    """The ways to a GPU and back, beside which it computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._there = torch.cuda.Stream(device)
        #: Scores of the batch under way and of the one that is being used.
        self._back: deque[Tensor] = deque()

    def moved(self, signals: Tensor) -> Tensor:
        """A batch on the GPU; its copy does not wait for what the GPU computes.

        What is computed after this call sees all of it. Signals in pinned memory must stay as
        they are until the scores of the batch have arrived.
        """
        if signals.is_cuda:
            return signals
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._there):
            there = signals.to(self._device, non_blocking=True)
        computing.wait_stream(self._there)
        # Its memory is not given to another copy before the computation is over.
        there.record_stream(computing)
        return there

    def returning(self, logits: Tensor, rows: int) -> _Scores:
        """Scores on their way to pinned memory."""
        if len(self._back) < 2 or self._back[0].shape != logits.shape:
            if len(self._back) == 2:
                self._back.popleft()
            self._back.append(torch.empty(logits.shape, pin_memory=True))
        else:
            self._back.rotate(-1)
        host = self._back[-1]
        host.copy_(logits, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record(torch.cuda.current_stream(self._device))
        return _Scores(host[:rows], ready)
