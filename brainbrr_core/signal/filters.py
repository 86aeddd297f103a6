"""The causal band-pass and notch, designed by scipy; :mod:`signal.recurrence` runs them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainbrr_core.configuration import Preprocessing


@lru_cache(maxsize=8)
def sections(settings: Preprocessing) -> NDArray[np.float64]:
    """Second-order sections (n, 6): Butterworth band-pass, then notch."""
    from scipy import signal

    bandpass = signal.butter(
        settings.bandpass_order,
        settings.bandpass_hz,
        btype="bandpass",
        fs=settings.rate_hz,
        output="sos",
    )
    notch = signal.tf2sos(
        *signal.iirnotch(settings.notch_hz, settings.notch_q, fs=settings.rate_hz)
    )
    designed = np.ascontiguousarray(np.vstack([bandpass, notch]), dtype=np.float64)
    # Processors differ in the last bits of a sine: coefficients are whole multiples of 2**-44.
    return np.rint(designed * 2.0**44) / 2.0**44


def at_rest(settings: Preprocessing, channels: int) -> NDArray[np.float64]:
    """State (n sections, channels, 2) of the filters for a signal that has always been zero."""
    return np.zeros((len(sections(settings)), channels, 2))
