"""Which mean and standard deviation a recording is z-scored with, and the file with them.

Training uses those of the whole recording. What runs while a recording is made cannot know them:
it uses those of an earlier recording, from a file, or those of the first minutes. Where
``preprocessing.zscore_minutes`` is set, training uses those of the minutes before, and so does
everything else: there is nothing to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from brainbrr_core.cache.version import channels_of
from brainbrr_core.configuration import Preprocessing
from brainbrr_core.errors import BrainbrrError, cannot_read
from brainbrr_core.files.atomic import replacing
from brainbrr_core.signal.chain import STREAM_STEP, filter_signal
from brainbrr_core.signal.edges import SignalSource
from brainbrr_core.signal.statistics import Statistics

#: The setting of a z-score that needs nothing of what is still to come.
ZSCORE_MINUTES = "preprocessing.zscore_minutes"


@dataclass(frozen=True)
class Normalization:
    """The mean and standard deviation to z-score with: the recording's own, by default.

    Parameters
    ----------
    statistics : Statistics, optional
        Given ones, in µV after the filters.
    first_s : float, optional
        Those of the first seconds, this many, of the recording itself.
    """

    statistics: Statistics | None = None
    first_s: float | None = None

    def of(self, source: SignalSource, settings: Preprocessing) -> Statistics | None:
        """The fixed ones for a recording; None for its own.

        Raises :class:`BrainbrrError` as :meth:`check` does.
        """
        self.check(settings)
        if self.first_s is None:
            return self.statistics
        return Statistics.of(
            filter_signal(source, settings, STREAM_STEP),
            round(self.first_s * settings.rate_hz),
            settings,
        )

    def check(self, settings: Preprocessing) -> None:
        """Raise :class:`BrainbrrError` where the settings leave nothing to choose."""
        chosen = self.statistics is not None or self.first_s is not None
        if settings.zscore_minutes is not None and chosen:
            raise BrainbrrError(
                f"{ZSCORE_MINUTES} is {settings.zscore_minutes}: its mean and deviation are known "
                "while a recording is made, so leave --stats and --first-minutes out"
            )

    def describe(self, settings: Preprocessing) -> str:
        """Where the mean and standard deviation come from, for a message."""
        if settings.zscore_minutes is not None:
            return f"the last {settings.zscore_minutes} min's"
        if self.statistics is not None:
            return "given"
        return "the whole recording's" if self.first_s is None else f"the first {self.first_s:g} s'"


class _StatisticsFile(BaseModel):
    """µV after the filters, per channel."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    preprocessing_version: str
    channels: tuple[str, ...]
    mean_uv: tuple[float, ...]
    deviation_uv: tuple[Annotated[float, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _one_for_each_channel(self) -> _StatisticsFile:
        if not len(self.channels) == len(self.mean_uv) == len(self.deviation_uv):
            raise ValueError("a channel has no mean or no deviation")
        return self


def write_statistics(path: Path, statistics: Statistics, version: str) -> None:
    """Write a mean and standard deviation for later recordings, with the version of the chain."""
    content = _StatisticsFile(
        preprocessing_version=version,
        channels=channels_of(version),
        mean_uv=tuple(statistics.mean.tolist()),
        deviation_uv=tuple(statistics.deviation.tolist()),
    )
    with replacing(path) as temporary:
        temporary.write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_statistics(path: Path, version: str) -> Statistics:
    """What :func:`write_statistics` wrote.

    Raises :class:`BrainbrrError` where the file is missing, damaged or another version's.
    """
    remedy = "write one with `brainbrr predict EDF OUT --save-stats FILE`"
    try:
        content = _StatisticsFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrainbrrError(f"{path} does not exist: {remedy}") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    except (ValidationError, UnicodeDecodeError):
        raise BrainbrrError(
            f"{path} is no file of means and standard deviations: {remedy}"
        ) from None
    if content.preprocessing_version != version or content.channels != channels_of(version):
        raise BrainbrrError(
            f"{path} is of {content.preprocessing_version} and the run of {version}: {remedy}"
        )
    return Statistics(np.array(content.mean_uv), np.array(content.deviation_uv))
