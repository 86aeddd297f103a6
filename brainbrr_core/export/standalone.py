"""Detect seizures in an EDF with the network in this folder, without brainbrr.

    python predict.py recording.edf events.tsv [probabilities.npy]

Needs numpy, scipy, edfio and onnxruntime. Every number of the signal chain and of the detection is
in signal_chain.json. Probabilities are of frames of 1/8 s. Without a seizure, events.tsv has a row
of background. Refused are EDFs that lack an electrode, have gaps, are shorter than 10 s or flat,
and a model with a z-score of the last minutes.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from fractions import Fraction
from pathlib import Path

import edfio
import numpy as np
import onnxruntime
import scipy.signal
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
MICROVOLTS = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6, "nV": 1e-3}
#: Seconds that a recording must have.
SHORTEST_S = 10
Signal = NDArray[np.float32]


def main(edf: str, events: str, probabilities: str = "") -> None:
    """From an EDF to events."""
    chain = json.loads((FOLDER / "signal_chain.json").read_text(encoding="utf-8"))
    rate_hz, z_score, detection = chain["rate_hz"], chain["z_score"], chain["detection"]
    if z_score["minutes"] is not None:
        sys.exit("predict.py: this model's z-score is of the last minutes: use brainbrr")
    signals, rate = electrodes(edf, chain["labels"]["label"], chain["labels"]["electrodes"])
    pairs = chain.get("derivations", {}).get("derivations", {})
    needed = {one for pair in pairs.values() for one in pair} or set(chain["channels"])
    missing = needed - set(signals)
    if missing:
        sys.exit(f"predict.py: {edf} lacks {', '.join(sorted(missing))}: use brainbrr")
    rows = [
        signals[pairs[name][0]] - signals[pairs[name][1]] if pairs else signals[name]
        for name in chain["channels"]
    ]
    signal = np.stack(rows).astype(np.float32)
    # The level at which the recording begins: filters start from their steady state there.
    first = np.sort(signal[:, : max(1, math.floor(rate))], axis=1)
    signal -= first[:, (first.shape[1] - 1) // 2, None]
    signal = resampled(
        signal,
        rate,
        rate_hz,
        **{
            name: chain["resampling"][name]
            for name in ("passband_hz", "passband_of_nyquist", "stopband_db")
        },
    )
    filtered = scipy.signal.sosfilt(chain["second_order_sections"], signal.astype(np.float64))
    signal = standardized(
        filtered.astype(np.float32),
        z_score["scale"],
        round(z_score["settling_s"] * rate_hz),
        z_score["gaussian_iqr"],
        z_score["quiet_uv"],
        chain["clip_sd"],
        chain["quantum_sd"],
    )
    window = chain["window_s"] * rate_hz
    stride = min(detection["stride_s"], chain["window_s"]) * rate_hz
    frames = frame_logits(signal, window, stride, detection["stitching"], chain["frame_samples"])
    of_frames = 1 / (1 + np.exp(-frames.astype(np.float64)))
    if probabilities:
        np.save(probabilities, of_frames)
    point, frame_s = chain["operating_point_logits"], chain["frame_samples"] / rate_hz
    spans = intervals(smoothed(frames, round(detection["smooth_s"] / frame_s / 2)), **point)
    duration_s = signal.shape[1] / rate_hz
    lines = ["onset\tduration\teventType\tconfidence\trecordingDuration"]
    length = f"{duration_s:.4f}"
    for start_s, stop_s in shaped(
        [(a * frame_s, b * frame_s) for a, b in spans],
        duration_s,
        **{
            name: detection[name]
            for name in (
                "opening_s",
                "closing_s",
                "merge_gap_s",
                "min_duration_s",
                "max_duration_s",
            )
        },
    ):
        touched = of_frames[int(start_s / frame_s) : math.ceil(stop_s / frame_s)]
        confidence = touched.mean() if detection["confidence"] == "mean" else touched.max()
        lines.append(f"{start_s:.4f}\t{stop_s - start_s:.4f}\tsz\t{confidence:.4f}\t{length}")
    if len(lines) == 1:
        # A file without rows may have been cut short.
        lines.append(f"0.0000\t{length}\tbckg\t1.0000\t{length}")
    Path(events).write_text("\n".join(lines) + "\n", encoding="utf-8")


def electrodes(
    path: str, label: str, names: dict[str, str]
) -> tuple[dict[str, NDArray[np.float64]], Fraction]:
    """The signals of electrodes in µV, relative to each one's first sample, and their rate."""
    signals: dict[str, NDArray[np.float64]] = {}
    rates = set()
    edf = edfio.read_edf(path)
    if not edf.is_continuous:
        sys.exit(f"predict.py: {path} has gaps between its data records: use brainbrr")
    for signal in edf.signals:
        match = re.fullmatch(label, signal.label.strip().upper())
        name = names.get(match["electrode"]) if match else None
        if name and match and not (match["other"] and match["other"] in names):
            unit = signal.physical_dimension
            if name in signals or unit not in MICROVOLTS:
                what = f"a unit {unit!r}" if unit not in MICROVOLTS else "two signals"
                sys.exit(f"predict.py: {path} has {what} of {name}: use brainbrr")
            data = signal.data * MICROVOLTS[unit]
            signals[name] = data - data[0]
            rates.add(Fraction(signal.sampling_frequency).limit_denominator(10**6))
    if len(rates) != 1:
        sys.exit(f"predict.py: {path} has no electrodes of one sampling rate: use brainbrr")
    rate = rates.pop()
    if min(map(len, signals.values())) < SHORTEST_S * rate:
        sys.exit(f"predict.py: {path} is shorter than {SHORTEST_S} s")
    if not any(signal.any() for signal in signals.values()):
        sys.exit(f"predict.py: {path} has a constant value on every electrode")
    return signals, rate


