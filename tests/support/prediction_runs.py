"""A run folder with random weights, and recordings that its network is not indifferent to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np
import torch
from numpy.typing import NDArray

from brainbrr_core.cache.version import preprocessing_version
from brainbrr_core.configuration import Configuration, Overrides, load
from brainbrr_core.constants import CHANNELS, MONTAGES, MontageName
from brainbrr_core.model import build
from brainbrr_core.prediction.predictor import Predictor
from brainbrr_core.runs.record import MODEL
from brainbrr_core.runs.used_versions import RUN
from brainbrr_core.runs.weights import save_model
from tests.support.run_records import run_values

WINDOW_S = 20
#: Physical range of the recordings below, in µV, and what one digital unit is worth.
RANGE = 400.0
UNIT = 2 * RANGE / 65535

SETTINGS = """\
model: {preset: tiny}
detection: {stride_s: 10, on_threshold: 0.5, off_ratio: 0.99, smooth_s: 1.0, min_duration_s: 1.0,
            merge_gap_s: 1.0}
"""


def random_settings(place: Path, montage: MontageName = "10-20") -> Configuration:
    """Settings under which the network of :func:`random_predictor` finds many events."""
    path = place / "random.yaml"
    path.write_text(
        SETTINGS
        + f"preprocessing: {{montage: {montage}}}\n"
        + "".join(f"{key}: {place / key}\n" for key in ("cache_root", "runs_dir", "dagster_home"))
    )
    return load(Overrides(config=f"smoke:cpu:{path}"), environment={})


def random_predictor(place: Path, batch: int = 1, montage: MontageName = "10-20") -> Predictor:
    """A tiny network with random weights."""
    network = build("tiny", seed=3, channels=len(MONTAGES[montage])).eval()
    with torch.no_grad():
        # Fresh weights hardly move the output; this makes it cross any threshold near 0.5.
        network.head.weight.mul_(20)
    settings = random_settings(place, montage)
    return Predictor(
        network,
        preprocessing_version(settings.preprocessing),
        settings.preprocessing,
        settings.detection,
        settings.hardware,
        torch.device("cpu"),
        WINDOW_S,
        batch,
        settings.corpus,
    )


def random_run(place: Path, montage: MontageName = "10-20") -> tuple[Path, str]:
    """The same network as a run's folder, and what ``--config`` must say."""
    predictor = random_predictor(place, montage=montage)
    folder = place / "runs_dir" / "random"
    folder.mkdir(parents=True)
    checksum = save_model(folder / MODEL, predictor.network, {})
    values = run_values(model_blake3=checksum)
    values["identity"] |= {
        "windows": {"length_s": WINDOW_S},
        "preprocessing_version": predictor.version,
    }
    (folder / RUN).write_text(json.dumps(values))
    return folder, f"smoke:cpu:{place / 'random.yaml'}"


def digital_eeg(seconds: float, rate: int, seed: int = 0, channels: int = 19) -> NDArray[np.int16]:
    """Digital samples (channels, n) with slow changes of amplitude."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    loud = np.repeat(rng.choice([0.3, 1.0, 3.0], count // (4 * rate) + 1), 4 * rate)[:count]
    signal = loud * rng.standard_normal((channels, count)).cumsum(axis=1) % 900 - 450
    signal += 2000 * loud * rng.standard_normal((channels, count))
    return signal.clip(-32000, 32000).astype(np.int16)


def write_digital(
    path: Path, digital: NDArray[np.int16], rate: int, labels: Sequence[str] = ()
) -> Path:
    """An EDF with exactly these samples, by default of ``CHANNELS``, without Fz for 18 of them."""
    names = [name for name in CHANNELS if len(digital) == 19 or name != "Fz"]
    labels = labels or [f"EEG {name.upper()}-REF" for name in names]
    signals = [
        edfio.EdfSignal.from_digital(
            row,
            rate,
            label=label,
            physical_dimension="uV",
            physical_range=(-RANGE, RANGE),
            digital_range=(-32768, 32767),
        )
        for label, row in zip(labels, digital, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, data_record_duration=1).write(path)
    return path
