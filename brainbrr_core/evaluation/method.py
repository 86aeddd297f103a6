"""Sentences for a report on the steps from an EDF to events."""

from __future__ import annotations

from brainbrr_core.configuration import Detection, Hardware, Preprocessing
from brainbrr_core.configuration.settings import Compilation
from brainbrr_core.constants import BLOCK_S, CHANNELS, DOUBLE_BANANA, FRAME_HZ
from brainbrr_core.signal.trailing import START_S

_SCALES = {
    "recording_sd": "mean and standard deviation",
    "robust": "median and interquartile range",
}
_STITCHING = {
    "average": "the logits of overlapping windows are averaged",
    "triangular": "the logits of overlapping windows are averaged with triangular weights",
    "max": "of overlapping windows the highest logit counts",
}


def method(
    preprocessing: Preprocessing, detection: Detection, window_s: int, imported: str | None = None
) -> tuple[str, ...]:
    """The signal chain and the steps of detection in windows of ``window_s`` seconds.

    ``imported`` names a preprocessing version that was made elsewhere.
    """
    signal = signal_sentence(preprocessing)
    if imported is not None:
        signal = imported_sentence(imported)
    return signal, detection_sentence(detection, window_s)


def imported_sentence(version: str) -> str:
    """A sentence in place of the signal chain, for an imported preprocessing version."""
    return (
        f"Signal: the preprocessing version {version} was imported; how its signal was made is not "
        "known here."
    )


def computing_sentence(hardware: Hardware, tuned_in: str = "") -> str:
    """The precision of the scores, and that in which the threshold was tuned if it differs."""
    sentence = (
        f"Scores: computed in {hardware.precision} on {hardware.device} (state-space layers of "
        f"{hardware.ssm_backend}, {compilation_words(hardware.compile)})."
    )
    if tuned_in in ("", hardware.precision):
        return sentence
    return f"{sentence} {another_precision(tuned_in, hardware.precision)}"


def compilation_words(how: Compilation) -> str:
    """Whether and how the network was compiled, in words."""
    if how == "cuda_graphs":
        return "compiled, as CUDA graphs"
    return "compiled" if how else "not compiled"


def another_precision(tuned_in: str, used: str) -> str:
    """A note for scores in another precision than those that the threshold was tuned on."""
    return (
        f"The threshold was tuned on scores in {tuned_in} and these are in {used}: they differ by "
        "rounding, so scores close to the threshold may fall on its other side."
    )


_CHANNELS_OF = {
    "10-20": f"the {len(CHANNELS)} electrodes of the 10-20 system",
    "double-banana": f"the {len(DOUBLE_BANANA)} bipolar derivations of the double-banana montage",
}


def signal_sentence(settings: Preprocessing) -> str:
    """The signal chain, and whether its z-score is causal."""
    low, high = settings.bandpass_hz
    over = "the whole recording"
    note = (
        "The z-score is not causal: from the first second on it uses the whole recording, which a "
        "detector at the bedside cannot."
    )
    if settings.zscore_minutes is not None:
        over = f"the {settings.zscore_minutes} min that end with each block of {BLOCK_S} s"
        note = (
            "The z-score is causal except within a block and in the first "
            f"{START_S} s, which have their own: a detector at the bedside has the same signal."
        )
    return (
        f"Signal: µV of {_CHANNELS_OF[settings.montage]}, resampled "
        f"to {settings.rate_hz} Hz by a linear-phase FIR filter, band-pass {low:g} to {high:g} Hz "
        f"(Butterworth, order {settings.bandpass_order}, causal), notch at {settings.notch_hz} Hz "
        f"(Q {settings.notch_q:g}, causal), missing electrodes interpolated, z-scored per channel "
        f"by the {_SCALES[settings.scale]} of {over}, clipped at ±{settings.clip_sd:g}. {note}"
    )


def detection_sentence(settings: Detection, window_s: int) -> str:
    """The steps from the network's windows to events."""
    steps = [
        f"windows of {window_s} s every {min(settings.stride_s, window_s)} s; "
        f"{_STITCHING[settings.stitching]}",
    ]
    if settings.smooth_s:
        steps.append(
            f"{FRAME_HZ} logits a second are smoothed by a centered moving median of "
            f"{settings.smooth_s:g} s"
        )
    steps.append(
        "an event begins where they reach the on-threshold and ends where they fall below the "
        f"off-threshold, which {1 / settings.off_ratio:.3g} times as many frames reach"
    )
    if settings.opening_s:
        steps.append(f"events shorter than {settings.opening_s:g} s are dropped (opening)")
    if settings.closing_s:
        steps.append(f"gaps shorter than {settings.closing_s:g} s are filled (closing)")
    if settings.merge_gap_s:
        steps.append(f"events at most {settings.merge_gap_s:g} s apart are joined")
    if settings.min_duration_s:
        steps.append(f"events then shorter than {settings.min_duration_s:g} s are dropped")
    if settings.max_duration_s is not None:
        steps.append(
            f"events longer than {settings.max_duration_s:g} s are cut into equal, touching parts"
        )
    return (
        f"Detection: {'; '.join(steps)}. Windows and smoothing look ahead, so a latency here is "
        "that of the event's start, not of the moment at which it could be reported."
    )
