"""Augmentations keep what a window shows; batches read ahead arrive in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from services import HANGS_S

from brainbrr_core.configuration import Augmentation, Overrides, load
from brainbrr_core.data import Batch
from brainbrr_core.data.augmentation import MIRRORED, augment
from brainbrr_core.data.prefetch import prefetched
from brainbrr_core.signal.montage import CHANNELS

ROWS, SAMPLES = 6, 2560


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(ROWS, SAMPLES)
    labels[:, 1000:1500] = 1
    signals = torch.randn(ROWS, 19, SAMPLES, generator=generator)
    # The label is written into the signal, so that both can be seen to move together.
    signals[:, 0] = labels * 50
    return Batch(signals, labels, tuple("abcdef"), known=(SAMPLES,) * ROWS)


def augmented(settings: Augmentation, step: int = 3, places: range = range(ROWS)) -> Batch:
    changed = batch()
    augment(changed, settings, 1, step, places)
    return changed


def test_nothing_changes_by_default_and_the_full_profile_has_them_all() -> None:
    assert torch.equal(augmented(Augmentation()).signals, batch().signals)
    for profile in ("smoke", "dev"):
        assert load(Overrides(config=f"{profile}:cpu")).training.augmentation == Augmentation()
    full = load(Overrides(config="full:cpu")).training.augmentation
    assert all(value > 0 for value in full.model_dump().values())


def test_left_and_right_change_places() -> None:
    names = [CHANNELS[index] for index in MIRRORED]
    assert names[:3] == ["Fp2", "F4", "C4"]
    assert [names[CHANNELS.index(name)] for name in ("Fz", "Cz", "Pz")] == ["Fz", "Cz", "Pz"]
    assert [MIRRORED[index] for index in MIRRORED] == list(range(19))
    flipped = augmented(Augmentation(left_right_flip=1.0))
    for place, name in enumerate(CHANNELS):
        # Odd numbers are left, the next even one right.
        digit = name[-1]
        other = (
            name if digit == "z" else name[:-1] + str(int(digit) + (1 if int(digit) % 2 else -1))
        )
        expected = batch().signals[:, CHANNELS.index(other)]
        assert torch.equal(flipped.signals[:, place], expected), name


def test_signal_and_label_move_together() -> None:
    moved = augmented(Augmentation(time_shift_s=3.0))
    assert torch.equal(moved.signals[:, 0], moved.labels * 50)
    starts = [int(np.flatnonzero(row)[0]) for row in moved.labels.numpy()]
    assert len(set(starts)) == ROWS
    assert all(abs(start - 1000) <= 3 * 256 for start in starts)
    for row, start in enumerate(starts):
        shift = start - 1000
        before, after = batch().signals[row, 5], moved.signals[row, 5]
        kept = slice(max(shift, 0), SAMPLES + min(shift, 0))
        assert torch.equal(after[kept], before[max(-shift, 0) : SAMPLES - max(shift, 0)])
        # The edge is the signal backwards, not silence.
        if shift > 0:
            assert torch.equal(after[:shift], before[1 : shift + 1].flip(0))


def test_amplitude_noise_and_silent_channels() -> None:
    scaled = augmented(Augmentation(amplitude=0.5)).signals / batch().signals
    factors = [float(row[5].median()) for row in scaled]
    assert all(1 / 1.5 <= factor <= 1.5 for factor in factors)
    assert len({round(factor, 3) for factor in factors}) == ROWS
    noise = augmented(Augmentation(noise_sd=0.1)).signals - batch().signals
    assert abs(float(noise.std()) - 0.1) < 0.002
    silenced = augmented(Augmentation(channel_dropout=0.3)).signals
    silent = (silenced == 0).all(dim=2)
    assert 0.15 < float(silent.float().mean()) < 0.45
    assert torch.equal(silenced[~silent], batch().signals[~silent])


def test_what_is_drawn_follows_from_step_and_place() -> None:
    settings = Augmentation(
        channel_dropout=0.2, amplitude=0.3, time_shift_s=2, noise_sd=0.1, left_right_flip=0.5
    )
    whole = augmented(settings)
    assert torch.equal(augmented(settings).signals, whole.signals)
    assert not torch.equal(augmented(settings, step=4).signals, whole.signals)
    # Rows 1, 3, 5 in another process are the same rows.
    full = batch()
    part = Batch(
        full.signals[1::2].clone(),
        full.labels[1::2].clone(),
        full.names[1::2],
        known=full.known[1::2],
    )
    augment(part, settings, 1, 3, range(1, ROWS, 2))
    assert torch.equal(part.signals, whole.signals[1::2])
    # One augmentation switched off leaves the draws of the others.
    quiet = augmented(settings.model_copy(update={"noise_sd": 0.0}))
    assert torch.equal(quiet.labels, whole.labels)


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []
    three_made = threading.Event()

    def source() -> Iterator[int]:
        for number in range(1, 8):
            made.append(number)
            if number == 3:
                three_made.set()
            yield number

    items = prefetched(source(), depth=3)
    assert next(items) == 1
    assert three_made.wait(HANGS_S)
    # Never more than the ring of buffers can hold.
    assert len(made) <= 4
    assert list(items) == [2, 3, 4, 5, 6, 7]


def test_an_error_of_the_source_arrives_and_the_thread_ends() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = prefetched(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)
    endless = prefetched(iter(range(1, 1000)))
    assert next(endless) == 1
    del endless
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
