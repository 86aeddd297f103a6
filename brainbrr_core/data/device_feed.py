"""Stored windows are copied to the device while it computes, and converted to float32 there.

A GPU copies from page-locked memory while it computes. All copies and kernels of a batch are
enqueued on one stream, and only the kernels that use the batch wait for it, on the device: no host
thread does. On a CPU the same calls compute at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.machine.memory import use_huge_pages
from brainbrr_core.signal.quantization import SCALE

CPU = torch.device("cpu")
#: As `widen` multiplies: torch would take a double for another factor.
_SCALE = float(np.float32(SCALE))


def to_float32(stored: Tensor) -> Tensor:
    """Samples as stored (int16) in standard deviations, float32, to the bit as ``widen`` does."""
    return stored.to(torch.float32).mul_(_SCALE)


def host_memory(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialized tensor in this machine's memory, page-locked where ``device`` is a GPU.

    Made once and used again: page-locking takes longer than many copies, and takes up to twice the
    tensor's size. Raises :class:`BrainbrrError` where no more memory can be page-locked.
    """
    if device.type != "cuda" or 0 in shape:
        memory = torch.empty(*shape, dtype=dtype)
        use_huge_pages(memory.data_ptr(), memory.nbytes)
        return memory
    try:
        # Of that GPU and not of the first one, on which a context would take memory.
        with torch.cuda.device(device):
            return torch.empty(*shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        megabytes = int(np.prod(shape)) * dtype.itemsize / 1e6
        why = (str(error).splitlines() or ["no reason given"])[0]
        raise BrainbrrError(
            f"{megabytes:.0f} MB of memory cannot be page-locked for {device} ({why}): lower "
            "hardware.batch_size (hardware.inference_batch_size where nothing is trained), or "
            "allow more memory or locked memory (`ulimit -l`)"
        ) from None


def on_device(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy a small array to the device on the current stream, without waiting."""
    tensor = torch.from_numpy(values)
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class Transfer:
    """Tensors on their way to the device."""

    _tensors: tuple[Tensor, ...]
    _copied: torch.cuda.Event | None = None
    _ready: torch.cuda.Event | None = None

    def await_copy(self) -> None:
        """Wait until the memory that was sent may be overwritten."""
        if self._copied is not None:
            self._copied.synchronize()

    def receive(self) -> tuple[Tensor, ...]:
        """The tensors, for work on the current stream, which waits for them; this thread doesn't.

        Nothing overwrites them later.
        """
        if self._ready is not None:
            stream = torch.cuda.current_stream(self._tensors[0].device)
            stream.wait_event(self._ready)
            for tensor in self._tensors:
                # Their memory is not given to another batch before this stream has used it.
                tensor.record_stream(stream)
        return self._tensors


class DeviceFeed:
    """Sends windows to one device while it computes.

    Use it from one thread. For a GPU, tensors that are sent must be made by :func:`host_memory` and
    must not be changed before :meth:`Transfer.await_copy` has returned.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(
        self,
        stored: Tensor,
        *others: Tensor,
        widen: Callable[[Tensor], Tensor] = to_float32,
    ) -> Transfer:
        """Send stored windows (B, channels, T) int16, and other tensors with them.

        What arrives is ``widen`` of the windows, computed on the device, and the others as they
        are. ``widen`` must make a new tensor.
        """
        if self._stream is None:
            return Transfer((widen(stored), *(other.clone() for other in others)))
        # Of that GPU first: a thread begins with the first one, on which the end of the stream's
        # block would else make a context, which takes memory there.
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            first, *rest = [
                tensor.to(self.device, non_blocking=True) for tensor in (stored, *others)
            ]
            # A thread that waits for the copy sleeps.
            copied, ready = torch.cuda.Event(blocking=True), torch.cuda.Event()
            copied.record(self._stream)
            tensors = (widen(first), *rest)
            ready.record(self._stream)
        return Transfer(tensors, copied, ready)
