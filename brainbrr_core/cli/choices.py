"""The choices that options offer: ``--help`` lists them, and shells complete them.

Each repeats the names that the program itself accepts, since importing those would make ``--help``
load pydantic or torch; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum


class ProfileName(StrEnum):
    """Which recordings, and how long a training."""

    SMOKE = "smoke"
    DEV = "dev"
    FULL = "full"


class LayoutChoice(StrEnum):
    """How the folders and annotations of a corpus are laid out."""

    TUSZ = "tusz"
    BIDS = "bids"
    FOLDER = "folder"


class ScoredSplit(StrEnum):
    """The splits of its own corpus that a run can be scored on."""

    DEV = "dev"
    EVAL = "eval"


class AnySplit(StrEnum):
    """The splits of any corpus that a run can be scored on, and all of them together."""

    DEV = "dev"
    EVAL = "eval"
    TRAIN = "train"
    ALL = "all"


class AdaptChoice(StrEnum):
    """What of a run may be tuned on another corpus."""

    THRESHOLD = "threshold"


class EventFormat(StrEnum):
    """The formats in which events are written."""

    TSV = "tsv"
    CSV_BI = "csv_bi"
    EDF = "edf"
    JSON = "json"


class SampleTypeChoice(StrEnum):
    """The types of samples on standard input, little-endian."""

    FLOAT32 = "float32"
    INT16 = "int16"
