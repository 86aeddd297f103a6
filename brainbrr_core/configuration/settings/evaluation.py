"""Settings of the section ``evaluation``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from brainbrr_core.configuration.settings.section import Section


class Evaluation(Section):
    """What is scored. The threshold is always tuned on dev."""

    #: Split that is scored.
    split: Literal["dev", "eval"] = "dev"
    #: Whether the split eval may be scored. Each time that it is scored is counted and reported.
    allow_eval: bool = False
    #: Number of bootstrap resamples of the patients for confidence intervals.
    bootstrap_samples: Annotated[int, Field(ge=100)] = 1000
    #: Seed of the bootstrap resamples.
    bootstrap_seed: int = 0
