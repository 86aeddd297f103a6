"""Augmentations keep what a window shows; batches read ahead arrive in order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from brainbrr_core.configuration import Augmentation, Overrides, load
from brainbrr_core.constants import CHANNELS, DOUBLE_BANANA
from brainbrr_core.data.augmentation import MIRRORED, Changes, augment, draw, mirror, move
from brainbrr_core.data.prefetch import read_ahead
from brainbrr_core.signal.quantization import SCALE
from tests.support.examples import examples
from tests.support.project import ROOT
from tests.support.services import HANGS_S

ROWS, SAMPLES = 6, 2560
ALL = Augmentation(
    channel_dropout=0.2, amplitude=0.3, time_shift_s=2, noise_sd=0.1, left_right_flip=0.5
)


def stored_windows(samples: int = SAMPLES) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-32767, 32768, (ROWS, 19, samples), generator=generator).to(torch.int16)


def wide(stored: Tensor) -> Tensor:
    return torch.from_numpy(stored.numpy().astype(np.float32) * float(np.float32(SCALE)))


def drawn(settings: Augmentation, step: int = 3) -> Changes:
    changes = draw(settings, 1, step, range(ROWS))
    assert changes is not None
    return changes


def changed(settings: Augmentation) -> Tensor:
    return augment(stored_windows(), draw(settings, 1, 3, range(ROWS)))


def by_hand(
    window: NDArray[np.int16],
    labels: NDArray[np.float32],
    settings: Augmentation,
    key: list[int],
    place: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One window and its labels changed in everything but noise, sample by sample."""
    rng = np.random.default_rng(key)
    # A shift, a factor, a side and 19 channels for each row before it.
    rng.random(22 * place)
    shift = round(rng.uniform(-1, 1) * settings.time_shift_s * 256)
    factor = np.float32((1 + settings.amplitude) ** rng.uniform(-1, 1))
    mirrored = rng.random() < settings.left_right_flip
    silent = rng.random(19) < settings.channel_dropout
    length = len(labels)
    signal, moved = np.zeros((19, length), np.float32), np.zeros(length, np.float32)
    for t in range(length):
        source = t - shift
        if source < 0:
            source = -source
        if source > length - 1:
            source = abs((length - 1) - (source - (length - 1)))
        moved[t] = labels[source]
        for channel in range(19):
            sample = window[MIRRORED[channel] if mirrored else channel, source]
            if not silent[channel]:
                signal[channel, t] = np.float32(sample) * np.float32(SCALE) * factor
    return signal, moved


def test_nothing_changes_by_default_and_the_full_profile_has_them_all() -> None:
    assert draw(Augmentation(), 1, 3, range(ROWS)) is None
    assert torch.equal(changed(Augmentation()), wide(stored_windows()))
    for profile in ("smoke", "dev"):
        assert load(Overrides(config=f"{profile}:cpu")).training.augmentation == Augmentation()
    full = load(Overrides(config="full:cpu")).training.augmentation
    assert all(value > 0 for value in full.model_dump().values())


@examples(12)
@given(
    seed=st.integers(0, 10**6),
    dropout=st.sampled_from([0.0, 0.3]),
    amplitude=st.sampled_from([0.0, 0.4]),
    # The window has a quarter of a second: it may be moved by all of that.
    shift_s=st.sampled_from([0.0, 0.01, 0.25]),
    flip=st.sampled_from([0.0, 0.5]),
)
def test_all_but_noise_is_as_computed_sample_by_sample(
    seed: int, dropout: float, amplitude: float, shift_s: float, flip: float
) -> None:
    settings = Augmentation(
        channel_dropout=dropout, amplitude=amplitude, time_shift_s=shift_s, left_right_flip=flip
    )
    stored = stored_windows(64)
    labels = torch.arange(ROWS * 64, dtype=torch.float32).view(ROWS, 64)
    places = [7, 0, 3, 31, 1, 2]
    changes = draw(settings, seed, 5, places)
    signals, moved = augment(stored, changes), labels.clone()
    if changes is not None:
        move(moved.numpy(), changes)
    for row, place in enumerate(places):
        signal, of_samples = by_hand(
            stored[row].numpy(), labels[row].numpy(), settings, [seed, 5], place
        )
        assert np.array_equal(signals[row].numpy(), signal)
        assert np.array_equal(moved[row].numpy(), of_samples)


