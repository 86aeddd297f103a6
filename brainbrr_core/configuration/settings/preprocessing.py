"""Settings of the section ``preprocessing``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.constants import MONTAGES, RATE, MontageName


class Preprocessing(Section):
    """Parameters of the signal chain.

    Each of them is part of the preprocessing version: a change of one builds the whole cache again,
    as another version.
    """

    #: Sampling rate of the stored signal, in Hz. Every recording is resampled to it.
    rate_hz: Literal[256] = RATE
    #: Stored channels: the 19 electrodes of the 10-20 system, or the 18 bipolar derivations of the
    #: double banana. Derivations are computed from the electrodes, or taken from a bipolar
    #: recording, which ``10-20`` cannot use.
    montage: MontageName = "10-20"
    #: Lower and upper cutoff frequency of the Butterworth band-pass, in Hz. The default is that of
    #: brain-go-brr v2, so that models and results can be compared.
    bandpass_hz: tuple[float, float] = (0.5, 120.0)
    #: Order of the Butterworth band-pass.
    bandpass_order: Annotated[int, Field(ge=1, le=8)] = 3
    #: Power-line frequency that the notch filter removes, in Hz: 60 in North America, 50 in most
    #: other regions.
    notch_hz: Literal[50, 60] = 60
    #: Quality factor of the notch filter: its center frequency divided by its bandwidth.
    notch_q: Annotated[float, Field(gt=0)] = 30.0
    #: Absolute value at which z-scored samples are clipped, in units of ``scale``. At most 10, the
    #: range of the stored 16-bit samples.
    clip_sd: Annotated[float, Field(gt=0, le=10)] = 10.0
    #: Unit of the z-score of each channel: the standard deviation, or (``robust``) the
    #: interquartile range, which depends little on seizures and artifacts.
    scale: Literal["recording_sd", "robust"] = "recording_sd"
    #: Minutes of signal from which the z-score of each 10 s block is computed; they end with that
    #: block. With ``null``, one z-score is computed from the whole recording. A number makes stored
    #: recordings and a live signal alike.
    zscore_minutes: Annotated[int, Field(ge=1, le=60)] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The stored channels, in order."""
        return MONTAGES[self.montage]

    @model_validator(mode="after")
    def _ordered(self) -> Preprocessing:
        low, high = self.bandpass_hz
        if not 0 < low < high < self.rate_hz / 2:
            raise ValueError(f"bandpass_hz must satisfy 0 < low < high < {self.rate_hz / 2:g}")
        return self
