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
    CHBMIT = "chbmit"
    SIENA = "siena"
    SEIZEIT1 = "seizeit1"
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


class TraceFormat(StrEnum):
    """The formats in which probabilities are written."""

    TSV = "tsv"
    PARQUET = "parquet"
    EDF = "edf"


class SampleTypeChoice(StrEnum):
    """The types of samples on standard input, little-endian."""

    FLOAT32 = "float32"
    INT16 = "int16"


class PresetName(StrEnum):
    """The sizes of the network."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class BackendName(StrEnum):
    """What computes the state-space layers."""

    TORCH = "torch"
    MAMBA_SSM = "mamba_ssm"


class GpuSection(StrEnum):
    """The sections of ``brainbrr bench gpu``."""

    PREPARE = "prepare"
    WARM_UP = "warm_up"
    EQUALITY = "equality"
    MACHINE = "machine"
    RATES = "rates"
    WAITING = "waiting"
    SCORING = "scoring"
    RESUMING = "resuming"
    CROSSING = "crossing"
    LOSSES = "losses"


class RuleFamily(StrEnum):
    """Whose rules events are scored by."""

    SZCORE = "szcore"
    NEDC = "nedc"
    BOTH = "both"


class UnmatchedChoice(StrEnum):
    """What becomes of a recording that only one of two folders has."""

    REFUSE = "refuse"
    SKIP = "skip"
    EMPTY = "empty"


class ModelFormat(StrEnum):
    """The formats in which a network is exported."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCH_EXPORT = "torch-export"


class FrozenPart(StrEnum):
    """The parts of a network that a training can leave as they are."""

    ENCODER = "encoder"