def test_a_batch_is_drawn_at_once_and_a_row_gets_the_same_beside_any_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = draw(ALL, 1, 3, range(64))
    assert whole is not None
    made: list[object] = []
    default_rng = np.random.default_rng

    def counted_rng(key: list[int]) -> np.random.Generator:
        made.append(key)
        return default_rng(key)

    monkeypatch.setattr(np.random, "default_rng", counted_rng)
    places = [40, 7, 63, 7]
    some = draw(ALL, 1, 3, places)
    assert some is not None
    assert len(made) == 2
    assert np.array_equal(some.shifts, whole.shifts[places])
    assert np.array_equal(some.mirrored, whole.mirrored[places])
    assert np.array_equal(some.gains, whole.gains[places])
    assert some.noise_seeds == tuple(whole.noise_seeds[place] for place in places)
    assert len({*whole.noise_seeds, *drawn(ALL, 4).noise_seeds}) == 64 + ROWS
    nothing = draw(ALL, 1, 3, [])
    assert nothing is not None
    assert nothing.gains.shape == (0, 19)


@pytest.mark.parametrize("shift", [-64, -63, -1, 1, 63, 64])
def test_a_move_by_the_whole_window_is_reflected_at_both_ends(shift: int) -> None:
    values = np.arange(64, dtype=np.float32)[None].copy()
    ones = np.ones((1, 19), np.float32)
    changes = Changes(np.array([shift]), np.array([False]), ones, (0,), 0.0)
    stored = torch.arange(64).to(torch.int16).expand(1, 19, 64)
    move(values, changes)
    there_and_back = [*range(64), *range(62, 0, -1)]
    expected = [float(there_and_back[(t - shift) % 126]) for t in range(64)]
    assert values[0].tolist() == expected
    signals = augment(stored, changes)
    assert torch.equal(signals, torch.tensor(expected).expand(1, 19, 64) * float(np.float32(SCALE)))


def test_derivations_are_mirrored_with_both_electrodes() -> None:
    order = mirror(DOUBLE_BANANA)
    names = dict(zip(DOUBLE_BANANA, (DOUBLE_BANANA[at] for at in order), strict=True))
    assert names["Fp1-F7"] == "Fp2-F8"
    assert names["T7-P7"] == "T8-P8"
    assert names["P4-O2"] == "P3-O1"
    assert names["Fz-Cz"] == "Fz-Cz"
    assert [order[at] for at in order] == list(range(18))
    stored = torch.arange(2 * 18 * 4).reshape(2, 18, 4).to(torch.int16)
    settings = Augmentation(left_right_flip=1.0)
    changes = draw(settings, 0, 0, range(2), DOUBLE_BANANA)
    assert changes is not None
    assert changes.gains.shape == (2, 18)
    assert torch.equal(augment(stored, changes), wide(stored)[:, list(order)])


def test_left_and_right_are_swapped() -> None:
    names = [CHANNELS[index] for index in MIRRORED]
    assert names[:3] == ["Fp2", "F4", "C4"]
    assert [names[CHANNELS.index(name)] for name in ("Fz", "Cz", "Pz")] == ["Fz", "Cz", "Pz"]
    assert [MIRRORED[index] for index in MIRRORED] == list(range(19))
    flipped, before = changed(Augmentation(left_right_flip=1.0)), wide(stored_windows())
    for place, name in enumerate(CHANNELS):
        # Odd numbers are left, the next even one right.
        digit = name[-1]
        other = (
            name if digit == "z" else name[:-1] + str(int(digit) + (1 if int(digit) % 2 else -1))
        )
        assert torch.equal(flipped[:, place], before[:, CHANNELS.index(other)]), name


def test_signal_and_label_move_together() -> None:
    changes = drawn(Augmentation(time_shift_s=3.0))
    labels = torch.zeros(ROWS, SAMPLES)
    labels[:, 1000:1500] = 1
    stored = stored_windows()
    # The label is written into the signal, so that both can be seen to move together.
    stored[:, 0] = labels.to(torch.int16) * 50
    moved = augment(stored, changes)
    move(labels.numpy(), changes)
    assert torch.equal(moved[:, 0], labels * 50 * float(np.float32(SCALE)))
    starts = [int(np.flatnonzero(row)[0]) for row in labels.numpy()]
    assert len(set(starts)) == ROWS
    assert all(abs(start - 1000) <= 3 * 256 for start in starts)
    for row, start in enumerate(starts):
        shift = start - 1000
        before, after = wide(stored)[row, 5], moved[row, 5]
        kept = slice(max(shift, 0), SAMPLES + min(shift, 0))
        assert torch.equal(after[kept], before[max(-shift, 0) : SAMPLES - max(shift, 0)])
        # The edge is the signal backwards, not silence.
        if shift > 0:
            assert torch.equal(after[:shift], before[1 : shift + 1].flip(0))