def resampled(
    signal: Signal,
    rate: Fraction,
    target: int,
    passband_hz: float,
    passband_of_nyquist: float,
    stopband_db: float,
) -> Signal:
    """The signal at another rate, by a Kaiser filter; its ends are reflected."""
    up, down = (target / rate).as_integer_ratio()
    if up == down:
        return signal
    nyquist, filter_rate = min(float(rate), target) / 2, float(rate) * up
    width = 2 * (nyquist - min(passband_hz, passband_of_nyquist * nyquist))
    half = math.ceil((stopband_db - 7.95) / (2.285 * 2 * np.pi * width / filter_rate) / 2)
    positions = np.arange(-half, half + 1)
    taps = np.sinc(2 * nyquist / filter_rate * positions)
    taps *= np.kaiser(2 * half + 1, 0.1102 * (stopband_db - 8.7))
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    reach, second = half // up + 1, max(1, math.floor(rate))
    ends = []
    for piece in (signal, signal[:, ::-1]):
        others = piece[:, 1 : second + 1]
        low, high = others.min(axis=1, keepdims=True), others.max(axis=1, keepdims=True)
        # An outermost sample far from the others is garbage: it is not reflected at.
        center = np.clip(piece[:, :1], 2 * low - high, 2 * high - low)
        ends.append(2 * center - piece[:, reach:0:-1])
    wide = np.concatenate([ends[0], signal, ends[1][:, ::-1]], axis=1).astype(np.float64)
    delay = reach * up + half
    taps = np.concatenate([np.zeros(-delay % down), taps])
    first, count = -(-delay // down), signal.shape[1] * up // down
    made = scipy.signal.upfirdn(taps, wide, up, down)[:, first : first + count]
    return np.asarray(made, np.float32)


def standardized(
    signal: Signal,
    scale: str,
    settling: int,
    gaussian_iqr: float,
    quiet_uv: float,
    clip_sd: float,
    quantum_sd: float,
) -> Signal:
    """The z-score of each channel over the recording, clipped, in steps of ``quantum_sd``."""
    settled = signal[:, settling:] if signal.shape[1] >= 2 * settling else signal
    settled = settled.astype(np.float64)
    center, spread = settled.mean(axis=1), settled.std(axis=1)
    if scale == "robust":
        lower, center, upper = np.quantile(settled, [0.25, 0.5, 0.75], axis=1)
        spread = np.where(upper - lower < quiet_uv, spread, (upper - lower) / gaussian_iqr)
    factor = np.divide(1, spread * quantum_sd, out=np.zeros_like(spread), where=spread > 0)
    units = (signal - center[:, None].astype(np.float32)) * factor[:, None].astype(np.float32)
    limit = round(clip_sd / quantum_sd)
    return np.asarray(np.rint(np.clip(units, -limit, limit)) * np.float32(quantum_sd), np.float32)


def frame_logits(
    signal: Signal, window: int, stride: int, stitching: str, frame: int
) -> NDArray[np.float32]:
    """The logit of each frame, from overlapping windows."""
    session = onnxruntime.InferenceSession(
        FOLDER / "model.onnx", providers=["CPUExecutionProvider"]
    )
    samples = signal.shape[1]
    last = max(samples - window, 0)
    padded = np.pad(signal, ((0, 0), (0, max(window - samples, 0))))
    total = np.full(padded.shape[1], -np.inf if stitching == "max" else 0.0)
    weights = np.zeros(padded.shape[1])
    weight = np.ones(window)
    if stitching == "triangular":
        weight = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1)).astype(np.float64)
    for start in [*range(0, last, stride), last]:
        here = slice(start, start + window)
        [[logits]] = session.run(["logits"], {"signals": padded[None, :, here]})
        total[here] = (
            np.maximum(total[here], logits) if stitching == "max" else total[here] + weight * logits
        )
        weights[here] = 1.0 if stitching == "max" else weights[here] + weight
    starts = np.arange(0, samples, frame)
    sums = np.add.reduceat((total / weights)[:samples], starts)
    return (sums / np.diff([*starts, samples])).astype(np.float32)


