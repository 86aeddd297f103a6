"""The cache of brain-go-brr v2, to compare with: the windows of each recording in a compressed npz.

Recordings are read with MNE, resampled by FFT, filtered by scipy, z-scored, cut into overlapping
float32 windows of 60 s every 10 s, and compressed. Opening such a cache reads every file, and
reading one window decompresses a whole file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from brainbrr_core.constants import CHANNELS, RATE
from brainbrr_core.signal.montage import electrode_of

WINDOW, STRIDE = 60 * RATE, 10 * RATE


def build(edf: Path, out: Path) -> int:
    """Write the windows of one EDF; return their number."""
    import mne
    from scipy import signal

    raw = mne.io.read_raw_edf(edf, preload=True, verbose="error")
    wanted = [name for name in raw.ch_names if electrode_of(name) is not None]
    data = raw.get_data(picks=wanted)
    samples = round(data.shape[1] * RATE / raw.info["sfreq"])
    data = signal.resample(data, samples, axis=1)
    sos = signal.butter(3, (0.5, 120.0), "bandpass", fs=RATE, output="sos")
    data = signal.sosfilt(sos, data, axis=1)
    data = signal.lfilter(*signal.iirnotch(60.0, 30.0, fs=RATE), data, axis=1)
    data -= data.mean(axis=1, keepdims=True)
    data /= data.std(axis=1, keepdims=True) + 1e-9
    clipped = data.clip(-10, 10).astype(np.float32)
    starts = range(0, max(samples - WINDOW + 1, 0), STRIDE)
    # Channels that a recording lacks are rows of zeros, which cost the least.
    windows = np.zeros((len(starts), len(CHANNELS), WINDOW), np.float32)
    for window, start in zip(windows, starts, strict=True):
        window[: len(clipped)] = clipped[:, start : start + WINDOW]
    np.savez_compressed(out, windows=windows, labels=np.zeros((len(windows), WINDOW), np.float32))
    return len(windows)


class NpzDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Windows and labels; opens every file to count its windows."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.windows: list[tuple[Path, int]] = []
        for path in paths:
            with np.load(path, allow_pickle=False) as archive:
                self.windows += [(path, number) for number in range(len(archive["windows"]))]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        path, number = self.windows[position]
        with np.load(path, allow_pickle=False) as archive:
            window, labels = archive["windows"][number], archive["labels"][number]
        return torch.from_numpy(window), torch.from_numpy(labels)