def test_amplitude_noise_and_silent_channels() -> None:
    before = wide(stored_windows())
    scaled = changed(Augmentation(amplitude=0.5)) / before
    factors = [float(row[5].nanmedian()) for row in scaled]
    assert all(1 / 1.5 <= factor <= 1.5 for factor in factors)
    assert len({round(factor, 3) for factor in factors}) == ROWS
    silenced = changed(Augmentation(channel_dropout=0.3))
    silent = (silenced == 0).all(dim=2)
    assert 0.15 < float(silent.float().mean()) < 0.45
    assert torch.equal(silenced[~silent], before[~silent])


def test_noise_is_white_of_a_window_s_own_and_silent_channels_have_none() -> None:
    settings = Augmentation(noise_sd=0.1, channel_dropout=0.3)
    noisy = changed(settings)
    silent = (changed(settings.model_copy(update={"noise_sd": 0.0})) == 0).all(dim=2)
    assert silent.any()
    assert not noisy[silent].any()
    noise = (noisy - wide(stored_windows())).double()
    for row in range(ROWS):
        some = noise[row, ~silent[row]].flatten()
        size = len(some)
        # Within five standard errors: of the mean, of the standard deviation, of the kurtosis,
        # and of the correlation with the sample before.
        assert abs(float(some.mean())) < 0.1 * 5 / size**0.5
        assert abs(float(some.std()) - 0.1) < 0.1 * 5 / (2 * size) ** 0.5
        assert abs(float((some / 0.1).pow(4).mean()) - 3) < 5 * (96 / size) ** 0.5
        assert abs(float((some[1:] * some[:-1]).mean())) < 0.01 * 5 / size**0.5
    both = ~silent[0] & ~silent[1]
    assert abs(float((noise[0, both] * noise[1, both]).mean())) < 0.01 * 5 / SAMPLES**0.5


def test_random_changes_follow_from_seed_step_and_position() -> None:
    stored = stored_windows()
    whole = augment(stored, drawn(ALL))
    assert torch.equal(augment(stored, drawn(ALL)), whole)
    assert not torch.equal(augment(stored, drawn(ALL, step=4)), whole)
    assert not torch.equal(augment(stored, draw(ALL, 2, 3, range(ROWS))), whole)
    # Rows 1, 3, 5 in another process are the same rows, and so is each one alone.
    assert torch.equal(augment(stored[1::2], draw(ALL, 1, 3, range(1, ROWS, 2))), whole[1::2])
    for row in range(ROWS):
        alone = augment(stored[row : row + 1], draw(ALL, 1, 3, [row]))
        assert torch.equal(alone[0], whole[row])
    # One augmentation switched off leaves the draws of the others.
    quiet = drawn(ALL.model_copy(update={"noise_sd": 0.0, "left_right_flip": 0.0}))
    assert quiet.shifts.tolist() == drawn(ALL).shifts.tolist()
    assert np.array_equal(quiet.gains, drawn(ALL).gains)


def test_rows_of_a_large_batch_are_those_of_a_small_one() -> None:
    """Noise is drawn for some rows at a time."""
    stored = torch.zeros(19, 19, 512, dtype=torch.int16)
    whole = augment(stored, draw(ALL, 0, 0, range(19)))
    parts = [
        augment(stored[n : n + 5], draw(ALL, 0, 0, range(n, min(n + 5, 19))))
        for n in (0, 5, 10, 15)
    ]
    assert torch.equal(torch.cat(parts), whole)


CHECKSUM = """
import hashlib, sys, torch
torch.set_num_threads(int(sys.argv[1]))
torch.use_deterministic_algorithms(True)
from tests.data.test_augmentation import ALL, augment, draw
stored = torch.randint(-32767, 32768, (5, 19, 15360), generator=torch.Generator().manual_seed(0))
signals = augment(stored.to(torch.int16), draw(ALL, 1, 3, range(5)))
print(hashlib.sha256(signals.numpy().tobytes()).hexdigest())
"""


def test_a_cpu_gives_the_same_bits_in_every_process_and_with_any_number_of_threads() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", CHECKSUM, threads],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
            timeout=HANGS_S,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(found) == 1


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []
    three_made = threading.Event()

    def source() -> Iterator[int]:
        for number in range(1, 8):
            made.append(number)
            if number == 3:
                three_made.set()
            yield number

    items = read_ahead(source(), depth=3)
    assert next(items) == 1
    assert three_made.wait(HANGS_S)
    # Never more than the ring of buffers can hold.
    assert len(made) <= 4
    assert list(items) == [2, 3, 4, 5, 6, 7]


def test_an_error_of_the_source_arrives_and_the_thread_ends() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    items = read_ahead(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)
    endless = read_ahead(iter(range(1, 1000)))
    assert next(endless) == 1
    del endless
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