def smoothed(frames: NDArray[np.float32], half: int) -> NDArray[np.float32]:
    """A moving median; of an even number of frames it is the lower of the middle two."""
    around = (np.sort(frames[max(i - half, 0) : i + half + 1]) for i in range(len(frames)))
    return np.array([values[(len(values) - 1) // 2] for values in around])


def intervals(frames: NDArray[np.float32], on: float, off: float) -> list[tuple[int, int]]:
    """Intervals of frames that begin at ``on`` and last while frames are at least ``off``."""
    spans, frame = [], 0
    while frame < len(frames):
        stop = frame
        if frames[frame] >= on:
            while stop < len(frames) and frames[stop] >= off:
                stop += 1
            spans.append((frame, stop))
        frame = max(stop, frame + 1)
    return spans


def shaped(
    spans: list[tuple[float, float]],
    duration_s: float,
    opening_s: float,
    closing_s: float,
    merge_gap_s: float,
    min_duration_s: float,
    max_duration_s: float | None,
) -> list[tuple[float, float]]:
    """Short intervals dropped, small gaps filled, and what is too long cut into equal parts."""
    joined: list[tuple[float, float]] = []
    for start, stop in (span for span in spans if span[1] - span[0] >= opening_s):
        gap = start - joined[-1][1] if joined else math.inf
        if gap < closing_s or gap <= merge_gap_s:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    events: list[tuple[float, float]] = []
    for start, stop in ((start, min(stop, duration_s)) for start, stop in joined):
        if stop > start and stop - start >= min_duration_s:
            parts = math.ceil((stop - start) / max_duration_s) if max_duration_s else 1
            edges = np.linspace(start, stop, parts + 1).tolist()
            events += itertools.pairwise(edges)
    return events


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
