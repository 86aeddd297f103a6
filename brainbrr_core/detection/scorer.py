"""Scores (logits) of windows from a network, in batches.

Validation, evaluation and prediction all use it. Imports torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from brainbrr_core.configuration import Hardware
from brainbrr_core.configuration.settings import Compilation, Precision
from brainbrr_core.constants import CHANNELS
from brainbrr_core.data.device_feed import host_memory
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AnyNetwork
from brainbrr_core.model.arithmetic import float32_products
from brainbrr_core.model.compilation import compiled
from brainbrr_core.model.compute_threads import ROWS_ON_CPU, ComputeThreads, may_be_shared
from brainbrr_core.model.memory import fits_memory

#: Windows at once on a GPU, at least.
LEAST_ON_GPU = 32

Tag = TypeVar("Tag")


def windows_at_once(hardware: Hardware, device: torch.device) -> int:
    """Windows in a batch where no gradient is wanted.

    The default on a GPU is the number of windows in a training step, 32 at least: a training
    needs several times as much memory per window, so they fit, and they keep the GPU busy. On a
    CPU it is 4, and several such batches are computed at the same time.

    Parameters
    ----------
    hardware : Hardware
        ``inference_batch_size``, where it is set, is the result.
    device : torch.device
        The device of the network.

    Returns
    -------
    int
        The number of windows in a batch.
    """
    if hardware.inference_batch_size is not None:
        return hardware.inference_batch_size
    if device.type == "cpu":
        return ROWS_ON_CPU
    return max(hardware.batch_size // hardware.accumulate, LEAST_ON_GPU)


class WindowScorer:
    """A network on its device, with the precision and the batches that it is used with.

    Every batch has the same size, a smaller one being filled up with zeros whose scores are
    dropped. So the scores of a window do not depend on which windows, and how many, are scored
    with it, and what is compiled is compiled once. The network is in evaluation mode while it
    scores, and afterwards as it was before.

    Parameters
    ----------
    network : torch.nn.Module
        Takes windows (windows, channels, samples) and gives logits (windows, samples).
    device : torch.device
        Where the network is.
    batch : int
        Windows in a batch.
    precision : {"float32", "bfloat16"}
        In which the network computes.
    compilation : bool or "cuda_graphs"
        Whether the network is compiled, and how.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        batch: int,
        precision: Precision = "float32",
        compilation: Compilation = False,
    ) -> None:
        self.network, self.device, self.batch = network, device, batch
        self.precision = precision
        #: Channels of its windows.
        self.channels = network.channels if isinstance(network, AnyNetwork) else len(CHANNELS)
        self._forward = compiled(network, compilation)
        #: Those that no scores are under way on.
        self._ways_back: list[_WayBack] = []
        self._threads = (
            ComputeThreads()
            if device.type == "cpu" and may_be_shared(network, compilation)
            else None
        )
        #: Batches that are computed while the scores of an earlier one are used.
        self._ahead = 1 if device.type == "cuda" else 0
        if self._threads is not None:
            self._ahead = self._threads.count

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

        A batch is (windows, channels, samples), float32 in standard deviations, of no more than
        ``batch`` windows, on any device. Some batches are taken before the scores of earlier ones
        are given. On a GPU the scores are a view of memory that those of the next but one batch are
        written to. Where ``batches`` raises a :class:`BrainbrrError`, the scores of what came
        before are given first.

        Raises ``ValueError`` where a batch is too large or the network's output has another shape,
        and :class:`~brainbrr_core.errors.BrainbrrError` where the device's memory is too small.
        Several such generators may be in use by turns, and end in any order.
        """
        source = iter(batches)
        under_way: deque[tuple[_Scores | Future[_Scores], Tag]] = deque()
        try:
            with (
                _in_evaluation_mode(self.network),
                nullcontext() if self._threads is None else self._threads.in_use(),
                self._way_back() as back,
            ):
                while True:
                    try:
                        with self._fits_memory():
                            batch = next(source, None)
                    except BrainbrrError:
                        yield from self._arrived(under_way)
                        raise
                    if batch is None:
                        yield from self._arrived(under_way)
                        return
                    signals, tag = batch
                    with self._fits_memory():
                        under_way.append((self._start(signals, back), tag))
                    yield from self._arrived(under_way, keep=self._ahead)
        finally:
            for scores, _ in under_way:
                if isinstance(scores, Future):
                    scores.cancel()

    def window_scores(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score of each sample of no more than ``batch`` windows, float32 ``(windows, samples)``.

        ``windows`` are float32 ``(channels, samples)`` each. Raises as :meth:`scores` does.
        """
        [(scores, _)] = self.scores([(self.stacked(windows), None)])
        # The caller's own: nothing that is scored later is written to it.
        return scores.copy()

    def stacked(self, windows: Sequence[NDArray[np.float32]]) -> Tensor:
        """Windows, float32 ``(channels, samples)`` each, as one batch in this machine's memory."""
        # In torch's own memory, whose alignment is always the same: some kernels round by it.
        shape = (len(windows), *windows[0].shape)
        batch = torch.empty(shape, pin_memory=self.device.type == "cuda")
        np.stack(windows, out=batch.numpy())
        return batch

    def _fits_memory(self) -> AbstractContextManager[None]:
        return fits_memory(
            f"{self.batch * max(1, self._ahead)} windows at once where no gradient is wanted",
            "set hardware.inference_batch_size, or --batch of `brainbrr predict`, to a lower number"
            if self.batch > 1
            else "shorten windows.length_s for a new run, or use a device with more memory",
        )

    @contextmanager
    def _way_back(self) -> Iterator[_WayBack | None]:
        """What copies the scores of one generator from a GPU; None on a CPU."""
        if self.device.type != "cuda":
            yield None
            return
        back = self._ways_back.pop() if self._ways_back else _WayBack(self.device)
        try:
            yield back
        finally:
            self._ways_back.append(back)

    def _start(self, signals: Tensor, back: _WayBack | None) -> _Scores | Future[_Scores]:
        """Have a batch scored, without waiting for it where something else can be done."""
        if self._threads is None:
            return self._launch(signals, back)
        return self._threads.submit(self._launch, signals, back)

    def _arrived(
        self, under_way: deque[tuple[_Scores | Future[_Scores], Tag]], keep: int = 0
    ) -> Iterator[tuple[NDArray[np.float32], Tag]]:
        """The scores of the oldest batches, up to the last ``keep``."""
        while len(under_way) > keep:
            scores, tag = under_way.popleft()
            if isinstance(scores, Future):
                with self._fits_memory():
                    scores = scores.result()
            yield scores.wait(), tag

    def _launch(self, signals: Tensor, back: _WayBack | None) -> _Scores:
        """Score a batch; on a GPU without waiting for it."""
        rows, samples = signals.shape[0], signals.shape[-1]
        if not 0 < rows <= self.batch:
            raise ValueError(f"a batch of {rows} windows where {self.batch} are scored at once")
        signals = signals.to(self.device, non_blocking=True)
        # Before inference mode, which makes tensors of another kind that would be compiled again.
        if rows < self.batch:
            signals = functional.pad(signals, (0, 0, 0, 0, 0, self.batch - rows))
        with (
            # It changes a setting of the process, which several threads must not; a GPU has one.
            float32_products() if self._threads is None else nullcontext(),
            torch.inference_mode(),
            torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
            ),
        ):
            logits = self._forward(signals).float()
        if logits.shape != (self.batch, samples):
            raise ValueError(
                f"the network gave {tuple(logits.shape)} for {self.batch} windows of {samples}"
            )
        if back is None:
            return _Scores(logits[:rows])
        return back.send(logits, rows)


