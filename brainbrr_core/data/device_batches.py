"""Batches of a training on their way from the store to the device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from brainbrr_core.data.augmentation import Changes, augment, move
from brainbrr_core.data.device_feed import DeviceFeed, Transfer
from brainbrr_core.data.windows import Batch, WindowDataset, known_samples


@dataclass(frozen=True)
class ArrivingBatch:
    """A batch that was sent to the device."""

    names: tuple[str, ...]
    known: tuple[int, ...]
    _transfer: Transfer

    def receive(self) -> Batch:
        """The batch on the device, for work on the current stream; nothing is waited for."""
        signals, labels, *weights = self._transfer.receive()
        return Batch(signals, labels, self.names, weights[0] if weights else None, known=self.known)


def move_labels(batch: Batch, changes: Changes | None) -> tuple[int, ...]:
    """Move a batch's labels and weights in time, in place; the known samples of each row then."""
    if changes is None or not changes.shifts.any():
        return batch.known
    move(batch.labels.numpy(), changes)
    if batch.weights is not None:
        move(batch.weights.numpy(), changes)
    # What a row shows at an edge is its own: one without any unknown sample has none afterwards.
    known, samples = list(batch.known), batch.labels.shape[1]
    mixed = [row for row, count in enumerate(known) if 0 < count < samples]
    for row, count in zip(mixed, known_samples(batch.labels[mixed]), strict=True):
        known[row] = count
    return tuple(known)


def send(
    dataset: WindowDataset, batch: Batch, changes: Changes | None, feed: DeviceFeed
) -> ArrivingBatch:
    """Send a batch that ``dataset`` fetched, as stored, and change it on the device.

    Labels and weights are moved in time here, in place, so that known samples can be counted.
    """
    known = move_labels(batch, changes)
    others = [batch.labels] if batch.weights is None else [batch.labels, batch.weights]
    transfer = feed.send(batch.signals, *others, widen=partial(augment, changes=changes))
    dataset.hold(batch, transfer.await_copy)
    return ArrivingBatch(batch.names, known, transfer)
