"""Settings of the section ``detection``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.constants import BLOCK_S


class Detection(Section):
    """How the network's scores (logits) of 1/8 s frames become events.

    The settings are listed in the order of the steps: windows are stitched, frames are smoothed,
    an event begins at one threshold and ends at a lower one, and short intervals and gaps are
    removed. Both thresholds are tuned on dev after a training.
    """

    #: Seconds from the start of one scored window of a recording to the next, a multiple of 10.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 30
    #: How the logits of overlapping windows are combined: by their mean, by their mean weighted
    #: with a triangle that peaks in the middle of the window, or by their maximum.
    stitching: Literal["average", "triangular", "max"] = "triangular"
    #: Length in seconds of the moving median that smooths the frames; 0 turns it off.
    smooth_s: Annotated[float, Field(ge=0)] = 2.0
    #: Probability at which an event begins, used until a threshold is tuned on dev.
    on_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.86
    #: Ratio of the threshold at which an event ends to the one at which it begins. With a tuned
    #: threshold it is a ratio of frames instead: of the frames of dev that reach the threshold at
    #: which an event ends, this fraction reaches the one at which an event begins.
    off_ratio: Annotated[float, Field(gt=0, le=1)] = 0.78 / 0.86
    #: Intervals above the threshold that are shorter than this many seconds are dropped first.
    opening_s: Annotated[float, Field(ge=0)] = 0.0
    #: Gaps that are shorter than this many seconds are filled next.
    closing_s: Annotated[float, Field(ge=0)] = 0.0
    #: Events with a gap of at most this many seconds are merged.
    merge_gap_s: Annotated[float, Field(ge=0)] = 2.0
    #: Events that are shorter than this many seconds are dropped.
    min_duration_s: Annotated[float, Field(ge=0)] = 3.0
    #: Events that are longer than this many seconds are cut into equal parts. With ``null`` none
    #: are.
    max_duration_s: Annotated[float, Field(gt=0)] | None = None
    #: Whether the confidence of an event is the mean or the maximum of its frames' probabilities.
    confidence: Literal["mean", "max"] = "mean"

    @model_validator(mode="after")
    def _durations_in_order(self) -> Detection:
        # Equal parts of an event that is too long are longer than half of the longest duration.
        if self.max_duration_s is not None and self.max_duration_s < 2 * self.min_duration_s:
            raise ValueError("max_duration_s must be at least twice min_duration_s")
        return self
