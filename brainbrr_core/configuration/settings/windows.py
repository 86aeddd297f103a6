"""Which windows of which recordings: ``windows``, ``selection`` and ``sampling``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.constants import BLOCK_S


class Windows(Section):
    """How windows are cut from stored recordings when they are read."""

    #: Length of a window in seconds, a multiple of the 10 s of a stored block.
    length_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 60
    #: Seconds from the start of one training window to the next, a multiple of 10.
    stride_s: Annotated[int, Field(gt=0, multiple_of=BLOCK_S)] = 10


class Selection(Section):
    """Which recordings of the corpus a profile uses."""

    #: Number of recordings, taken from every split and with seizures first. With ``null`` all are
    #: used.
    recordings: Annotated[int, Field(gt=0)] | None = None
    #: Number of patients of train, those with seizures first, for a training on few of them. Dev
    #: and eval keep all of theirs. With ``null`` all are used, as they must be with folds.
    train_patients: Annotated[int, Field(gt=0)] | None = None
    #: Seed of the random order in which recordings, and patients of train, are taken.
    seed: int = 0


class Sampling(Section):
    """How the training windows of an epoch are drawn.

    All partly ictal windows are in an epoch; the numbers of the others are multiples of theirs.
    Where there are fewer of them than half of the fully ictal windows, that half counts instead.
    """

    #: Fraction of seizure among the labeled samples of a window from which on the window counts as
    #: fully ictal.
    full_threshold: Annotated[float, Field(gt=0, le=1)] = 0.99
    #: Fully ictal windows in an epoch for each partly ictal one.
    full_ratio: Annotated[float, Field(ge=0)] = 0.3
    #: Background windows in an epoch for each partly ictal one.
    background_ratio: Annotated[float, Field(ge=0)] = 2.5
    #: Whether each window of a kind is drawn equally often, or each patient who has such windows.
    balance: Literal["windows", "patients"] = "windows"
    #: How much of each kind of window comes from each corpus of ``corpora``, as weights by name,
    #: such as ``{tusz: 1, chbmit: 1}``. Corpora that are not named have the weight 1. With an empty
    #: mapping, windows are drawn whatever their corpus is.
    corpus_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default={})