#: How many generators score with each network, and whether it was in training mode before.
_modes: dict[nn.Module, tuple[int, bool]] = {}
#: A generator that is collected as garbage may end while its thread starts another.
_modes_lock = RLock()


@contextmanager
def _in_evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode until the last block that has asked for it ends."""
    with _modes_lock:
        blocks, was_training = _modes.get(network, (0, network.training))
        _modes[network] = blocks + 1, was_training
        network.eval()
    try:
        yield
    finally:
        with _modes_lock:
            blocks, was_training = _modes.pop(network)
            if blocks > 1:
                _modes[network] = blocks - 1, was_training
            else:
                network.train(was_training)


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


class _WayBack:
    """Scores are copied from a GPU while it computes the next ones."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        #: Memory for the scores under way and for those that are being used.
        self._memory: deque[Tensor] = deque(maxlen=2)

    def send(self, logits: Tensor, rows: int) -> _Scores:
        """The first ``rows`` of some scores on their way; nothing is waited for."""
        if len(self._memory) == 2 and self._memory[0].shape == logits.shape:
            self._memory.rotate(-1)
        else:
            self._memory.append(host_memory(logits.shape, logits.dtype, self._device))
        memory = self._memory[-1]
        memory.copy_(logits, non_blocking=True)
        # A thread that waits for it sleeps.
        arrived = torch.cuda.Event(blocking=True)
        arrived.record(torch.cuda.current_stream(self._device))
        return _Scores(memory[:rows], arrived)
